package keys_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/keys"
)

// allRing is a folder with a key of each algorithm that signs and one that is announced.
func allRing(t *testing.T, c *clock) (string, *keys.Ring) {
	t.Helper()
	dir, _ := ringOf(t, "test-key.pem")
	ring := c.open(t, dir)
	for _, name := range keys.Algorithms() {
		if name != "RS256" {
			rotate(t, ring, name, true)
		}
		rotate(t, ring, name, false)
	}
	return dir, ring
}

// verifies checks a signature by the standard library alone, with the key as the JWK set has it.
func verifies(t *testing.T, jwk map[string]string, input string, signature []byte) bool {
	t.Helper()
	number := func(name string) *big.Int { return new(big.Int).SetBytes(decode(t, jwk[name])) }
	sum := sha256.Sum256([]byte(input))
	switch jwk["alg"] {
	case "RS256":
		return rsa.VerifyPKCS1v15(&rsa.PublicKey{N: number("n"), E: int(number("e").Int64())}, crypto.SHA256, sum[:], signature) == nil
	case "PS256":
		strict := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash} // RFC 7518 §3.5
		return rsa.VerifyPSS(&rsa.PublicKey{N: number("n"), E: int(number("e").Int64())}, crypto.SHA256, sum[:], signature, strict) == nil
	case "ES256":
		public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4}, decode(t, jwk["x"]), decode(t, jwk["y"])))
		if err != nil || len(signature) != 64 { // RFC 7518 §3.4
			return false
		}
		return ecdsa.Verify(public, sum[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:]))
	case "EdDSA":
		return ed25519.Verify(decode(t, jwk["x"]), []byte(input), signature)
	}
	return false
}

func TestEachAlgorithmSignsWhatTheStandardLibraryVerifies(t *testing.T) {
	t.Parallel()
	c := newClock()
	_, ring := allRing(t, c)
	var set struct {
		Keys []map[string]string `json:"keys"`
	}
	if err := json.Unmarshal(jwks(ring), &set); err != nil || len(set.Keys) != 8 {
		t.Fatalf("%d keys, %v", len(set.Keys), err)
	}
	for i, name := range keys.Algorithms() {
		token := sign(t, ring, name, c.now())
		part := strings.Split(token.Reveal(), ".")
		jwk := set.Keys[i] // the signing ones are the first, in this order
		if diff := cmp.Diff(fmt.Sprintf(`{"typ":"JWT","alg":%q,"kid":%q}`, name, jwk["kid"]), string(decode(t, part[0]))); diff != "" {
			t.Error(diff)
		}
		if !verifies(t, jwk, part[0]+"."+part[1], decode(t, part[2])) {
			t.Errorf("%s: the signature does not hold by %v", name, jwk)
		}
		if _, err := ring.Verify(token, c.now()); err != nil {
			t.Errorf("%s: our own token: %v", name, err)
		}
	}
	_, plain := ringOf(t, "test-key.pem")
	_, err := plain.SignAs("ES256", "JWT", []byte(claims))
	wantError(t, err, "no key signs ES256", "glueauth keys rotate --alg ES256", "--now")
	wantError(t, plain.CanSign("EdDSA"), "glueauth keys rotate --alg EdDSA")
}

// TestPublishedMembersOfEveryKindAndState holds that each key shows exactly its public members, whatever its state.
func TestPublishedMembersOfEveryKindAndState(t *testing.T) {
	t.Parallel()
	want := map[string]string{
		"RS256": "RSA alg e kid kty n use", "PS256": "RSA alg e kid kty n use",
		"ES256": "EC alg crv kid kty use x y", "EdDSA": "OKP alg crv kid kty use x",
	}
	c := newClock()
	dir, ring := allRing(t, c)
	copyKey(t, "second-key.pem", filepath.Join(dir, "beside.pem"))
	follow(t, ring, true)
	seen := map[string]bool{}
	for range 4 {
		states := states(ring)
		exported := map[string][]byte{"set": jwks(ring), "export": export(t, ring, "jwks", "")}
		for _, body := range exported {
			var set struct {
				Keys []map[string]string `json:"keys"`
			}
			if err := json.Unmarshal(body, &set); err != nil {
				t.Fatal(err)
			}
			for _, jwk := range set.Keys {
				members := jwk["kty"] + " " + strings.Join(slices.Sorted(maps.Keys(jwk)), " ")
				if members != want[jwk["alg"]] || jwk["use"] != "sig" {
					t.Errorf("%s, %s: members %s", jwk["alg"], states[jwk["kid"]], members)
				}
				seen[jwk["alg"]+" "+states[jwk["kid"]]] = true
			}
			nothingPrivate(t, dir, string(body))
		}
		c.pass(ahead / 3)
	}
	for name := range want {
		for _, state := range []string{keys.Announced, keys.Signing, keys.Retired} {
			if !seen[name+" "+state] {
				t.Errorf("%s was never seen %s", name, state)
			}
		}
	}
	if !seen["RS256 "+keys.Published] {
		t.Error("no key beside the schedule was seen")
	}
}

