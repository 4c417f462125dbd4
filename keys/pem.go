package keys

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
)

const (
	minBits     = 2048  // RFC 7518 §3.3
	minExponent = 65537 // small exponents have a history of broken verifiers
)

// errWeak says that a key is a sound one, but too weak.
var errWeak = errors.New("give an RSA key of 2048 bits or more with exponent 65537")

// parseRSA is [parsePEM] for an RSA key.
func parseRSA(data []byte) (*rsa.PrivateKey, error) {
	parsed, err := parsePEM(data)
	if err != nil {
		return nil, err
	}
	private, ok := parsed.(*rsa.PrivateKey)
	if !ok {
		return nil, errors.New("is not an RSA key; give an RSA key of 2048 bits or more")
	}
	return private, nil
}

// parsePEM reads a file that holds one private key and nothing else: RSA, P-256 or Ed25519. No error shows any part of data.
func parsePEM(data []byte) (crypto.Signer, error) {
	begin := []byte("-----BEGIN ")
	switch count := bytes.Count(data, begin); {
	case count == 0:
		return nil, errors.New("holds no PEM block; give a private key that begins with -----BEGIN PRIVATE KEY-----")
	case count > 1:
		return nil, errors.New("holds several PEM blocks; keep one private key, and nothing else, in each file")
	}
	data = bytes.TrimSpace(data)
	block, rest := pem.Decode(data)
	if block == nil {
		return nil, errors.New("is cut off or damaged; restore it from a backup")
	}
	if !bytes.HasPrefix(data, begin) || len(rest) > 0 {
		return nil, errors.New("holds text outside its PEM block; keep only the lines from BEGIN to END")
	}
	parsed, err := parseBlock(block)
	if err != nil {
		return nil, err
	}
	switch private := parsed.(type) {
	case *rsa.PrivateKey:
		if err := checkStrength(private); err != nil {
			return nil, err
		}
		return private, nil
	case *ecdsa.PrivateKey:
		if private.Curve != elliptic.P256() {
			return nil, fmt.Errorf("has the curve %s; give a key on P-256", private.Curve.Params().Name)
		}
		return private, nil
	case ed25519.PrivateKey:
		return private, nil
	}
	return nil, errors.New("cannot sign; give an RSA key of 2048 bits or more, or one on P-256 or Ed25519")
}

func parseBlock(block *pem.Block) (any, error) {
	if block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "" {
		return nil, errors.New("is encrypted; store it decrypted (openssl pkey -in OLD -out NEW) and guard it by its mode")
	}
	var parse func([]byte) (any, error)
	switch block.Type {
	case "PRIVATE KEY":
		parse = x509.ParsePKCS8PrivateKey
	case "RSA PRIVATE KEY":
		parse = func(der []byte) (any, error) { return x509.ParsePKCS1PrivateKey(der) }
	case "CERTIFICATE", "PUBLIC KEY", "RSA PUBLIC KEY":
		return nil, errors.New("is a certificate or a public key; give the private key that belongs to it")
	case "DSA PRIVATE KEY":
		return nil, errors.New("is not an RSA key; give an RSA key of 2048 bits or more")
	default:
		return nil, errors.New("is neither PKCS#8 nor PKCS#1; convert it with openssl pkey -in OLD -out NEW")
	}
	// The standard library's PKCS#8 parser does not look behind the key.
	var outer asn1.RawValue
	if rest, err := asn1.Unmarshal(block.Bytes, &outer); err == nil && len(rest) > 0 {
		return nil, errors.New("holds bytes behind its key; restore it from a backup")
	}
	parsed, err := parse(block.Bytes)
	if err != nil {
		// The parsers' own errors show bytes of the file, and advise programmers.
		return nil, errors.New("holds no valid private key; restore it from a backup or convert it with openssl pkey -in OLD -out NEW")
	}
	return parsed, nil
}

func checkStrength(private *rsa.PrivateKey) error {
	if bits := private.N.BitLen(); bits < minBits {
		return fmt.Errorf("has only %d bits; %w", bits, errWeak)
	}
	if private.E < minExponent || private.E%2 == 0 {
		return fmt.Errorf("has the public exponent %d; %w", private.E, errWeak)
	}
	return nil
}
