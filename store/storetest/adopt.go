package storetest

import (
	"context"
	"testing"

	"github.com/glueauth/glueauth/store"
)

const shopSub = `{"id_customer":21,"permissions":{"permissions":[1,2,3]}}`

// taken is a session that a shop began, whose token is good for another twenty days.
func (k *kit) taken() *session {
	return &session{kit: k, in: k.signIn(), shop: k.clock.whole().Add(20 * day)}
}

// adoption is the usual request to take it over.
func (s *session) adoption(options ...option) store.Adoption {
	a := store.Adoption{
		Rotation: s.request(0, options...), Granted: s.in.Scopes, Sub: shopSub, MaxLife: s.in.MaxLife, MaxOpen: s.in.MaxOpen,
	}
	a.Expires, a.FreshEpoch = s.shop, s.epoch()
	return a
}

func anotherSub(r *store.Rotation) { r.SubMark[0]++ }

func (s *session) adopt(t *testing.T, options ...option) store.RotateResult {
	t.Helper()
	return s.adoptAs(t, s.adoption(options...))
}

func (s *session) adoptAs(t *testing.T, a store.Adoption) store.RotateResult {
	t.Helper()
	got, err := s.store.Adopt(t.Context(), a)
	if err != nil {
		t.Fatalf("adopt: %v", err)
	}
	return got
}

// testAdoptedRows : the shop's token is generation 0, to which the table applies as to any other.
func testAdoptedRows(t *testing.T, k *kit) {
	for name, script := range map[string][]step{
		"its successor":              {{g: 1, want: rotated, gen: 2}, {g: 2, want: rotated, gen: 3}},
		"row 6: racing tabs":         {{after: minute, g: 0, with: with(from(2)), want: replayed, gen: 1}, {g: 1, want: rotated, gen: 2}},
		"row 7: a copy":              {{after: week, g: 0, want: replayed, gen: 1}},
		"row 7: a copy, later":       {{g: 1, want: rotated, gen: 2}, {after: hour, g: 0, want: replayed, gen: 2}},
		"row 8: a lost answer":       {{after: hour, g: 0, with: with(from(2)), want: displaced, gen: 2}, {g: 2, want: rotated, gen: 3}},
		"row 8: the dead one":        {{after: hour, g: 0, with: with(from(2)), want: displaced, gen: 2}, {g: 1, want: reuse}},
		"row 9: one refresh late":    {{g: 1, want: rotated, gen: 2}, {after: 10 * second, g: 0, with: with(from(2)), want: replayed, gen: 2}},
		"row 10: theft":              {{g: 1, want: rotated, gen: 2}, {after: 11 * second, g: 0, with: with(from(2)), want: reuse}},
		"row 10: unused for long":    {{after: week + second, g: 0, want: reuse}},
		"row 5: its writes are lost": {{g: 3, want: healed, gen: 4}, {after: 10 * second, g: 0, with: with(from(2)), want: replayed, gen: 4}},
	} {
		s := k.taken()
		s.want(t, rotated, 1, s.adopt(t))
		for i, step := range script {
			k.clock.advance(step.after)
			got := s.refresh(t, step.g, step.with...)
			if got.Outcome != step.want || got.Generation != step.gen {
				t.Errorf("%s, step %d: %s %d, want %s %d", name, i, got.Outcome, got.Generation, step.want, step.gen)
			}
		}
		if last := script[len(script)-1]; last.want == reuse {
			s.dead(t, 0, store.CauseReuse)
		} else {
			s.lives(t, last.gen)
		}
	}
	for used, want := range map[uint32]store.Outcome{15: replayed, 16: reuse} {
		s := k.taken()
		s.adopt(t)
		for g := uint32(1); g <= used; g++ {
			s.lives(t, g)
		}
		k.clock.advance(hour)
		if got := s.refresh(t, 0); got.Outcome != want {
			t.Errorf("generation 0 after %d more were used: %s, want %s", used, got.Outcome, want)
		}
	}
}

