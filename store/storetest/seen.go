package storetest

import (
	"context"
	"errors"
	"testing"

	"github.com/glueauth/glueauth/store"
)

// list returns what SessionsOf says, each of which must be as Session says.
func (k *kit) list(t *testing.T, subject store.Subject) (all []store.Snapshot) {
	t.Helper()
	all, record, err := k.store.SessionsOf(t.Context(), subject)
	if err != nil {
		t.Fatal(err)
	}
	alone, err := k.store.Record(t.Context(), subject)
	if err != nil {
		t.Error(err)
	}
	same(t, "the record alone", record, alone)
	for i, e := range all {
		same(t, "the record beside a session", record, e.Record)
		one, err := k.store.Session(t.Context(), subject, e.Name)
		if err != nil {
			t.Error(err)
		}
		same(t, "a session of the list", one, e)
		if i > 0 && e.StartedAt.After(all[i-1].StartedAt) {
			t.Errorf("session %d started at %v, the one before at %v", i, e.StartedAt, all[i-1].StartedAt)
		}
	}
	return all
}

func testSessionsOf(t *testing.T, k *kit) {
	in := k.signIn()
	if all, record, err := k.store.SessionsOf(t.Context(), in.Subject); err != nil || len(all) != 0 || record != nil {
		t.Errorf("nobody: %+v, %+v, %v", all, record, err)
	}
	if record, err := k.store.Record(t.Context(), in.Subject); err != nil || record != nil {
		t.Errorf("nobody's record: %+v, %v", record, err)
	}
	stranger := k.signIn()
	stranger.Subject.Kind, stranger.Subject.ID = store.SubjectGuest, in.Subject.ID
	k.open(t, stranger)
	sessions, states := k.thirty(t, in)
	all := k.list(t, in.Subject)
	got := map[store.SessionName]store.Cause{}
	for _, e := range all {
		got[e.Name], _ = e.State(k.clock.now())
	}
	for _, early := range sessions[:5] { // that these ended may be forgotten
		delete(got, early.in.Name)
	}
	same(t, "the states of all that live and of the last eight that ended", states, got)
	same(t, "asked twice", all, k.list(t, in.Subject))

	capped := in
	capped.Name, capped.MaxOpen = k.name(), 1
	last := k.open(t, capped)
	sessions[29].state(t, store.CauseTooMany)
	k.list(t, in.Subject)
	last.want(t, rotated, 2, last.refresh(t, 1, k.others()))
	if all := k.list(t, in.Subject); len(all) == 0 || all[0].Name != last.in.Name {
		t.Errorf("%d sessions, of which the one that signed the others out is not the first", len(all))
	}
	k.endAll(t, in.Subject, store.CauseOperator)
	for _, e := range k.list(t, in.Subject) {
		if cause, _ := e.State(k.clock.now()); cause == "" {
			t.Errorf("session %s lives", e.Name)
		}
	}
}

// thirty signs a customer in thirty times and ends some of those sessions. It returns the states of all that must be known.
func (k *kit) thirty(t *testing.T, in store.SignIn) (sessions []*session, states map[store.SessionName]store.Cause) {
	t.Helper()
	for range 30 {
		sessions = append(sessions, k.open(t, in))
		in.Name = k.name()
		k.clock.advance(minute)
	}
	states = map[store.SessionName]store.Cause{}
	for i, s := range sessions {
		if cause := s.endSomehow(t, i); i >= 5 || cause == "" {
			states[s.in.Name] = cause
		}
		k.clock.advance(second)
	}
	return sessions, states
}

// endSomehow ends the first five of thirty sessions and the last eight that it ends in various ways, and returns how.
func (s *session) endSomehow(t *testing.T, i int) store.Cause {
	t.Helper()
	cause := store.Cause("")
	switch {
	case i >= 20 && i%2 == 0:
		cause = store.CauseRevoked
		s.end(t, cause)
	case i == 21:
		cause = store.CauseReuse
		s.want(t, reuse, 0, s.refresh(t, 0))
	case i == 23:
		cause = store.CausePassword
		s.refresh(t, 1, func(r *store.Rotation) { r.Password[0]++ })
	case i == 25:
		cause = store.CauseBlocked
		s.end(t, cause)
	case i < 5:
		cause = store.CauseOperator
		s.end(t, cause)
	default:
		s.lives(t, 1)
	}
	return cause
}

func testLocate(t *testing.T, k *kit) {
	s, ended := k.open(t, k.signIn()), k.open(t, k.signIn())
	guest := k.signIn()
	guest.Subject.Kind = store.SubjectGuest
	ended.end(t, store.CauseRevoked)
	short := k.signIn()
	short.Lifetime = minute
	expired := k.open(t, short)
	k.clock.advance(hour)
	for _, s := range []*session{s, ended, expired, k.open(t, guest)} {
		if got, err := k.store.Locate(t.Context(), s.in.Name); err != nil || got != s.in.Subject {
			t.Errorf("%v, %v, want %v", got, err, s.in.Subject)
		}
	}
	if got, err := k.store.Locate(t.Context(), k.name()); !errors.Is(err, store.ErrNotFound) || isUnavailable(err) {
		t.Errorf("nobody's: %v, %v", got, err)
	}
	for _, absent := range []store.Subject{{Kind: store.SubjectAgent, ID: s.in.Subject.ID}, {Kind: store.SubjectCustomer, ID: s.in.Subject.ID + 1}} {
		if got, err := k.store.Session(t.Context(), absent, s.in.Name); !errors.Is(err, store.ErrNotFound) || isUnavailable(err) {
			t.Errorf("of another: %+v, %v", got, err)
		}
	}
	if got, err := k.store.Session(t.Context(), s.in.Subject, k.name()); !errors.Is(err, store.ErrNotFound) || isUnavailable(err) {
		t.Errorf("with another name: %+v, %v", got, err)
	}
}

// testRemembered : what has expired can still be looked at for a day. Then it goes, at the latest with the next sweep of a
// store that has sweeps.
func testRemembered(t *testing.T, k *kit) {
	in := k.signIn()
	in.Lifetime = hour
	s := k.open(t, in)
	s.lives(t, 1)
	ended := s.sibling(t)
	ended.end(t, store.CauseRevoked)
	before, ends := s.look(t), ended.look(t)
	swept, sweeps := k.store.(interface {
		Sweep(ctx context.Context) (int, error)
	})
	sweep := func() {
		t.Helper()
		if !sweeps {
			return
		}
		if _, err := swept.Sweep(t.Context()); err != nil {
			t.Error(err)
		}
	}
	k.clock.advance(hour)
	s.state(t, store.CauseExpired)
	k.clock.advance(store.Remembered - second)
	sweep()
	same(t, "an expired one", before.Session, s.look(t).Session)
	same(t, "an ended one", ends.Session, ended.look(t).Session)
	s.state(t, store.CauseExpired)
	ended.state(t, store.CauseRevoked)
	s.dead(t, 2, store.CauseExpired)
	if all, _, err := k.store.SessionsOf(t.Context(), in.Subject); err != nil || len(all) != 2 {
		t.Errorf("%d sessions, %v", len(all), err)
	}
	if s.end(t, store.CauseOperator) {
		t.Error("ended what has expired")
	}
	if !sweeps {
		return // its own tests hold its server to it
	}
	k.clock.advance(second)
	sweep()
	for _, s := range []*session{s, ended} {
		if got, err := k.store.Session(t.Context(), in.Subject, s.in.Name); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("a day later: %+v, %v", got, err)
		}
	}
}
