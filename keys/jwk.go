package keys

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"slices"
	"strings"
)

// The kinds of keys: kty (RFC 7518 §6.1, RFC 8037 §2).
const (
	kindRSA = "RSA"
	kindEC  = "EC"
	kindOKP = "OKP"
)

// member is one member of a JWK.
type member struct{ name, value string }

// publicMembers returns the kind of a public key and the members that are its own, which together are what RFC 7638 §3.2
// hashes: of RSA the unpadded numbers without leading zero bytes (RFC 7518 §6.3.1), of P-256 the coordinates with them
// (§6.2.1), of Ed25519 the key's bytes (RFC 8037 §2). For any other key the kind is empty.
func publicMembers(public crypto.PublicKey) (kind string, own []member) {
	encode := base64.RawURLEncoding.EncodeToString
	switch p := public.(type) {
	case *rsa.PublicKey:
		return kindRSA, []member{{"n", encode(p.N.Bytes())}, {"e", encode(big.NewInt(int64(p.E)).Bytes())}}
	case *ecdsa.PublicKey:
		point, err := p.Bytes() // 4, x, y (SEC 1 §2.3.3)
		if err != nil || len(point) != 65 {
			return "", nil
		}
		return kindEC, []member{{"crv", "P-256"}, {"x", encode(point[1:33])}, {"y", encode(point[33:])}}
	case ed25519.PublicKey:
		return kindOKP, []member{{"crv", "Ed25519"}, {"x", encode(p)}}
	}
	return "", nil
}

// object writes by hand, since no member can need escaping and the bytes must be the same everywhere.
func object(members []member) string {
	var list []string
	for _, m := range members {
		list = append(list, fmt.Sprintf("%q:%q", m.name, m.value))
	}
	return "{" + strings.Join(list, ",") + "}"
}

// thumbprint is the key id: RFC 7638 §3, SHA-256.
func thumbprint(public crypto.PublicKey) string {
	kind, own := publicMembers(public)
	all := append(own, member{"kty", kind})
	slices.SortFunc(all, func(a, b member) int { return strings.Compare(a.name, b.name) })
	sum := sha256.Sum256([]byte(object(all)))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func jwkSet(all []key) []byte {
	jwks := make([]string, 0, len(all))
	for _, k := range all {
		kind, own := publicMembers(k.public)
		common := []member{{"kty", kind}, {"use", "sig"}, {"alg", k.method.Alg()}, {"kid", k.kid}}
		jwks = append(jwks, object(append(common, own...)))
	}
	return []byte(`{"keys":[` + strings.Join(jwks, ",") + `]}`)
}

func entityTag(body []byte) string {
	sum := sha256.Sum256(body)
	return `"` + base64.RawURLEncoding.EncodeToString(sum[:16]) + `"`
}

// Export returns public keys in one of three formats, each as text that ends in a newline:
//
//   - "pem": one key as PEM "PUBLIC KEY" (SubjectPublicKeyInfo, RFC 7468 §13), as a shop's public key file has it;
//   - "spki": the same structure as base64 of its DER form on one line, for gateways that take a key in a setting;
//   - "jwks": a JWK set (RFC 7517 §5).
//
// An empty kid means the first key of [Ring.JWKS] for pem and spki, and all keys for jwks. An unknown format or kid is an
// error, and so is a key that is not published any more.
func (r *Ring) Export(format, kid string) ([]byte, error) {
	chosen := r.view().published
	if kid != "" {
		chosen = slices.DeleteFunc(slices.Clone(chosen), func(k key) bool { return k.kid != kid })
	}
	if len(chosen) == 0 {
		return nil, fmt.Errorf("no key has the kid %q; see `glueauth keys list`", kid)
	}
	if format == "jwks" {
		return append(jwkSet(chosen), '\n'), nil
	}
	der, err := chosen[0].spki()
	if err != nil {
		return nil, err
	}
	switch format {
	case "pem":
		return publicPEM(der), nil
	case "spki":
		return []byte(base64.StdEncoding.EncodeToString(der) + "\n"), nil
	default:
		return nil, fmt.Errorf("export format %q is unknown; use pem, spki or jwks", format)
	}
}

// PEM returns all keys of [Ring.JWKS] in its order as [Ring.Export] returns one, those that are gone not among them.
func (r *Ring) PEM() ([]byte, error) {
	var all []byte
	for _, k := range r.view().published {
		der, err := k.spki()
		if err != nil {
			return nil, err
		}
		all = append(all, publicPEM(der)...)
	}
	return all, nil
}

// spki returns the public key in its DER form.
func (k key) spki() ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(k.public)
	if err != nil {
		return nil, fmt.Errorf("encode the public key %s: %w", k.kid, err)
	}
	return der, nil
}

func publicPEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}
