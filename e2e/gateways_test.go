package e2e_test

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const gatewayFolder = "../deploy/gateways"

const gatewayClients = `clients:
  - id: frontend
  - id: gateway
    secret: gateway-secret
    introspect: true
`

// gatewayCache lets a new key sign after three seconds.
const gatewayCache = "GLUEAUTH_KEYS_JWKS_CACHE=1s"

// The customer whom the tokens of these tests stand for, as an API sees him.
const gatewayCustomer = "DE--1000"

// gatewaySample is a shipped configuration and what it must do.
type gatewaySample struct {
	name, file string
	// command returns what runs the sample, in the foreground, with files of its own below dir.
	command func(t *testing.T, s *gatewayScene, at gatewayPlace) *exec.Cmd
	// asks: it asks glueauth about each request; otherwise it judges by the token alone, with keys that it has fetched.
	asks bool
	// lost is the answer to a good token when glueauth, or a glueauth to trust, was never there.
	lost string
	// claims: it compares iss and aud. glueauth does not choose among its clients when it is asked.
	claims bool
	// want has those answers that are not as most gateways'.
	want map[string]string
	// customer is what the API is told of him, by header.
	customer map[string]string
}

// gatewayPlace is where a sample runs: its file, a folder of its own, and the addresses on both sides of it.
type gatewayPlace struct{ file, dir, listen, api string }

// gatewayScene is a running server, the tokens, and how gateways reach it.
type gatewayScene struct {
	p                *process
	dir, mail        string
	tls, authorities string // https front of the server, and the certificate by which gateways know it
	verify           bool   // of mod_oauth2, which asks the machine's own authorities
	key              *rsa.PrivateKey
	header           string
	payload          map[string]any
	tokens           map[string]string
}

func newGatewayScene(t *testing.T) *gatewayScene {
	t.Helper()
	dir := t.TempDir()
	s := &gatewayScene{dir: dir, tokens: map[string]string{}}
	s.p = start(t, dir, "GLUEAUTH_ISSUER="+witnessIssuer, gatewayCache, "--config="+write(t, dir, "glueauth.yaml", gatewayClients, 0o600))
	s.mail = customers(t, dir, 1)[0]
	target, err := url.Parse(s.p.public)
	if err != nil {
		t.Fatal(err)
	}
	quiet := log.New(io.Discard, "", 0) // gateways come and go, and one that does not trust it hangs up
	front := httptest.NewUnstartedServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }, ErrorLog: quiet})
	front.Config.ErrorLog = quiet
	front.StartTLS()
	t.Cleanup(front.Close)
	s.tls = front.URL
	s.authorities = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: front.Certificate().Raw}))
	s.key = signingKey(t, filepath.Join(dir, "data", "keys"))
	s.forge(t)
	return s
}

// forge makes the tokens that a gateway has to tell apart. All but the first are made from it.
func (s *gatewayScene) forge(t *testing.T) {
	t.Helper()
	ours := s.p.signIn(t, s.mail).AccessToken
	parts := strings.Split(ours, ".")
	s.header = decode(t, parts[0])
	if err := json.Unmarshal([]byte(decode(t, parts[1])), &s.payload); err != nil {
		t.Fatal(err)
	}
	stranger, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	good, now := s.claims(t, nil), time.Now().Unix()
	changed := encode([]byte(s.claims(t, map[string]any{"sub": strings.Replace(s.payload["sub"].(string), gatewayCustomer, "DE--1", 1)})))
	s.tokens = map[string]string{
		"ours": ours,
		// Without this one, the refusals of what the test signs would prove nothing.
		"signed with our key":     rs256(t, s.key, s.header, good),
		"another key":             rs256(t, stranger, s.header, good),
		"an unknown key's name":   rs256(t, stranger, strings.Replace(s.header, `"kid":"`, `"kid":"x`, 1), good),
		"payload changed":         parts[0] + "." + changed + "." + parts[2],
		"one bit of signature":    parts[0] + "." + parts[1] + "." + flip(t, parts[2]),
		"no signature":            parts[0] + "." + parts[1] + ".",
		"alg none":                encode([]byte(strings.Replace(s.header, "RS256", "none", 1))) + "." + parts[1] + ".",
		"HS256 by the public key": hs256(pemOf(t, &s.key.PublicKey), strings.Replace(s.header, "RS256", "HS256", 1), good),
		"expired":                 s.signed(t, map[string]any{"exp": now - 1}),
		"no expiry":               s.signed(t, map[string]any{"exp": nil}),
		"another audience":        s.signed(t, map[string]any{"aud": "elsewhere"}),
		"no audience":             s.signed(t, map[string]any{"aud": nil}),
		"another issuer":          s.signed(t, map[string]any{"iss": witnessIssuer + "/"}),
		"no issuer":               s.signed(t, map[string]any{"iss": nil}),
		"nobody's":                s.signed(t, map[string]any{"sub": `{"customer_reference":null,"id_customer":null}`, "jti": nil}),
		"a refresh token":         s.p.signIn(t, s.mail).RefreshToken,
		"garbage":                 "a.b.c",
	}
}

