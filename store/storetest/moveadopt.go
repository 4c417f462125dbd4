package storetest

import (
	"testing"

	"github.com/glueauth/glueauth/store"
)

// testAdoptedMove : what was taken over goes on elsewhere, and what has ended or expired is not taken over there.
func testAdoptedMove(t *testing.T, m *move) {
	alive, silent, ended, expired, over := m.taken(), m.taken(), m.taken(), m.taken(), m.taken()
	expired.in.Lifetime, over.in.Lifetime = hour, hour
	over.shop = m.clock.whole().Add(hour)
	for _, s := range []*session{alive, silent, ended, expired, over} {
		s.want(t, rotated, 1, s.adopt(t))
	}
	silent.want(t, rotated, 2, silent.refresh(t, 1, anotherSub))
	ended.end(t, store.CauseBlocked)
	m.clock.advance(hour)
	want := export(t, m.a)
	if n, err := m.a.Count(t.Context()); err != nil || len(want) != 4 || n != 4 && n != 5 {
		t.Errorf("exported %d, counted %d; %v", len(want), n, err)
	}
	same(t, "moved", store.ImportResult{Added: 4}, run(t, m.a, m.b))
	same(t, "the target", want, export(t, m.b))
	same(t, "moved again", store.ImportResult{Kept: 4}, run(t, m.a, m.b))

	there := alive.at(m.b)
	got := there.adopt(t)
	there.want(t, replayed, 1, got)
	same(t, "what the shop said", shopSub, got.Sub)
	same(t, "what it said and is not true any more", "", silent.at(m.b).refresh(t, 2).Sub)
	same(t, "an ended one", store.RotateResult{Outcome: store.Refused, Cause: store.CauseBlocked}, ended.at(m.b).adopt(t))
	same(t, "an expired one", store.RotateResult{Outcome: store.Refused, Cause: store.CauseExpired}, expired.at(m.b).adopt(t))

	there.want(t, rotated, 2, there.refresh(t, 1, anotherSub))
	same(t, "the way back", 1, run(t, m.b, m.a).Updated-1)
	same(t, "what the shop said, at home", "", alive.refresh(t, 2).Sub)
}
