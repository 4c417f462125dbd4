package storetest

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/glueauth/glueauth/store"
)

// marked is the mark of an address.
func marked(n byte) store.AddressMark { return store.AddressMark{n, 0xff, 0x80, 7: 1} }

// seenAt has the request come from an address that is to be known.
func seenAt(n byte) option {
	return func(r *store.Rotation) { r.Address = marked(n) }
}

// signedIn signs a customer in at an address, and returns a guess on his account by a stranger who has filled its bucket.
func (k *guessKit) signedIn(t *testing.T, at byte) (*session, store.Guess) {
	t.Helper()
	in := k.signIn()
	in.Address = marked(at)
	s := k.open(t, in)
	g := k.guess()
	g.Subject, g.Limits.Account.Most, g.Mark = in.Subject, 3, marked(0xee)
	k.fill(t, g)
	return s, g
}

func (k *guessKit) fill(t *testing.T, g store.Guess) {
	t.Helper()
	g.Address = k.key()
	for range g.Limits.Account.Most {
		k.reserve(t, g)
	}
	if v := k.reserve(t, g); v.Full != store.GuessAccount {
		t.Fatalf("%+v", v)
	}
}

// knows reports whether the full account lets somebody at this address try.
func (k *guessKit) knows(t *testing.T, g store.Guess, n byte) bool {
	t.Helper()
	g.Address, g.Mark = k.key(), marked(n)
	v := k.reserve(t, g)
	if v.Full == "" && (v.Places.Pair.IsZero() || v.Places.Address.IsZero() || !v.Places.Account.IsZero()) {
		t.Errorf("%+v", v)
	}
	return v.Full == ""
}

// testKnownAddress : an address that the customer uses is stopped by the pair and by the address, never by the account.
func testKnownAddress(t *testing.T, k *guessKit) {
	_, g := k.signedIn(t, 1)
	if k.knows(t, g, 2) || k.knows(t, g, 0xee) {
		t.Error("a stranger came in")
	}
	g.Mark = marked(1)
	k.refund(t, g, k.fail(t, g, 10).Places)
	k.fail(t, g, 1)
	k.full(t, g, store.GuessPair, 5*minute)
	g.Address, g.Limits.Address.Most = k.key(), 5
	k.fail(t, g, 5)
	k.full(t, g, store.GuessAddress, 10*minute)
	stranger := g
	stranger.Address, stranger.Mark = k.key(), store.AddressMark{}
	k.full(t, stranger, store.GuessAccount, hour)
	nobody := k.guess() // whom nobody can know
	nobody.Limits.Account.Most, nobody.Mark = 3, marked(1)
	k.fill(t, nobody)
	k.full(t, nobody, store.GuessAccount, hour)
}

func testGreeting(t *testing.T, k *guessKit) {
	s, g := k.signedIn(t, 1)
	s.want(t, store.Rotated, 2, s.refresh(t, 1, seenAt(2)))
	s.want(t, store.Replayed, 2, s.refresh(t, 1, seenAt(3)))
	s.want(t, store.Refused, 0, s.refresh(t, 2, seenAt(4), func(r *store.Rotation) { r.Password[0]++ }))
	for n, want := range map[byte]bool{1: true, 2: true, 3: false, 4: false} {
		if k.knows(t, g, n) != want {
			t.Errorf("address %d known: %v", n, !want)
		}
	}
	again := s.sibling(t)
	again.want(t, store.Rotated, 2, again.refresh(t, 1, seenAt(5), k.others()))
	k.endAll(t, s.in.Subject, store.CauseOperator)
	for _, n := range []byte{1, 2, 5} { // or a stranger could keep out who has just signed out everywhere
		if !k.knows(t, g, n) {
			t.Errorf("address %d was forgotten with the epoch", n)
		}
	}
	taken := k.taken()
	taken.want(t, store.Rotated, 1, taken.adopt(t, seenAt(6)))
	g.Account, g.Subject = k.key(), taken.in.Subject
	k.fill(t, g)
	if !k.knows(t, g, 6) || k.knows(t, g, 1) {
		t.Error("after the take-over of a session")
	}
}

// testEightAddresses : the eight newest are known, for thirty days each, counted in whole ones.
func testEightAddresses(t *testing.T, k *guessKit) {
	s, g := k.signedIn(t, 1)
	for n := byte(2); n <= 8; n++ {
		k.clock.advance(day)
		s.want(t, store.Rotated, uint32(n), s.refresh(t, uint32(n)-1, seenAt(n)))
	}
	known := func(want ...byte) {
		t.Helper()
		k.fill(t, g)
		var have []byte
		for n := range byte(12) {
			if k.knows(t, g, n+1) {
				have = append(have, n+1)
			}
		}
		same(t, "known addresses", want, have)
	}
	known(1, 2, 3, 4, 5, 6, 7, 8)
	s.refresh(t, 8, seenAt(2)) // it is the newest now
	s.refresh(t, 9, seenAt(9))
	known(2, 3, 4, 5, 6, 7, 8, 9)
	s.refresh(t, 10)
	known(2, 3, 4, 5, 6, 7, 8, 9)
	k.clock.advance(26 * day)
	known(2, 4, 5, 6, 7, 8, 9)
	k.clock.advance(4 * day)
	s.refresh(t, 11, seenAt(4))
	known(2, 4, 8, 9)
	k.clock.advance(day)
	known(4)
}

// testGuessModel : whatever happens, the buckets are what a list of all places says.
func testGuessModel(t *testing.T, k *guessKit) {
	rapid.Check(t, func(rt *rapid.T) {
		m := &guessModel{guessKit: k, t: t, subject: k.signIn().Subject, buckets: map[string]*modelBucket{}}
		for i := range m.accounts {
			m.accounts[i], m.addresses[i] = k.key(), k.key()
		}
		rt.Repeat(map[string]func(*rapid.T){
			"reserve": m.reserve, "again": m.reserve, "once more": m.reserve, "refund": m.refund, "advance": m.advance, "sign in": m.signIn,
		})
	})
}
