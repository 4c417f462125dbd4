package redisstore

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/glueauth/glueauth/store"
)

// keys returns the customer's key and the session's.
func keys(subject store.Subject, name store.SessionName) []string {
	kind := map[store.SubjectKind]string{store.SubjectCustomer: "c", store.SubjectAgent: "a", store.SubjectGuest: "g"}[subject.Kind]
	return keysOf(kind, subject.ID, name)
}

func keysOf(kind string, id int64, name store.SessionName) []string {
	customer := "glueauth:{" + kind + ":" + strconv.FormatInt(id, 10) + "}"
	return []string{customer, customer + ":" + name.String()}
}

// seconds is d for the scripts, whose clock has whole seconds: a part of a second makes no difference to any of them.
func seconds(d time.Duration) int64 { return int64(d / time.Second) }

// joined returns the scopes as they stand in a record, separated by spaces. No scope has one (RFC 6749 §3.3).
func joined(scopes []string) (string, error) {
	for _, scope := range scopes {
		if scope == "" || strings.ContainsAny(scope, " \t\r\n\v\f") {
			return "", errors.New("a scope is empty or has a space in it")
		}
	}
	return strings.Join(scopes, " "), nil
}

// reader reads the answer of a script. After a value that is not as it must be, bad is set.
type reader struct {
	values []any
	bad    bool
}

func (r *reader) number(i int) int64 {
	if i < len(r.values) {
		if n, ok := r.values[i].(int64); ok {
			return n
		}
	}
	r.bad = true
	return 0
}

func (r *reader) text(i int) string {
	if i < len(r.values) {
		if s, ok := r.values[i].(string); ok {
			return s
		}
	}
	r.bad = true
	return ""
}

// packed is a visitor as it stands in a record.
func packed(v store.Visitor) []byte {
	address := v.Address.As16()
	return append(address[:], v.Agent[:min(len(v.Agent), store.AgentLength)]...)
}

func (r *reader) visitor(i int) (v store.Visitor) {
	text := r.text(i)
	if len(text) < addressSize {
		r.bad = true
		return v
	}
	return store.Visitor{Address: addressIn(text[:addressSize]), Agent: text[addressSize:]}
}

const addressSize = 16

// addressIn reads 16 bytes: IPv4 as mapped, and zero for none.
func addressIn(text string) netip.Addr {
	if a := netip.AddrFrom16([addressSize]byte([]byte(text))); !a.IsUnspecified() {
		return a.Unmap()
	}
	return netip.Addr{}
}

// result is the answer of rotate.lua to a rotation.
type result struct {
	store.RotateResult

	ended, again bool      // of a refused one: whether its session has ended, and whether that was just now or not long ago
	at           time.Time // of one that succeeded
}

// answered reads the answer to a rotation, and reports whether it is one.
func answered(values []any, in store.Rotation) (out result, usable bool) {
	r := reader{values: values}
	out.Outcome, out.Cause = store.Outcome(r.text(0)), store.Cause(r.text(1))
	if out.Outcome.Succeeded() {
		out.at = time.UnixMicro(r.number(6))
	}
	switch {
	case out.Outcome.Succeeded() && in.SignOut == store.SignOutAll:
	case out.Outcome.Succeeded():
		generation := r.number(2)
		out.Generation = uint32(generation) //nolint:gosec // checked below
		r.bad = r.bad || generation < 1 || generation > store.MaxGeneration
		out.ExpiresAt = time.Unix(r.number(3), 0).UTC()
		out.Scopes = strings.Fields(r.text(4))
		out.Sub = r.text(5)
	case out.Outcome == store.Reused:
		out.Other = r.visitor(3)
		out.ended, out.again = r.number(2) > 0, r.number(2) == 1
	case out.Outcome == store.Refused, out.Outcome == store.OtherClient, out.Outcome == store.ScopeRefused, out.Outcome == store.Discarded:
		out.ended, out.again = r.number(2) > 0, r.number(2) == 1
	default:
		r.bad = true
	}
	return out, !r.bad
}
