package e2e_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/glueauth/glueauth/store/storetest"
)

// sprykerShop is what a shop's environment says of it, and its key.
type sprykerShop struct {
	private   *rsa.PrivateKey
	pem       string
	variables []string
}

func newSprykerShop(t *testing.T, redis *storetest.RedisServer) sprykerShop {
	t.Helper()
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(&private.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	host, port, err := net.SplitHostPort(redis.Addr)
	if err != nil {
		t.Fatal(err)
	}
	line := func(kind string, der []byte) string {
		return strings.ReplaceAll(string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})), "\n", "__LINE__")
	}
	s := sprykerShop{private: private, pem: line("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(private))}
	s.variables = []string{
		"SPRYKER_OAUTH_KEY_PRIVATE=" + s.pem,
		"SPRYKER_OAUTH_KEY_PUBLIC=" + line("PUBLIC KEY", public),
		`SPRYKER_OAUTH_CLIENT_CONFIGURATION=[{"identifier":"app","isConfidential":false,"isDefault":false},` +
			`{"identifier":"frontend","secret":"shop-secret","isConfidential":true,"name":"Customer client","redirectUri":null,"isDefault":true}]`,
		"SPRYKER_KEY_VALUE_STORE_ENGINE=redis", "SPRYKER_KEY_VALUE_STORE_HOST=" + host, "SPRYKER_KEY_VALUE_STORE_PORT=" + port,
		"SPRYKER_KEY_VALUE_STORE_SOURCE_NAMES=", "SPRYKER_GLUE_APPLICATION_CORS_ALLOW_ORIGIN=https://shop.example",
	}
	return s
}

// accepts checks a token as a shop does: by its own public key, whatever the header's kid.
func (s sprykerShop) accepts(t *testing.T, token string) {
	t.Helper()
	part := strings.Split(token, ".")
	signature, err := base64.RawURLEncoding.DecodeString(part[2])
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(part[0] + "." + part[1]))
	if err := rsa.VerifyPKCS1v15(&s.private.PublicKey, crypto.SHA256, sum[:], signature); err != nil {
		t.Errorf("the shop refuses the access token: %v", err)
	}
}

// issues makes an access token of the shop's own.
func (s sprykerShop) issues(t *testing.T, claims string) string {
	t.Helper()
	input := base64.RawURLEncoding.EncodeToString([]byte(`{"typ":"JWT","alg":"RS256"}`)) + "." + base64.RawURLEncoding.EncodeToString([]byte(claims))
	sum := sha256.Sum256([]byte(input))
	signature, err := rsa.SignPKCS1v15(nil, s.private, crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return input + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func TestAShopsEnvironmentIsEnoughToTakeItsPlace(t *testing.T) {
	t.Parallel()
	redis := storetest.RedisPort(t)
	shop := newSprykerShop(t, redis)
	dir := t.TempDir()
	email := customers(t, dir, 1)[0]
	p := start(t, dir, shop.variables...)
	if log := p.stderr.String(); !strings.Contains(log, "out of the shop's environment") || strings.Contains(log, "made a signing key") {
		t.Errorf("the log of the start:\n%s", log)
	}
	if _, err := os.Stat(filepath.Join(dir, "data/keys")); !os.IsNotExist(err) {
		t.Errorf("a key folder was made beside the shop's key: %v", err)
	}
	first := p.signIn(t, email) // by the default client, which needs no secret
	shop.accepts(t, first.AccessToken)
	checkShopClients(t, p, email)
	if out, err := redis.Try("INFO", "keyspace"); err != nil || !strings.Contains(out, "db1:keys=") {
		t.Errorf("the shop's database holds no sessions: %s %v", out, err)
	}
	old := shop.issues(t, `{"aud":"frontend","jti":"`+strings.Repeat("e7", 40)+`","iat":1767225600.5,"nbf":1767225600.5,"exp":4102444800.5,"sub":"{}","scopes":["customer"]}`)
	told := finish(t, dir, old, shop.variables, "sessions", "explain", "-")
	if told.code != 0 || !strings.Contains(told.stdout, "an access token of the shop's own") {
		t.Errorf("explain of the shop's own token: %d\n%s%s", told.code, told.stdout, told.stderr)
	}
	jwks := p.keySet(t)
	p.stop(t)

	// The key in the key folder, without the shop's variables, is the same key.
	succeed(t, dir, shop.pem, "keys", "import", "--file", "-")
	p = start(t, dir, "GLUEAUTH_REDIS="+redis.URL()+"/1")
	if after := p.keySet(t); after != jwks {
		t.Errorf("the import changed the published keys from\n%s to\n%s", jwks, after)
	}
	shop.accepts(t, p.mustRefresh(t, first.RefreshToken).AccessToken)
}

// checkShopClients demands that the shop's clients and its website are served as the shop does.
func checkShopClients(t *testing.T, p *process, email string) {
	t.Helper()
	for want, pairs := range map[int][]string{
		http.StatusOK:         {"client_id", "frontend", "client_secret", "shop-secret"},
		http.StatusBadRequest: {"client_id", "frontend", "client_secret", "wrong"},
	} {
		a, err := p.token(append(pairs, "grant_type", "password", "username", email, "password", demoPassword)...)
		if err != nil || a.status != want {
			t.Errorf("%v: %v %v, want %d", pairs, a, err, want)
		}
	}
	p.must(t, "client_id", "app", "grant_type", "password", "username", email, "password", demoPassword)
	r, err := http.NewRequest(http.MethodPost, p.public+"/token", strings.NewReader(url.Values{"grant_type": {"x"}}.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Origin", "https://shop.example")
	if a, err := p.do(r); err != nil || a.header.Get("Access-Control-Allow-Origin") != "https://shop.example" {
		t.Errorf("a call from the shop's website: %v %v", a.header, err)
	}
}

func (p *process) keySet(t *testing.T) string {
	t.Helper()
	a, err := p.get(p.public + "/.well-known/jwks.json")
	if err != nil || strings.Count(a.body, `"kid"`) != 1 {
		t.Fatalf("key set %v %v", a, err)
	}
	return a.body
}