// claims returns the payload of our token with some claims changed, and those left out that are nil.
func (s *gatewayScene) claims(t *testing.T, change map[string]any) string {
	t.Helper()
	all := maps.Clone(s.payload)
	for name, value := range change {
		if all[name] = value; value == nil {
			delete(all, name)
		}
	}
	for _, name := range []string{"iat", "nbf", "exp"} { // JSON has read them as fractions
		if f, ok := all[name].(float64); ok {
			all[name] = int64(f)
		}
	}
	text, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// signed is a token that our key has signed.
func (s *gatewayScene) signed(t *testing.T, change map[string]any) string {
	t.Helper()
	return rs256(t, s.key, s.header, s.claims(t, change))
}

// answers are what it says to each token; a 401 is told with its challenge's scheme.
func (s gatewaySample) answers() map[string]string {
	const no = "401 Bearer"
	want := map[string]string{
		"ours": "200", "signed with our key": "200", "a lower-case scheme": "200",
		"another key": no, "an unknown key's name": no, "payload changed": no, "one bit of signature": no, "no signature": no, "alg none": no,
		"HS256 by the public key": no, "expired": no, "no expiry": no, "nobody's": no, "a refresh token": no, "garbage": no,
		"another audience": no, "no audience": no, "another issuer": no, "no issuer": no,
		"missing": no, "another scheme": no, "no token": no, "a second header": no,
	}
	if !s.claims {
		for _, name := range []string{"another audience", "no audience", "another issuer", "no issuer"} {
			want[name] = "200"
		}
	}
	maps.Copy(want, s.want)
	return want
}

func TestTheGatewaySamplesLetNothingThroughButOurTokens(t *testing.T) {
	t.Parallel()
	s := newGatewayScene(t)
	var running []*runningGateway
	for _, sample := range gatewaySamples() {
		running = append(running, s.run(t, sample))
	}
	each := func(name string, check func(t *testing.T, g *runningGateway)) {
		t.Run(name, func(t *testing.T) {
			for _, g := range running {
				t.Run(g.sample.name, func(t *testing.T) { check(t, g) })
			}
		})
	}
	each("the matrix", s.checkMatrix)
	each("the request arrives whole, with the customer whom the token names", s.checkRequest)
	t.Run("no glueauth, or none to trust", s.checkLost)
	t.Run("nginx by https", s.checkHTTPS)
	s.checkExpiry(t, running)
	s.checkSignOut(t, running)
	s.checkRotation(t, running)
	s.p.stop(t)
	each("glueauth is away", func(t *testing.T, g *runningGateway) {
		t.Helper()
		before, want := g.passed.Load(), "200"
		if g.sample.asks {
			want = g.sample.lost
		}
		if answer := g.ask(t, "Bearer "+s.tokens["ours"]); answer != want || g.sample.asks && g.passed.Load() != before {
			t.Errorf("%s, want %s", answer, want)
		}
		if answer := g.ask(t, "Bearer "+s.tokens["another key"]); answer == "200" {
			t.Error("a forged token passes")
		}
	})
}

// strangers are authorities by which glueauth's certificate is nobody's.
func strangers(t *testing.T) string {
	t.Helper()
	file, _ := certificate(t, time.Now().Add(time.Hour))
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// checkLost starts the samples anew, with a server to which nobody answers and behind a certificate that none of them trusts.
func (s *gatewayScene) checkLost(t *testing.T) {
	t.Helper()
	lost := *s
	lost.p = &process{public: "http://" + freeAddress(t)}
	lost.authorities, lost.verify = strangers(t), true
	for _, sample := range gatewaySamples() {
		t.Run(sample.name, func(t *testing.T) {
			g := lost.run(t, sample)
			if answer := g.ask(t, "Bearer "+s.tokens["ours"]); answer != sample.lost || g.passed.Load() != 0 {
				t.Errorf("%s, and %d came through; want %s", answer, g.passed.Load(), sample.lost)
			}
		})
	}
}

// checkHTTPS has nginx ask by https, where it checks no certificate unless it is told to.
func (s *gatewayScene) checkHTTPS(t *testing.T) {
	t.Helper()
	for want, authorities := range map[string]string{"200": s.authorities, "503": strangers(t)} {
		front := *s
		front.p, front.authorities = &process{public: s.tls}, authorities
		for _, sample := range gatewaySamples() {
			if !strings.HasPrefix(sample.name, "nginx") {
				continue
			}
			if answer := front.run(t, sample).ask(t, "Bearer "+s.tokens["ours"]); answer != want {
				t.Errorf("%s: %s, want %s", sample.name, answer, want)
			}
		}
	}
}

func (s *gatewayScene) checkMatrix(t *testing.T, g *runningGateway) {
	t.Helper()
	want := g.sample.answers()
	got := answersTo(s.tokens, func(authorization ...string) string { return g.settled(t, authorization...) })
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the answers (-want +got):\n%s", diff)
	}
	good := 0
	for _, answer := range want {
		if answer == "200" {
			good++
		}
	}
	for _, method := range []string{http.MethodHead, http.MethodOptions, http.MethodPost, http.MethodPut, http.MethodDelete} {
		r, err := http.NewRequestWithContext(t.Context(), method, g.url, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := response.Body.Close(); err != nil || response.StatusCode != http.StatusUnauthorized && response.StatusCode != http.StatusForbidden {
			t.Errorf("%s without a token: %s %v", method, response.Status, err)
		}
	}
	if n := int(g.passed.Load()); n != good {
		t.Errorf("%d requests came through to the API, want %d", n, good)
	}
}

// checkRequest sends one with headers that only the gateway may set, asks it to drop those on the way, and brings as much else along as
// Apache and nginx take from anybody.
func (s *gatewayScene) checkRequest(t *testing.T, g *runningGateway) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.url+"/carts/a%20b?include=items", strings.NewReader("a body"))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+s.tokens["ours"])
	r.Header.Set("Connection", "X-Customer-Reference, x-customer-id, X-Scopes, Authorization")
	for _, name := range []string{"X-Customer-Reference", "X-Customer-Id", "X-Scopes"} {
		for _, spelling := range append(spellings(name), strings.ToLower(name)) {
			r.Header[spelling] = []string{"DE--1", "DE--2"}
		}
	}
	for name, size := range map[string]int{"A-Large": 8100, "B-Large": 7000, "Cookie": 8100} { // four buffers of nginx, in this order
		r.Header.Set(name, strings.Repeat("c", size))
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := response.Body.Close(); err != nil || response.StatusCode != http.StatusOK {
		t.Fatal(response.Status, err)
	}
	seen := g.last()
	if got, want := seen.method+" "+seen.uri+" "+seen.body, "POST /carts/a%20b?include=items a body"; got != want {
		t.Errorf("the API got %s, want %s", got, want)
	}
	if diff := cmp.Diff(g.sample.customer, seen.customer()); diff != "" {
		t.Errorf("the API is told (-want +got):\n%s", diff)
	}
	if got := seen.header.Get("Authorization"); got != "Bearer "+s.tokens["ours"] {
		t.Errorf("the API gets the token %q", got)
	}
	if n := len(seen.header.Get("Cookie")); n != 8100 {
		t.Errorf("the API gets %d bytes of cookies", n)
	}
}

