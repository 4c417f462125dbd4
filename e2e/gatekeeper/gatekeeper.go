// Package gatekeeper judges access tokens as a gateway does, by a key set that it was given. It shares no code with the server.
package gatekeeper

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"time"
)

// Keys are RSA public keys by kid.
type Keys map[string]*rsa.PublicKey

// ReadKeys reads a JWK set (RFC 7517 §5) of RSA keys. A member beyond the public ones is an error.
func ReadKeys(set []byte) (Keys, error) {
	var body struct {
		Keys []map[string]string `json:"keys"`
	}
	if err := json.Unmarshal(set, &body); err != nil {
		return nil, fmt.Errorf("key set: %w", err)
	}
	all := Keys{}
	for _, k := range body.Keys {
		if members := strings.Join(slices.Sorted(maps.Keys(k)), " "); members != "alg e kid kty n use" {
			return nil, fmt.Errorf("a key has the members %s", members)
		}
		n, err1 := base64.RawURLEncoding.DecodeString(k["n"])
		e, err2 := base64.RawURLEncoding.DecodeString(k["e"])
		if err := errors.Join(err1, err2); err != nil {
			return nil, fmt.Errorf("key %s: %w", k["kid"], err)
		}
		all[k["kid"]] = &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}
	}
	return all, nil
}

// Token is a JWT with what a gateway reads in it.
type Token struct {
	Text, Kid string
	Expires   time.Time
}

// ReadToken reads a JWT in compact form (RFC 7515 §3.1) without checking it.
func ReadToken(text string) (Token, error) {
	part := strings.Split(text, ".")
	if len(part) != 3 {
		return Token{}, fmt.Errorf("a token of %d parts", len(part))
	}
	var header struct {
		Kid string `json:"kid"`
	}
	var claims struct {
		Exp float64 `json:"exp"`
	}
	for i, to := range []any{&header, &claims} {
		raw, err := base64.RawURLEncoding.DecodeString(part[i])
		if err == nil {
			err = json.Unmarshal(raw, to)
		}
		if err != nil {
			return Token{}, fmt.Errorf("a token: %w", err)
		}
	}
	return Token{text, header.Kid, time.Unix(int64(claims.Exp), 0)}, nil
}

// Verify checks the signature by RS256; a kid that is not among the keys is an error.
func (k Keys) Verify(token Token) error {
	key, ok := k[token.Kid]
	if !ok {
		return fmt.Errorf("kid %s is not among %v", token.Kid, slices.Sorted(maps.Keys(k)))
	}
	part := strings.Split(token.Text, ".")
	signature, err := base64.RawURLEncoding.DecodeString(part[2])
	if err != nil {
		return fmt.Errorf("signature: %w", err)
	}
	sum := sha256.Sum256([]byte(part[0] + "." + part[1]))
	return rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], signature) //nolint:wrapcheck // it says what is wrong
}
