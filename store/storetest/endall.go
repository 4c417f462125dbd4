package storetest

import (
	"testing"

	"github.com/glueauth/glueauth/store"
)

// testEndAll : an operator ends everything of a customer. No session is touched, and none can be used.
func testEndAll(t *testing.T, k *kit) {
	s := k.open(t, k.signIn())
	all := []*session{s, s.sibling(t), s.sibling(t)}
	s.lives(t, 1)
	s.lives(t, 2)
	before := []store.Snapshot{all[0].look(t), all[1].look(t), all[2].look(t)}
	agent := k.signIn()
	agent.Subject = store.Subject{Kind: store.SubjectAgent, ID: s.in.Subject.ID}
	bystanders := []*session{k.open(t, agent), k.open(t, k.signIn())}

	k.clock.advance(hour)
	k.endAll(t, s.in.Subject, store.CauseBlocked)
	for i, one := range all {
		after := one.look(t)
		same(t, "the session", before[i].Session, after.Session)
		if r := after.Record; r == nil || r.Epoch == after.Epoch || !r.Floor.Equal(k.clock.whole()) || r.FloorCause != store.CauseBlocked || r.FloorFrom != visitor(8).Address {
			t.Errorf("the customer's record: %+v", r)
		}
		cause, since := after.State(k.clock.now())
		if cause != store.CauseBlocked || !since.Equal(k.clock.whole()) {
			t.Errorf("its state is %q since %v", cause, since)
		}
	}
	if one := all[2]; one.end(t, store.CauseOperator) {
		t.Error("ended what was signed out with the rest")
	}
	for g := range uint32(5) {
		all[0].dead(t, g, store.CauseEpoch)
	}
	gone(t, all...)
	for _, b := range bystanders {
		b.lives(t, 1)
	}

	fresh := s.sibling(t)
	fresh.lives(t, 1)
	gone(t, all...)
	k.endAll(t, s.in.Subject, store.CauseOperator)
	fresh.state(t, store.CauseOperator)
	fresh.dead(t, 2, store.CauseEpoch)
	k.clock.advance(-day)
	gone(t, all...)
	s.sibling(t).lives(t, 1)
}

// testEndAllOfNobody : a record is made where there is none, and who signs in afterwards carries its epoch.
func testEndAllOfNobody(t *testing.T, k *kit) {
	in := k.signIn()
	k.endAll(t, in.Subject, store.CauseOperator)
	all, record, err := k.store.SessionsOf(t.Context(), in.Subject)
	if err != nil || len(all) != 0 || record == nil {
		t.Fatalf("%d sessions, record %+v, %v", len(all), record, err)
	}
	want := store.SubjectRecord{
		Epoch: record.Epoch, ExpiresAt: k.clock.whole().Add(store.FloorLife),
		Floor: k.clock.whole(), FloorCause: store.CauseOperator, FloorFrom: visitor(8).Address,
	}
	same(t, "the record", want, *record)
	s := k.open(t, in)
	same(t, "the record of who signed in", record, s.look(t).Record)
	s.lives(t, 1)

	// By nobody in particular.
	err = k.store.EndAll(t.Context(), store.EndingAll{Subject: in.Subject, FreshEpoch: k.epoch(), Cause: store.CauseOperator})
	if err != nil {
		t.Fatal(err)
	}
	if r := s.look(t).Record; r.FloorFrom.IsValid() {
		t.Errorf("ended from %v", r.FloorFrom)
	}
	s.dead(t, 2, store.CauseEpoch)
}

// testFloor : a floor is kept for as long as any refresh token of a shop lives; nothing lowers the record's life.
func testFloor(t *testing.T, k *kit) {
	in := k.signIn()
	in.Lifetime = hour
	s := k.open(t, in)
	start := k.clock.whole()
	record := func() store.SubjectRecord {
		t.Helper()
		_, r, err := k.store.SessionsOf(t.Context(), in.Subject)
		if err != nil || r == nil {
			t.Fatalf("the customer's record: %+v, %v", r, err)
		}
		return *r
	}
	same(t, "signed in", start.Add(hour), record().ExpiresAt)
	k.endAll(t, in.Subject, store.CauseOperator)
	floor := record()
	same(t, "ended", start.Add(store.FloorLife), floor.ExpiresAt)
	k.clock.advance(minute)
	s = s.sibling(t)
	s.lives(t, 1)
	same(t, "a short session after it", floor, record())
	k.clock.advance(-minute)
	k.endAll(t, in.Subject, store.CauseBlocked)
	k.clock.advance(-hour)
	k.endAll(t, in.Subject, store.CauseGone)
	last := record()
	same(t, "ended while the clock was behind", floor.ExpiresAt, last.ExpiresAt)
	same(t, "its floor", start.Add(-hour), last.Floor)
	k.clock.advance(hour)

	in.Lifetime = 60 * day
	in.Name = k.name()
	s = k.open(t, in)
	same(t, "a long session", start.Add(60*day), record().ExpiresAt)
	s.want(t, rotated, 2, s.refresh(t, 1, func(r *store.Rotation) { r.Lifetime = 70 * day }))
	same(t, "refreshed", start.Add(70*day), record().ExpiresAt)
	s.want(t, rotated, 3, s.refresh(t, 2, k.others(), func(r *store.Rotation) { r.Lifetime = 80 * day }))
	same(t, "others signed out", start.Add(80*day), record().ExpiresAt)
	k.endAll(t, in.Subject, store.CauseOperator)
	last = record()
	same(t, "everything ended", start.Add(80*day), last.ExpiresAt)
	same(t, "the floor", store.CauseOperator, last.FloorCause)

	k.clock.advance(30 * day)
	in.Name, in.Lifetime = k.name(), hour
	k.open(t, in)
	same(t, "the floor thirty days later", last, record())
	k.clock.advance(50 * day)
	in.Name, in.FreshEpoch = k.name(), k.epoch()
	k.open(t, in).lives(t, 1)
	if now := record(); now.Epoch != in.FreshEpoch || !now.Floor.IsZero() || now.FloorCause != "" || now.FloorFrom.IsValid() {
		t.Errorf("a record that had expired: %+v, want a new one", now)
	}
}

func testEndingByClient(t *testing.T, k *kit) {
	s := k.open(t, k.signIn())
	before := s.look(t)
	if s.endAs(t, store.Ending{Client: "app", Cause: store.CauseRevoked}) {
		t.Error("another client ended it")
	}
	same(t, "what another client wanted to end", before, s.look(t))
	s.lives(t, 1)
	if !s.endAs(t, store.Ending{Client: s.in.Client, Cause: store.CauseRevoked, From: visitor(2)}) {
		t.Error("its own client did not end it")
	}
	s.dead(t, 2, store.CauseRevoked)
	if s.endAs(t, store.Ending{Client: s.in.Client, Cause: store.CauseRevoked}) || s.endAs(t, store.Ending{Cause: store.CauseOperator}) {
		t.Error("ended twice")
	}
	s.dead(t, 2, store.CauseRevoked)
	s.state(t, store.CauseRevoked)
}
