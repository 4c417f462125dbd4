package e2e_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"
)

// court is a running server with a client for each algorithm, named as that, and the tokens that are brought before whoever
// judges them.
type court struct {
	p      *process
	issuer string
	trap   *trap
	tokens map[string]map[string]string // by client, then by what was done to the token
}

// algorithms are all that a client can have.
func algorithms() []string { return []string{"RS256", "PS256", "ES256", "EdDSA"} }

func newCourt(t *testing.T) *court {
	t.Helper()
	config := strings.Builder{}
	config.WriteString("clients:\n  - {id: gateway, secret: gateway-secret, introspect: true}\n")
	for _, alg := range algorithms() {
		fmt.Fprintf(&config, "  - {id: %s, alg: %[1]s}\n", alg)
	}
	dir, address := t.TempDir(), freeAddress(t)
	succeed(t, dir, "", "keys", "generate")
	for _, alg := range algorithms()[1:] {
		succeed(t, dir, "", "keys", "rotate", "--now", "--alg", alg)
	}
	email := customers(t, dir, 1)[0]
	c := &court{issuer: "http://" + address, tokens: map[string]map[string]string{}}
	c.p = start(t, dir, "GLUEAUTH_LISTEN="+address, "GLUEAUTH_ISSUER="+c.issuer, "--config="+write(t, dir, "glueauth.yaml", config.String(), 0o600))
	forgers := jose.JSONWebKeySet{}
	stranger := map[string]crypto.Signer{}
	for _, alg := range algorithms() {
		stranger[alg] = newSigner(t, alg)
		forgers.Keys = append(forgers.Keys, jose.JSONWebKey{Key: stranger[alg].Public(), KeyID: "forger-" + alg, Algorithm: alg, Use: "sig"})
	}
	c.trap = newTrap(t, forgers)
	for _, alg := range algorithms() {
		signedIn := c.p.must(t, "grant_type", "password", "username", email, "password", demoPassword, "client_id", alg)
		ours := signedIn.AccessToken
		var head struct {
			Kid string `json:"kid"`
		}
		if err := json.Unmarshal([]byte(decode(t, strings.Split(ours, ".")[0])), &head); err != nil {
			t.Fatal(err)
		}
		own := readSigner(t, filepath.Join(dir, "data", "keys", head.Kid+".pem"))
		c.tokens[alg] = forgeries{t, alg, head.Kid, c.trap.url, ours, own, stranger[alg]}.all()
		c.tokens[alg]["a refresh token"] = signedIn.RefreshToken
	}
	return c
}