// checkExpiry uses a token once while it is good, so that a gateway which remembers answers has one to remember.
func (s *gatewayScene) checkExpiry(t *testing.T, running []*runningGateway) {
	t.Helper()
	answers := func(token, want string) error {
		for _, g := range running {
			if answer := g.settled(t, "Bearer "+token); answer != want {
				return fmt.Errorf("%s: a token of a few seconds: %s, want %s", g.sample.name, answer, want)
			}
		}
		return nil
	}
	for life := 3 * time.Second; ; life *= 2 { // a longer one where the machine was too slow to show it to all of them
		expiry := time.Now().Add(life).Unix()
		token := s.signed(t, map[string]any{"exp": expiry})
		if err := answers(token, "200"); err == nil {
			eventually(t, life+expiryLimit, func() error { return answers(token, "401 Bearer") })
			return
		} else if time.Now().Unix() < expiry || life > time.Minute {
			t.Error(err)
			return
		}
	}
}

func (s *gatewayScene) checkSignOut(t *testing.T, running []*runningGateway) {
	t.Helper()
	session := s.p.signIn(t, s.mail)
	for _, g := range running {
		if answer := g.settled(t, "Bearer "+session.AccessToken); answer != "200" {
			t.Errorf("%s: before the customer signs out: %s", g.sample.name, answer)
		}
	}
	s.p.mustSignOut(t, session.RefreshToken)
	for _, g := range running {
		want := "200" // until it expires
		if g.sample.asks {
			want = "401 Bearer"
		}
		if answer := g.settled(t, "Bearer "+session.AccessToken); answer != want {
			t.Errorf("%s: after the customer has signed out: %s, want %s", g.sample.name, answer, want)
		}
	}
}

