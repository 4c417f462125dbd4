package storetest

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/glueauth/glueauth/store"
)

const (
	minute = time.Minute
	hour   = time.Hour
	day    = 24 * time.Hour
)

// clock is the store's clock, in milliseconds.
type clock struct{ atomic.Int64 }

func (c *clock) now() time.Time          { return time.UnixMilli(c.Load()).UTC() }
func (c *clock) advance(d time.Duration) { c.Add(d.Milliseconds()) }

func newClock() *clock {
	c := new(clock)
	c.Store(time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC).UnixMilli())
	return c
}

// whole is the second that the clock shows.
func (c *clock) whole() time.Time { return store.Whole(c.now()) }

// kit is a store under test and the suite's ways to use it.
type kit struct {
	store Sessions
	clock *clock
	first uint64 // of its names and customers; no other kit has the 2²⁰ from there
	names atomic.Uint64
}

func newKit(s Sessions, c *clock) *kit {
	var random [8]byte
	rand.Read(random[:])
	return &kit{store: s, clock: c, first: binary.BigEndian.Uint64(random[:]) >> 8 &^ (1<<20 - 1)}
}

// session is one sign-in, as its customer sees it.
type session struct {
	*kit
	in   store.SignIn
	got  store.SignedIn
	shop time.Time // expiry of the shop's token, zero for a session of our own
}

// option changes a refresh request.
type option func(*store.Rotation)

// from has the request come from a device other than 1, that of the sign-ins, and from its address.
func from(device byte) option {
	return func(r *store.Rotation) { r.Device, r.From = store.DeviceMark{device}, visitor(device) }
}

func visitor(device byte) store.Visitor {
	address := netip.AddrFrom4([4]byte{192, 0, 2, device})
	if device%2 == 0 {
		address = netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 15: device})
	}
	return store.Visitor{Address: address, Agent: fmt.Sprintf("Browser/%d", device)}
}

func keyed(key byte) option {
	return func(r *store.Rotation) { r.RetryKey = store.RetryDigest{key} }
}

// saying has the presented token expire at a time of its own.
func saying(expiry time.Time) option {
	return func(r *store.Rotation) { r.Expires = expiry }
}

func anotherClient(r *store.Rotation) { r.Client = "app" }

func scope(scopes ...string) option {
	return func(r *store.Rotation) { r.ScopeGiven, r.Scopes = true, append([]string{}, scopes...) }
}

func narrowing(r *store.Rotation) { r.NarrowScopes = true }

func observing(r *store.Rotation) { r.ReuseKeepsAlive = true }

func rejoin(window time.Duration) option {
	return func(r *store.Rotation) { r.Windows.Rejoin = window }
}

func (k *kit) signOut(which store.SignOut) option {
	return func(r *store.Rotation) { r.SignOut, r.FreshEpoch = which, k.epoch() }
}

func (k *kit) others() option { return k.signOut(store.SignOutOthers) }

func (k *kit) all() option { return k.signOut(store.SignOutAll) }

// name returns a session name that no other sign-in has.
func (k *kit) name() store.SessionName {
	var n store.SessionName
	binary.BigEndian.PutUint64(n[8:], k.first+k.names.Add(1))
	return n
}

// epoch returns an epoch that no other subject has.
func (k *kit) epoch() store.Epoch {
	name := k.name()
	return store.Epoch(name[8:])
}

// signIn returns a sign-in of a customer of its own at the usual settings.
func (k *kit) signIn() store.SignIn {
	name := k.name()
	return store.SignIn{
		Name: name, Subject: store.Subject{Kind: store.SubjectCustomer, ID: int64(binary.BigEndian.Uint64(name[8:]))},
		Client: "frontend", Scopes: []string{"customer", "orders"},
		Password: store.PasswordMark{7}, Device: store.DeviceMark{1}, From: visitor(1), FreshEpoch: k.epoch(),
		Lifetime: 31 * day, MaxLife: 365 * day, MaxOpen: 200,
	}
}

func (k *kit) open(t *testing.T, in store.SignIn) *session {
	t.Helper()
	got, err := k.store.Open(t.Context(), in)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	return &session{kit: k, in: in, got: got}
}

