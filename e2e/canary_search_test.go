package e2e_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// mark begins every secret that a test makes, so that one that was cut short is found too.
const mark = "cAnArYsecret"

// secrets collects what must never be written, by name.
type secrets struct {
	t      *testing.T
	values map[string]string
	told   strings.Builder // what was answered to requests that were refused, and by commands
}

func newSecrets(t *testing.T) *secrets {
	t.Helper()
	return &secrets{t: t, values: map[string]string{"beginning of a secret": mark}}
}

// make makes a secret and remembers it under its name.
func (s *secrets) make(name string) string {
	for s.values[name] != "" {
		name += " again"
	}
	s.values[name] = mark + rand.Text()
	return s.values[name]
}

// addPEM remembers a private key: each line of its file, and each of its numbers.
func (s *secrets) addPEM(name string, text []byte) {
	s.t.Helper()
	for i, line := range strings.Fields(string(text)) {
		if len(line) >= 32 {
			s.values[fmt.Sprintf("%s, line %d", name, i)] = line
		}
	}
	block, _ := pem.Decode(text)
	if block == nil {
		s.t.Fatalf("%s: no PEM", name)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if block.Type == "RSA PRIVATE KEY" {
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	}
	if err != nil {
		s.t.Fatalf("%s: %v", name, err)
	}
	s.addKey(name, key)
}

func (s *secrets) addKey(name string, key crypto.PrivateKey) {
	s.t.Helper()
	var numbers []*big.Int
	switch k := key.(type) {
	case *rsa.PrivateKey:
		numbers = []*big.Int{k.D, k.Primes[0], k.Primes[1]}
	case *ecdsa.PrivateKey:
		raw, err := k.Bytes()
		if err != nil {
			s.t.Fatal(err)
		}
		s.values[name+", scalar"] = string(raw)
		numbers = []*big.Int{new(big.Int).SetBytes(raw)}
	case ed25519.PrivateKey:
		s.values[name+", seed"] = string(k.Seed())
	default:
		s.t.Fatalf("%s: %T", name, key)
	}
	for i, n := range numbers {
		s.values[fmt.Sprintf("%s, number %d", name, i)] = string(n.Bytes())
		s.values[fmt.Sprintf("%s, number %d in decimal", name, i)] = n.String()
	}
}

// search fails the test for every secret that stands in one of the places, in any form.
func (s *secrets) search(places map[string]string) {
	s.t.Helper()
	for place, text := range places {
		for _, name := range found(text, s.values) {
			s.t.Errorf("%s holds the %s", place, name)
		}
	}
}

// found returns the names of the secrets that stand in text, in one of their forms.
func found(text string, secrets map[string]string) (names []string) {
	for name, secret := range secrets {
		if slices.ContainsFunc(forms(secret), func(form string) bool { return strings.Contains(text, form) }) {
			names = append(names, name)
		}
	}
	return names
}

// forms returns a secret as it is, hexadecimal, URL-escaped, in base64 at any offset, and as Go prints it: quoted, as a list of
// bytes, and as the arguments of a function in a stack.
func forms(secret string) []string {
	all := []byte(secret)
	out := []string{
		secret, url.QueryEscape(secret), url.PathEscape(secret), hex.EncodeToString(all), strings.ToUpper(hex.EncodeToString(all)),
		strings.Trim(strconv.Quote(secret), `"`), strings.Trim(fmt.Sprintf("%d", all), "[]"), inStack(all),
	}
	for offset := range 3 { // of the secret in what was encoded
		raw := append(make([]byte, offset), secret...)
		raw = raw[:len(raw)/3*3]
		skip := min(offset, 1) * 4
		out = append(out, base64.StdEncoding.EncodeToString(raw)[skip:], base64.URLEncoding.EncodeToString(raw)[skip:])
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// inStack is how an array of bytes stands in a stack, where it is cut off after a few.
func inStack(secret []byte) string {
	var all []string
	for _, b := range secret[:min(len(secret), 7)] {
		all = append(all, fmt.Sprintf("%#x", b))
	}
	return strings.Join(all, ", ")
}

func TestTheSearchFindsEveryFormOfASecret(t *testing.T) {
	t.Parallel()
	secret := mark + rand.Text() + "/&\x00\xff"
	quoted := []byte(secret)
	hidden := map[string]string{
		"raw": secret, "hexadecimal": fmt.Sprintf("%x", quoted), "upper case": fmt.Sprintf("%X", quoted), "URL": "p=" + url.QueryEscape(secret),
		"base64": base64.StdEncoding.EncodeToString(quoted), "base64url": base64.RawURLEncoding.EncodeToString(quoted),
		"Basic of one": basic("a", secret), "Basic of two": basic("ab", secret), "Basic of three": basic("abc", secret),
		"path": url.PathEscape(secret), "quoted": fmt.Sprintf("%q", secret), "bytes": fmt.Sprintf("%d", quoted), "stack": "main.f({" + inStack(quoted) + ", ...})",
	}
	for name := range maps.Keys(hidden) {
		if diff := cmp.Diff([]string{"it"}, found("x "+hidden[name]+" y", map[string]string{"it": secret})); diff != "" {
			t.Errorf("%s is not found", name)
		}
	}
	if names := found(strings.Repeat("nothing ", 9), map[string]string{"it": secret}); len(names) > 0 {
		t.Errorf("found in nothing: %v", names)
	}
	for offset := range 3 { // also one that was cut short
		cut := base64.RawStdEncoding.EncodeToString([]byte("123"[:offset] + secret[:20]))
		if names := found(cut, map[string]string{"beginning": mark}); len(names) != 1 {
			t.Errorf("the beginning at offset %d is not found", offset)
		}
	}
}

func TestTheSearchFindsEveryFormOfAKey(t *testing.T) {
	t.Parallel()
	key, err1 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	der, err2 := x509.MarshalPKCS8PrivateKey(key)
	scalar, err3 := key.Bytes()
	if err1 != nil || err2 != nil || err3 != nil {
		t.Fatal(err1, err2, err3)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	for name, hidden := range map[string]string{
		"file": string(text), "DER": string(der), "hexadecimal": hex.EncodeToString(scalar), "JWK": base64.RawURLEncoding.EncodeToString(scalar),
		"number": new(big.Int).SetBytes(scalar).String(), "without lines": base64.StdEncoding.EncodeToString(der),
	} {
		s := newSecrets(t)
		s.addPEM("key", text)
		if len(found("x "+hidden+" y", s.values)) == 0 {
			t.Errorf("%s is not found", name)
		}
		if !bears(hidden, &key.PublicKey) && name != "number" {
			t.Errorf("%s: the scalar is not recognised by the public key", name)
		}
	}
}

// bears reports whether the private scalar of a P-256 key that only its owner knows stands in text, raw in DER, in hexadecimal or in base64.
func bears(text string, public *ecdsa.PublicKey) bool {
	const size, begin = 32, "\x04\x20" // OCTET STRING of 32 bytes
	is := func(raw []byte) bool {
		key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), raw)
		return err == nil && key.PublicKey.Equal(public)
	}
	for rest, ok := text, true; ok; {
		if _, rest, ok = strings.Cut(rest, begin); len(rest) >= size && ok && is([]byte(rest[:size])) {
			return true
		}
	}
	other := func(r rune) bool {
		return r > 'z' || !strings.ContainsRune("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_", r)
	}
	inOneLine := strings.NewReplacer(`\n`, "", "\n", "").Replace(text)
	for run := range strings.FieldsFuncSeq(inOneLine, other) {
		for _, raw := range decodings(run) {
			for i := range max(0, len(raw)-size+1) {
				if is(raw[i : i+size]) {
					return true
				}
			}
		}
	}
	return false
}

// decodings returns what a run of letters and digits may stand for.
func decodings(run string) (all [][]byte) {
	if len(run) < 43 || len(run) > 4096 {
		return nil
	}
	if raw, err := hex.DecodeString(run); err == nil {
		return append(all, raw)
	}
	run = strings.NewReplacer("-", "+", "_", "/").Replace(run)
	for offset := range 4 {
		part := run[offset:]
		if len(part)%4 == 1 {
			part = part[:len(part)-1]
		}
		if raw, err := base64.RawStdEncoding.DecodeString(part); err == nil {
			all = append(all, raw)
		}
	}
	return all
}
