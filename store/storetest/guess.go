package storetest

import (
	"context"
	"encoding/binary"
	"sync/atomic"
	"testing"
	"time"

	"github.com/glueauth/glueauth/store"
)

// Guesses is what the suite of guesses tests: the counters, and the sessions whose calls note addresses.
type Guesses interface {
	Sessions
	ReserveGuess(ctx context.Context, g store.Guess) (store.GuessVerdict, error)
	RefundGuess(ctx context.Context, g store.Guess, taken store.GuessPlaces) error
}

// RunGuesses runs the suite of guesses. open is as of [Run].
func RunGuesses(t *testing.T, open func(t *testing.T, now func() time.Time) Guesses) {
	t.Helper()
	for name, test := range map[string]func(t *testing.T, k *guessKit){
		"a full bucket":               testFullBucket,
		"buckets that are off":        testBucketsOff,
		"a place given back":          testGivenBack,
		"all or none":                 testAllOrNone,
		"the fullest is not the last": testOrder,
		"observed pair":               testObservedPair,
		"observed account":            testObservedAccount,
		"racers for the last places":  testGuessRacers,
		"known address":               testKnownAddress,
		"what makes an address known": testGreeting,
		"eight addresses":             testEightAddresses,
		"any guesses":                 testGuessModel,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newClock()
			s := open(t, c.now)
			test(t, &guessKit{kit: newKit(s, c), guesses: s})
		})
	}
}

// guessKit is a store under test and the suite's ways to guess.
type guessKit struct {
	*kit
	guesses Guesses
	keys    atomic.Uint64
}

// key returns a key that no other guess has.
func (k *guessKit) key() (key store.GuessKey) {
	binary.BigEndian.PutUint64(key[:], k.first+k.keys.Add(1))
	return key
}

// guess returns a guess at the usual limits, of an account and an address of its own.
func (k *guessKit) guess() store.Guess {
	return store.Guess{Account: k.key(), Address: k.key(), Limits: store.GuessLimits{
		Pair:    store.GuessLimit{Most: 10, Window: 10 * minute, Lock: 5 * minute},
		Account: store.GuessLimit{Most: 100, Window: hour},
		Address: store.GuessLimit{Most: 300, Window: 10 * minute},
	}}
}

func (k *guessKit) reserve(t *testing.T, g store.Guess) store.GuessVerdict {
	t.Helper()
	v, err := k.guesses.ReserveGuess(t.Context(), g)
	if err != nil {
		t.Fatalf("reserve: %v", err)
	}
	return v
}

func (k *guessKit) refund(t *testing.T, g store.Guess, taken store.GuessPlaces) {
	t.Helper()
	if err := k.guesses.RefundGuess(t.Context(), g, taken); err != nil {
		t.Fatalf("refund: %v", err)
	}
}

// fail takes n places, all of which there must be.
func (k *guessKit) fail(t *testing.T, g store.Guess, n int) (last store.GuessVerdict) {
	t.Helper()
	for i := range n {
		if last = k.reserve(t, g); last.Full != "" {
			t.Fatalf("place %d of %d: the %s is full for %s", i+1, n, last.Full, last.Wait)
		}
	}
	return last
}

// full fails the test unless the guess is refused by this bucket, for that long.
func (k *guessKit) full(t *testing.T, g store.Guess, bucket store.GuessBucket, wait time.Duration) {
	t.Helper()
	same(t, "a full bucket", store.GuessVerdict{Full: bucket, Wait: wait}, k.reserve(t, g))
}