// nothingPrivate checks that a text has none of the private numbers of a folder.
func nothingPrivate(t *testing.T, dir, text string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.pem"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		private, err := keys.ParseAny(read(t, file))
		if err != nil {
			t.Fatal(err)
		}
		var secrets [][]byte
		switch p := private.(type) {
		case *rsa.PrivateKey:
			secrets = [][]byte{p.D.Bytes(), p.Primes[0].Bytes(), p.Primes[1].Bytes(), p.Precomputed.Dp.Bytes(), p.Precomputed.Dq.Bytes(), p.Precomputed.Qinv.Bytes()}
		case *ecdsa.PrivateKey:
			d, err := p.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			secrets = [][]byte{d}
		case ed25519.PrivateKey:
			secrets = [][]byte{p.Seed()}
		}
		for _, s := range secrets {
			for _, form := range []string{b64(string(s)), hex.EncodeToString(s), new(big.Int).SetBytes(s).String(), string(s)} {
				if strings.Contains(text, form) {
					t.Errorf("%s shows", filepath.Base(file))
				}
			}
		}
	}
}

func TestPrintingShowsNoKeyOfAnyKind(t *testing.T) {
	t.Parallel()
	dir, ring := allRing(t, newClock())
	holder := struct{ ring *keys.Ring }{ring}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		nothingPrivate(t, dir, fmt.Sprintf(verb, ring)+fmt.Sprintf(verb, holder)+fmt.Sprintf(verb, ring.List()))
	}
}

// TestThumbprintsOfTheRFCs uses the Ed25519 key of RFC 8037 appendix A.3, and a P-256 key of our own by RFC 7638 §3.2.
func TestThumbprintsOfTheRFCs(t *testing.T) {
	t.Parallel()
	const x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
	if got := keys.Thumbprint(ed25519.PublicKey(decode(t, x))); got != "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k" {
		t.Errorf("Ed25519: %s", got)
	}
	private, err := keys.ParseAny(read(t, "testdata/other/p256.pem"))
	if err != nil {
		t.Fatal(err)
	}
	point, err := private.Public().(*ecdsa.PublicKey).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(fmt.Appendf(nil, `{"crv":"P-256","kty":"EC","x":%q,"y":%q}`, b64(string(point[1:33])), b64(string(point[33:]))))
	if got, want := keys.Thumbprint(private.Public()), b64(string(sum[:])); got != want {
		t.Errorf("P-256: %s, want %s", got, want)
	}
}

func TestKeysOfOtherKindsAreExportedAndMadeByOthersToo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, file := range []string{"p256.pem", "ed25519.pem"} {
		copyKey(t, filepath.Join("other", file), filepath.Join(dir, file))
	}
	ring := open(t, dir)
	for i, name := range []string{"ES256", "EdDSA"} {
		info := ring.List()[i]
		if info.Algorithm != name || info.State != keys.Signing || info.Bits != 256 {
			t.Errorf("%+v, want %s", info, name)
		}
		block, _ := pem.Decode(export(t, ring, "pem", info.Kid))
		public, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil || keys.Thumbprint(public) != info.Kid {
			t.Errorf("%s: exported as another key: %v", name, err)
		}
	}
	_, err := ring.Sign("JWT", []byte(claims))
	wantError(t, err, "no key signs RS256")
}

func TestAKeyVerifiesByItsOwnAlgorithmOnly(t *testing.T) {
	t.Parallel()
	c := newClock()
	_, ring := allRing(t, c)
	names := keys.Algorithms()
	for _, name := range names {
		part := strings.Split(sign(t, ring, name, c.now()).Reveal(), ".")
		for _, other := range append(names, "none", "HS256", "ES256K", "Ed25519", "RS512") {
			if other == name {
				continue
			}
			for _, header := range []string{`{"typ":"JWT","alg":"` + other + `"}`, strings.Replace(string(decode(t, part[0])), name, other, 1)} {
				if _, err := ring.Verify(secret.Text(b64(header)+"."+part[1]+"."+part[2]), c.now()); err == nil {
					t.Errorf("a token of %s was taken as %s", name, other)
				}
			}
		}
	}
}