// checkRotation changes the signing key while the gateways run.
func (s *gatewayScene) checkRotation(t *testing.T, running []*runningGateway) {
	t.Helper()
	if r := finish(t, s.dir, "", []string{gatewayCache}, "keys", "rotate"); r.code != 0 {
		t.Fatal(r.stderr)
	}
	var token string
	eventually(t, startLimit, func() error {
		token = s.p.signIn(t, s.mail).AccessToken
		if decode(t, strings.Split(token, ".")[0]) == s.header {
			return errors.New("the old key signs")
		}
		return nil
	})
	for _, g := range running {
		for name, text := range map[string]string{"new": token, "old": s.tokens["ours"]} {
			if answer := g.settled(t, "Bearer "+text); answer != "200" {
				t.Errorf("%s: a token of the %s key: %s", g.sample.name, name, answer)
			}
		}
	}
}

// Operators choose by this table, so it has to say what the samples were seen to do.
func TestTheTableOfTheGatewaysSaysWhatTheSamplesDo(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/gateways.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, begun := strings.Cut(string(page), "<!-- matrix -->")
	table, _, ended := strings.Cut(rest, "<!-- /matrix -->")
	if !begun || !ended {
		t.Fatal("docs/gateways.md has no table between <!-- matrix --> and <!-- /matrix -->")
	}
	want := []string{
		"| sample | another `aud` or `iss`, or none | after a sign-out | while glueauth is away | if it was away from the start | the API is told |",
		"|---|---|---|---|---|---|",
	}
	for _, s := range gatewaySamples() {
		row := []string{fmt.Sprintf("[%s](../deploy/gateways/%s)", s.name, s.file), "passes: see to it in the API", "passes until the token expires", "goes on", s.lost, ""}
		if s.claims {
			row[1] = "refused"
		}
		if s.asks {
			row[2], row[3] = "refused at once", s.lost
		}
		row[3], row[4] = strings.TrimSuffix(row[3], " Bearer"), strings.TrimSuffix(row[4], " Bearer")
		row[5] = "`" + strings.Join(slices.Sorted(maps.Keys(s.customer)), "`, `") + "`"
		want = append(want, "| "+strings.Join(row, " | ")+" |")
	}
	if diff := cmp.Diff(want, strings.Split(strings.TrimSpace(table), "\n")); diff != "" {
		t.Errorf("the table of docs/gateways.md (-want +got):\n%s", diff)
	}
}
