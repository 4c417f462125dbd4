package server

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/keys"
	"github.com/glueauth/glueauth/store"
)

// refreshToken is what a refresh token says. Its wire form is grt_ and the base64url of 54 bytes:
//
//	1 MAC key number ‖ 1 subject kind ‖ 8 subject id ‖ 16 session id ‖ 4 generation ‖ 4 expiry ‖ 20 MAC
//
// The MAC is HMAC-SHA256 over everything before it, cut to 160 bits (RFC 6749 §10.10). Since 54 is a multiple of three
// there are no spare bits: each token has exactly one spelling. Garbage, forged and expired tokens are refused without
// touching a store, and the successor of a token need not be kept to be given out again.
type refreshToken struct {
	subject    store.Subject
	session    [16]byte // random, stands in the token only
	generation uint32
	expiresAt  time.Time // whole seconds
	// shop is what a shop's token says, which is generation 0; nil for one of ours.
	shop *shopToken
}

const (
	refreshPrefix   = "grt_"
	refreshBody     = 34
	refreshMAC      = 20
	refreshLength   = len(refreshPrefix) + (refreshBody+refreshMAC)/3*4
	macKeyPurpose   = "refresh-token"
	derivedKeyBytes = 32
)

var (
	errNotOurs = errors.New("not a refresh token of this server")
	errExpired = errors.New("refresh token expired")
	// errOtherClient is of a shop's token only; that one of ours is another client's, the store says.
	errOtherClient = errors.New("refresh token of another client")
	errNewerKey    = errors.New("refresh token made with a newer mac key than this process has: raise refresh.mac_key, or start it again with the newest master key")
)

// name returns the name of the session's record.
func (t refreshToken) name() store.SessionName {
	sum := sha256.Sum256(t.session[:])
	return store.SessionName(sum[:16])
}

// codec writes and reads refresh tokens. It writes with one key and reads with all of them, so that the number can
// be raised replica by replica: what a replica ahead has written is no verdict for one behind ([errNewerKey]), and what was
// written before dies by its own expiry, one lifetime later.
type codec struct {
	keys   [][]byte // the key of number n is keys[n-1], nil where its master key was closed
	number byte     // of the key that it writes with
}

// newCodec returns a codec that writes with the key of this number, 1 to 255. It reads those of the newest master key too, so
// that no process meets a token that it cannot read once all of them have that key.
func newCodec(master *keys.Master, number byte) (codec, error) {
	c := codec{number: number}
	for n := range max(number, master.Number()) {
		key, err := master.Derive(macKeyPurpose, n+1, derivedKeyBytes)
		if err != nil && (n+1 == number || !errors.Is(err, keys.ErrClosed)) {
			return codec{}, err
		}
		c.keys = append(c.keys, key)
	}
	return c, nil
}

func (c codec) encode(t refreshToken) secret.Text {
	b := make([]byte, 0, refreshBody+refreshMAC)
	b = append(b, c.number, byte(t.subject.Kind))
	b = binary.BigEndian.AppendUint64(b, uint64(t.subject.ID)) //nolint:gosec // the same 64 bits back and forth
	b = append(b, t.session[:]...)
	b = binary.BigEndian.AppendUint32(b, t.generation)
	b = binary.BigEndian.AppendUint32(b, uint32(t.expiresAt.Unix())) //nolint:gosec // up to the year 2106
	b = append(b, c.mac(c.number, b)...)
	return secret.Text(refreshPrefix + base64.RawURLEncoding.EncodeToString(b))
}

// decode returns what a token says, or errNotOurs or errNewerKey; beside errExpired too. It needs no store.
func (c codec) decode(text secret.Text, now time.Time) (refreshToken, error) {
	encoded, ok := strings.CutPrefix(text.Reveal(), refreshPrefix)
	if !ok || len(text) != refreshLength || strings.ContainsAny(encoded, "\r\n") {
		return refreshToken{}, errNotOurs
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(encoded)
	if err != nil {
		return refreshToken{}, errNotOurs
	}
	if int(b[0]) > len(c.keys) {
		return refreshToken{}, fmt.Errorf("%w (number %d)", errNewerKey, b[0])
	}
	if !c.made(b) {
		return refreshToken{}, errNotOurs
	}
	t := refreshToken{
		subject:    store.Subject{Kind: store.SubjectKind(b[1]), ID: int64(binary.BigEndian.Uint64(b[2:]))}, //nolint:gosec // see encode
		session:    [16]byte(b[10:26]),
		generation: binary.BigEndian.Uint32(b[26:]),
		expiresAt:  time.Unix(int64(binary.BigEndian.Uint32(b[30:])), 0).UTC(),
	}
	if t.subject.Kind != store.SubjectCustomer || t.generation == 0 || t.generation > store.MaxGeneration {
		return refreshToken{}, errNotOurs
	}
	if !now.Before(t.expiresAt) {
		return t, errExpired
	}
	return t, nil
}

// made reports whether the MAC of a token is by the key of its number, unless that was closed.
func (c codec) made(b []byte) bool {
	return b[0] != 0 && c.keys[b[0]-1] != nil && hmac.Equal(c.mac(b[0], b[:refreshBody]), b[refreshBody:])
}

func (c codec) mac(number byte, b []byte) []byte { return keyed(c.keys[number-1], b)[:refreshMAC] }
