package e2e_test

import (
	"encoding/json"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"unicode"

	"github.com/c2sp/wycheproof"
	"github.com/go-jose/go-jose/v4"
)

// trap listens where a token's own header points to, and would serve the forger's key there.
type trap struct {
	url   string
	calls atomic.Int64
}

func newTrap(t *testing.T, forgers jose.JSONWebKeySet) *trap {
	t.Helper()
	c := &trap{}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(forgers)
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			c.calls.Add(1)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	c.url = s.URL
	return c
}

// silent demands that nobody has called, and that a call would have been seen.
func (c *trap) silent(t *testing.T) {
	t.Helper()
	if n := c.calls.Load(); n != 0 {
		t.Errorf("%d connections to where a token's header points", n)
	}
	response, err := http.Get(c.url)
	if err != nil {
		t.Fatal(err)
	}
	if err := response.Body.Close(); err != nil || c.calls.Load() == 0 {
		t.Errorf("the trap does not work: %v", err)
	}
}

// ourselves holds that nothing that a forger brings makes the server accept it, or fail.
func (c *court) ourselves(t *testing.T) {
	t.Parallel()
	// Only we can sign, and there is nothing to compare the audience and the issuer with: a gateway does that.
	good := map[string]bool{"ours": true, "by our key": true, "another audience": true, "no audience": true, "another issuer": true, "no issuer": true}
	tokens := 0
	for _, alg := range algorithms() {
		for name, token := range c.tokens[alg] {
			c.judged(t, alg+": "+name, token, good[name])
			tokens++
			if name == "a refresh token" || good[name] { // these end their session
				continue
			}
			if a, err := c.p.post("/revoke", "token", token, "client_id", alg); err != nil || a.status != http.StatusOK {
				t.Errorf("%s: %s: revoke: %v %v", alg, name, a, err)
			}
		}
	}
	for _, alg := range algorithms() {
		c.judged(t, alg+": ours, after all that was to sign it out", c.tokens[alg]["ours"], true)
	}
	if least := 20 * len(algorithms()); tokens < least {
		t.Errorf("%d tokens, want %d at least", tokens, least)
	}
}

// judged demands the answers of /verify and /introspect.
func (c *court) judged(t *testing.T, name, token string, good bool) {
	t.Helper()
	want := map[bool]int{true: http.StatusOK, false: http.StatusUnauthorized}[good]
	for _, query := range []string{"", "?active=1"} {
		if strings.ContainsFunc(token, unicode.IsControl) { // no header can carry it
			break
		}
		a := c.p.verify(t, query, token)
		if a.status != want || !good && !strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Bearer ") {
			t.Errorf("%s: verify%s: %s %v, want %d", name, query, a, a.header["Www-Authenticate"], want)
		}
	}
	a := c.introspect(t, token)
	var said struct {
		Active bool `json:"active"`
	}
	if err := json.Unmarshal([]byte(a.body), &said); err != nil || a.status != http.StatusOK || said.Active != good {
		t.Errorf("%s: introspect: %s, want active %v", name, a, good)
	}
}

func (c *court) introspect(t *testing.T, token string) answer {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, c.p.public+"/introspect", strings.NewReader(url.Values{"token": {token}}.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth("gateway", "gateway-secret")
	a, err := c.p.do(r)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// wycheproof brings all of its vectors. Letter by letter none is a token of ours; what each means for our keys is tested in
// package keys.
func (c *court) wycheproof(t *testing.T) {
	t.Parallel()
	ran := 0
	for _, file := range []string{"json_web_signature", "json_web_key", "json_web_crypto"} {
		data, err := fs.ReadFile(wycheproof.TestVectors, file+"_test.json")
		if err != nil {
			t.Fatal(err)
		}
		var vectors struct {
			Groups []struct {
				Tests []struct {
					JWS json.RawMessage `json:"jws"`
				} `json:"tests"`
			} `json:"testGroups"`
		}
		if err := json.Unmarshal(data, &vectors); err != nil {
			t.Fatal(err)
		}
		for _, group := range vectors.Groups {
			for _, v := range group.Tests {
				var token string
				if json.Unmarshal(v.JWS, &token) != nil {
					token = string(v.JWS) // the JSON serialisation
				}
				if token != "" {
					c.judged(t, token, token, false)
					ran++
				}
			}
		}
	}
	if ran != 470 {
		t.Errorf("%d vectors ran, want 470", ran)
	}
}