func testAdopt(t *testing.T, k *kit) {
	s := k.taken()
	same(t, "before it", store.RotateResult{Outcome: store.Refused, Cause: store.CauseMissing}, s.refresh(t, 0))
	a := s.adoption()
	got := s.adoptAs(t, a)
	want := store.RotateResult{
		Outcome: rotated, Generation: 1, ExpiresAt: k.clock.whole().Add(s.in.Lifetime), Scopes: s.in.Scopes, Sub: shopSub,
	}
	same(t, "the answer", want, got)
	e := s.look(t)
	same(t, "the record", store.Session{
		Name: s.in.Name, Subject: s.in.Subject, Client: s.in.Client, Scopes: s.in.Scopes, Epoch: a.FreshEpoch, Password: s.in.Password,
		Cur: 1, Uses: e.Uses, Device: s.in.Device, BaseExpiresAt: s.shop, First: s.in.From, Last: s.in.From,
		Timeline:      []store.Entry{{At: k.clock.whole(), What: store.WasRotated, Address: s.in.From.Address, Count: 1}},
		ShopExpiresAt: s.shop, Sub: shopSub, SubMark: store.SubMark{5},
		StartedAt: k.clock.whole(), RotatedAt: k.clock.whole(), ExpiresAt: want.ExpiresAt, EndsAt: k.clock.whole().Add(s.in.MaxLife),
	}, e.Session)
	same(t, "the customer's record", &store.SubjectRecord{Epoch: a.FreshEpoch, ExpiresAt: want.ExpiresAt}, e.Record)
	if all := k.list(t, s.in.Subject); len(all) != 1 {
		t.Errorf("%d sessions in the list", len(all))
	}
	s.want(t, replayed, 1, s.adopt(t, from(2)))

	sibling := k.taken()
	sibling.in.Subject = s.in.Subject
	sibling.want(t, rotated, 1, sibling.adopt(t))
	same(t, "the epoch of a second one", a.FreshEpoch, sibling.look(t).Epoch)
	own := s.sibling(t)
	own.lives(t, 1)
	s.lives(t, 1)

	scoped := k.taken()
	same(t, "a scope too many", store.RotateResult{Outcome: store.ScopeRefused}, scoped.adopt(t, scope("admin")))
	scoped.want(t, rotated, 1, scoped.adopt(t))
	other := k.taken()
	other.want(t, rotated, 1, other.adopt(t))
	same(t, "another client", store.RotateResult{Outcome: store.OtherClient}, other.adopt(t, anotherClient))
	passworded := k.taken()
	passworded.adopt(t)
	changed := passworded.adopt(t, func(r *store.Rotation) { r.Password[1]++ })
	same(t, "another password", store.RotateResult{Outcome: store.Refused, Cause: store.CausePassword}, changed)
}

func testVoidAdoptions(t *testing.T, k *kit) {
	void := func(why string, s *session, cause store.Cause) {
		t.Helper()
		same(t, why, store.RotateResult{Outcome: store.Refused, Cause: cause}, s.adopt(t))
		same(t, why+": left behind", store.RotateResult{Outcome: store.Refused, Cause: store.CauseMissing}, s.refresh(t, 0))
	}
	expired := k.taken()
	expired.shop = k.clock.whole()
	void("an expired token", expired, store.CauseExpired)

	own := k.open(t, k.signIn())
	k.endAll(t, own.in.Subject, store.CauseOperator)
	at := k.taken()
	at.in.Subject, at.shop = own.in.Subject, k.clock.whole().Add(31*day)
	void("a token at the floor", at, store.CauseEpoch)
	above := k.taken()
	above.in.Subject, above.shop = own.in.Subject, k.clock.whole().Add(31*day+second)
	above.want(t, rotated, 1, above.adopt(t))
	gone(t, own)

	for _, cause := range []store.Cause{store.CausePassword, store.CauseBlocked, store.CauseGone} {
		mine := k.open(t, k.signIn())
		k.clock.advance(hour)
		if cause == store.CausePassword {
			mine.refresh(t, 1, func(r *store.Rotation) { r.Password[1]++ })
		} else {
			mine.end(t, cause)
		}
		at := k.taken()
		at.in.Subject, at.shop = mine.in.Subject, k.clock.whole().Add(31*day)
		void("a token from before: "+string(cause), at, store.CauseEpoch)
		mine.sibling(t).lives(t, 1)
		above := k.taken()
		above.in.Subject, above.shop = mine.in.Subject, k.clock.whole().Add(31*day+second)
		above.want(t, rotated, 1, above.adopt(t))
		k.endAll(t, mine.in.Subject, store.CauseOperator)
		same(t, "the shop floor after a sign-out", k.clock.whole(), above.look(t).Record.ShopFloor)
	}
	revoked := k.open(t, k.signIn())
	revoked.end(t, store.CauseRevoked)
	other := k.taken()
	other.in.Subject = revoked.in.Subject
	other.want(t, rotated, 1, other.adopt(t))

	nobody := k.taken()
	k.endAll(t, nobody.in.Subject, store.CauseOperator)
	k.clock.advance(20*day - second)
	void("a token of one who had signed out without a session", nobody, store.CauseEpoch)
}

