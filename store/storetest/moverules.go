package storetest

import (
	"context"
	"testing"

	"github.com/glueauth/glueauth/store"
)

func testThereAndBack(t *testing.T, m *move) {
	n := m.fill(t)
	want := export(t, m.a)
	if count, err := m.a.Count(t.Context()); err != nil || count != n || len(want) != n {
		t.Fatalf("%d sessions, %d of them exported, want %d; %v", count, len(want), n, err)
	}
	same(t, "first move", store.ImportResult{Added: n}, run(t, m.a, m.b))
	same(t, "the target", want, export(t, m.b))
	same(t, "second move", store.ImportResult{Kept: n}, run(t, m.a, m.b))
	same(t, "the target after the second move", want, export(t, m.b))
	same(t, "the way back", store.ImportResult{Kept: n}, run(t, m.b, m.a))
	same(t, "the source", want, export(t, m.a))
}

func testTokensGoOn(t *testing.T, m *move) {
	s, ended := m.open(t, m.signIn()), m.open(t, m.signIn())
	s.lives(t, 1)
	s.lives(t, 2)
	ended.end(t, store.CauseBlocked)
	run(t, m.a, m.b)
	ended.at(m.b).dead(t, 1, store.CauseBlocked)
	moved := s.at(m.b)
	moved.want(t, replayed, 3, moved.refresh(t, 2))
	moved.lives(t, 3)
	second := s.in
	second.Name, second.FreshEpoch, second.MaxOpen = m.name(), store.Epoch{0xee}, 2
	other := moved.open(t, second)
	moved.lives(t, 4)
	m.clock.advance(minute)
	other.lives(t, 1)
	second.Name = m.name()
	if third := moved.open(t, second); third.got.Ended != 1 {
		t.Errorf("the cap ended %d sessions, want 1", third.got.Ended)
	}
	other.lives(t, 2)
	moved.dead(t, 5, store.CauseTooMany)

	run(t, m.b, m.a)
	s.dead(t, 5, store.CauseTooMany)
	ended.dead(t, 1, store.CauseBlocked)
	home := other.at(m.a)
	home.lives(t, 3)
	m.clock.advance(hour)
	home.want(t, reuse, 0, home.refresh(t, 1, from(2)))
}

// testManySessions is about pages and batches.
func testManySessions(t *testing.T, m *move) {
	const n = 1001
	first := m.open(t, m.signIn())
	pattern := export(t, m.a)[first.in.Name]
	want := map[store.SessionName]store.Snapshot{}
	all := make([]store.Snapshot, n)
	for i := range all {
		in := m.signIn()
		all[i] = pattern
		all[i].Name, all[i].Subject = in.Name, in.Subject
		want[in.Name] = all[i]
	}
	same(t, "moved", store.ImportResult{Added: n}, take(t, m.b, all...))
	got := export(t, m.b)
	for name := range want {
		if got[name].Subject != want[name].Subject {
			t.Fatalf("session %s came as one of %v, want %v", name, got[name].Subject, want[name].Subject)
		}
	}
	if count, err := m.b.Count(t.Context()); err != nil || count != n || len(got) != n {
		t.Errorf("counted %d, exported %d, want %d; %v", count, len(got), n, err)
	}
	seen := 0
	for _, err := range m.b.Export(t.Context()) {
		if seen++; err != nil || seen == 2 {
			break
		}
	}
}

func testFurtherOnStays(t *testing.T, m *move) {
	refreshed, ended, both, newer := m.open(t, m.signIn()), m.open(t, m.signIn()), m.open(t, m.signIn()), m.open(t, m.signIn())
	run(t, m.a, m.b)
	m.clock.advance(minute)
	refreshed.at(m.b).lives(t, 1)
	ended.at(m.b).end(t, store.CauseBlocked)
	both.at(m.b).lives(t, 1)
	both.end(t, store.CauseGone)
	newer.lives(t, 1)
	newer.lives(t, 2)
	fresh := newer.at(m.b).open(t, m.signIn())

	same(t, "again", store.ImportResult{Updated: 2, Kept: 2}, run(t, m.a, m.b))
	refreshed.at(m.b).lives(t, 2)
	ended.at(m.b).dead(t, 1, store.CauseBlocked)
	both.at(m.b).dead(t, 2, store.CauseGone)
	newer.at(m.b).lives(t, 3)
	fresh.lives(t, 1)

	same(t, "the way back", store.ImportResult{Added: 1, Updated: 3, Kept: 1}, run(t, m.b, m.a))
	refreshed.lives(t, 3)
	ended.dead(t, 1, store.CauseBlocked)
	both.dead(t, 2, store.CauseGone)
	newer.lives(t, 4)
}

