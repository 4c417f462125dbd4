package keys

import (
	"crypto"
	"crypto/rsa"
)

// Thumbprint lets the tests hold the key id against the RFC's own example, whose private half is not published.
func Thumbprint(public crypto.PublicKey) string { return thumbprint(public) }

// ParseAny lets the fuzz target reach the parser of a ring's keys without a file.
func ParseAny(data []byte) (crypto.Signer, error) { return parsePEM(data) }

// ParsePEM lets the fuzz target reach the parser of a shop's key without a file.
func ParsePEM(data []byte) (*rsa.PrivateKey, error) { return parseRSA(data) }
