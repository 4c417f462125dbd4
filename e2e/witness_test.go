package e2e_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const (
	witnessIssuer = "https://login.shop.example"
	// witnessClients has a second client whose tokens expire while a test looks on.
	witnessClients = "clients:\n  - id: frontend\n  - id: brief\n    access_lifetime: 1s\n"
	expiryLimit    = 10 * time.Second
)

// What else a witness may say about a token than whose it is.
const (
	badSignature = "signature"
	badAlgorithm = "algorithm"
	badClaim     = "claim"
	tooOld       = "expired"
	badForm      = "form"
)

// Validators that nobody here wrote must accept our tokens, and for the right reason refuse what is not ours.
func TestForeignWitnessesTrustOurTokensAndNothingElse(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	t.Run("npm jose", func(t *testing.T) {
		t.Parallel()
		node := program(t, "node")
		if _, err := os.Stat("witness/node_modules/jose/package.json"); err != nil {
			t.Fatalf("npm jose is missing: run make deps (%v)", err)
		}
		s.hear(t, []string{node, "jose.js"}, map[string]string{
			"ERR_JWS_SIGNATURE_VERIFICATION_FAILED": badSignature,
			"ERR_JOSE_ALG_NOT_ALLOWED":              badAlgorithm,
			"ERR_JWT_CLAIM_VALIDATION_FAILED":       badClaim,
			"ERR_JWT_EXPIRED":                       tooOld,
			"ERR_JWS_INVALID":                       badForm,
		})
	})
	t.Run("Debian's PyJWT", func(t *testing.T) {
		t.Parallel()
		s.hear(t, []string{"/usr/bin/python3", "-I", "pyjwt.py"}, map[string]string{
			"InvalidSignatureError":     badSignature,
			"InvalidAlgorithmError":     badAlgorithm,
			"InvalidAudienceError":      badClaim,
			"InvalidIssuerError":        badClaim,
			"MissingRequiredClaimError": badClaim,
			"ExpiredSignatureError":     tooOld,
			"DecodeError":               badForm,
		})
	})
	t.Run("HAProxy", func(t *testing.T) {
		t.Parallel()
		s.passHAProxy(t)
	})
}

// scene is a running server and the tokens that a witness judges.
type scene struct {
	p            *process
	dir          string
	mail         string
	tokens, want map[string]string
	stranger     *rsa.PrivateKey
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
	var own struct {
		Subject string `json:"sub"`
	}
	if err := json.Unmarshal([]byte(decode(t, parts[1])), &own); err != nil || !strings.Contains(own.Subject, `"customer_reference":"DE--1000"`) {
		t.Fatalf("sub is %q: %v", own.Subject, err)
	}
	now := time.Now().Unix()
	claims := func(issuer, audience, exp string) string {
		return fmt.Sprintf(`{"iss":%q,"aud":%q%s,"sub":"made by the test"}`, issuer, audience, exp)
	}
	later := fmt.Sprintf(`,"exp":%d`, now+3600)
	good := claims(witnessIssuer, "frontend", later)
	s := scene{p: p, dir: dir, mail: mail, tokens: map[string]string{}, want: map[string]string{}, stranger: stranger}
	for _, c := range []struct{ name, token, verdict string }{
		{"ours", ours, own.Subject},
		// Without this one, the refusals of what the test signs would prove nothing.
		{"signed with our key", rs256(t, key, header, good), "made by the test"},
		{"another key", rs256(t, stranger, header, good), badSignature},
		{"payload changed", parts[0] + "." + encode([]byte(good)) + "." + parts[2], badSignature},
		{"one bit of signature", parts[0] + "." + parts[1] + "." + flip(t, parts[2]), badSignature},
		{"no signature", parts[0] + "." + parts[1] + ".", badSignature},
		{"alg none", encode([]byte(strings.Replace(header, "RS256", "none", 1))) + "." + parts[1] + ".", badAlgorithm},
		{"HS256 by the public key", hs256(pemOf(t, &key.PublicKey), strings.Replace(header, "RS256", "HS256", 1), good), badAlgorithm},
		{"expired", rs256(t, key, header, claims(witnessIssuer, "frontend", fmt.Sprintf(`,"exp":%d`, now-1))), tooOld},
		{"no expiry", rs256(t, key, header, claims(witnessIssuer, "frontend", "")), badClaim},
		{"another audience", rs256(t, key, header, claims(witnessIssuer, "elsewhere", later)), badClaim},
		{"another issuer", rs256(t, key, header, claims(witnessIssuer+"/", "frontend", later)), badClaim},
		{"a refresh token", p.signIn(t, mail).RefreshToken, badForm},
	} {
		s.tokens[c.name], s.want[c.name] = c.token, c.verdict
	}
	return s
}

// brief returns a token of ours that lives for one second.
func (s scene) brief(t *testing.T) string {
	t.Helper()
	return s.p.must(t, "grant_type", "password", "username", s.mail, "password", demoPassword, "client_id", "brief").AccessToken
}

// hear lets a program in the folder witness judge the tokens; meaning translates its words for a refusal.
func (s scene) hear(t *testing.T, argv []string, meaning map[string]string) {
	t.Helper()
	brief := s.brief(t)
	judge := func(audience string, tokens map[string]string) map[string]string {
		t.Helper()
		stdin, err := json.Marshal(tokens)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), argv[0], append(argv[1:len(argv):len(argv)], s.p.public+"/.well-known/jwks.json", witnessIssuer, audience)...)
		var stderr bytes.Buffer
		cmd.Dir, cmd.Env, cmd.Stdin, cmd.Stderr = "witness", environment(s.dir), bytes.NewReader(stdin), &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v: if a program or a library is missing, run make deps\n%s", cmd, err, &stderr)
		}
		verdicts := map[string]string{}
		if err := json.Unmarshal(out, &verdicts); err != nil {
			t.Fatalf("%s: %v: %s", cmd, err, out)
		}
		for name, word := range verdicts {
			if verdict, ok := meaning[word]; ok {
				verdicts[name] = verdict
			}
		}
		return verdicts
	}
	if diff := cmp.Diff(s.want, judge("frontend", s.tokens)); diff != "" {
		t.Errorf("the verdicts are not as expected (-want +got):\n%s", diff)
	}
	eventually(t, expiryLimit, func() error {
		if got := judge("brief", map[string]string{"brief": brief})["brief"]; got != tooOld {
			return fmt.Errorf("a token of one second is: %s", got)
		}
		return nil
	})
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
