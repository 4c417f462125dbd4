package keys_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io/fs"
	"math/big"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/c2sp/wycheproof"
	"github.com/google/go-cmp/cmp"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/keys"
)

// vectors is as much of a file of Wycheproof as the tests here need. Keys are in the form that the file's kind has.
type vectors struct {
	Groups []struct {
		Comment string          `json:"comment"`
		Hash    string          `json:"sha"`
		Public  string          `json:"publicKeyDer"`
		Own     string          `json:"keyDer"` // the public half of the private key
		PEM     string          `json:"keyPem"`
		PKCS1   string          `json:"privateKeyPem"`
		PKCS8   string          `json:"privateKeyPkcs8"`
		JWK     json.RawMessage `json:"private"`
		Tests   []vector        `json:"tests"`
	} `json:"testGroups"`
}

type vector struct {
	ID        int             `json:"tcId"`
	Comment   string          `json:"comment"`
	Result    string          `json:"result"`
	Flags     []string        `json:"flags"`
	Message   string          `json:"msg"`
	Signature string          `json:"sig"`
	JWS       json.RawMessage `json:"jws"` // a text, or an object: the JSON serialisation
	Public    string          `json:"public"`
	Private   string          `json:"private"`
}

// token is the vector's JWS, the JSON serialisation as its text.
func (v vector) token() string {
	var text string
	if json.Unmarshal(v.JWS, &text) != nil {
		return string(v.JWS)
	}
	return text
}

func vectorsOf(t *testing.T, name string) vectors {
	t.Helper()
	data, err := fs.ReadFile(wycheproof.TestVectors, name+"_test.json")
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// tally counts the vectors that ran, so that none of them can be lost unseen.
type tally struct{ valid, invalid int }

func (c *tally) add(valid bool) {
	if valid {
		c.valid++
	} else {
		c.invalid++
	}
}

func (c tally) want(t *testing.T, valid, invalid int) {
	t.Helper()
	if want := (tally{valid, invalid}); c != want {
		t.Errorf("%+v vectors ran, want %+v", c, want)
	}
}

func fromHex(t *testing.T, text string) []byte {
	t.Helper()
	raw, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// Left out: other hashes, curves and lengths of salt, for which we have no algorithm, and RSA keys of 8192 bits, which take seconds.
func TestWycheproofsSignatures(t *testing.T) {
	t.Parallel()
	for file, want := range map[string]struct {
		algorithm      string
		valid, invalid int
	}{
		"rsa_signature_2048_sha256":    {"RS256", 7, 250},
		"rsa_signature_3072_sha256":    {"RS256", 7, 251},
		"rsa_signature_4096_sha256":    {"RS256", 7, 251},
		"rsa_pkcs1_2048_sig_gen":       {"RS256", 8, 0},
		"rsa_pss_2048_sha256_mgf1_32":  {"PS256", 63, 45},
		"ecdsa_secp256r1_sha256_p1363": {"ES256", 173, 89},
		"ed25519":                      {"EdDSA", 88, 63},
	} {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			var ran tally
			header := b64(`{"typ":"JWT","alg":"` + want.algorithm + `"}`)
			for _, group := range vectorsOf(t, file).Groups {
				if group.Hash != "" && group.Hash != "SHA-256" {
					continue
				}
				public, err := x509.ParsePKIXPublicKey(fromHex(t, group.Public+group.Own))
				if err != nil {
					t.Fatal(err)
				}
				for _, v := range group.Tests {
					if slices.Contains(v.Flags, "SmallPublicKey") { // not loaded
						continue
					}
					valid := v.Result == "valid"
					got := keys.Signed(public, want.algorithm, "", header, string(fromHex(t, v.Message)), fromHex(t, v.Signature))
					if got != valid {
						t.Errorf("%d (%s, %v): %v, want %v", v.ID, v.Comment, v.Flags, got, valid)
					}
					ran.add(valid)
				}
			}
			ran.want(t, want.valid, want.invalid)
		})
	}
}

// webKey is a private JWK, or a set of them. Nothing of ours reads a JWK: the key is loaded as the PEM that it is.
type webKey struct {
	Keys       []webKey `json:"keys"`
	Kind       string   `json:"kty"`
	Algorithm  string   `json:"alg"`
	Kid        string   `json:"kid"`
	Use        string   `json:"use"`
	Operations []string `json:"key_ops"`
	Curve      string   `json:"crv"`
	N          string   `json:"n"`
	E          string   `json:"e"`
	D          string   `json:"d"`
	P          string   `json:"p"`
	Q          string   `json:"q"`
}

func number(text string) *big.Int {
	raw, _ := base64.RawURLEncoding.DecodeString(text) // what is missing by it is missed where the key is loaded
	return new(big.Int).SetBytes(raw)
}

