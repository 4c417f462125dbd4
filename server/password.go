package server

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"

	"github.com/glueauth/glueauth/config/secret"
)

const (
	maxPassword  = 4096 // bytes; longer ones are never valid (spec §5)
	bcryptBytes  = 72   // what bcrypt looks at
	bcryptLength = 60   // of a hash
	newCost      = 12   // of hashes that we make, as the shop's own (spec §5)
	maxCost      = 16   // one step more takes longer than a request may
	maxArgonMem  = 1 << 20
	maxArgonTime = 64
)

// possiblePassword reports whether a password can be right at all (spec §5).
func possiblePassword(p secret.Text) bool { return p != "" && len(p) <= maxPassword }

// verifiable reports whether a hash is one that we can verify at a bearable cost: bcrypt up to cost 16, argon2i, argon2id.
func verifiable(hash secret.Text) bool {
	if strings.HasPrefix(hash.Reveal(), "$argon2") {
		_, ok := parseArgon2(hash.Reveal())
		return ok
	}
	cost, err := bcrypt.Cost([]byte(hash.Reveal()))
	return err == nil && cost <= maxCost && len(hash) == bcryptLength
}

// matches reports whether a password belongs to a stored hash: bcrypt ($2a$, $2b$, $2y$) and argon2i or argon2id, as
// PHP's password_verify and Symfony's hasher do it (spec §5). The caller has seen to it that the password is possible and the hash verifiable.
func matches(hash, password secret.Text) bool {
	if strings.HasPrefix(hash.Reveal(), "$argon2") {
		parsed, ok := parseArgon2(hash.Reveal())
		return ok && parsed.matches(password)
	}
	return bcrypt.CompareHashAndPassword([]byte(hash.Reveal()), bcryptInput(password)) == nil
}

// bcryptInput is Symfony's replacement for passwords that bcrypt would cut: those above 72 bytes or with a NUL byte.
func bcryptInput(p secret.Text) []byte {
	b := []byte(p.Reveal())
	if len(b) <= bcryptBytes && bytes.IndexByte(b, 0) < 0 {
		return b
	}
	sum := sha512.Sum512(b)
	return []byte(base64.StdEncoding.EncodeToString(sum[:]))
}

// argon2Hash is a hash in PHP's form $argon2id$v=19$m=65536,t=4,p=1$SALT$HASH.
type argon2Hash struct {
	variant        string
	memory, rounds uint32 // KiB; passes
	threads        uint8
	salt, digest   []byte
}

// parseArgon2 reads an argon2 hash. Parameters beyond a gibibyte or 64 passes are refused: nobody's password needs them,
// and a worker would be lost to them.
func parseArgon2(text string) (h argon2Hash, ok bool) {
	part := strings.Split(text, "$")
	if len(part) != 6 || part[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return h, false
	}
	h.variant = part[1]
	if _, err := fmt.Sscanf(part[3], "m=%d,t=%d,p=%d", &h.memory, &h.rounds, &h.threads); err != nil {
		return h, false
	}
	var err1, err2 error
	h.salt, err1 = base64.RawStdEncoding.DecodeString(part[4])
	h.digest, err2 = base64.RawStdEncoding.DecodeString(part[5])
	known := h.variant == "argon2i" || h.variant == "argon2id"
	possible := known && h.memory <= maxArgonMem && h.rounds >= 1 && h.rounds <= maxArgonTime && h.threads >= 1
	return h, possible && errors.Join(err1, err2) == nil && len(h.digest) >= 16 && len(h.digest) <= 128
}

func (h argon2Hash) matches(password secret.Text) bool {
	derive := argon2.IDKey
	if h.variant == "argon2i" {
		derive = argon2.Key
	}
	key := derive([]byte(password.Reveal()), h.salt, h.rounds, h.memory, h.threads, uint32(len(h.digest))) //nolint:gosec // at most 128
	return hmac.Equal(key, h.digest)
}

// HashPassword returns a bcrypt hash ($2y$, cost 12) that the shop itself would accept too. Its error says what is wrong
// with the password.
func HashPassword(password secret.Text) (secret.Text, error) {
	if !possiblePassword(password) {
		return "", errors.New("a password must have 1 to 4096 bytes")
	}
	input := bcryptInput(password)
	hash, err := bcrypt.GenerateFromPassword(input[:min(len(input), bcryptBytes)], newCost) // PHP cuts silently, Go refuses
	if err != nil {
		return "", fmt.Errorf("hash password: %w", err)
	}
	return secret.Text("$2y$" + strings.TrimPrefix(string(hash), "$2a$")), nil
}
