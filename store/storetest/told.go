package storetest

import (
	"testing"
	"time"

	"github.com/glueauth/glueauth/store"
)

// entry is what the timeline is to hold about a call of now.
func (k *kit) entry(what store.Happening, g uint32, device byte, count uint16) store.Entry {
	return store.Entry{At: k.clock.whole(), What: what, Generation: g, Address: visitor(device).Address, Count: count}
}

// testTimeline : each call that changes a session adds a line; the same one again only counts the newest up, and the twelve
// newest stay.
func testTimeline(t *testing.T, k *kit) {
	s := k.open(t, k.signIn())
	var want []store.Entry
	told := func(what store.Happening, g uint32, device byte, count uint16) {
		t.Helper()
		want = append(want, k.entry(what, g, device, count))
		same(t, "the timeline", want, s.look(t).Timeline)
	}
	same(t, "after the sign-in", want, s.look(t).Timeline)
	s.lives(t, 1)
	told(store.WasRotated, 1, 1, 1)
	k.clock.advance(second)
	s.refresh(t, 1, from(2))
	told(store.WasReplayed, 1, 2, 1)
	for n := range uint16(3) {
		k.clock.advance(10 * second)
		s.want(t, replayed, 2, s.refresh(t, 1, from(2)))
		want = want[:1]
		told(store.WasReplayed, 1, 2, n+2)
	}
	s.refresh(t, 1, from(3))
	told(store.WasReplayed, 1, 3, 1)
	k.clock.advance(-minute)
	s.refresh(t, 1, from(2))
	told(store.WasReplayed, 1, 2, 1)
	k.clock.advance(hour)
	s.want(t, displaced, 3, s.refresh(t, 1, from(2)))
	told(store.WasDisplaced, 1, 2, 1)
	s.want(t, healed, 9, s.refresh(t, 8, from(5)))
	told(store.WasHealed, 8, 5, 1)
	k.clock.advance(hour)
	s.refresh(t, 1, from(4), observing)
	told(store.WasReused, 1, 4, 1)
	s.refresh(t, 1, from(4), observing)
	want = want[:len(want)-1]
	told(store.WasReused, 1, 4, 2)
	s.refresh(t, 9, from(5), k.others())
	want = append(want, k.entry(store.WasRotated, 9, 5, 1))
	told(store.SignedOthers, 9, 5, 1)
	s.refresh(t, 9, from(5), k.others())
	want = append(want, k.entry(store.WasReplayed, 9, 5, 1))
	told(store.SignedOthers, 9, 5, 1)
	s.refresh(t, 9, keyed(4))
	s.refresh(t, 10, anotherClient)
	s.refresh(t, 10, scope("admin"))
	s.endAs(t, store.Ending{Client: "app", Cause: store.CauseRevoked})
	same(t, "what was refused", want, s.look(t).Timeline)

	for g := uint32(10); g < 30; g++ {
		k.clock.advance(second)
		s.lives(t, g)
		want = append(want, k.entry(store.WasRotated, g, 1, 1))
		want = want[max(0, len(want)-store.TimelineLength):]
		same(t, "the newest ones", want, s.look(t).Timeline)
	}
	s.endAs(t, store.Ending{Cause: store.CauseOperator})
	same(t, "the last ones", append(want[1:], store.Entry{At: k.clock.whole(), What: store.Ended, Count: 1}), s.look(t).Timeline)
}

