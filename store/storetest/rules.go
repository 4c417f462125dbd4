package storetest

import (
	"context"
	"testing"
	"time"

	"github.com/glueauth/glueauth/store"
)

func testRememberedUses(t *testing.T, k *kit) {
	for oldest, want := range map[uint32]store.Outcome{3: replayed, 2: reuse, 1: reuse} {
		s := k.open(t, k.signIn())
		for g := uint32(1); g <= 18; g++ {
			s.lives(t, g)
		}
		k.clock.advance(hour)
		if got := s.refresh(t, oldest); got.Outcome != want {
			t.Errorf("generation %d after 18 were used: %s, want %s", oldest, got.Outcome, want)
		}
	}
}

func testNewestGeneration(t *testing.T, k *kit) {
	const last = store.MaxGeneration
	s := k.open(t, k.signIn())
	s.want(t, healed, last, s.refresh(t, last-1))
	s.want(t, replayed, last, s.refresh(t, last-1, from(2)))
	s.dead(t, last, store.CauseExhausted)
	s.dead(t, last, store.CauseExhausted)
}

func testAbsence(t *testing.T, k *kit) {
	s := k.open(t, k.signIn())
	missing := store.RotateResult{Outcome: store.Refused, Cause: store.CauseMissing}
	for name, change := range map[string]option{
		"name":         func(r *store.Rotation) { r.Name = k.name() },
		"subject id":   func(r *store.Rotation) { r.Subject.ID++ },
		"subject kind": func(r *store.Rotation) { r.Subject.Kind = store.SubjectAgent },
	} {
		if diff := diff(missing, s.refresh(t, 1, change)); diff != "" {
			t.Errorf("another %s: %s", name, diff)
		}
	}
	for _, absent := range []*session{
		{kit: k, in: store.SignIn{Name: k.name(), Subject: s.in.Subject}},
		{kit: k, in: store.SignIn{Name: s.in.Name, Subject: store.Subject{Kind: store.SubjectCustomer, ID: 1 << 40}}},
	} {
		if absent.end(t, store.CauseBlocked) {
			t.Error("ended what is not there")
		}
	}
	s.lives(t, 1)
}

func testSignIn(t *testing.T, k *kit) {
	k.clock.advance(700 * time.Millisecond)
	in := k.signIn()
	s := k.open(t, in)
	if want := store.Whole(k.clock.now()).Add(in.Lifetime); !s.got.ExpiresAt.Equal(want) || s.got.Ended != 0 {
		t.Errorf("%+v, want expiry %v", s.got, want)
	}
	k.clock.advance(hour)
	again := in
	again.Name, again.FreshEpoch = k.name(), store.Epoch{0xff}
	other := k.open(t, again)
	s.lives(t, 1)
	other.lives(t, 1)
	if diff := diff(in.Scopes, s.refresh(t, 2).Scopes); diff != "" {
		t.Error(diff)
	}
	bare := k.signIn()
	bare.Scopes = nil
	if got := k.open(t, bare).refresh(t, 1); !got.Outcome.Succeeded() || len(got.Scopes) != 0 {
		t.Errorf("a session without scopes: %+v", got)
	}
}

func testTakenName(t *testing.T, k *kit) {
	s := k.open(t, k.signIn())
	s.lives(t, 1)
	again := s.in
	again.MaxOpen = 1
	if got, err := k.store.Open(t.Context(), again); err == nil || isUnavailable(err) {
		t.Errorf("opened twice: %+v, %v", got, err)
	}
	s.lives(t, 2)
}

func testExpiry(t *testing.T, k *kit) {
	in := k.signIn()
	s := k.open(t, in)
	k.clock.advance(in.Lifetime - second)
	result := s.refresh(t, 1)
	s.want(t, rotated, 2, result)
	if want := store.Whole(k.clock.now()).Add(in.Lifetime); !result.ExpiresAt.Equal(want) {
		t.Errorf("expires at %v, want %v", result.ExpiresAt, want)
	}
	k.clock.advance(hour)
	if again := s.refresh(t, 1); !again.ExpiresAt.Equal(result.ExpiresAt) {
		t.Errorf("a replay moved the expiry from %v to %v", result.ExpiresAt, again.ExpiresAt)
	}
	k.clock.advance(in.Lifetime - hour)
	s.dead(t, 2, store.CauseExpired)
	if s.end(t, store.CauseBlocked) {
		t.Error("ended what has expired")
	}
	k.clock.advance(-second)
	s.lives(t, 2)

	k.clock.advance(40 * day)
	renewed := in
	renewed.Name, renewed.FreshEpoch = k.name(), store.Epoch{0xee}
	k.open(t, renewed).lives(t, 1)
}