// testNothingBringsItBack : neither a session that has ended nor one that has expired is taken over once more.
func testNothingBringsItBack(t *testing.T, k *kit) {
	for _, cause := range []store.Cause{store.CauseRevoked, store.CauseBlocked} {
		s := k.taken()
		s.adopt(t)
		s.lives(t, 1)
		if !s.end(t, cause) {
			t.Error("not ended")
		}
		for range 3 {
			same(t, "an ended one", store.RotateResult{Outcome: store.Refused, Cause: cause}, s.adopt(t))
			k.clock.advance(6 * day)
		}
		s.state(t, cause)
		if s.look(t).Sub != "" {
			t.Error("what the shop said outlives the session")
		}
	}
	short := k.taken()
	short.in.Lifetime = hour
	short.want(t, rotated, 1, short.adopt(t))
	k.clock.advance(hour)
	same(t, "an expired one", store.RotateResult{Outcome: store.Refused, Cause: store.CauseExpired}, short.adopt(t))
	k.clock.advance(10 * day)
	if sweeper, ok := k.store.(interface {
		Sweep(ctx context.Context) (int, error)
	}); ok {
		if _, err := sweeper.Sweep(t.Context()); err != nil {
			t.Error(err)
		}
	}
	same(t, "much later", store.RotateResult{Outcome: store.Refused, Cause: store.CauseExpired}, short.adopt(t))
}

func testDiscard(t *testing.T, k *kit) {
	s := k.taken()
	a := s.adoption()
	a.End = store.CauseBlocked
	same(t, "where there is none", store.RotateResult{Outcome: store.Discarded, Cause: store.CauseBlocked}, s.adoptAs(t, a))
	same(t, "afterwards", store.RotateResult{Outcome: store.Refused, Cause: store.CauseBlocked}, s.adopt(t))
	same(t, "once more", store.RotateResult{Outcome: store.Refused}, s.adoptAs(t, a))
	e := s.look(t)
	if e.Record != nil || e.Cause != store.CauseBlocked || e.Sub != "" || len(e.Timeline) != 1 || e.Until() != s.shop {
		t.Errorf("left %+v", e)
	}

	s = k.taken()
	s.adopt(t)
	a = s.adoption()
	a.End = store.CauseBlocked
	before := s.look(t)
	same(t, "where there is one", store.RotateResult{Outcome: store.Refused}, s.adoptAs(t, a))
	same(t, "it stays as it is", before, s.look(t))
}

func testAdoptCap(t *testing.T, k *kit) {
	first := k.signIn()
	first.MaxOpen = 2
	old := k.open(t, first)
	k.clock.advance(minute)
	newer := old.sibling(t)
	k.clock.advance(minute)
	s := k.taken()
	s.in.Subject, s.in.MaxOpen = first.Subject, 2
	s.want(t, rotated, 1, s.adopt(t))
	old.state(t, store.CauseTooMany)
	same(t, "the timeline of the one that was too many", 1, len(old.look(t).Timeline))
	old.dead(t, 1, store.CauseTooMany)
	newer.lives(t, 1)
	s.lives(t, 1)
}

// testSub : what the shop said is kept until it is not true any more, or the session ends.
func testSub(t *testing.T, k *kit) {
	says := func(want string, got store.RotateResult) {
		t.Helper()
		if got.Sub != want || !got.Outcome.Succeeded() {
			t.Errorf("%s says %q, want %q", got.Outcome, got.Sub, want)
		}
	}
	s := k.taken()
	s.adopt(t)
	says(shopSub, s.refresh(t, 1))
	says(shopSub, s.refresh(t, 1, from(2)))
	k.clock.advance(hour)
	says(shopSub, s.refresh(t, 1, from(2)))
	says("", s.refresh(t, 3, anotherSub))
	says("", s.refresh(t, 4))
	if e := s.look(t); e.Sub != "" || e.SubMark != (store.SubMark{}) {
		t.Errorf("kept %q", e.Sub)
	}
	silent := k.taken()
	a := silent.adoption()
	a.Sub = ""
	says("", silent.adoptAs(t, a))
	says("", silent.refresh(t, 1))
	replay := k.taken()
	replay.adopt(t)
	says("", replay.adopt(t, anotherSub))
	own := k.open(t, k.signIn())
	says("", own.refresh(t, 1))
	others := k.taken()
	others.adopt(t)
	says(shopSub, others.refresh(t, 1, k.others()))
	same(t, "a copy that is shut", store.RotateResult{Outcome: store.Refused, Cause: store.CauseEpoch}, others.refresh(t, 0))
	says(shopSub, others.refresh(t, 2))
}