// sibling signs the same customer in once more.
func (s *session) sibling(t *testing.T) *session {
	t.Helper()
	in := s.in
	in.Name, in.FreshEpoch = s.name(), s.epoch()
	return s.open(t, in)
}

// request returns the usual request to refresh generation g, from the device of the sign-in and without a retry key.
func (s *session) request(g uint32, options ...option) store.Rotation {
	r := store.Rotation{
		Name: s.in.Name, Subject: s.in.Subject, Generation: g, Client: s.in.Client,
		Password: s.in.Password, SubMark: store.SubMark{5}, Device: s.in.Device, From: s.in.From, Lifetime: s.in.Lifetime,
		Windows: store.Windows{Replay: minute, Rejoin: 7 * day, LateRetry: 7 * day, Concurrency: 10 * time.Second},
	}
	for _, o := range options {
		o(&r)
	}
	return r
}

func (s *session) refresh(t *testing.T, g uint32, options ...option) store.RotateResult {
	t.Helper()
	result, err := s.store.Rotate(t.Context(), s.request(g, options...))
	if err != nil {
		t.Fatalf("refresh of generation %d: %v", g, err)
	}
	return result
}

// want fails the test unless the refresh has this outcome and hands out this generation, 0 for none.
func (s *session) want(t *testing.T, outcome store.Outcome, generation uint32, got store.RotateResult) {
	t.Helper()
	if got.Outcome != outcome || got.Generation != generation {
		t.Fatalf("%s %d (%s), want %s %d", got.Outcome, got.Generation, got.Cause, outcome, generation)
	}
	if outcome.Succeeded() == got.ExpiresAt.IsZero() {
		t.Fatalf("%s expires at %v", outcome, got.ExpiresAt)
	}
}

// lives fails the test unless generation g can be exchanged.
func (s *session) lives(t *testing.T, g uint32) {
	t.Helper()
	s.want(t, store.Rotated, g+1, s.refresh(t, g))
}

// dead fails the test unless the session was ended for that cause.
func (s *session) dead(t *testing.T, g uint32, cause store.Cause) {
	t.Helper()
	same(t, "a dead session", store.RotateResult{Outcome: store.Refused, Cause: cause}, s.refresh(t, g))
}

// gone fails the test unless all of these sessions were signed out with the rest.
func gone(t *testing.T, all ...*session) {
	t.Helper()
	for _, s := range all {
		s.dead(t, 1, store.CauseEpoch)
	}
}

func (s *session) end(t *testing.T, cause store.Cause) bool {
	t.Helper()
	return s.endAs(t, store.Ending{Cause: cause, From: visitor(8)})
}

func (s *session) endAs(t *testing.T, e store.Ending) bool {
	t.Helper()
	e.Subject, e.Name = s.in.Subject, s.in.Name
	ended, err := s.store.End(t.Context(), e)
	if err != nil {
		t.Fatalf("end: %v", err)
	}
	return ended
}

func (k *kit) endAll(t *testing.T, subject store.Subject, cause store.Cause) {
	t.Helper()
	err := k.store.EndAll(t.Context(), store.EndingAll{Subject: subject, FreshEpoch: k.epoch(), Cause: cause, From: visitor(8)})
	if err != nil {
		t.Fatalf("end all: %v", err)
	}
}

// look returns the session as it stands.
func (s *session) look(t *testing.T) store.Snapshot {
	t.Helper()
	e, err := s.store.Session(t.Context(), s.in.Subject, s.in.Name)
	if err != nil {
		t.Fatalf("look: %v", err)
	}
	return e
}

// state fails the test unless the session is in this state, which is empty for a living one.
func (s *session) state(t *testing.T, want store.Cause) {
	t.Helper()
	if got, _ := s.look(t).State(s.clock.now()); got != want {
		t.Errorf("its state is %q, want %q", got, want)
	}
}

func isUnavailable(err error) bool { return errors.Is(err, store.ErrUnavailable) }

func diff(want, got any) string {
	if reflect.DeepEqual(want, got) {
		return "" // as nearly always, and in a tenth of the time
	}
	return cmp.Diff(want, got, cmpopts.EquateEmpty(), cmpopts.EquateComparable(netip.Addr{}))
}

func same(t *testing.T, what string, want, got any) {
	t.Helper()
	if diff := diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}
