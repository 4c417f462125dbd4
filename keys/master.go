package keys

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/glueauth/glueauth/config/secret"
)

const masterBytes = 32

// Master is the secret from which the server's other secrets are derived. It prints as [secret.Redacted].
// It is immutable and safe for concurrent use.
//
// It can be several keys, each with the number from which on it counts: what is derived with a number comes from the key
// with the highest one that is not above it. So a further key changes nothing that was derived before.
type Master struct{ keys []masterKey } // the newest first; the last one counts from 1

type masterKey struct {
	from   byte
	secret *[masterBytes]byte // a pointer, so that printing a struct around a Master shows an address; nil: closed
	until  time.Time          // from then on it is not needed any more; zero: nobody has asked
	marks  *closedMarks       // of a closed one
}

func oneMaster(data []byte) *Master {
	return &Master{[]masterKey{{from: 1, secret: (*[masterBytes]byte)(data)}}}
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
		return oneMaster(data), nil
	}
	m, err := ParseMaster(secret.Text(strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")))
	if err != nil {
		return nil, fmt.Errorf("master key file %s holds neither 32 raw bytes nor their text, nor several keys with their numbers (it has %d bytes); restore it from a backup",
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
// URL alphabet, padded or not (RFC 4648 §4, §5, §8). Several keys are such texts with their numbers before them, the newest
// first, separated by line breaks or commas, like 10:TEXT,1:TEXT; [CloseMaster] adds to them. The error shows nothing of the
// text.
func ParseMaster(text secret.Text) (*Master, error) {
	if !strings.Contains(text.Reveal(), ":") {
		return parseOne(text)
	}
	m := &Master{}
	for part := range strings.FieldsFuncSeq(text.Reveal(), func(r rune) bool { return r == ',' || r == '\n' }) {
		digits, rest, _ := strings.Cut(strings.TrimSuffix(part, "\r"), ":")
		number, err := strconv.ParseUint(digits, 10, 8)
		one, keyErr := parseNumbered(rest)
		if err != nil || keyErr != nil || number == 0 || len(m.keys) > 0 && byte(number) >= m.keys[len(m.keys)-1].from {
			return nil, errMasters
		}
		one.from = byte(number)
		m.keys = append(m.keys, one)
	}
	if len(m.keys) == 0 || m.keys[len(m.keys)-1].from != 1 || m.keys[0].secret == nil {
		return nil, errMasters
	}
	return m, nil
}

var errMasters = errors.New("several master keys must be NUMBER:KEY each, the newest with the highest number first and the last one with number 1; restore them from a backup")

func parseOne(text secret.Text) (*Master, error) {
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
	return oneMaster(data), nil
}

// Derive returns n bytes for one purpose: HKDF with SHA-256 (RFC 5869), no salt, and purpose followed by number as info.
// Different purposes or numbers give unrelated bytes. n is from 1 to 8160. Of a closed key it is [ErrClosed] but for what
// marks are made with.
func (m *Master) Derive(purpose string, number byte, n int) ([]byte, error) {
	if n < 1 {
		return nil, fmt.Errorf("derive %d bytes for %s: ask for at least one", n, purpose)
	}
	of := m.keyOf(number)
	if of.secret == nil {
		return of.mark(purpose, max(number, 1), n)
	}
	derived, err := hkdf.Key(sha256.New, of.secret[:], nil, purpose+string([]byte{number}), n)
	if err != nil {
		return nil, fmt.Errorf("derive %d bytes for %s: %w", n, purpose, err)
	}
	return derived, nil
}

// keyOf returns the key with the highest number that is not above this one.
func (m *Master) keyOf(number byte) masterKey {
	return m.keys[slices.IndexFunc(m.keys, func(k masterKey) bool { return k.from <= max(number, 1) })]
}

// from returns the number from which on the key counts that a number means.
func (m *Master) from(number byte) byte { return m.keyOf(number).from }

// Number returns the number from which on the newest key counts; 1 where there is one only.
func (m *Master) Number() byte { return m.keys[0].from }

// Numbers returns those of all keys, the newest first.
func (m *Master) Numbers() []byte {
	var all []byte
	for _, k := range m.keys {
		all = append(all, k.from)
	}
	return all
}

// RotateMaster puts a further key before those in the file, in one step, and returns the number from which on it counts:
// the next multiple of ten above used, the highest number that is in use, and above the newest key's. The margin is for
// numbers that settings elsewhere have.
func RotateMaster(path string, used byte, random io.Reader) (number byte, err error) {
	m, release, err := openToChange(path)
	if err != nil {
		return 0, err
	}
	defer release()
	const step, most = 10, 255
	next := (int(max(used, m.Number()))/step + 1) * step
	if next > most {
		return 0, fmt.Errorf("the master keys in %s have used all %d numbers; start anew with `glueauth keys accept-master`, which signs everybody out", path, most)
	}
	fresh := masterKey{from: byte(next), secret: new([masterBytes]byte)}
	if _, err := io.ReadFull(random, fresh.secret[:]); err != nil {
		return 0, fmt.Errorf("read randomness for the master key: %w", err)
	}
	return fresh.from, replaceFile(path, textOf(append([]masterKey{fresh}, m.keys...)))
}

// openToChange opens the master key of a file that can be replaced, which nobody else changes until it is released.
func openToChange(path string) (_ *Master, release func(), err error) {
	if info, err := os.Lstat(path); err == nil && info.Mode()&fs.ModeSymlink != 0 {
		return nil, nil, fmt.Errorf("%s is a link; change the file behind it, or where it comes from", path)
	}
	if _, err := OpenMaster(path); err != nil { // without a lock beside what is no master key
		return nil, nil, err
	}
	if release, err = lock(path+".lock", true); err != nil {
		return nil, nil, err
	}
	m, err := OpenMaster(path)
	if err != nil {
		release()
		return nil, nil, err
	}
	return m, release, nil
}

// Format implements [fmt.Formatter], so that no verb shows the secret.
func (Master) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(secret.Redacted)) }

// LogValue implements [slog.LogValuer].
func (Master) LogValue() slog.Value { return slog.StringValue(secret.Redacted) }

// MarshalText implements [encoding.TextMarshaler], which encoding/json uses too.
func (Master) MarshalText() ([]byte, error) { return []byte(secret.Redacted), nil }
