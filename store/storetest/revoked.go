package storetest

import (
	"slices"
	"testing"
	"time"

	"github.com/glueauth/glueauth/store"
)

// revoked returns what the list says of a subject, each entry once, without the times of writing.
func (k *kit) revoked(t *testing.T, subject store.Subject) (list []store.Revocation) {
	t.Helper()
	all, next, err := k.store.Revoked(t.Context(), 0)
	if err != nil {
		t.Fatalf("revoked: %v", err)
	}
	for _, r := range slices.Backward(all) {
		if r.Subject != subject || slices.ContainsFunc(list, func(o store.Revocation) bool { return o.Session == r.Session && o.Spared == r.Spared }) {
			continue
		}
		if r.At.IsZero() {
			t.Errorf("%+v was never written", r)
		}
		r.At = time.Time{}
		list = append(list, r)
	}
	if _, after, err := k.store.Revoked(t.Context(), next); err != nil || after < next {
		t.Errorf("after %d comes %d: %v", next, after, err)
	}
	slices.SortFunc(list, func(a, b store.Revocation) int { return slices.Compare(a.Session[:], b.Session[:]) })
	return list
}

// listed fails the test unless exactly these sessions of one subject have ended one by one.
func listed(t *testing.T, what string, subject *session, ended ...*session) {
	t.Helper()
	var want []store.Revocation
	for _, s := range ended {
		want = append(want, store.Revocation{Subject: s.in.Subject, Session: s.in.Name})
	}
	same(t, what, want, subject.revoked(t, subject.in.Subject))
}

// testRevoked : each way in which one session ends is listed, and what has not ended is not.
func testRevoked(t *testing.T, k *kit) {
	for name, end := range map[string]func(t *testing.T, s *session){
		"ending": func(t *testing.T, s *session) { s.end(t, store.CauseRevoked) },
		"another password": func(t *testing.T, s *session) {
			s.refresh(t, 1, func(r *store.Rotation) { r.Password = store.PasswordMark{8} })
		},
		"reuse": func(t *testing.T, s *session) {
			s.lives(t, 1)
			s.lives(t, 2)
			k.clock.advance(minute + second)
			s.want(t, reuse, 0, s.refresh(t, 1, from(2)))
		},
		"too many": func(t *testing.T, s *session) {
			in := s.in
			in.Name, in.MaxOpen = k.name(), 1
			k.clock.advance(second)
			k.open(t, in)
		},
		"the newest generation": func(t *testing.T, s *session) { s.refresh(t, store.MaxGeneration) },
	} {
		s := k.open(t, k.signIn())
		listed(t, name+": before", s)
		end(t, s)
		listed(t, name, s, s)
		s.end(t, store.CauseRevoked)
		s.refresh(t, 1)
		listed(t, name+", again", s, s)
	}
	s := k.open(t, k.signIn())
	s.lives(t, 1)
	s.want(t, replayed, 2, s.refresh(t, 1))
	s.refresh(t, 1, anotherClient)
	s.refresh(t, 1, scope("admin"))
	s.endAs(t, store.Ending{Client: "app", Cause: store.CauseRevoked})
	s.lives(t, 2)
	k.clock.advance(minute + second)
	s.want(t, reuse, 0, s.refresh(t, 1, from(2), observing))
	k.clock.advance(s.in.Lifetime)
	s.end(t, store.CauseRevoked)
	s.refresh(t, 1)
	listed(t, "lives and expires", s)
}

