package e2e_test

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// gateway is one HAProxy with the sample configuration, and the API behind it.
type gateway struct {
	url    string
	passed atomic.Int64                // requests that came through to the API
	header atomic.Pointer[http.Header] // of the last of them
	log    *output
}

// passHAProxy lets HAProxy judge the tokens, with the sample configuration as it is shipped.
func (s scene) passHAProxy(t *testing.T) {
	t.Helper()
	brief := s.brief(t)
	key := write(t, s.dir, "gateway/ours.pem", succeed(t, s.dir, "", "keys", "export", "--format", "pem"), 0o600)
	g := startHAProxy(t, s.dir, "TOKEN_KEY="+key, "TOKEN_ISSUER="+witnessIssuer)
	want := map[string]string{
		"ours":                    "200",
		"signed with our key":     "200",
		"another key":             `401 Bearer error="invalid_token", error_description="signature"`,
		"payload changed":         `401 Bearer error="invalid_token", error_description="signature"`,
		"one bit of signature":    `401 Bearer error="invalid_token", error_description="signature"`,
		"no signature":            `401 Bearer error="invalid_token", error_description="signature"`,
		"alg none":                `401 Bearer error="invalid_token", error_description="signature"`,
		"HS256 by the public key": `401 Bearer error="invalid_token", error_description="signature"`,
		"a refresh token":         `401 Bearer error="invalid_token", error_description="signature"`,
		"expired":                 `401 Bearer error="invalid_token", error_description="expired"`,
		"no expiry":               `401 Bearer error="invalid_token", error_description="expired"`,
		"another audience":        `401 Bearer error="invalid_token", error_description="audience"`,
		"no audience":             `401 Bearer error="invalid_token", error_description="audience"`,
		"another issuer":          `401 Bearer error="invalid_token", error_description="issuer"`,
		"no issuer":               `401 Bearer error="invalid_token", error_description="issuer"`,
		"missing":                 "401 Bearer",
		"another scheme":          "401 Bearer",
		"no token":                "401 Bearer",
		"a second header":         "400",
		"a lower-case scheme":     "200",
	}
	got := answersTo(s.tokens, func(authorization ...string) string { return g.ask(t, authorization...) })
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("HAProxy's answers (-want +got):\n%s", diff)
	}
	if n := g.passed.Load(); n != 3 {
		t.Errorf("%d requests came through to the API, want the 3 good ones", n)
	}
	s.claimHeaders(t, g)
	eventually(t, expiryLimit, func() error {
		if answer := g.ask(t, "Bearer "+brief); answer != want["expired"] {
			return fmt.Errorf("a token of one second is: %s", answer)
		}
		return nil
	})
	s.changeKeys(t, key)
}

// claimHeaders sends headers that tell an API who a customer is.
func (s scene) claimHeaders(t *testing.T, g *gateway) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Header = http.Header{"Authorization": {"Bearer " + s.tokens["ours"]}, "X-Mine": {"stays"}}
	for _, name := range []string{"X-Customer-Reference", "x-customer-Id", "X-SCOPES", "x-scopes"} {
		for _, spelling := range spellings(name) {
			r.Header[spelling] = []string{"DE--1", "DE--2"}
		}
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := response.Body.Close(); err != nil || response.StatusCode != http.StatusOK {
		t.Fatal(response.Status, err)
	}
	got := *g.header.Load()
	for _, name := range slices.Collect(maps.Keys(got)) {
		if !slices.Contains([]string{"Authorization", "X-Mine", "Accept-Encoding", "User-Agent"}, name) {
			t.Errorf("the API is told %s: %q", name, got[name])
		}
	}
	if got.Get("X-Mine") == "" {
		t.Error("a header that is nobody's business was removed")
	}
}

// changeKeys tries the other settings of the sample.
func (s scene) changeKeys(t *testing.T, ours string) {
	t.Helper()
	theirs := write(t, s.dir, "gateway/theirs.pem", string(pemOf(t, &s.stranger.PublicKey)), 0o600)
	missing := filepath.Join(s.dir, "gateway", "missing.pem")
	const refused = `401 Bearer error="invalid_token", error_description="signature"`
	for name, c := range map[string]struct {
		settings []string
		want     map[string]string
	}{
		"a new key is announced":    {[]string{"TOKEN_KEY=" + ours, "TOKEN_NEXT_KEY=" + theirs}, map[string]string{"ours": "200", "another key": "200", "payload changed": refused}},
		"the new key signs":         {[]string{"TOKEN_KEY=" + theirs, "TOKEN_NEXT_KEY=" + ours}, map[string]string{"ours": "200", "another key": "200", "payload changed": refused}},
		"the old key is gone":       {[]string{"TOKEN_KEY=" + theirs, "TOKEN_NEXT_KEY="}, map[string]string{"ours": refused, "another key": "200"}},
		"no key can be read":        {[]string{"TOKEN_KEY=" + missing}, map[string]string{"ours": refused, "another key": refused}},
		"no issuer":                 {[]string{"TOKEN_KEY=" + ours, "TOKEN_ISSUER="}, map[string]string{"ours": "200", "another issuer": "200"}},
		"tokens of another client":  {[]string{"TOKEN_KEY=" + ours, "TOKEN_AUDIENCE=elsewhere"}, map[string]string{"another audience": "200", "ours": `401 Bearer error="invalid_token", error_description="audience"`}},
		"issuer with another slash": {[]string{"TOKEN_KEY=" + ours, "TOKEN_ISSUER=" + witnessIssuer + "/"}, map[string]string{"another issuer": "200", "ours": `401 Bearer error="invalid_token", error_description="issuer"`}},
	} {
		g := startHAProxy(t, s.dir, c.settings...)
		got := maps.Clone(c.want)
		for token := range got {
			got[token] = g.ask(t, "Bearer "+s.tokens[token])
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// startHAProxy runs HAProxy until the test is over and returns when it answers.
func startHAProxy(t *testing.T, dir string, settings ...string) *gateway {
	t.Helper()
	address := freeAddress(t)
	g := &gateway{url: "http://" + address}
	api := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		g.header.Store(&r.Header)
		g.passed.Add(1)
	}))
	t.Cleanup(api.Close)
	cmd := exec.Command(program(t, "haproxy"), "-db", "-f", "../deploy/gateways/haproxy/haproxy.cfg")
	cmd.Env = append(environment(dir), append(settings, "GATEWAY_LISTEN="+address, "GATEWAY_BACKEND="+api.Listener.Addr().String())...)
	log, exited := foreground(t, cmd)
	g.log = log
	eventually(t, startLimit, func() error {
		select {
		case <-exited:
			t.Fatalf("HAProxy ended: %v\n%s", cmd.ProcessState, log)
		default:
		}
		response, err := http.Get(g.url)
		if err != nil {
			return err
		}
		if err := response.Body.Close(); err != nil || response.StatusCode != http.StatusUnauthorized {
			return errors.Join(err, fmt.Errorf("HAProxy answers %s without a token", response.Status))
		}
		return nil
	})
	return g
}

// ask sends a request with these Authorization headers and returns the status, and the challenge after it.
func (g *gateway) ask(t *testing.T, authorization ...string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	for _, value := range authorization {
		r.Header.Add("Authorization", value)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := response.Body.Close(); err != nil {
		t.Fatal(err)
	}
	answer := fmt.Sprint(response.StatusCode)
	if challenge := response.Header.Get("WWW-Authenticate"); challenge != "" {
		answer += " " + challenge
	}
	return answer
}
