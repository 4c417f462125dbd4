package e2e_test

import (
	"encoding/base64"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFirstTokenNeedsNothingButServeDemo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := start(t, dir, "--demo")
	requests := regexp.MustCompile(`(?m)^curl .*$`).FindAllString(p.stdout.String(), -1)
	if len(requests) != 2 {
		t.Fatalf("serve --demo printed %d curl lines, want 2:\n%s", len(requests), &p.stdout)
	}
	var refreshToken string
	for _, request := range requests {
		if !strings.Contains(request, p.public+"/token") {
			t.Errorf("%s\ndoes not name %s/token", request, p.public)
		}
		body := shell(t, request)
		member := regexp.MustCompile(`^\{"access_token":"([^"]+)","token_type":"Bearer","expires_in":28800,"refresh_token":"(grt_[\w-]{72})"\}$`).FindStringSubmatch(body)
		if member == nil {
			t.Fatalf("%s\nanswers %s", request, body)
		}
		checkShape(t, member[1])
		refreshToken = member[2]
	}
	checkModes(t, dir)

	before := remembered(t, p, dir)
	p.stop(t)
	again := start(t, dir, "--demo")
	if diff := cmp.Diff(before, remembered(t, again, dir)); diff != "" {
		t.Errorf("a second start changed (-before +after):\n%s", diff)
	}
	again.mustRefresh(t, refreshToken)
}

func shell(t *testing.T, line string) string {
	t.Helper()
	out, err := said(t, func() *exec.Cmd { return exec.CommandContext(t.Context(), "bash", "-c", line) })
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return out
}

// checkShape compares an access token with the reference's, member by member and byte by byte.
func checkShape(t *testing.T, jwt string) {
	t.Helper()
	parts := strings.Split(jwt, ".")
	if len(parts) != 3 {
		t.Fatalf("not a JWT: %s", jwt)
	}
	const sub = `{\"id_company_user\":null,\"id_agent\":null,\"customer_reference\":\"DE--21\",\"id_customer\":21,\"permissions\":null}`
	shapes := []string{
		`^\{"typ":"JWT","alg":"RS256","kid":"[\w-]{43}"\}$`,
		// The first nine bytes of jti name the customer.
		`^\{"aud":"frontend","jti":"010000000000000015[0-9a-f]{62}","iat":(\d{10}),"nbf":(\d{10}),"exp":\d{10},"sub":"` + regexp.QuoteMeta(sub) + `","scopes":\["customer"\]\}$`,
	}
	for i, shape := range shapes {
		text, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil {
			t.Fatal(err)
		}
		if !regexp.MustCompile(shape).Match(text) {
			t.Errorf("%s\ndoes not match\n%s", text, shape)
		}
	}
}

// checkModes demands that nobody else can read what the server made.
func checkModes(t *testing.T, dir string) {
	t.Helper()
	data := filepath.Join(dir, "data")
	found := map[string]bool{}
	walk(t, data, func(path string, mode fs.FileMode) {
		want := fs.FileMode(0o600)
		if mode.IsDir() {
			want = 0o700
		}
		if got := mode.Perm(); got != want {
			t.Errorf("%s has mode %o, want %o", path, got, want)
		}
		found[path], found[filepath.Ext(path)] = true, true
	})
	for _, name := range []string{"glueauth.db", "master.key", "keys", ".pem"} {
		if !found[name] {
			t.Errorf("the data folder has no %s", name)
		}
	}
}

// remembered is what must survive a restart, by name.
func remembered(t *testing.T, p *process, dir string) map[string]string {
	t.Helper()
	jwks, err := p.get(p.public + "/.well-known/jwks.json")
	if err != nil {
		t.Fatal(err)
	}
	master, err := os.ReadFile(filepath.Join(dir, "data", "master.key"))
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{
		"JWKS":      jwks.String(),
		"master":    string(master),
		"customers": succeed(t, dir, "", "customers", "list"),
	}
}
