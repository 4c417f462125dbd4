package storetest

import (
	"testing"
	"time"

	"github.com/glueauth/glueauth/store"
)

// scene is how a session came to where it stands, and a sign-out that meets one of the rows there.
type scene struct {
	before []step
	step
	shut uint32 // the newest used generation then
}

// scenes has one or more for each of the rows 4 to 10.
func scenes() map[string]scene {
	one, two := step{g: 1}, step{g: 2}
	return map[string]scene{
		"row 4":                   {nil, step{g: 1, want: rotated, gen: 2}, 1},
		"row 4, some way on":      {[]step{one, two}, step{after: hour, g: 3, with: with(from(2)), want: rotated, gen: 4}, 3},
		"row 4, with a key":       {[]step{one}, step{g: 2, with: with(keyed(1)), want: rotated, gen: 3}, 2},
		"row 5":                   {[]step{one}, step{g: 5, with: with(from(2)), want: healed, gen: 6}, 5},
		"row 6":                   {[]step{one}, step{after: minute, g: 1, with: with(from(2)), want: replayed, gen: 2}, 1},
		"row 6, with a key":       {[]step{{g: 1, with: with(keyed(1))}}, step{g: 1, with: with(keyed(1)), want: replayed, gen: 2}, 1},
		"row 7":                   {[]step{one}, step{after: hour, g: 1, want: replayed, gen: 2}, 1},
		"row 7, an older copy":    {[]step{one, two}, step{after: hour, g: 1, want: replayed, gen: 3}, 2},
		"row 7, with a key":       {[]step{one}, step{after: hour, g: 1, with: with(keyed(1)), want: replayed, gen: 2}, 1},
		"row 8":                   {[]step{one}, step{after: hour, g: 1, with: with(from(2)), want: displaced, gen: 3}, 1},
		"row 8, with another key": {[]step{{g: 1, with: with(keyed(1))}}, step{g: 1, with: with(keyed(2)), want: displaced, gen: 3}, 1},
		"row 9":                   {[]step{one, two}, step{g: 1, with: with(from(2)), want: replayed, gen: 3}, 2},
		"row 10":                  {[]step{one, two}, step{after: hour, g: 1, with: with(from(2)), want: reuse}, 0},
	}
}

// play brings a session to where the sign-out comes, and returns it with two more of its customer and one of another.
func (c scene) play(t *testing.T, k *kit) (s *session, rest []*session, bystander *session) {
	t.Helper()
	s = k.open(t, k.signIn())
	for _, before := range c.before {
		k.clock.advance(before.after)
		s.refresh(t, before.g, before.with...)
	}
	rest = []*session{s.sibling(t), s.sibling(t)}
	other := k.signIn()
	other.Subject = store.Subject{Kind: store.SubjectAgent, ID: s.in.Subject.ID}
	bystander = k.open(t, other)
	k.clock.advance(c.after)
	return s, rest, bystander
}

func testOthers(t *testing.T, k *kit) {
	for name, c := range scenes() {
		t.Run(name, func(t *testing.T) {
			s, rest, bystander := c.play(t, k)
			before := s.look(t)
			s.want(t, c.want, c.gen, s.refresh(t, c.g, append(c.with, k.others())...))
			bystander.lives(t, 1)
			if c.want == reuse {
				s.dead(t, c.g, store.CauseReuse)
				rest[0].lives(t, 1)
				same(t, "the customer's record", before.Record.Floor, rest[0].look(t).Record.Floor)
				return
			}
			after := s.look(t)
			r := s.request(c.g, c.with...)
			want := &store.SubjectRecord{
				Epoch: after.Epoch, Floor: k.clock.whole(), FloorCause: store.CauseEpoch, FloorFrom: r.From.Address,
				ExpiresAt: later(before.Record.ExpiresAt, after.ExpiresAt, k.clock.whole().Add(store.FloorLife)),
			}
			same(t, "the customer's record", want, after.Record)
			if after.Epoch == before.Epoch || after.Shut != c.shut || after.Base != c.shut || after.RetryKey != r.RetryKey {
				t.Errorf("epoch %x, then %x; shut %d, base %d, want %d; key %x", before.Epoch, after.Epoch, after.Shut, after.Base, c.shut, after.RetryKey)
			}
			gone(t, rest...)
			s.state(t, "")
			s.lives(t, c.gen)
			fresh := s.sibling(t)
			fresh.lives(t, 1)
			gone(t, rest...)
		})
	}
}