func testFullBucket(t *testing.T, k *guessKit) {
	for bucket, c := range map[store.GuessBucket]struct {
		most       int
		lock, wait time.Duration
		set        func(*store.GuessLimits) *store.GuessLimit
	}{
		store.GuessPair:    {10, 5 * minute, 5 * minute, func(l *store.GuessLimits) *store.GuessLimit { return &l.Pair }},
		store.GuessAccount: {20, 0, hour - 19*time.Second, func(l *store.GuessLimits) *store.GuessLimit { return &l.Account }},
		store.GuessAddress: {30, 0, 10*minute - 29*time.Second, func(l *store.GuessLimits) *store.GuessLimit { return &l.Address }},
	} {
		g := k.guess()
		limit := *c.set(&g.Limits)
		limit.Most = c.most
		g.Limits = store.GuessLimits{}
		*c.set(&g.Limits) = limit
		for i := range c.most {
			if i > 0 {
				k.clock.advance(time.Second)
			}
			k.fail(t, g, 1)
		}
		k.full(t, g, bucket, c.wait)
		k.clock.advance(c.wait - time.Second)
		k.full(t, g, bucket, time.Second)
		k.clock.advance(time.Second)
		k.fail(t, g, c.most-1) // empty again
		k.clock.advance(limit.Window - time.Second)
		k.fail(t, g, 1) // the window's end has not come
		if v := k.reserve(t, g); v.Full != bucket {
			t.Errorf("%s: %+v", bucket, v)
		}
		k.clock.advance(max(c.lock, time.Second))
		k.fail(t, g, c.most-1)
		k.clock.advance(limit.Window)
		k.fail(t, g, c.most) // a window ends without a lock too
	}
}

func testBucketsOff(t *testing.T, k *guessKit) {
	g := k.guess()
	g.Limits = store.GuessLimits{}
	same(t, "no bucket", store.GuessVerdict{}, k.fail(t, g, 20))
	g = k.guess()
	g.Address = store.GuessKey{} // of a proxy: only the account's is left
	g.Limits.Account.Most = 12
	if v := k.fail(t, g, 12); !v.Places.Pair.IsZero() || !v.Places.Address.IsZero() || v.Places.Account.IsZero() {
		t.Errorf("%+v", v)
	}
	k.full(t, g, store.GuessAccount, hour)
}

func testGivenBack(t *testing.T, k *guessKit) {
	g := k.guess()
	right := k.fail(t, g, 1)
	k.clock.advance(minute)
	k.fail(t, g, 9)
	k.full(t, g, store.GuessPair, 5*minute)
	k.refund(t, g, right.Places) // it was right after all
	last := k.fail(t, g, 1)
	k.full(t, g, store.GuessPair, 5*minute)
	for range 3 { // only the places that were taken
		k.refund(t, g, store.GuessPlaces{})
	}
	k.full(t, g, store.GuessPair, 5*minute)
	k.clock.advance(5 * minute)
	k.fail(t, g, 9)
	k.refund(t, g, store.GuessPlaces{Pair: last.Places.Pair}) // of the window before
	k.fail(t, g, 1)
	k.full(t, g, store.GuessPair, 5*minute)

	alone := k.guess()
	for range 30 { // a shop's busy office: all are right
		k.refund(t, alone, k.fail(t, alone, 1).Places)
	}
	first := k.fail(t, alone, 1)
	k.refund(t, alone, first.Places)
	k.clock.advance(minute)
	if again := k.fail(t, alone, 1); !again.Places.Pair.Equal(first.Places.Pair.Add(minute)) {
		t.Errorf("a window that all places were given back in goes on: %+v, then %+v", first, again)
	}
}

// testAllOrNone : who is refused by one bucket has no place in the others.
func testAllOrNone(t *testing.T, k *guessKit) {
	a := k.guess()
	a.Limits.Address.Most, a.Limits.Account.Most = 20, 15
	k.fail(t, a, 10)
	for range 30 {
		k.full(t, a, store.GuessPair, 5*minute)
	}
	b := a // another account from there: ten of twenty are left
	b.Account = k.key()
	k.fail(t, b, 9)
	c := a // the same account from elsewhere: five of fifteen are left
	c.Address = k.key()
	k.fail(t, c, 5)
	for range 30 {
		k.full(t, c, store.GuessAccount, hour)
	}
	d := c
	d.Account = k.key()
	k.fail(t, d, 10)
	b.Account = k.key()
	k.fail(t, b, 1)
	for range 30 {
		k.full(t, b, store.GuessAddress, 10*minute)
	}
	b.Address = k.key()
	k.fail(t, b, 9)
}