// pem writes the key as a file of PKCS#8, whatever is wrong with it; nil for a kind that has no such file here.
func (k webKey) pem() []byte {
	var private any
	var err error
	switch {
	case k.Kind == "RSA":
		private = &rsa.PrivateKey{
			PublicKey: rsa.PublicKey{N: number(k.N), E: int(number(k.E).Int64())},
			D:         number(k.D), Primes: []*big.Int{number(k.P), number(k.Q)},
		}
	case k.Kind == "EC" && k.Curve == "P-256":
		private, err = ecdsa.ParseRawPrivateKey(elliptic.P256(), number(k.D).FillBytes(make([]byte, 32)))
	default:
		return nil
	}
	der, errDER := x509.MarshalPKCS8PrivateKey(private)
	if errors.Join(err, errDER) != nil {
		return nil
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// leftOut says why a vector says nothing about us; empty for one that does.
func leftOut(k webKey, v vector) string {
	var header struct {
		Algorithm string `json:"alg"`
	}
	if part := keys.Parts(v.token()); part != nil {
		_ = json.Unmarshal(part[0], &header) // whatever it is, it is judged
	}
	switch {
	case k.Kind == "oct":
		return "symmetric keys are never loaded"
	case !slices.Contains(keys.Algorithms(), k.Algorithm) && k.Algorithm != "":
		return "an algorithm that we do not have"
	case k.Use == "enc" || slices.Contains(k.Operations, "encrypt") || slices.Contains(k.Operations, "deriveKey"):
		return "a PEM file does not say what its key is for"
	case v.Comment == "rejectsModifiedKey":
		return "members that a PEM file does not have"
	case v.Comment == "rejectsKeyWithRocaVulnerability":
		return "the random numbers of a smart card; the key itself is well-formed"
	case v.Result == "valid" && header.Algorithm != k.Algorithm:
		return "one key for two algorithms"
	}
	return ""
}

// typed is the encoded header with the typ that each of our tokens has, and nothing that came from Wycheproof changed.
func typed(raw []byte) string {
	header := map[string]json.RawMessage{}
	if json.Unmarshal(raw, &header) == nil && header["typ"] == nil {
		header["typ"] = json.RawMessage(`"JWT"`)
		if all, err := json.Marshal(header); err == nil {
			raw = all
		}
	}
	return base64.RawURLEncoding.EncodeToString(raw)
}

// loaded is the key as it is loaded, nil when it is refused.
func (k webKey) loaded() crypto.Signer {
	private, err := keys.ParseAny(k.pem())
	if err != nil {
		return nil
	}
	return private
}

// accepts reports whether a JWS is good by the loaded key, but for its typ and its payload, which is no claims.
func (k webKey) accepts(private crypto.Signer, token string) bool {
	part := keys.Parts(token)
	if private == nil || part == nil {
		return false
	}
	return keys.Signed(private.Public(), k.Algorithm, k.Kid, typed(part[0]), token[:strings.LastIndex(token, ".")], part[2])
}

func TestWycheproofsJWSAndJWK(t *testing.T) {
	t.Parallel()
	for file, want := range map[string]struct {
		ran  tally
		left map[string]int
	}{
		"json_web_signature": {tally{16, 304}, map[string]int{
			"a PEM file does not say what its key is for": 4,
			"an algorithm that we do not have":            35,
			"one key for two algorithms":                  2,
			"symmetric keys are never loaded":             40,
		}},
		"json_web_key": {tally{1, 2}, map[string]int{
			"a PEM file does not say what its key is for":                       1,
			"an algorithm that we do not have":                                  3,
			"members that a PEM file does not have":                             3,
			"symmetric keys are never loaded":                                   15,
			"the random numbers of a smart card; the key itself is well-formed": 1,
		}},
		"json_web_crypto": {tally{2, 26}, map[string]int{
			"encryption":                      34,
			"symmetric keys are never loaded": 20,
			"the random numbers of a smart card; the key itself is well-formed": 1,
		}},
	} {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			var ran tally
			left := map[string]int{}
			for _, group := range vectorsOf(t, file).Groups {
				var key webKey
				if err := json.Unmarshal(group.JWK, &key); err != nil {
					t.Fatal(err)
				}
				if len(key.Keys) > 0 {
					key = key.Keys[0] // the others are symmetric
				}
				private := key.loaded()
				for _, v := range group.Tests {
					if v.JWS == nil {
						left["encryption"]++
						continue
					}
					if why := leftOut(key, v); why != "" {
						left[why]++
						continue
					}
					valid := v.Result == "valid"
					if got := key.accepts(private, v.token()); got != valid {
						t.Errorf("%d (%s, %s): %v, want %v", v.ID, group.Comment, v.Comment, got, valid)
					}
					ran.add(valid)
				}
			}
			ran.want(t, want.ran.valid, want.ran.invalid)
			if diff := cmp.Diff(want.left, left); diff != "" {
				t.Errorf("left out (-want +got):\n%s", diff)
			}
		})
	}
}