func later(first time.Time, others ...time.Time) time.Time {
	for _, o := range others {
		if o.After(first) {
			first = o
		}
	}
	return first
}

// testRefusedSignOuts : what rows 1 to 3 refuse signs nobody out.
func testRefusedSignOuts(t *testing.T, k *kit) {
	for _, which := range []store.SignOut{store.SignOutOthers, store.SignOutAll} {
		s := k.open(t, k.signIn())
		other := s.sibling(t)
		before := s.look(t)
		for want, option := range map[store.Outcome]option{
			store.OtherClient:  anotherClient,
			store.ScopeRefused: scope("admin"),
		} {
			same(t, "refused", store.RotateResult{Outcome: want}, s.refresh(t, 1, k.signOut(which), option))
		}
		same(t, "the session and the record", before, s.look(t))
		s.end(t, store.CauseRevoked)
		same(t, "an ended one", store.RotateResult{Outcome: store.Refused, Cause: store.CauseRevoked}, s.refresh(t, 1, k.signOut(which)))
		missing := s.request(1, k.signOut(which))
		missing.Name = k.name()
		if got, err := k.store.Rotate(t.Context(), missing); err != nil || got.Cause != store.CauseMissing {
			t.Errorf("no session: %+v, %v", got, err)
		}
		third := s.sibling(t)
		wrong := func(r *store.Rotation) { r.Password[0]++ }
		same(t, "another password", store.RotateResult{Outcome: store.Refused, Cause: store.CausePassword}, third.refresh(t, 1, k.signOut(which), wrong))
		before.Record.ShopFloor = k.clock.whole()
		same(t, "the record but for what the password means", before.Record, other.look(t).Record)
		other.lives(t, 1)
	}
}

// testLostOthers : the answer to a sign-out of others may be lost, whichever row it met, and is given again to who asks for
// it with the same generation and retry key within the replay window of that call.
func testLostOthers(t *testing.T, k *kit) {
	refused := store.RotateResult{Outcome: store.Refused, Cause: store.CauseEpoch}
	for name, c := range scenes() {
		if c.want == reuse {
			continue
		}
		t.Run(name, func(t *testing.T) {
			again := func(s *session, g uint32, options ...option) store.RotateResult {
				return s.refresh(t, g, append(append([]option{}, c.with...), options...)...)
			}
			signOut := func() *session {
				s, _, _ := c.play(t, k)
				s.want(t, c.want, c.gen, again(s, c.g, k.others()))
				return s
			}
			s := signOut()
			k.clock.advance(-hour)
			s.want(t, replayed, c.gen, again(s, c.g, k.others()))
			k.clock.advance(hour + minute)
			s.want(t, replayed, c.gen, again(s, c.g))
			s.want(t, replayed, c.gen, again(s, c.g, k.others(), from(5)))
			before := s.look(t)
			k.clock.advance(second)
			same(t, "after the window", refused, again(s, c.g))
			same(t, "after the window, signing out", refused, again(s, c.g, k.others()))
			same(t, "the session", before, s.look(t))
			s.lives(t, c.gen)

			s = signOut()
			before = s.look(t)
			same(t, "with another key", refused, again(s, c.g, keyed(9)))
			same(t, "with another key, signing out", refused, again(s, c.g, keyed(9), k.others()))
			same(t, "with another key, signing all out", refused, again(s, c.g, keyed(9), k.all()))
			if c.g < c.shut {
				same(t, "another of the generations before", refused, again(s, c.shut))
			}
			same(t, "the session", before, s.look(t))
			s.lives(t, c.gen)
			same(t, "after a newer use", refused, again(s, c.g))
			s.lives(t, c.gen+1)

			s = signOut()
			same(t, "all, in the end", store.RotateResult{Outcome: replayed}, again(s, c.g, k.all()))
			s.dead(t, c.gen, store.CauseAll)
		})
	}
}

