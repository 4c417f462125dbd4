package keys

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/golang-jwt/jwt/v5"
)

// defaultAlgorithm is that of an RSA key about which nothing is written down, and of a client that names none.
const defaultAlgorithm = "RS256"

// algorithm is one way to sign (RFC 7518 §3.1, RFC 8037 §3.1).
type algorithm struct {
	name     string
	method   jwt.SigningMethod
	kind     string // kty of its keys
	generate func(random io.Reader) (crypto.Signer, error)
}

// algorithms is the table; the first one of a kind is what a key of that kind signs with unless the manifest says otherwise.
func algorithms() []algorithm {
	newRSA := func(random io.Reader) (crypto.Signer, error) { return rsa.GenerateKey(random, minBits) }
	newEC := func(random io.Reader) (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P256(), random) }
	newEd := func(random io.Reader) (crypto.Signer, error) {
		_, private, err := ed25519.GenerateKey(random)
		return private, err
	}
	return []algorithm{
		{defaultAlgorithm, jwt.SigningMethodRS256, kindRSA, newRSA},
		{"PS256", strictPSS(), kindRSA, newRSA},
		{"ES256", jwt.SigningMethodES256, kindEC, newEC},
		{"EdDSA", jwt.SigningMethodEdDSA, kindOKP, newEd},
	}
}

// strictPSS is PS256 with a salt as long as the hash (RFC 7518 §3.5); the library's own one verifies salts of any length.
func strictPSS() jwt.SigningMethod {
	usual := jwt.SigningMethodPS256
	return &jwt.SigningMethodRSAPSS{SigningMethodRSA: usual.SigningMethodRSA, Options: usual.Options}
}

// Algorithms returns the names of the algorithms that keys sign with; the first one is the default.
func Algorithms() []string {
	var names []string
	for _, a := range algorithms() {
		names = append(names, a.name)
	}
	return names
}

// algorithmNamed finds a row of the table.
func algorithmNamed(name string) (algorithm, error) {
	all := algorithms()
	if i := slices.IndexFunc(all, func(a algorithm) bool { return a.name == name }); i >= 0 {
		return all[i], nil
	}
	return algorithm{}, fmt.Errorf("algorithm %q is unknown; use %s", name, strings.Join(Algorithms(), ", "))
}

// generate makes a key for the algorithm.
func generate(name string, random io.Reader) (key, error) {
	a, err := algorithmNamed(name)
	if err != nil {
		return key{}, err
	}
	private, err := a.generate(random)
	if err != nil {
		return key{}, fmt.Errorf("generate a key for %s: %w", name, err)
	}
	k := newKey(private, "")
	k.use(a)
	return k, nil
}