// testLaterEpoch : a subject whose epoch was replaced, as sign-out-everywhere does, has no living session of the old one in
// either store, whichever way the sessions move.
func testLaterEpoch(t *testing.T, m *move) {
	old := m.open(t, m.signIn())
	run(t, m.a, m.b)
	before := export(t, m.a)[old.in.Name]

	replaced := before
	replaced.Record = &store.SubjectRecord{Epoch: store.Epoch{0xee}, ExpiresAt: before.Record.ExpiresAt.Add(minute)}
	later := replaced
	later.Name, later.Epoch = m.name(), replaced.Record.Epoch
	signedIn := &session{kit: m.kit, in: old.in}
	signedIn.in.Name = later.Name

	same(t, "what was signed out, and a later sign-in", store.ImportResult{Added: 1, Kept: 1}, take(t, m.b, replaced, later))
	old.at(m.b).dead(t, 1, store.CauseEpoch)
	signedIn.at(m.b).lives(t, 1)
	take(t, m.b, before)
	run(t, m.a, m.b)
	old.at(m.b).dead(t, 1, store.CauseEpoch)
	signedIn.at(m.b).lives(t, 2)

	run(t, m.b, m.a)
	old.dead(t, 1, store.CauseEpoch)
	signedIn.lives(t, 3)

	elsewhere := m.open(t, m.signIn())
	m.clock.advance(day)
	again := elsewhere.in
	again.Name, again.FreshEpoch = m.name(), store.Epoch{0xdd}
	there := elsewhere.at(m.b).open(t, again)
	run(t, m.a, m.b)
	elsewhere.at(m.b).dead(t, 1, store.CauseEpoch)
	there.lives(t, 1)
}

func testAbsenceMoves(t *testing.T, m *move) {
	s := m.open(t, m.signIn())
	lost := export(t, m.a)[s.in.Name]
	lost.Record = nil
	same(t, "without the subject", store.ImportResult{Added: 1}, take(t, m.b, lost))
	same(t, "the target", map[store.SessionName]store.Snapshot{s.in.Name: lost}, export(t, m.b))
	again := s.in
	again.Name, again.FreshEpoch = m.name(), store.Epoch{0xee}
	s.at(m.b).open(t, again).lives(t, 1)
	s.at(m.b).dead(t, 1, store.CauseEpoch)

	// A target that has lost the record of a subject does not get it back with a session that it still has.
	s = m.open(t, m.signIn())
	whole := export(t, m.a)[s.in.Name]
	lost = whole
	lost.Record = nil
	take(t, m.b, lost)
	same(t, "kept", store.ImportResult{Kept: 1}, take(t, m.b, whole))
	s.at(m.b).dead(t, 1, store.CauseEpoch)

	// Nor does a record that is made anew revive anything, whichever call makes it.
	for name, again := range map[string]func(s *session){
		"a sign-in":         func(s *session) { s.sibling(t).lives(t, 1) },
		"an end of all":     func(s *session) { s.endAll(t, s.in.Subject, store.CauseOperator) },
		"an end, a sign-in": func(s *session) { s.endAll(t, s.in.Subject, store.CauseOperator); s.sibling(t).lives(t, 1) },
	} {
		s := m.open(t, m.signIn())
		lost := export(t, m.a)[s.in.Name]
		lost.Record = nil
		take(t, m.b, lost)
		there := s.at(m.b)
		if there.end(t, store.CauseOperator) {
			t.Errorf("%s: ended what was dead", name)
		}
		again(there)
		for g := range uint32(3) {
			there.dead(t, g, store.CauseEpoch)
		}
	}
}

func testExpiredAreLeft(t *testing.T, m *move) {
	short := m.signIn()
	short.Lifetime = hour
	m.open(t, short)
	long := m.open(t, m.signIn())
	all := export(t, m.a)
	m.clock.advance(hour)
	same(t, "moved late", store.ImportResult{Added: 1, Kept: 1}, take(t, m.b, all[short.Name], all[long.in.Name]))
	delete(all, short.Name)
	same(t, "the source", all, export(t, m.a))
	same(t, "the target", all, export(t, m.b))
}

func testImportAgainstRotate(t *testing.T, m *move) {
	const rotations = 30
	s := m.open(t, m.signIn())
	stale := export(t, m.a)[s.in.Name]
	run(t, m.a, m.b)
	moved, done := s.at(m.b), make(chan struct{})
	go func() {
		defer close(done)
		for g := range uint32(rotations) {
			if result, err := m.b.Rotate(t.Context(), moved.request(g+1)); err != nil || result.Generation != g+2 {
				t.Errorf("generation %d: %+v, %v", g+1, result, err)
			}
		}
	}()
	for running := true; running; {
		same(t, "a stale one", store.ImportResult{Kept: 1}, take(t, m.b, stale))
		select {
		case <-done:
			running = false
		default:
		}
	}
	moved.lives(t, rotations+1)
}

func testMoveGivenUp(t *testing.T, m *move) {
	s := m.open(t, m.signIn())
	all := export(t, m.a)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, at := range []Movable{m.a, m.b} {
		if _, err := at.Count(ctx); !isUnavailable(err) {
			t.Errorf("count: %v", err)
		}
		if _, err := at.Import(ctx, []store.Snapshot{all[s.in.Name]}); !isUnavailable(err) {
			t.Errorf("import: %v", err)
		}
		failures := 0
		for e, err := range at.Export(ctx) {
			if failures++; !isUnavailable(err) {
				t.Errorf("export: %+v, %v", e, err)
			}
		}
		if failures != 1 {
			t.Errorf("export failed %d times, want once", failures)
		}
	}
}