func testAbsoluteEnd(t *testing.T, k *kit) {
	in := k.signIn()
	in.MaxLife = 40 * day
	s := k.open(t, in)
	ends := store.Whole(k.clock.now()).Add(in.MaxLife)
	k.clock.advance(20 * day)
	if got := s.refresh(t, 1); !got.ExpiresAt.Equal(ends) {
		t.Errorf("expires at %v, want the absolute end %v", got.ExpiresAt, ends)
	}
	k.clock.advance(20*day - second)
	if got := s.refresh(t, 2); !got.ExpiresAt.Equal(ends) {
		t.Errorf("expires at %v, want the absolute end %v", got.ExpiresAt, ends)
	}
	k.clock.advance(second)
	s.dead(t, 3, store.CauseExpired)

	short := k.signIn()
	short.MaxLife = hour
	if got, want := k.open(t, short).got.ExpiresAt, store.Whole(k.clock.now()).Add(hour); !got.Equal(want) {
		t.Errorf("signed in until %v, want %v", got, want)
	}
}

func testPasswordMark(t *testing.T, k *kit) {
	other := func(r *store.Rotation) { r.Password = store.PasswordMark{8} }
	s := k.open(t, k.signIn())
	s.want(t, rotated, 2, s.refresh(t, 1, other, func(r *store.Rotation) { r.IgnorePassword = true }))
	if got := s.refresh(t, 2, other); got.Outcome != store.Refused || got.Cause != store.CausePassword {
		t.Errorf("another password: %+v", got)
	}
	s.dead(t, 2, store.CausePassword)
}

func testScopes(t *testing.T, k *kit) {
	for name, c := range map[string]struct {
		first []step // before it
		step
	}{
		"rotated":         {nil, step{g: 1, want: rotated, gen: 2}},
		"healed":          {nil, step{g: 2, want: healed, gen: 3}},
		"replayed, row 6": {[]step{{g: 1}}, step{g: 1, with: with(from(2)), want: replayed, gen: 2}},
		"replayed, row 7": {[]step{{g: 1}}, step{after: hour, g: 1, want: replayed, gen: 2}},
		"displaced":       {[]step{{g: 1}}, step{after: hour, g: 1, with: with(from(2)), want: displaced, gen: 3}},
		"replayed, row 9": {[]step{{g: 1}, {g: 2}}, step{g: 1, with: with(from(2)), want: replayed, gen: 3}},
	} {
		for _, narrow := range []bool{false, true} {
			s := k.open(t, k.signIn())
			for _, before := range c.first {
				s.refresh(t, before.g)
			}
			k.clock.advance(c.after)
			options, want := append(c.with, scope("orders")), s.in.Scopes
			if narrow {
				options, want = append(options, narrowing), []string{"orders"}
			}
			got := s.refresh(t, c.g, options...)
			s.want(t, c.want, c.gen, got)
			if diff := diff(want, got.Scopes) + diff(want, s.refresh(t, c.gen).Scopes); diff != "" {
				t.Errorf("%s, narrowing %v: %s", name, narrow, diff)
			}
		}
	}
	s := k.open(t, k.signIn())
	if got := s.refresh(t, 1, scope(), narrowing); got.Outcome != rotated || len(got.Scopes) != 0 {
		t.Errorf("narrowed to nothing: %+v", got)
	}
	if got := s.refresh(t, 2, scope("customer")); got.Outcome != store.ScopeRefused {
		t.Errorf("a scope that was given up: %+v", got)
	}
	s.lives(t, 2)
}

