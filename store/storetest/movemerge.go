package storetest

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/glueauth/glueauth/store"
)

// testMerge compares a target with [store.Snapshot.Merge] in small random worlds: one session that it has, one that comes.
func testMerge(t *testing.T, m *move) {
	rapid.Check(t, func(rt *rapid.T) {
		in := m.signIn()
		there := m.draw(rt, in, "there")
		came := m.draw(rt, in, "came")
		var have *store.Session
		want := map[store.SessionName]store.Snapshot{}
		if rapid.Bool().Draw(rt, "known") {
			take(t, m.b, there)
			have = &there.Session
		} else {
			there = store.Snapshot{}
		}
		write, record := came.Merge(have, there.Record, m.clock.now())
		expect := store.ImportResult{Kept: 1}
		switch {
		case write && have == nil:
			expect = store.ImportResult{Added: 1}
		case write:
			expect = store.ImportResult{Updated: 1}
		}
		if write {
			there.Session = came.Session
		}
		if record != nil {
			there.Record = record
		}
		want[in.Name] = there
		if diff := diff(expect, take(t, m.b, came)); diff != "" {
			rt.Fatalf("there %+v, came %+v: %s", there, came, diff)
		}
		got := map[store.SessionName]store.Snapshot{in.Name: export(t, m.b)[in.Name]}
		if diff := diff(want, got); diff != "" {
			rt.Fatalf("came %+v: %s", came, diff)
		}
	})
}

// draw returns an unexpired session out of few that are possible, so that two of them often meet.
func (m *move) draw(t *rapid.T, in store.SignIn, label string) store.Snapshot {
	small := func(what string, low, high uint32) uint32 {
		return rapid.Uint32Range(low, high).Draw(t, label+" "+what)
	}
	now := store.Whole(m.clock.now())
	e := store.Snapshot{Session: store.Session{
		Name: in.Name, Subject: in.Subject, Client: in.Client, Scopes: in.Scopes, Password: in.Password, Device: in.Device,
		Epoch: store.Epoch{byte(small("epoch", 1, 3))}, Base: small("base", 0, 2), Cur: small("generation", 2, 4),
		Replays: small("replays", 0, 2), StartedAt: now, RotatedAt: now.Add(second * time.Duration(small("rotated", 0, 2))),
		ExpiresAt: now.Add(hour * time.Duration(small("expiry", 1, 3))), EndsAt: now.Add(day),
	}}
	e.First, e.Last, e.Shut = visitor(1), visitor(byte(small("last", 1, 3))), small("shut", 0, 2)
	for g := range small("lines", 0, 3) {
		e.Timeline = append(e.Timeline, store.Entry{At: now, What: store.WasRotated, Generation: g, Address: e.Last.Address, Count: 1})
	}
	if small("ended", 0, 3) == 0 {
		e.EndedAt, e.Cause = now, store.CauseBlocked
	}
	if small("record", 0, 4) > 0 {
		e.Record = &store.SubjectRecord{
			Epoch:     store.Epoch{byte(small("subject's epoch", 1, 3))},
			ExpiresAt: e.ExpiresAt.Add(hour * time.Duration(small("subject's expiry", 0, 2))),
		}
		if n := small("floor", 0, 3); n > 0 {
			e.Record.Floor = now.Add(-hour * time.Duration(n))
			e.Record.FloorCause, e.Record.FloorFrom = store.CauseOperator, visitor(byte(small("floor from", 0, 2))).Address
		}
	}
	return e
}

// testSignOutsMove : what was ended at once in either store is dead in both after a move, and it is known why.
func testSignOutsMove(t *testing.T, m *move) {
	s, other := m.open(t, m.signIn()), m.open(t, m.signIn())
	run(t, m.a, m.b)
	m.clock.advance(minute)
	m.endAll(t, s.in.Subject, store.CauseBlocked)
	left := other.sibling(t)
	other.want(t, rotated, 2, other.refresh(t, 1, m.others()))
	run(t, m.a, m.b)
	same(t, "the record", s.look(t).Record, s.at(m.b).look(t).Record)
	s.at(m.b).state(t, store.CauseBlocked)
	s.at(m.b).dead(t, 1, store.CauseEpoch)
	left.at(m.b).dead(t, 1, store.CauseEpoch)
	moved := other.at(m.b)
	same(t, "the session that goes on", other.look(t), moved.look(t))
	moved.want(t, replayed, 2, moved.refresh(t, 1))
	moved.lives(t, 2)
	same(t, "a copy of what is shut", store.RotateResult{Outcome: store.Refused, Cause: store.CauseEpoch}, moved.refresh(t, 1))
	run(t, m.a, m.b) // the source is older now
	moved.lives(t, 3)

	m.clock.advance(minute)
	there := s.at(m.b).sibling(t)
	there.endAll(t, s.in.Subject, store.CauseOperator)
	run(t, m.a, m.b)
	there.state(t, store.CauseOperator)
	same(t, "the floor is the later one", m.clock.whole(), there.look(t).Record.Floor)
}

// testFullLines : a line of the timeline counts as far as its two bytes go; what happens next gets another.
func testFullLines(t *testing.T, m *move) {
	s := m.open(t, m.signIn())
	s.lives(t, 1)
	e := s.look(t)
	e.Cur, e.Base = 3, 2 // further on than there
	e.Timeline = []store.Entry{m.entry(store.WasReplayed, 2, 3, 1<<16-2)}
	e.Uses[2] = e.Uses[1]
	take(t, m.a, e)
	for range 3 {
		s.want(t, replayed, 3, s.refresh(t, 2, from(3)))
	}
	want := []store.Entry{m.entry(store.WasReplayed, 2, 3, 1<<16-1), m.entry(store.WasReplayed, 2, 3, 2)}
	same(t, "the timeline", want, s.look(t).Timeline)
}
