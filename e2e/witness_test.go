package e2e_test

import (
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	witnessIssuer = "https://login.shop.example"
	// witnessClients has a second client whose tokens expire while a test looks on.
	witnessClients = "clients:\n  - id: frontend\n  - id: brief\n    access_lifetime: 1s\n"
	expiryLimit    = 10 * time.Second
)

func TestHAProxyTrustsOurTokensAndNothingElse(t *testing.T) {
	t.Parallel()
	newScene(t).passHAProxy(t)
}

// scene is a running server and the tokens that a witness judges.
type scene struct {
	p        *process
	dir      string
	mail     string
	tokens   map[string]string
	stranger *rsa.PrivateKey
}

func newScene(t *testing.T) scene {
	t.Helper()
	dir := t.TempDir()
	p := start(t, dir, "GLUEAUTH_ISSUER="+witnessIssuer, "--config="+write(t, dir, "glueauth.yaml", witnessClients, 0o600))
	mail := customers(t, dir, 1)[0]
	ours := p.signIn(t, mail).AccessToken
	key := signingKey(t, filepath.Join(dir, "data", "keys"))
	stranger, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(ours, ".")
	header := decode(t, parts[0])
	now := time.Now().Unix()
	claims := func(issuer, audience, exp string) string {
		return fmt.Sprintf(`{"iss":%q,"aud":%q%s,"sub":"made by the test"}`, issuer, audience, exp)
	}
	later := fmt.Sprintf(`,"exp":%d`, now+3600)
	good := claims(witnessIssuer, "frontend", later)
	s := scene{p: p, dir: dir, mail: mail, tokens: map[string]string{}, stranger: stranger}
	for _, c := range []struct{ name, token string }{
		{"ours", ours},
		// Without this one, the refusals of what the test signs would prove nothing.
		{"signed with our key", rs256(t, key, header, good)},
		{"another key", rs256(t, stranger, header, good)},
		{"payload changed", parts[0] + "." + encode([]byte(good)) + "." + parts[2]},
		{"one bit of signature", parts[0] + "." + parts[1] + "." + flip(t, parts[2])},
		{"no signature", parts[0] + "." + parts[1] + "."},
		{"alg none", encode([]byte(strings.Replace(header, "RS256", "none", 1))) + "." + parts[1] + "."},
		{"HS256 by the public key", hs256(pemOf(t, &key.PublicKey), strings.Replace(header, "RS256", "HS256", 1), good)},
		{"expired", rs256(t, key, header, claims(witnessIssuer, "frontend", fmt.Sprintf(`,"exp":%d`, now-1)))},
		{"no expiry", rs256(t, key, header, claims(witnessIssuer, "frontend", ""))},
		{"another audience", rs256(t, key, header, claims(witnessIssuer, "elsewhere", later))},
		{"another issuer", rs256(t, key, header, claims(witnessIssuer+"/", "frontend", later))},
		{"no audience", rs256(t, key, header, fmt.Sprintf(`{"iss":%q%s,"sub":"made by the test"}`, witnessIssuer, later))},
		{"no issuer", rs256(t, key, header, fmt.Sprintf(`{"aud":"frontend"%s,"sub":"made by the test"}`, later))},
		{"a refresh token", p.signIn(t, mail).RefreshToken},
	} {
		s.tokens[c.name] = c.token
	}
	return s
}

// brief returns a token of ours that lives for one second.
func (s scene) brief(t *testing.T) string {
	t.Helper()
	return s.p.must(t, "grant_type", "password", "username", s.mail, "password", demoPassword, "client_id", "brief").AccessToken
}

// program returns the path of a program that make deps installs; Debian keeps some where only root's PATH looks.
func program(t *testing.T, name string) string {
	t.Helper()
	for _, candidate := range []string{name, filepath.Join("/usr/sbin", name)} {
		if path, err := exec.LookPath(candidate); err == nil {
			return path
		}
	}
	t.Fatalf("%s is missing: run make deps", name)
	return ""
}
