package storetest

import (
	"context"
	"iter"
	"testing"
	"time"

	"github.com/glueauth/glueauth/store"
)

// Movable is a store whose sessions can move to another one.
type Movable interface {
	Sessions
	Count(ctx context.Context) (int, error)
	Export(ctx context.Context) iter.Seq2[store.Snapshot, error]
	Import(ctx context.Context, batch []store.Snapshot) (store.ImportResult, error)
}

// Move runs the suite for moving sessions from one kind of store to another, which may be the same kind. Each call of from
// and to returns an empty store whose clock is now, and cleans up after the test by itself.
func Move(t *testing.T, from, to func(t *testing.T, now func() time.Time) Movable) {
	t.Helper()
	for name, test := range map[string]func(t *testing.T, m *move){
		"there and back":                  testThereAndBack,
		"tokens go on":                    testTokensGoOn,
		"many sessions":                   testManySessions,
		"what is further on stays":        testFurtherOnStays,
		"the later epoch wins":            testLaterEpoch,
		"absence stays invalid":           testAbsenceMoves,
		"expired sessions are left":       testExpiredAreLeft,
		"imports against refreshes":       testImportAgainstRotate,
		"every decision is that of Merge": testMerge,
		"sign-outs move":                  testSignOutsMove,
		"lines that are full":             testFullLines,
		"taken-over sessions move":        testAdoptedMove,
		"move that nobody waits for":      testMoveGivenUp,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newClock()
			a, b := from(t, c.now), to(t, c.now)
			test(t, &move{kit: newKit(a, c), a: a, b: b})
		})
	}
}

// move is a move under test. The kit works on the store a.
type move struct {
	*kit
	a, b Movable
}

// at returns the session as the customer of another store sees it.
func (s *session) at(other Sessions) *session {
	return &session{kit: newKit(other, s.clock), in: s.in, got: s.got, shop: s.shop}
}

// export returns what a store has, by name.
func export(t *testing.T, from Movable) map[store.SessionName]store.Snapshot {
	t.Helper()
	all := map[store.SessionName]store.Snapshot{}
	for e, err := range from.Export(t.Context()) {
		if err != nil {
			t.Fatalf("export: %v", err)
		}
		all[e.Name] = e
	}
	return all
}

// run moves all sessions in batches of three and returns what became of them.
func run(t *testing.T, from, to Movable) (total store.ImportResult) {
	t.Helper()
	var batch []store.Snapshot
	for _, e := range export(t, from) {
		if batch = append(batch, e); len(batch) == 3 {
			total = add(total, take(t, to, batch...))
			batch = nil
		}
	}
	return add(total, take(t, to, batch...))
}

func take(t *testing.T, to Movable, batch ...store.Snapshot) store.ImportResult {
	t.Helper()
	result, err := to.Import(t.Context(), batch)
	if err != nil {
		t.Fatalf("import: %v", err)
	}
	return result
}

func add(a, b store.ImportResult) store.ImportResult {
	return store.ImportResult{Added: a.Added + b.Added, Updated: a.Updated + b.Updated, Kept: a.Kept + b.Kept}
}

// fill makes sessions in every state that a record can be in.
func (m *move) fill(t *testing.T) int {
	t.Helper()
	for _, kind := range []store.SubjectKind{store.SubjectCustomer, store.SubjectAgent, store.SubjectGuest} {
		in := m.signIn()
		in.Subject.Kind, in.Client, in.Scopes = kind, "app", nil
		m.open(t, in)
	}
	used := m.open(t, m.signIn())
	for g := range uint32(20) {
		m.clock.advance(minute)
		used.lives(t, g+1)
	}
	used.refresh(t, 20, keyed(7), from(9))
	m.open(t, m.signIn()).refresh(t, 1, keyed(3), from(2), scope("orders"), narrowing)
	lost := m.open(t, m.signIn())
	lost.lives(t, 1)
	m.clock.advance(hour)
	lost.want(t, displaced, 3, lost.refresh(t, 1, from(2)))
	healing := m.open(t, m.signIn())
	healing.want(t, healed, 31, healing.refresh(t, 30))
	stolen := m.open(t, m.signIn())
	stolen.lives(t, 1)
	stolen.lives(t, 2)
	m.clock.advance(hour)
	stolen.want(t, reuse, 0, stolen.refresh(t, 1, from(2)))
	m.open(t, m.signIn()).end(t, store.CauseBlocked)
	capped := m.signIn()
	capped.MaxOpen = 1
	for range 3 {
		m.open(t, capped)
		capped.Name, capped.From = m.name(), visitor(2)
		m.clock.advance(minute)
	}
	others := m.open(t, m.signIn())
	others.sibling(t)
	others.want(t, rotated, 2, others.refresh(t, 1, from(2), keyed(1), m.others()))
	everything := m.open(t, m.signIn())
	everything.lives(t, 1)
	m.endAll(t, everything.in.Subject, store.CauseBlocked)
	everything.sibling(t).refresh(t, 1, from(4))
	return 16
}
