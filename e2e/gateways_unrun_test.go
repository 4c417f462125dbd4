package e2e_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

// These cannot be run: their programs are not Debian's. What can be checked is that they are read as what they are, say that
// nobody has tried them, and name addresses that the server has.
func TestTheGatewaySamplesThatDoNotRunSayItAndNameOurAddresses(t *testing.T) {
	t.Parallel()
	p := start(t, t.TempDir(), "GLUEAUTH_ISSUER="+witnessIssuer)
	jwks := witnessIssuer + "/.well-known/jwks.json"
	for name, want := range map[string][]string{
		"envoy/envoy.yaml":      {witnessIssuer, jwks, "frontend"},
		"istio/glueauth.yaml":   {witnessIssuer, jwks, "frontend"},
		"krakend/krakend.json":  {witnessIssuer, jwks, "frontend", "RS256"},
		"kong/kong.yaml":        {"kid", "RS256"},
		"traefik/glueauth.yaml": {"http://glueauth:8080/verify?active=1", "X-Customer-Reference", "X-Customer-Id", "X-Scopes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(filepath.Join(gatewayFolder, name))
			if err != nil {
				t.Fatal(err)
			}
			if first, _, _ := strings.Cut(string(text), "\n"); !strings.Contains(first, "not run here") {
				t.Errorf("the first line does not say that it is not run here: %s", first)
			}
			words := map[string]bool{}
			for decoder := yaml.NewDecoder(bytes.NewReader(text)); ; { // JSON is YAML
				var document any
				if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
					break
				} else if err != nil {
					t.Fatal(err)
				}
				collect(document, words)
			}
			for _, word := range want {
				if !words[word] {
					t.Errorf("no %q among its values", word)
				}
			}
			removesNames(t, name, text)
			for _, word := range slices.Sorted(maps.Keys(words)) {
				if err := p.knows(word); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// removesNames : KrakenD hands on no header but those that it is told to, and Envoy none with an underscore.
func removesNames(t *testing.T, name string, text []byte) {
	t.Helper()
	if strings.HasPrefix(name, "krakend") {
		return
	}
	for _, header := range []string{"X-Customer-Reference", "X-Customer-Id", "X-Scopes"} {
		for _, spelling := range spellings(header) {
			dropped := strings.HasPrefix(name, "envoy") && strings.Contains(spelling, "_")
			if !dropped && !regexp.MustCompile(`[\s\[]`+regexp.QuoteMeta(spelling)+`\b`).Match(text) {
				t.Errorf("what a customer sends as %s is not removed", spelling)
			}
		}
	}
}

// collect gathers all strings that are values.
func collect(node any, words map[string]bool) {
	switch node := node.(type) {
	case string:
		words[node] = true
	case []any:
		for _, child := range node {
			collect(child, words)
		}
	case map[string]any:
		for _, child := range node {
			collect(child, words)
		}
	}
}

// knows returns an error for a URL of ours that is neither the issuer nor one of the server's.
func (p *process) knows(word string) error {
	u, err := url.Parse(word)
	if err != nil || u.Host != "login.shop.example" && u.Host != "glueauth:8080" || word == witnessIssuer {
		return nil //nolint:nilerr // no URL, or none of ours
	}
	a, err := p.get(p.public + u.RequestURI())
	if err == nil && a.status == http.StatusNotFound {
		err = fmt.Errorf("%s: the server has no such address", word)
	}
	return err
}
