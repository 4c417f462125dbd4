package server

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/keys"
	"github.com/glueauth/glueauth/store"
)

// marks makes the keyed hashes that a session record compares. The record then holds no address, no user agent, no
// retry key and no password hash, and its owner cannot be told from it without the master key.
type marks struct{ device, password, retry []byte }

// markKeyNumber does not roll: a mark made with another key would be another device, or another password.
const markKeyNumber = 1

func newMarks(master *keys.Master) (marks, error) {
	var m marks
	for purpose, key := range map[string]*[]byte{"device-mark": &m.device, "password-mark": &m.password, "retry-key": &m.retry} {
		derived, err := master.Derive(purpose, markKeyNumber, derivedKeyBytes)
		if err != nil {
			return marks{}, err
		}
		*key = derived
	}
	return m, nil
}

// ofDevice marks the network (IPv4 /24, IPv6 /48) and the user agent that a request came from.
func (m marks) ofDevice(address netip.Addr, userAgent string) store.DeviceMark {
	return store.DeviceMark(keyed(m.device, []byte(networkOf(address).String()+"\x00"+userAgent))[:16])
}

// networkOf returns the network that tells devices apart, the zero prefix for no address.
func networkOf(address netip.Addr) netip.Prefix {
	address = address.Unmap()
	bits := 48
	if address.Is4() {
		bits = 24
	}
	prefix, _ := address.Prefix(bits)
	return prefix
}

// visitor is where a request came from as a record keeps it: an address without its zone, and as much of the user agent
// as fits, in whole characters none of which can harm a terminal or a log line.
func visitor(address netip.Addr, userAgent string) store.Visitor {
	const enough = 4 * store.AgentLength // before it is cut again, since what cannot be printed shrinks
	agent := strings.Map(func(c rune) rune {
		if unicode.IsPrint(c) && c != unicode.ReplacementChar {
			return c
		}
		return '?'
	}, userAgent[:min(len(userAgent), enough)])
	end := min(len(agent), store.AgentLength)
	for end < len(agent) && !utf8.RuneStart(agent[end]) {
		end--
	}
	return store.Visitor{Address: address.Unmap().WithZone(""), Agent: agent[:end]}
}

// ofPassword marks the stored password hash of a customer.
func (m marks) ofPassword(c store.Customer) store.PasswordMark {
	b := binary.BigEndian.AppendUint64(nil, uint64(c.ID)) //nolint:gosec // any injective encoding of the id will do
	return store.PasswordMark(keyed(m.password, append(b, c.PasswordHash.Reveal()...))[:8])
}

// ofRetryKey returns the zero digest for no key.
func (m marks) ofRetryKey(key secret.Text) store.RetryDigest {
	if key == "" {
		return store.RetryDigest{}
	}
	return store.RetryDigest(keyed(m.retry, []byte(key.Reveal()))[:16])
}

func keyed(key, text []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(text)
	return h.Sum(nil)
}