// testShut : copies of what was used before others were signed out are refused, but they do not end the session, or a
// forgotten tab would sign its customer out.
func testShut(t *testing.T, k *kit) {
	refused := store.RotateResult{Outcome: store.Refused, Cause: store.CauseEpoch}
	s := k.open(t, k.signIn())
	for g := uint32(1); g <= 20; g++ {
		s.lives(t, g)
	}
	s.want(t, rotated, 22, s.refresh(t, 21, k.others()))
	s.lives(t, 22)
	before := s.look(t)
	for g := uint32(1); g <= 21; g++ {
		for _, options := range [][]option{nil, {from(2)}, {keyed(1)}, {k.others()}, {k.all()}, {observing}} {
			same(t, "a copy", refused, s.refresh(t, g, options...))
		}
	}
	same(t, "the session", before, s.look(t))
	s.want(t, replayed, 23, s.refresh(t, 22))
	s.lives(t, 23)
	k.clock.advance(11 * second)
	s.want(t, reuse, 0, s.refresh(t, 22, from(2)))
	s.dead(t, 24, store.CauseReuse)

	// What was given out and displaced since is as dead as ever.
	s = k.open(t, k.signIn())
	s.want(t, rotated, 2, s.refresh(t, 1, k.others()))
	s.lives(t, 2)
	k.clock.advance(hour)
	s.want(t, displaced, 4, s.refresh(t, 2, from(2)))
	same(t, "a copy", refused, s.refresh(t, 1))
	s.want(t, reuse, 0, s.refresh(t, 3))
	s.dead(t, 4, store.CauseReuse)

	// A token of the newest generation from before lost writes signs others out: no older copy passes for it.
	s = k.open(t, k.signIn())
	for g := uint32(1); g <= 21; g++ {
		s.lives(t, g)
	}
	s.want(t, replayed, 22, s.refresh(t, 22, saying(k.clock.whole().Add(hour)), k.others()))
	for g := uint32(1); g <= 21; g++ {
		same(t, "a copy", refused, s.refresh(t, g))
	}
	s.lives(t, 22)
}

func testOthersAgain(t *testing.T, k *kit) {
	s := k.open(t, k.signIn())
	var rest []*session
	for g := uint32(1); g <= 20; g++ {
		rest = append(rest, s.sibling(t))
		s.want(t, rotated, g+1, s.refresh(t, g, k.others()))
		gone(t, rest...)
		k.clock.advance(hour)
	}
	if n := s.look(t).Shut; n != 20 {
		t.Errorf("shut up to %d, want 20", n)
	}
	other := s.sibling(t)
	other.want(t, rotated, 2, other.refresh(t, 1, k.others()))
	s.dead(t, 21, store.CauseEpoch)
	other.lives(t, 2)
}

func testAll(t *testing.T, k *kit) {
	for name, c := range scenes() {
		t.Run(name, func(t *testing.T) {
			s, rest, bystander := c.play(t, k)
			options := append(append([]option{}, c.with...), k.all())
			visitor := s.request(c.g, options...).From
			got := s.refresh(t, c.g, options...)
			bystander.lives(t, 1)
			if c.want == reuse {
				s.want(t, reuse, 0, got)
				s.dead(t, c.g, store.CauseReuse)
				rest[0].lives(t, 1)
				rest[1].lives(t, 1)
				return
			}
			same(t, "the answer", store.RotateResult{Outcome: c.want}, got)
			after := s.look(t)
			if r := after.Record; !r.Floor.Equal(k.clock.whole()) || r.FloorCause != store.CauseEpoch || r.FloorFrom != visitor.Address ||
				r.ExpiresAt.Before(k.clock.whole().Add(store.FloorLife)) {
				t.Errorf("the customer's record: %+v", r)
			}
			if last := after.Timeline[len(after.Timeline)-1]; last.What != store.Ended || last.Address != visitor.Address {
				t.Errorf("the timeline ends with %+v", last)
			}
			s.state(t, store.CauseAll)
			for g := range s.look(t).Cur + 3 {
				s.dead(t, g, store.CauseAll)
			}
			gone(t, rest...)
			fresh := s.sibling(t)
			fresh.lives(t, 1)
			gone(t, rest...)
		})
	}
	const last = store.MaxGeneration
	s := k.open(t, k.signIn())
	s.want(t, healed, last, s.refresh(t, last-1))
	same(t, "of the newest generation there can be", store.RotateResult{Outcome: rotated}, s.refresh(t, last, k.all()))
	s = k.open(t, k.signIn())
	s.want(t, healed, last, s.refresh(t, last-1))
	other := s.sibling(t)
	same(t, "others, of the newest", store.RotateResult{Outcome: store.Refused, Cause: store.CauseExhausted}, s.refresh(t, last, k.others()))
	other.lives(t, 1)
}