// testAllRevoked : a sign-out everywhere is one entry, however many sessions there are; one of the others spares its own.
func testAllRevoked(t *testing.T, k *kit) {
	entry := func(s *session) store.Revocation {
		return store.Revocation{Subject: s.in.Subject, Epoch: s.look(t).Record.Epoch, NotBefore: k.clock.whole().Add(store.ClockAllowance)}
	}
	s := k.open(t, k.signIn())
	s.sibling(t)
	k.clock.advance(minute)
	k.endAll(t, s.in.Subject, store.CauseOperator)
	want := []store.Revocation{entry(s)}
	closeTo(t, "by an operator", want, k.revoked(t, s.in.Subject))

	s = k.open(t, k.signIn())
	s.sibling(t)
	k.clock.advance(minute)
	s.refresh(t, 1, k.all())
	want = []store.Revocation{entry(s)}
	closeTo(t, "all", want, k.revoked(t, s.in.Subject)[:1])
	k.clock.advance(30 * second)
	later := s.sibling(t)
	s.refresh(t, 1, k.all())
	again := k.revoked(t, s.in.Subject)
	closeTo(t, "all, again", want, again[:1])
	if slices.ContainsFunc(again, func(r store.Revocation) bool { return r.Session == later.in.Name && !r.Spared }) {
		t.Error("a session begun since is listed")
	}

	s = k.open(t, k.signIn())
	s.sibling(t)
	k.clock.advance(minute)
	s.want(t, rotated, 2, s.refresh(t, 1, k.others()))
	want = []store.Revocation{entry(s), {Subject: s.in.Subject, Session: s.in.Name, Spared: true, Epoch: s.look(t).Epoch}}
	closeTo(t, "others", want, k.revoked(t, s.in.Subject))
	k.clock.advance(minute)
	k.endAll(t, s.in.Subject, store.CauseOperator)
	got := k.revoked(t, s.in.Subject)
	closeTo(t, "everything since", []store.Revocation{entry(s)}, got[:1])
	if len(got) > 1 && got[1].Epoch == got[0].Epoch {
		t.Error("what was spared is spared still")
	}
}

// closeTo is same, but that a "not before" may be a second later: a server of its own has a clock that moves.
func closeTo(t *testing.T, what string, want, got []store.Revocation) {
	t.Helper()
	for i := range min(len(want), len(got)) {
		if late := got[i].NotBefore.Sub(want[i].NotBefore); late == second {
			got[i].NotBefore = want[i].NotBefore
		}
	}
	same(t, what, want, got)
}

// testSparedFromAll : whoever signs in right after a sign-out everywhere is not taken for one from before.
func testSparedFromAll(t *testing.T, k *kit) {
	first := k.open(t, k.signIn())
	k.clock.advance(minute)
	k.endAll(t, first.in.Subject, store.CauseOperator)
	soon := first.sibling(t)
	k.clock.advance(2*store.ClockAllowance + 2*second)
	first.sibling(t)
	got := k.revoked(t, first.in.Subject)
	want := store.Revocation{Subject: soon.in.Subject, Session: soon.in.Name, Spared: true, Epoch: soon.look(t).Epoch}
	if len(got) != 2 || got[1] != want || got[0].Epoch != want.Epoch {
		t.Errorf("%+v, want the subject and %+v", got, want)
	}
	soon.end(t, store.CauseRevoked)
	if got := k.revoked(t, first.in.Subject); !slices.Contains(got, store.Revocation{Subject: soon.in.Subject, Session: soon.in.Name}) {
		t.Errorf("it has ended: %+v", got)
	}
}

// Forgets is the part of the suite that needs a store of its own: entries of the list leave by age, and what is written again
// starts anew. open is as for [Run].
func Forgets(t *testing.T, open func(t *testing.T, now func() time.Time) Sessions) {
	t.Helper()
	c := newClock()
	k := newKit(open(t, c.now), c)
	s := k.open(t, k.signIn())
	s.end(t, store.CauseRevoked)
	all := k.open(t, k.signIn())
	k.endAll(t, all.in.Subject, store.CauseOperator)
	k.clock.advance(20 * minute)
	late := k.open(t, k.signIn())
	late.end(t, store.CauseRevoked)
	k.endAll(t, all.in.Subject, store.CauseOperator)
	forget := func(age time.Duration) {
		t.Helper()
		if err := k.store.ForgetRevoked(t.Context(), age); err != nil {
			t.Fatal(err)
		}
	}
	forget(20*minute + 5*second)
	listed(t, "young enough", s, s)
	k.clock.advance(10 * second)
	forget(20*minute + 5*second)
	listed(t, "too old", s)
	listed(t, "later", late, late)
	if got := k.revoked(t, all.in.Subject); len(got) != 1 {
		t.Errorf("all ended once more: %+v", got)
	}
}
