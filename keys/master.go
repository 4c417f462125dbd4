package keys

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/glueauth/glueauth/config/secret"
)

const masterBytes = 32

// Master is the secret from which the server's other secrets are derived. It prints as [secret.Redacted].
// It is immutable and safe for concurrent use.
type Master struct {
	secret *[masterBytes]byte // a pointer, so that printing a struct around a Master shows an address
}

// OpenMaster reads the master secret from a file that no other user may reach: its 32 raw bytes, or one of the texts of
// [ParseMaster] with at most one newline at the end. An absent file is [fs.ErrNotExist]; every other error names the
// file and the remedy.
func OpenMaster(path string) (*Master, error) {
	data, err := readPrivate(path)
	if err != nil {
		return nil, err
	}
	if len(data) == masterBytes {
		return &Master{secret: (*[masterBytes]byte)(data)}, nil
	}
	m, err := ParseMaster(secret.Text(strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")))
	if err != nil {
		return nil, fmt.Errorf("master key file %s holds neither 32 raw bytes nor their text (it has %d bytes); restore it from a backup",
			path, len(data))
	}
	return m, nil
}

// CreateMaster makes the file path with 32 bytes of random and mode 0600. It makes its folder with mode 0700 when
// missing. Whatever stands at path already stays, and is [fs.ErrExist].
func CreateMaster(path string, random io.Reader) error {
	data := make([]byte, masterBytes)
	if _, err := io.ReadFull(random, data); err != nil {
		return fmt.Errorf("read randomness for the master key: %w", err)
	}
	return writeNew(path, data)
}

// ParseMaster reads the master secret from text: 64 hex digits, or the base64 of exactly 32 bytes in the standard or the
// URL alphabet, padded or not (RFC 4648 §4, §5, §8). The error shows nothing of the text.
func ParseMaster(text secret.Text) (*Master, error) {
	var data []byte
	var err error
	if s := text.Reveal(); len(s) == hex.EncodedLen(masterBytes) {
		data, err = hex.DecodeString(s)
	} else if s = strings.TrimSuffix(s, "="); len(s) == base64.RawStdEncoding.EncodedLen(masterBytes) {
		data, err = base64.RawStdEncoding.Strict().DecodeString(strings.NewReplacer("-", "+", "_", "/").Replace(s))
	}
	if err != nil || len(data) != masterBytes {
		// The decoders' errors would show the character that is wrong.
		return nil, errors.New("the master key must be 64 hex digits or the base64 of 32 bytes; make one with openssl rand -base64 32")
	}
	return &Master{secret: (*[masterBytes]byte)(data)}, nil
}

// Derive returns n bytes for one purpose: HKDF with SHA-256 (RFC 5869), no salt, and purpose followed by number as info.
// Different purposes or numbers give unrelated bytes. n is from 1 to 8160.
func (m *Master) Derive(purpose string, number byte, n int) ([]byte, error) {
	if n < 1 {
		return nil, fmt.Errorf("derive %d bytes for %s: ask for at least one", n, purpose)
	}
	derived, err := hkdf.Key(sha256.New, m.secret[:], nil, purpose+string([]byte{number}), n)
	if err != nil {
		return nil, fmt.Errorf("derive %d bytes for %s: %w", n, purpose, err)
	}
	return derived, nil
}

// Format implements [fmt.Formatter], so that no verb shows the secret.
func (Master) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(secret.Redacted)) }

// LogValue implements [slog.LogValuer].
func (Master) LogValue() slog.Value { return slog.StringValue(secret.Redacted) }

// MarshalText implements [encoding.TextMarshaler], which encoding/json uses too.
func (Master) MarshalText() ([]byte, error) { return []byte(secret.Redacted), nil }
