package keys

import "crypto/rsa"

// Thumbprint lets the tests hold the key id against the RFC's own example, whose private half is not published.
func Thumbprint(public *rsa.PublicKey) string { return thumbprint(public) }

// ParsePEM lets the fuzz target reach the parser without a file.
func ParsePEM(data []byte) (*rsa.PrivateKey, error) { return parsePEM(data) }
