package keys_test

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	"github.com/glueauth/glueauth/keys"
)

const claims = `{"aud":"frontend","sub":"{\"id_customer\":21}"}`

type jwk struct {
	Kty string `json:"kty"`
	Use string `json:"use"`
	Alg string `json:"alg"`
	Kid string `json:"kid"`
	N   string `json:"n"`
	E   string `json:"e"`
}

// published reads a JWK set as a foreign verifier does.
func published(t *testing.T, body []byte) []jwk {
	t.Helper()
	var set struct {
		Keys []jwk `json:"keys"`
	}
	if err := json.Unmarshal(body, &set); err != nil {
		t.Fatal(err)
	}
	return set.Keys
}

func (k jwk) public(t *testing.T) *rsa.PublicKey {
	t.Helper()
	return &rsa.PublicKey{
		N: new(big.Int).SetBytes(decode(t, k.N)),
		E: int(new(big.Int).SetBytes(decode(t, k.E)).Int64()),
	}
}

func decode(t *testing.T, text string) []byte {
	t.Helper()
	data, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func jwks(ring *keys.Ring) []byte {
	body, _ := ring.JWKS()
	return body
}

func TestSignedTokenHoldsByTheStandardLibraryAlone(t *testing.T) {
	t.Parallel()
	_, ring := ringOf(t, "test-key.pem", "second-key.pem")
	for _, typ := range []string{"JWT", "at+jwt"} {
		token, err := ring.Sign(typ, []byte(claims))
		if err != nil {
			t.Fatal(err)
		}
		parts := strings.Split(token, ".")
		if len(parts) != 3 {
			t.Fatalf("%d parts, want 3", len(parts))
		}
		key := published(t, jwks(ring))[0]
		wantHeader := `{"typ":"` + typ + `","alg":"RS256","kid":"` + key.Kid + `"}`
		if diff := cmp.Diff(wantHeader, string(decode(t, parts[0]))); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(claims, string(decode(t, parts[1]))); diff != "" {
			t.Error(diff)
		}
		sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
		if err := rsa.VerifyPKCS1v15(key.public(t), crypto.SHA256, sum[:], decode(t, parts[2])); err != nil {
			t.Error(err)
		}
	}
}

func TestSignedTokenHoldsByGolangJWT(t *testing.T) {
	t.Parallel()
	_, ring := ringOf(t, "second-key.pem", "test-key.pem")
	token, err := ring.Sign("at+jwt", []byte(claims))
	if err != nil {
		t.Fatal(err)
	}
	find := func(parsed *jwt.Token) (any, error) {
		for _, key := range published(t, jwks(ring)) {
			if key.Kid == parsed.Header["kid"] {
				return key.public(t), nil
			}
		}
		return nil, fmt.Errorf("kid %v is not published", parsed.Header["kid"])
	}
	if _, err := jwt.Parse(token, find, jwt.WithValidMethods([]string{"RS256"}), jwt.WithAudience("frontend")); err != nil {
		t.Error(err)
	}
	// The first character, since the last one has bits that do not count.
	start := strings.LastIndex(token, ".") + 1
	other := map[bool]string{true: "B", false: "A"}[token[start] == 'A']
	forged := token[:start] + other + token[start+1:]
	if _, err := jwt.Parse(forged, find, jwt.WithValidMethods([]string{"RS256"})); err == nil {
		t.Error("a changed signature was accepted")
	}
}

func TestSignRefusesAnUnknownType(t *testing.T) {
	t.Parallel()
	_, ring := ringOf(t, "test-key.pem")
	for _, typ := range []string{"", "jwt", "AT+JWT", `JWT","alg":"none`} {
		token, err := ring.Sign(typ, []byte(claims))
		wantError(t, err, "use JWT or at+jwt")
		if token != "" {
			t.Errorf("type %q gave a token", typ)
		}
	}
}

func TestPublishedSetHasExactlyThePublicMembers(t *testing.T) {
	t.Parallel()
	_, ring := ringOf(t, "test-key.pem", "second-key.pem")
	var set map[string][]map[string]string
	if err := json.Unmarshal(jwks(ring), &set); err != nil {
		t.Fatal(err)
	}
	if len(set) != 1 || len(set["keys"]) != 2 {
		t.Fatalf("got %v, want one member of two keys", set)
	}
	for _, members := range set["keys"] {
		names := slices.Sorted(maps.Keys(members))
		if diff := cmp.Diff([]string{"alg", "e", "kid", "kty", "n", "use"}, names); diff != "" {
			t.Error(diff)
		}
		fixed := members["kty"] + " " + members["use"] + " " + members["alg"] + " " + members["e"]
		if diff := cmp.Diff("RSA sig RS256 AQAB", fixed); diff != "" {
			t.Error(diff)
		}
		if n := decode(t, members["n"]); len(n) != 256 || n[0] == 0 {
			t.Errorf("modulus of %d bytes that begins with %d", len(n), n[0])
		}
	}
}

func TestPublishedBytesAreTheSameInEveryReplica(t *testing.T) {
	t.Parallel()
	dir, _ := ringOf(t, "test-key.pem", "second-key.pem")
	create(t, dir)
	ring := open(t, dir)
	body, etag := ring.JWKS()
	// The same three keys under names that sort the other way round.
	again := t.TempDir()
	infos := ring.List()
	slices.SortFunc(infos, func(a, b keys.Info) int { return strings.Compare(b.File, a.File) })
	for i, info := range infos {
		write(t, filepath.Join(again, fmt.Sprintf("%d.pem", i)), string(read(t, filepath.Join(dir, info.File))))
	}
	write(t, filepath.Join(again, "current"), ring.List()[0].Kid)
	againBody, againTag := open(t, again).JWKS()
	if diff := cmp.Diff(string(body), string(againBody)); diff != "" || etag != againTag {
		t.Errorf("tags %s and %s, bodies %s", etag, againTag, diff)
	}
	if len(etag) < 3 || etag[0] != '"' || etag[len(etag)-1] != '"' {
		t.Errorf("ETag %s is no quoted strong tag", etag)
	}
	_, alone := ringOf(t, "test-key.pem")
	if _, aloneTag := alone.JWKS(); aloneTag == etag {
		t.Error("two different sets have one ETag")
	}
}

func TestPublishedBytesOfTheTestKeyAreLiteral(t *testing.T) {
	t.Parallel()
	_, ring := ringOf(t, "test-key.pem")
	block, _ := pem.Decode(read(t, "testdata/test-key.pem"))
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	modulus := base64.RawURLEncoding.EncodeToString(parsed.(*rsa.PrivateKey).N.Bytes())
	want := `{"keys":[{"kty":"RSA","use":"sig","alg":"RS256","kid":"` + ring.List()[0].Kid + `","n":"` + modulus + `","e":"AQAB"}]}`
	if diff := cmp.Diff(want, string(jwks(ring))); diff != "" {
		t.Error(diff)
	}
}

// TestThumbprintOfTheRFCExample uses the key of RFC 7638 §3.1.
func TestThumbprintOfTheRFCExample(t *testing.T) {
	t.Parallel()
	example := jwk{E: "AQAB", N: "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMs" +
		"tn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbI" +
		"SD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"}
	if got := keys.Thumbprint(example.public(t)); got != "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs" {
		t.Errorf("got %s", got)
	}
}

func TestListTellsWhichKeySigns(t *testing.T) {
	t.Parallel()
	_, ring := ringOf(t, "second-key.pem", "test-key.pem")
	infos := ring.List()
	want := []keys.Info{
		{Kid: infos[0].Kid, File: "second-key.pem", Algorithm: "RS256", Bits: 2048, State: keys.Signing},
		{Kid: infos[1].Kid, File: "test-key.pem", Algorithm: "RS256", Bits: 2048, State: keys.Published},
	}
	if diff := cmp.Diff(want, infos); diff != "" {
		t.Error(diff)
	}
	for i, key := range published(t, jwks(ring)) {
		if key.Kid != infos[i].Kid || key.Kid != keys.Thumbprint(key.public(t)) {
			t.Errorf("key %d is published as %s and listed as %s", i, key.Kid, infos[i].Kid)
		}
	}
}

func TestExportFormatsHoldTheSameKey(t *testing.T) {
	t.Parallel()
	_, ring := ringOf(t, "test-key.pem", "second-key.pem")
	for i, info := range ring.List() {
		kid := info.Kid
		if info.State == keys.Signing {
			kid = ""
		}
		text := export(t, ring, "pem", kid)
		block, rest := pem.Decode(text)
		if block == nil || block.Type != "PUBLIC KEY" || len(rest) > 0 {
			t.Fatalf("got %q", text)
		}
		public, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		if want := published(t, jwks(ring))[i].public(t); !want.Equal(public) {
			t.Errorf("pem of %q is another key", kid)
		}
		if diff := cmp.Diff(base64.StdEncoding.EncodeToString(block.Bytes)+"\n", string(export(t, ring, "spki", kid))); diff != "" {
			t.Error(diff)
		}
		one := published(t, export(t, ring, "jwks", info.Kid))
		if diff := cmp.Diff(published(t, jwks(ring))[i:i+1], one); diff != "" {
			t.Error(diff)
		}
	}
	if diff := cmp.Diff(string(jwks(ring))+"\n", string(export(t, ring, "jwks", ""))); diff != "" {
		t.Error(diff)
	}
	_, err := ring.Export("der", "")
	wantError(t, err, "use pem, spki or jwks")
	_, err = ring.Export("pem", "nobody")
	wantError(t, err, "glueauth keys list")
}

func export(t *testing.T, ring *keys.Ring, format, kid string) []byte {
	t.Helper()
	text, err := ring.Export(format, kid)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestPrintingARingShowsNoPrivateKey(t *testing.T) {
	t.Parallel()
	_, ring := ringOf(t, "test-key.pem")
	private, err := keys.ParsePEM(read(t, "testdata/test-key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	holder := struct{ ring *keys.Ring }{ring}
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		text := fmt.Sprintf(format, ring) + fmt.Sprintf(format, holder)
		for _, part := range []*big.Int{private.D, private.Primes[0], private.Primes[1]} {
			if strings.Contains(text, part.String()) || strings.Contains(text, part.Text(16)) {
				t.Errorf("%s shows the private key", format)
			}
		}
	}
}

func TestMissingKeysAreToldFromBrokenOnes(t *testing.T) {
	t.Parallel()
	empty := t.TempDir()
	write(t, filepath.Join(empty, ".hidden.pem"), "not a key")
	write(t, filepath.Join(empty, "README"), "not a key")
	for _, dir := range []string{empty, filepath.Join(empty, "absent")} {
		_, err := keys.Open(options(dir))
		wantError(t, err, dir, "--config", "glueauth keys generate")
		if !isNoKeys(err) {
			t.Errorf("%v is not ErrNoKeys", err)
		}
	}
	lost := t.TempDir()
	write(t, filepath.Join(lost, "current"), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs\n")
	_, err := keys.Open(options(lost))
	wantError(t, err, filepath.Join(lost, "current"), "restore")
	if isNoKeys(err) {
		t.Error("a folder whose keys are gone passes for a new one")
	}
	file := filepath.Join(empty, "README")
	_, err = keys.Open(options(file))
	wantError(t, err, file, "not a directory")
	if _, statErr := os.Stat(file); statErr != nil || isNoKeys(err) {
		t.Errorf("%v, %v", statErr, err)
	}
}