// testDeadTimeline : why a session ended can be told from its record, and whoever comes later changes nothing in it.
func testDeadTimeline(t *testing.T, k *kit) {
	far := func(r *store.Rotation) { r.Lifetime = 60 * day }
	for name, c := range map[string]struct {
		end  func(s *session)
		want store.Cause
		line *store.Entry // nil: nothing was written
	}{
		"stolen":          {func(s *session) { s.refresh(t, 1, from(2)) }, store.CauseReuse, &store.Entry{What: store.WasReused, Generation: 1, Address: visitor(2).Address}},
		"a dead token":    {func(s *session) { s.refresh(t, 0, from(2)) }, store.CauseReuse, &store.Entry{What: store.WasReused, Address: visitor(2).Address}},
		"revoked":         {func(s *session) { s.end(t, store.CauseRevoked) }, store.CauseRevoked, &store.Entry{What: store.Ended, Address: visitor(8).Address}},
		"by an operator":  {func(s *session) { s.endAs(t, store.Ending{Cause: store.CauseOperator}) }, store.CauseOperator, &store.Entry{What: store.Ended}},
		"signed out":      {func(s *session) { s.refresh(t, 3, from(2), k.all()) }, store.CauseAll, &store.Entry{What: store.Ended, Address: visitor(2).Address}},
		"by another":      {func(s *session) { s.sibling(t).refresh(t, 1, from(2), k.others()) }, store.CauseEpoch, nil},
		"and used":        {func(s *session) { k.endAll(t, s.in.Subject, store.CauseBlocked); s.refresh(t, 3, from(3)) }, store.CauseEpoch, &store.Entry{What: store.Ended, Address: visitor(3).Address}},
		"another word":    {func(s *session) { s.refresh(t, 3, from(2), func(r *store.Rotation) { r.Password[0]++ }) }, store.CausePassword, &store.Entry{What: store.Ended, Address: visitor(2).Address}},
		"no successor":    {func(s *session) { s.refresh(t, store.MaxGeneration, from(2)) }, store.CauseExhausted, &store.Entry{What: store.Ended, Address: visitor(2).Address}},
		"expired":         {func(*session) { k.clock.advance(60 * day) }, store.CauseExpired, nil},
		"expired, ended":  {func(s *session) { k.clock.advance(60 * day); k.endAll(t, s.in.Subject, store.CauseBlocked) }, store.CauseExpired, nil},
		"expired, stolen": {func(s *session) { k.clock.advance(60 * day); s.refresh(t, 1, from(2)) }, store.CauseExpired, nil},
	} {
		s := k.open(t, k.signIn())
		s.refresh(t, 1, far)
		s.refresh(t, 2, far)
		k.clock.advance(hour)
		before := s.look(t)
		c.end(s)
		after := s.look(t)
		s.state(t, c.want)
		want := before.Timeline
		if c.line != nil {
			c.line.At, c.line.Count = k.clock.whole(), 1
			want = append(want, *c.line)
			same(t, name+": ended at", k.clock.whole(), after.EndedAt)
		}
		same(t, name+": the timeline", want, after.Timeline)
		same(t, name+": the last visitor", before.Last, after.Last)
		if c.line == nil && name == "by another" {
			continue // whoever comes first leaves a line
		}
		for g := range uint32(5) {
			s.refresh(t, g, from(7))
		}
		s.end(t, store.CauseOperator)
		same(t, name+": after the end", after, s.look(t))
	}
	capped := k.signIn()
	s := k.open(t, capped)
	capped.Name, capped.MaxOpen, capped.From = k.name(), 1, visitor(2)
	k.open(t, capped)
	s.state(t, store.CauseTooMany)
	same(t, "above the cap", []store.Entry{k.entry(store.Ended, 0, 2, 1)}, s.look(t).Timeline)
}

// testVisitors : the first visitor is that of the sign-in, the last one whoever was answered with a token last.
func testVisitors(t *testing.T, k *kit) {
	s := k.open(t, k.signIn())
	last := func(device byte) {
		t.Helper()
		e := s.look(t)
		same(t, "first", visitor(1), e.First)
		same(t, "last", visitor(device), e.Last)
	}
	last(1)
	s.refresh(t, 1, from(2))
	last(2)
	s.want(t, replayed, 2, s.refresh(t, 1, from(3)))
	last(3)
	k.clock.advance(hour)
	s.want(t, displaced, 3, s.refresh(t, 1, from(4)))
	last(4)
	s.want(t, healed, 8, s.refresh(t, 7, from(5)))
	last(5)
	s.want(t, rotated, 9, s.refresh(t, 8, from(6), k.others()))
	last(6)
	s.refresh(t, 1, from(7)) // shut
	s.refresh(t, 9, from(7), anotherClient)
	s.refresh(t, 9, from(7), scope("admin"))
	last(6)
	s.lives(t, 9)
	last(1)
	k.clock.advance(hour)
	same(t, "theft", store.RotateResult{Outcome: reuse, Cause: store.CauseReuse, Other: visitor(1)}, s.refresh(t, 9, from(8), keyed(1), rejoin(0), late(0)))
	last(1)

	unknown := k.signIn()
	unknown.From = store.Visitor{}
	s = k.open(t, unknown)
	same(t, "an unknown one", store.Visitor{}, s.look(t).First)
	long := store.Visitor{Address: visitor(2).Address, Agent: "Mozilla/5.0 (Windows NT 10.0; Wi"}
	s.refresh(t, 1, func(r *store.Rotation) { r.From = long })
	same(t, "a long name", long, s.look(t).Last)
	s.refresh(t, 2, func(r *store.Rotation) { r.From = store.Visitor{} })
	same(t, "unknown again", store.Visitor{}, s.look(t).Last)
}

func late(window time.Duration) option {
	return func(r *store.Rotation) { r.Windows.LateRetry = window }
}
