package handlers_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/glueauth/glueauth/handlers"
)

// keyShop is both listeners of a server whose key set the test chooses.
type keyShop struct {
	*backOffice
	body, etag string
}

func openKeyShop(t *testing.T) *keyShop {
	t.Helper()
	k := &keyShop{body: `{"keys":[{"kid":"one"},{"kid":"two"}]}`, etag: `"first"`}
	o := openBackOffice(t, managementSecret)
	c := o.config
	c.JWKS = func() ([]byte, string) { return []byte(k.body), k.etag }
	c.KeyReaders = &handlers.KeyReaders{}
	c.Keys = func() []handlers.Key {
		return []handlers.Key{
			{Kid: "one", Algorithm: "RS256", State: "signing", Since: start},
			{Kid: "two", Algorithm: "ES256", State: "announced", Since: start, Until: start.Add(time.Hour)},
		}
	}
	public, err := handlers.Public(c)
	if err != nil {
		t.Fatal(err)
	}
	o.public, o.address = o.listen(t, public), o.listen(t, handlers.Admin(c))
	k.backOffice = o
	return k
}

// fetch fetches the key set as a gateway does.
func (k *keyShop) fetch(t *testing.T, method, agent string, headers ...string) answer {
	t.Helper()
	there := *k.shop
	there.address = k.public
	return there.do(t, method, "/.well-known/jwks.json", nil, append(headers, "User-Agent", agent)...)
}

// told asks for the keys.
func (k *keyShop) told(t *testing.T) []handlers.Key {
	t.Helper()
	a := k.do(t, http.MethodGet, "/keys", nil, "Authorization", "Bearer "+managementSecret)
	var body struct {
		Keys []handlers.Key `json:"keys"`
	}
	if err := json.Unmarshal([]byte(a.body), &body); err != nil || a.status != http.StatusOK || len(body.Keys) != 2 {
		t.Fatal(a.status, a.body, err)
	}
	return body.Keys
}

func TestKeysAreToldWithWhoHasFetchedThem(t *testing.T) {
	t.Parallel()
	k := openKeyShop(t)
	k.fetch(t, http.MethodGet, "kong/3")
	k.fetch(t, http.MethodHead, "curl")
	k.clock.advance(time.Minute)
	if a := k.fetch(t, http.MethodGet, "nginx", "If-None-Match", k.etag); a.status != http.StatusNotModified {
		t.Errorf("got %d", a.status)
	}
	k.clock.advance(time.Minute)
	k.body, k.etag = `{"keys":[{"kid":"one"}]}`, `"second"`
	k.fetch(t, http.MethodGet, "kong/3")
	a := k.do(t, http.MethodGet, "/keys", nil, "Authorization", "Bearer "+managementSecret)
	kong := `{"user_agent":"kong/3","address":"127.0.0.1","at":"2026-03-01T12:02:00Z"}`
	nginx := `{"user_agent":"nginx","address":"127.0.0.1","at":"2026-03-01T12:01:00Z"}`
	want := `{"keys":[{"kid":"one","alg":"RS256","state":"signing","since":"2026-03-01T12:00:00Z","readers":[` + kong + `,` + nginx + `]},` +
		`{"kid":"two","alg":"ES256","state":"announced","since":"2026-03-01T12:00:00Z","until":"2026-03-01T13:00:00Z","readers":[` + nginx + `]}]}`
	if diff := cmp.Diff(want, a.body); diff != "" {
		t.Error(diff)
	}
	if got := a.header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control %q", got)
	}
}

func TestKeysAreToldToWhoKnowsTheSecret(t *testing.T) {
	t.Parallel()
	k := openKeyShop(t)
	for _, header := range []string{"", "Bearer", "Bearer wrong", "Basic " + managementSecret} {
		if a := k.do(t, http.MethodGet, "/keys", nil, "Authorization", header); a.status != http.StatusUnauthorized || strings.Contains(a.body, "one") {
			t.Errorf("%q: %d %s", header, a.status, a.body)
		}
	}
	there := *k.shop
	there.address = k.public
	if a := there.do(t, http.MethodGet, "/keys", nil, "Authorization", "Bearer "+managementSecret); a.status != http.StatusNotFound {
		t.Errorf("on the public listener: %d", a.status)
	}
	if a := k.do(t, http.MethodPost, "/keys", nil, "Authorization", "Bearer "+managementSecret); a.status != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", a.status)
	}
}

func TestAtMostSixtyFourReadersAreRemembered(t *testing.T) {
	t.Parallel()
	k := openKeyShop(t)
	k.fetch(t, http.MethodGet, "old")
	k.clock.advance(time.Second)
	k.fetch(t, http.MethodGet, "old but steady")
	for i := range 100 {
		k.clock.advance(time.Second)
		k.fetch(t, http.MethodGet, fmt.Sprintf("%d%s", i, strings.Repeat("x", 300)))
		k.clock.advance(time.Second)
		k.fetch(t, http.MethodGet, "old but steady")
	}
	readers := k.told(t)[0].Readers
	if len(readers) != 64 || readers[0].UserAgent != "old but steady" {
		t.Errorf("%d readers, the latest is %v", len(readers), readers[0])
	}
	for _, r := range readers {
		if r.UserAgent == "old" || len(r.UserAgent) > 200 {
			t.Errorf("remembered %v", r)
		}
	}
}