// Letter by letter none of them is an access token of ours, whoever's key signed it: no typ, no claims.
func TestNothingOfWycheproofIsAnAccessToken(t *testing.T) {
	t.Parallel()
	ran := 0
	for _, file := range []string{"json_web_signature", "json_web_key", "json_web_crypto"} {
		for _, group := range vectorsOf(t, file).Groups {
			var key webKey
			if err := json.Unmarshal(group.JWK, &key); err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			if key.loaded() != nil {
				write(t, filepath.Join(dir, "vector.pem"), string(key.pem()))
			} else {
				copyKey(t, "test-key.pem", filepath.Join(dir, "a.pem"))
			}
			ring := open(t, dir)
			for _, v := range group.Tests {
				if v.JWS == nil { // encryption
					continue
				}
				if claims, err := ring.Verify(secret.Text(v.token()), verifiedAt); err == nil || claims != (keys.Claims{}) {
					t.Errorf("%s %d: accepted with %+v", file, v.ID, claims)
				}
				ran++
			}
		}
	}
	if ran != 476 {
		t.Errorf("%d vectors ran, want 476", ran)
	}
}

// A token's parts have one spelling each, here too where others allow more.
func TestWycheproofsBase64(t *testing.T) {
	t.Parallel()
	var ran tally
	for _, group := range vectorsOf(t, "json_web_signature").Groups {
		if group.Comment != "base64" {
			continue
		}
		for _, v := range group.Tests {
			valid := v.Result == "valid"
			switch v.ID {
			case 367, 370: // byte for byte the good one, 357
				valid = true
			case 372, 373: // a question mark amid the text (RFC 7515 §2: no additional characters)
				valid = false
			}
			if got := keys.Parts(v.token()) != nil; got != valid {
				t.Errorf("%d (%s): %v, want %v", v.ID, v.Comment, got, valid)
			}
			ran.add(valid)
		}
	}
	ran.want(t, 7, 14)
}

// keyFile is one with a private key, and with its public half where the vector has one.
type keyFile struct {
	text, public string
	weak         bool // it has a small exponent
}

// keyFilesOf returns all private keys of a file of vectors, each in all of its forms.
func keyFilesOf(t *testing.T, file string) []keyFile {
	t.Helper()
	var all []keyFile
	seen := map[string]bool{"": true}
	add := func(k keyFile) {
		if !seen[k.text] {
			seen[k.text] = true
			all = append(all, k)
		}
	}
	for _, group := range vectorsOf(t, file).Groups {
		for _, v := range group.Tests {
			add(keyFile{text: v.Private})
		}
		if group.PKCS1 != "" {
			pkcs8 := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: fromHex(t, group.PKCS8)})
			weak := slices.Contains(group.Tests[0].Flags, "SmallPublicKey")
			add(keyFile{group.PKCS1, group.PEM, weak})
			add(keyFile{string(pkcs8), group.PEM, weak})
		}
	}
	return all
}

// Left out: what is wrong with public keys of other kinds than RSA, which are never loaded.
func TestWycheproofsPrivateKeys(t *testing.T) {
	t.Parallel()
	for _, want := range []struct {
		file, refused string
		count         int
	}{
		{"rsa_pkcs1_1024_sig_gen", "1024 bits", 10},
		{"rsa_pkcs1_1536_sig_gen", "1536 bits", 8},
		{"rsa_pkcs1_2048_sig_gen", "", 16},
		{"rsa_pkcs1_3072_sig_gen", "", 10},
		{"rsa_pkcs1_4096_sig_gen", "", 6},
		{"ecdh_secp256r1_pem", "", 34},
		{"ecdh_secp384r1_pem", "P-384", 23},
		{"x25519_pem", "cannot sign", 488},
	} {
		t.Run(want.file, func(t *testing.T) {
			t.Parallel()
			all := keyFilesOf(t, want.file)
			for _, key := range all {
				refused := want.refused
				if key.weak {
					refused = "exponent"
				}
				_, err := keys.ParseAny([]byte(key.text))
				if refused != "" {
					wantError(t, err, refused)
				} else if err != nil {
					t.Errorf("%v: %s", err, key.text)
				}
				if key.public == "" {
					continue
				}
				if _, err := keys.ReadShopKey(secret.Text(key.text), key.public); (err == nil) != (refused == "") {
					t.Errorf("as a shop's pair: %v", err)
				}
			}
			if len(all) != want.count {
				t.Errorf("%d keys, want %d", len(all), want.count)
			}
		})
	}
}