// testUntouched : what rows 2 and 3 refuse leaves no trace, whatever generation was presented.
func testUntouched(t *testing.T, k *kit) {
	s := k.open(t, k.signIn())
	s.lives(t, 1)
	s.lives(t, 2)
	k.clock.advance(hour)
	for _, g := range []uint32{1, 2, 3, 4, store.MaxGeneration} {
		for want, option := range map[store.Outcome]option{
			store.OtherClient:  anotherClient,
			store.ScopeRefused: scope("customer", "admin"),
		} {
			if diff := diff(store.RotateResult{Outcome: want}, s.refresh(t, g, option, from(2))); diff != "" {
				t.Errorf("generation %d: %s", g, diff)
			}
		}
	}
	if got := s.refresh(t, 1, anotherClient, scope("admin")); got.Outcome != store.OtherClient {
		t.Errorf("another client with a scope too many: %+v", got)
	}
	s.want(t, replayed, 3, s.refresh(t, 2))
	s.lives(t, 3)
}

func testObservedReuse(t *testing.T, k *kit) {
	s := k.open(t, k.signIn())
	s.lives(t, 1)
	k.clock.advance(hour)
	s.want(t, displaced, 3, s.refresh(t, 1, from(2)))
	s.lives(t, 3)
	k.clock.advance(hour)
	before := s.look(t)
	want := store.RotateResult{Outcome: reuse, Cause: store.CauseReuse, Other: visitor(1)}
	same(t, "an ancestor", want, s.refresh(t, 1, from(3), observing))
	before.Timeline = append(before.Timeline, store.Entry{
		At: k.clock.whole(), What: store.WasReused, Generation: 1, Address: visitor(3).Address, Count: 1,
	})
	same(t, "the entry is all that changed", before, s.look(t))
	s.lives(t, 4)
	same(t, "a displaced one", want, s.refresh(t, 2, from(3), observing))
	s.dead(t, 5, store.CauseReuse)

	s = k.open(t, k.signIn())
	s.lives(t, 1)
	k.clock.advance(hour)
	s.want(t, displaced, 3, s.refresh(t, 1, from(2)))
	want.Other = visitor(2)
	same(t, "a displaced one whose successor was not used yet", want, s.refresh(t, 2, observing))
	s.dead(t, 3, store.CauseReuse)
}

func testEnding(t *testing.T, k *kit) {
	s, other := k.open(t, k.signIn()), k.open(t, k.signIn())
	s.lives(t, 1)
	if !s.end(t, store.CauseBlocked) {
		t.Error("a living session was not ended")
	}
	if s.end(t, store.CauseGone) {
		t.Error("ended twice")
	}
	for _, g := range []uint32{1, 2, 3} {
		s.dead(t, g, store.CauseBlocked)
	}
	k.clock.advance(s.in.Lifetime)
	s.dead(t, 2, store.CauseBlocked)
	k.clock.advance(-s.in.Lifetime)
	other.lives(t, 1)
}

func testGivenUp(t *testing.T, k *kit) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s := k.open(t, k.signIn())
	if _, err := k.store.Rotate(ctx, s.request(1)); !isUnavailable(err) {
		t.Errorf("rotate: %v", err)
	}
	if _, err := k.store.End(ctx, store.Ending{Subject: s.in.Subject, Name: s.in.Name, Cause: store.CauseGone}); !isUnavailable(err) {
		t.Errorf("end: %v", err)
	}
	if _, err := k.store.Open(ctx, k.signIn()); !isUnavailable(err) {
		t.Errorf("open: %v", err)
	}
	if err := k.store.EndAll(ctx, store.EndingAll{Subject: s.in.Subject, FreshEpoch: k.epoch(), Cause: store.CauseGone}); !isUnavailable(err) {
		t.Errorf("end all: %v", err)
	}
	if _, err := k.store.Session(ctx, s.in.Subject, s.in.Name); !isUnavailable(err) {
		t.Errorf("session: %v", err)
	}
	if _, _, err := k.store.SessionsOf(ctx, s.in.Subject); !isUnavailable(err) {
		t.Errorf("sessions of: %v", err)
	}
	if _, err := k.store.Record(ctx, s.in.Subject); !isUnavailable(err) {
		t.Errorf("record: %v", err)
	}
	if _, _, err := k.store.Revoked(ctx, 0); !isUnavailable(err) {
		t.Errorf("revoked: %v", err)
	}
	if _, err := k.store.Locate(ctx, s.in.Name); !isUnavailable(err) {
		t.Errorf("locate: %v", err)
	}
	s.lives(t, 1)
}
