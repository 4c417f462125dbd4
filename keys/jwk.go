package keys

import (
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
)

// modulusAndExponent encodes the public members as RFC 7518 §6.3.1 asks: unpadded, without leading zero bytes.
func modulusAndExponent(public *rsa.PublicKey) (n, e string) {
	encode := base64.RawURLEncoding.EncodeToString
	return encode(public.N.Bytes()), encode(big.NewInt(int64(public.E)).Bytes())
}

// thumbprint is the key id: RFC 7638 §3, SHA-256.
func thumbprint(public *rsa.PublicKey) string {
	n, e := modulusAndExponent(public)
	sum := sha256.Sum256(fmt.Appendf(nil, `{"e":%q,"kty":"RSA","n":%q}`, e, n))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// jwkSet writes by hand, since no member can need escaping and the bytes must be the same everywhere.
func jwkSet(all []key) []byte {
	jwks := make([]string, 0, len(all))
	for _, k := range all {
		n, e := modulusAndExponent(&k.private.PublicKey)
		jwks = append(jwks, fmt.Sprintf(`{"kty":"RSA","use":"sig","alg":%q,"kid":%q,"n":%q,"e":%q}`, k.method.Alg(), k.kid, n, e))
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
// An empty kid means the signing key for pem and spki, and all keys for jwks. An unknown format or kid is an error.
func (r *Ring) Export(format, kid string) ([]byte, error) {
	chosen := r.keys
	if kid != "" {
		chosen = nil
		for _, k := range r.keys {
			if k.kid == kid {
				chosen = []key{k}
			}
		}
	}
	if len(chosen) == 0 {
		return nil, fmt.Errorf("no key has the kid %q; see `glueauth keys list`", kid)
	}
	if format == "jwks" {
		return append(jwkSet(chosen), '\n'), nil
	}
	der, err := x509.MarshalPKIXPublicKey(&chosen[0].private.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("encode the public key %s: %w", chosen[0].kid, err)
	}
	switch format {
	case "pem":
		return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
	case "spki":
		return []byte(base64.StdEncoding.EncodeToString(der) + "\n"), nil
	default:
		return nil, fmt.Errorf("export format %q is unknown; use pem, spki or jwks", format)
	}
}
