package e2e_test

import (
	"context"
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// clientsFile has one client of each kind; the first is the default.
const clientsFile = `clients:
  - id: frontend
  - id: shop
    secret: "s3cret of the shop / with + and &"
  - id: gateway
    secret: gateway-secret
    dialect: rfc6749
`

func TestGoOAuth2ClientsSignInAndRefresh(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := start(t, dir, "--config="+write(t, dir, "glueauth.yaml", clientsFile, 0o600))
	email := customers(t, dir, 1)[0]
	clients := map[string]string{"frontend": "", "shop": "s3cret of the shop / with + and &", "gateway": "gateway-secret"}
	styles := map[string]oauth2.AuthStyle{"auto": oauth2.AuthStyleAutoDetect, "form": oauth2.AuthStyleInParams, "basic": oauth2.AuthStyleInHeader}
	for id, password := range clients {
		for name, style := range styles {
			t.Run(id+" by "+name, func(t *testing.T) {
				t.Parallel()
				ctx := context.WithValue(t.Context(), oauth2.HTTPClient, p.client)
				c := &oauth2.Config{ClientID: id, ClientSecret: password, Endpoint: oauth2.Endpoint{TokenURL: p.public + "/token", AuthStyle: style}}
				first, err := c.PasswordCredentialsToken(ctx, email, demoPassword)
				if err != nil {
					t.Fatal(err)
				}
				if left := time.Until(first.Expiry); left < 28700*time.Second || left > 28800*time.Second || first.TokenType != "Bearer" {
					t.Errorf("%s token for %s, want Bearer for 28800 s", first.TokenType, left)
				}
				second, err := c.TokenSource(ctx, &oauth2.Token{RefreshToken: first.RefreshToken}).Token()
				if err != nil {
					t.Fatal(err)
				}
				if second.AccessToken == first.AccessToken || second.RefreshToken == first.RefreshToken {
					t.Error("a refresh changed nothing")
				}
				wantCode(t, map[bool]string{true: "invalid_grant", false: "invalid_request"}[id == "gateway"], func() error {
					_, err := c.TokenSource(ctx, &oauth2.Token{RefreshToken: "grt_nonsense"}).Token()
					return err
				})
				wantCode(t, "invalid_grant", func() error {
					_, err := c.PasswordCredentialsToken(ctx, email, "wrong")
					return err
				})
				if password == "" {
					return
				}
				c.ClientSecret += "x"
				wantCode(t, "invalid_client", func() error {
					_, err := c.PasswordCredentialsToken(ctx, email, demoPassword)
					return err
				})
			})
		}
	}
}

// wantCode demands a refusal with this error code.
func wantCode(t *testing.T, code string, call func() error) {
	t.Helper()
	if refused, ok := errors.AsType[*oauth2.RetrieveError](call()); !ok || refused.ErrorCode != code {
		t.Errorf("got %v, want %s", refused, code)
	}
}

func TestRefreshTokenServesItsOwnClientOnly(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := start(t, dir, "--config="+write(t, dir, "glueauth.yaml", clientsFile, 0o600))
	email := customers(t, dir, 1)[0]
	const shopSecret = "s3cret of the shop / with + and &"
	first, err := p.token("grant_type", "password", "username", email, "password", demoPassword, "client_id", "shop", "client_secret", shopSecret)
	if err != nil || first.status != http.StatusOK {
		t.Fatal(first, err)
	}
	strangers := map[string][]string{
		"nobody":             nil,
		"another client":     {"client_id", "gateway", "client_secret", "gateway-secret"},
		"a wrong secret":     {"client_id", "shop", "client_secret", "wrong"},
		"no secret":          {"client_id", "shop"},
		"another's secret":   {"client_id", "shop", "client_secret", "gateway-secret"},
		"an unknown client":  {"client_id", "ghost", "client_secret", shopSecret},
		"the public client":  {"client_id", "frontend"},
		"a secret for no id": {"client_secret", shopSecret},
	}
	for name, credentials := range strangers {
		a, err := p.token(append([]string{"grant_type", "refresh_token", "refresh_token", first.RefreshToken}, credentials...)...)
		if err != nil || a.status < 400 || a.status > 401 || a.AccessToken != "" {
			t.Errorf("%s: %v %v, want a refusal", name, a, err)
		}
	}
	own, err := p.token("grant_type", "refresh_token", "refresh_token", first.RefreshToken, "client_id", "shop", "client_secret", shopSecret)
	if err != nil || own.status != http.StatusOK {
		t.Errorf("the client itself afterwards: %v %v", own, err)
	}
}

func TestForeignVerifierTrustsTheKeySetAndNothingElse(t *testing.T) {
	t.Parallel()
	const issuer = "https://login.shop.example/"
	dir := t.TempDir()
	p := start(t, dir, "GLUEAUTH_ISSUER="+issuer)
	access := p.signIn(t, customers(t, dir, 1)[0]).AccessToken
	ctx := oidc.ClientContext(t.Context(), p.client)
	verifier := oidc.NewVerifier(issuer, oidc.NewRemoteKeySet(ctx, p.public+"/.well-known/jwks.json"), &oidc.Config{ClientID: "frontend"})

	token, err := verifier.Verify(ctx, access)
	if err != nil {
		t.Fatalf("our token: %v", err)
	}
	if !strings.Contains(token.Subject, `"customer_reference":"DE--1000"`) {
		t.Errorf("sub is %s", token.Subject)
	}

	key := signingKey(t, filepath.Join(dir, "data", "keys"))
	stranger, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(access, ".")
	header := decode(t, parts[0])
	now := time.Now().Unix()
	claims := func(aud string, exp int64) string {
		return fmt.Sprintf(`{"iss":%q,"aud":%q,"iat":%d,"exp":%d,"sub":"x"}`, issuer, aud, exp-3600, exp)
	}
	good := claims("frontend", now+3600)
	if _, err := verifier.Verify(ctx, rs256(t, key, header, good)); err != nil {
		t.Fatalf("a token made by the test with the server's key must pass, or the refusals prove nothing: %v", err)
	}
	public := pemOf(t, &key.PublicKey)
	for name, forged := range map[string]string{
		"expired":                 rs256(t, key, header, claims("frontend", now-60)),
		"another audience":        rs256(t, key, header, claims("elsewhere", now+3600)),
		"another key":             rs256(t, stranger, header, good),
		"claims exchanged":        parts[0] + "." + encode([]byte(good)) + "." + parts[2],
		"one bit of signature":    parts[0] + "." + parts[1] + "." + flip(t, parts[2]),
		"no signature":            parts[0] + "." + parts[1] + ".",
		"alg none":                encode([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + parts[1] + ".",
		"HS256 by the public key": hs256(public, strings.Replace(header, "RS256", "HS256", 1), good),
	} {
		if _, err := verifier.Verify(ctx, forged); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// signingKey reads the server's own key, for only that one can make an expired token with a good signature.
func signingKey(t *testing.T, dir string) *rsa.PrivateKey {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.pem"))
	if err != nil || len(files) != 1 {
		t.Fatalf("keys: %v %v", files, err)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		t.Fatalf("%s holds no PEM block", files[0])
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return key.(*rsa.PrivateKey)
}

func rs256(t *testing.T, key *rsa.PrivateKey, header, claims string) string {
	t.Helper()
	signed := encode([]byte(header)) + "." + encode([]byte(claims))
	sum := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return signed + "." + encode(signature)
}

func hs256(key []byte, header, claims string) string {
	signed := encode([]byte(header)) + "." + encode([]byte(claims))
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(signed))
	return signed + "." + encode(mac.Sum(nil))
}

func pemOf(t *testing.T, key *rsa.PublicKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

func encode(raw []byte) string { return base64.RawURLEncoding.EncodeToString(raw) }

func decode(t *testing.T, text string) string {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func flip(t *testing.T, signature string) string {
	t.Helper()
	raw := []byte(decode(t, signature))
	raw[len(raw)/2] ^= 1
	return encode(raw)
}