func newSigner(t *testing.T, alg string) crypto.Signer {
	t.Helper()
	var key crypto.Signer
	var err error
	switch alg {
	case "ES256":
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "EdDSA":
		_, key, err = ed25519.GenerateKey(rand.Reader)
	default:
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func readSigner(t *testing.T, path string) crypto.Signer {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		t.Fatalf("%s holds no PEM block", path)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return key.(crypto.Signer)
}

// forgeries makes the tokens of one algorithm: the server's own one, others by its key, and what forgers try (the first ones
// are the tricks of jwt_tool).
type forgeries struct {
	t               *testing.T
	alg, kid, point string // point is where a header may point to
	ours            string
	own, stranger   crypto.Signer
}

// header is that of our tokens, changed.
func (f forgeries) header(changes map[string]any) string {
	h := map[string]any{"typ": "JWT", "alg": f.alg, "kid": f.kid}
	return f.object(h, changes)
}

// claims are those of our own token, changed.
func (f forgeries) claims(changes map[string]any) string {
	f.t.Helper()
	c := map[string]any{}
	d := json.NewDecoder(strings.NewReader(decode(f.t, strings.Split(f.ours, ".")[1])))
	d.UseNumber()
	if err := d.Decode(&c); err != nil {
		f.t.Fatal(err)
	}
	return f.object(c, changes)
}

func (f forgeries) object(o, changes map[string]any) string {
	f.t.Helper()
	for name, value := range changes {
		if o[name] = value; value == nil {
			delete(o, name)
		}
	}
	text, err := json.Marshal(o)
	if err != nil {
		f.t.Fatal(err)
	}
	return string(text)
}

func (f forgeries) sign(key crypto.Signer, header, claims string) string {
	f.t.Helper()
	input := encode([]byte(header)) + "." + encode([]byte(claims))
	signature, err := jwt.GetSigningMethod(f.alg).Sign(input, key)
	if err != nil {
		f.t.Fatal(err)
	}
	return input + "." + encode(signature)
}

// byOurs signs changed claims, byThem a changed header.
func (f forgeries) byOurs(claims map[string]any) string {
	return f.sign(f.own, f.header(nil), f.claims(claims))
}

func (f forgeries) byThem(header map[string]any) string {
	return f.sign(f.stranger, f.header(header), f.claims(nil))
}

type change = map[string]any

func (f forgeries) all() map[string]string {
	f.t.Helper()
	part, now := strings.Split(f.ours, "."), time.Now().Unix()
	der, err := x509.MarshalPKIXPublicKey(f.own.Public())
	if err != nil {
		f.t.Fatal(err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	unsigned := func(alg string) string { return encode([]byte(f.header(change{"alg": alg}))) + "." + part[1] + "." }
	symmetric := func(key []byte, kid string) string {
		return hs256(key, f.header(change{"alg": "HS256", "kid": kid}), f.claims(nil))
	}
	embedded := jose.JSONWebKey{Key: f.stranger.Public(), KeyID: f.kid, Algorithm: f.alg, Use: "sig"}
	forger := "forger-" + f.alg
	return map[string]string{
		"ours":                      f.ours,
		"by our key":                f.byOurs(change{"made": "by the test"}),
		"alg none":                  unsigned("none"),
		"alg None":                  unsigned("None"),
		"alg NONE":                  unsigned("NONE"),
		"alg nOnE":                  unsigned("nOnE"),
		"alg none, signed":          unsigned("none") + part[2],
		"no signature":              part[0] + "." + part[1] + ".",
		"a signature of zeros":      part[0] + "." + part[1] + "." + encode(make([]byte, len(decode(f.t, part[2])))),
		"HS256 by the public PEM":   symmetric(public, f.kid),
		"HS256 by the PEM, trimmed": symmetric(bytes.TrimSpace(public), f.kid),
		"HS256 by the public DER":   symmetric(der, f.kid),
		"HS256 by nothing":          symmetric(nil, f.kid),
		"HS256 by a weak secret":    symmetric([]byte("secret"), f.kid),
		"kid is /dev/null":          symmetric(nil, "../../../../../../dev/null"),
		"kid is SQL":                symmetric([]byte("key"), "x' UNION SELECT 'key' -- "),
		"kid is a command":          symmetric(nil, "| curl "+f.point),
		"kid is a URL":              f.byThem(change{"kid": f.point}),
		"kid is unknown":            f.byThem(change{"kid": forger}),
		"kid is empty":              f.byThem(change{"kid": ""}),
		"embedded jwk":              f.byThem(change{"jwk": embedded}),
		"embedded jwk, unknown kid": f.byThem(change{"jwk": embedded, "kid": forger}),
		"jku":                       f.byThem(change{"jku": f.point}),
		"jku, the kid behind it":    f.byThem(change{"jku": f.point, "kid": forger}),
		"x5u":                       f.byThem(change{"x5u": f.point, "kid": forger}),
		"x5c":                       f.byThem(change{"x5c": []string{f.certificate()}}),
		"crit":                      f.sign(f.own, f.header(change{"crit": []string{"urn:example"}, "urn:example": true}), f.claims(nil)),
		"JSON serialisation":        fmt.Sprintf(`{"protected":%q,"payload":%q,"signature":%q}`, part[0], part[1], part[2]),
		"another key":               f.byThem(nil),
		"payload changed":           part[0] + "." + encode([]byte(f.claims(change{"made": "by the test"}))) + "." + part[2],
		"one bit of signature":      part[0] + "." + part[1] + "." + flip(f.t, part[2]),
		"expired":                   f.byOurs(change{"exp": now - 3600}),
		"not yet valid":             f.byOurs(change{"nbf": now + 3600}),
		"no expiry":                 f.byOurs(change{"exp": nil}),
		"another audience":          f.byOurs(change{"aud": "elsewhere"}),
		"no audience":               f.byOurs(change{"aud": nil}),
		"another issuer":            f.byOurs(change{"iss": "https://forger.example"}),
		"no issuer":                 f.byOurs(change{"iss": nil}),
	}
}

// certificate is one of the stranger's own making, as x5c has it.
func (f forgeries) certificate() string {
	f.t.Helper()
	template := x509.Certificate{NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, f.stranger.Public(), f.stranger)
	if err != nil {
		f.t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[1:len(lines)-1], "")
}