func testOrder(t *testing.T, k *guessKit) {
	g := k.guess()
	g.Limits.Address.Most, g.Limits.Pair.Most, g.Limits.Account.Most = 3, 3, 3
	k.fail(t, g, 3)
	k.full(t, g, store.GuessAddress, 10*minute)
	g.Limits.Address.Most = 0
	k.full(t, g, store.GuessPair, 5*minute)
	g.Address = k.key()
	k.full(t, g, store.GuessAccount, hour)
}

// taken returns in which of pair, account and address a guess has a place.
func taken(v store.GuessVerdict) [3]bool {
	return [3]bool{!v.Places.Pair.IsZero(), !v.Places.Account.IsZero(), !v.Places.Address.IsZero()}
}

// testObservedPair : what would stop him is told. The address counts on, the account does not, as if he were stopped there.
func testObservedPair(t *testing.T, k *guessKit) {
	g := k.guess()
	g.Observe, g.Limits.Address.Most = true, 12
	k.fail(t, g, 10)
	for range 2 {
		v := k.reserve(t, g)
		same(t, "the full one", store.GuessPair, v.Full)
		same(t, "places", [3]bool{false, false, true}, taken(v))
	}
	v := k.reserve(t, g)
	same(t, "the first one", store.GuessAddress, v.Full)
	same(t, "no places", [3]bool{}, taken(v))
	g.Account = k.key()
	v = k.reserve(t, g)
	same(t, "the address is full, and so counts nothing", [3]bool{true, true, false}, taken(v))
}

func testObservedAccount(t *testing.T, k *guessKit) {
	g := k.guess()
	g.Observe, g.Limits.Account.Most = true, 5
	k.fail(t, g, 5)
	g.Address = k.key()
	v := k.reserve(t, g)
	same(t, "the full one", store.GuessAccount, v.Full)
	same(t, "for how long", hour, v.Wait)
	same(t, "places", [3]bool{false, false, true}, taken(v))
}

// testGuessRacers : of those who come at the same time as many get a place as there are, whichever bucket it is.
func testGuessRacers(t *testing.T, k *guessKit) {
	for name, c := range map[string]struct {
		limits store.GuessLimits
		of     func(g store.Guess, i int) store.Guess
	}{
		"pair": {
			store.GuessLimits{Pair: store.GuessLimit{Most: 10, Window: minute}, Address: store.GuessLimit{Most: 50, Window: minute}},
			func(g store.Guess, _ int) store.Guess { return g },
		},
		"account": {
			store.GuessLimits{Account: store.GuessLimit{Most: 10, Window: minute}, Pair: store.GuessLimit{Most: 5, Window: minute}},
			func(g store.Guess, i int) store.Guess { g.Address[15] = byte(i); return g },
		},
		"address": {
			store.GuessLimits{Address: store.GuessLimit{Most: 10, Window: minute}, Account: store.GuessLimit{Most: 5, Window: minute}},
			func(g store.Guess, i int) store.Guess { g.Account[15] = byte(i); return g },
		},
	} {
		g := k.guess()
		g.Limits = c.limits
		var taken atomic.Int32
		together(100, func(i int) {
			v, err := k.guesses.ReserveGuess(t.Context(), c.of(g, i))
			if err != nil {
				t.Error(err)
			}
			if v.Full == "" {
				taken.Add(1)
			}
		})
		if taken.Load() != 10 {
			t.Errorf("%s: %d places of 10", name, taken.Load())
		}
	}
	g := k.guess() // places that are given back at the same time are all there again
	together(20, func(int) {
		for range 5 {
			v, err := k.guesses.ReserveGuess(t.Context(), g)
			if err == nil && v.Full == "" {
				err = k.guesses.RefundGuess(t.Context(), g, v.Places)
			}
			if err != nil {
				t.Error(err)
			}
		}
	})
	k.fail(t, g, 10)
}
