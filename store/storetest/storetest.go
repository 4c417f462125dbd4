// Package storetest is the contract of package store as tests: one suite for every store that keeps sessions.
//
// The suite knows a store by the three calls that the server makes and by the clock it was given, so it runs unchanged on a
// store in a file, in another process or on a network. Scripts (rows.go) walk through the rows of the rotation table one by
// one with their boundaries, rules.go holds what is true beside the table, race.go lets many ask at the same time, and
// property.go compares the store with a model (model.go) in random histories.
package storetest

import (
	"context"
	"encoding/binary"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/glueauth/glueauth/store"
)

// Sessions is what the suite tests. It is the interface of the same name in package server, which stands above this one.
type Sessions interface {
	Open(ctx context.Context, in store.SignIn) (store.SignedIn, error)
	Rotate(ctx context.Context, r store.Rotation) (store.RotateResult, error)
	End(ctx context.Context, subject store.Subject, name store.SessionName, cause store.Cause) (bool, error)
}

// Run runs the suite. open returns an empty store whose clock is now, and cleans up after the test by itself. The suite
// sets the clock forward and back, and calls it from several goroutines.
func Run(t *testing.T, open func(t *testing.T, now func() time.Time) Sessions) {
	t.Helper()
	for name, test := range map[string]func(t *testing.T, k *kit){
		"rows":                         testRows,
		"remembered uses":              testRememberedUses,
		"newest generation":            testNewestGeneration,
		"absence":                      testAbsence,
		"sign-in":                      testSignIn,
		"taken name":                   testTakenName,
		"expiry":                       testExpiry,
		"absolute end":                 testAbsoluteEnd,
		"password mark":                testPasswordMark,
		"scopes":                       testScopes,
		"untouched":                    testUntouched,
		"observed reuse":               testObservedReuse,
		"ending":                       testEnding,
		"cap":                          testCap,
		"call that nobody waits for":   testGivenUp,
		"racers with one token":        testRacers,
		"racers with different tokens": testMixedRacers,
		"ending against refreshing":    testEndAgainstRotate,
		"sign-ins against the cap":     testRacingSignIns,
		"any history":                  testModel,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := new(clock)
			c.Store(time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC).UnixMilli())
			test(t, &kit{store: open(t, c.now), clock: c})
		})
	}
}

const (
	minute = time.Minute
	hour   = time.Hour
	day    = 24 * time.Hour
)

// clock is the store's clock, in milliseconds.
type clock struct{ atomic.Int64 }

func (c *clock) now() time.Time          { return time.UnixMilli(c.Load()).UTC() }
func (c *clock) advance(d time.Duration) { c.Add(d.Milliseconds()) }

// kit is a store under test and the suite's ways to use it.
type kit struct {
	store Sessions
	clock *clock
	names atomic.Uint64
}

// session is one sign-in, as its customer sees it.
type session struct {
	*kit
	in  store.SignIn
	got store.SignedIn
}

// option changes a refresh request.
type option func(*store.Rotation)

func from(device byte) option {
	return func(r *store.Rotation) { r.Device = store.DeviceMark{device} }
}

func keyed(key byte) option {
	return func(r *store.Rotation) { r.RetryKey = store.RetryDigest{key} }
}

func client(id string) option { return func(r *store.Rotation) { r.Client = id } }

func scope(scopes ...string) option {
	return func(r *store.Rotation) { r.ScopeGiven, r.Scopes = true, append([]string{}, scopes...) }
}

func narrowing(r *store.Rotation) { r.NarrowScopes = true }

func observing(r *store.Rotation) { r.ReuseKeepsAlive = true }

func rejoin(window time.Duration) option {
	return func(r *store.Rotation) { r.Windows.Rejoin = window }
}

// name returns a session name that no other sign-in has.
func (k *kit) name() store.SessionName {
	var n store.SessionName
	binary.BigEndian.PutUint64(n[:], k.names.Add(1))
	return n
}

// signIn returns a sign-in of a customer of its own at the usual settings.
func (k *kit) signIn() store.SignIn {
	name := k.name()
	return store.SignIn{
		Name: name, Subject: store.Subject{Kind: store.SubjectCustomer, ID: int64(binary.BigEndian.Uint64(name[:]))},
		Client: "frontend", Scopes: []string{"customer", "orders"},
		Password: store.PasswordMark{7}, Device: store.DeviceMark{1}, FreshEpoch: store.Epoch{9, name[7]},
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

// request returns the usual request to refresh generation g, from the device of the sign-in and without a retry key.
func (s *session) request(g uint32, options ...option) store.Rotation {
	r := store.Rotation{
		Name: s.in.Name, Subject: s.in.Subject, Generation: g, Client: s.in.Client,
		Password: s.in.Password, Device: s.in.Device, Lifetime: s.in.Lifetime,
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
	if diff := cmp.Diff(store.RotateResult{Outcome: store.Refused, Cause: cause}, s.refresh(t, g)); diff != "" {
		t.Fatal(diff)
	}
}

func (s *session) end(t *testing.T, cause store.Cause) bool {
	t.Helper()
	ended, err := s.store.End(t.Context(), s.in.Subject, s.in.Name, cause)
	if err != nil {
		t.Fatalf("end: %v", err)
	}
	return ended
}

func isUnavailable(err error) bool { return errors.Is(err, store.ErrUnavailable) }
