package server_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/glueauth/glueauth/server"
	"github.com/glueauth/glueauth/store"
)

func TestWithoutTheStoreGuessesAreCountedMoreStrictly(t *testing.T) {
	t.Parallel()
	counters := new(gone)
	h := limitedShop(t, func(c *server.Config) {
		counters.Guesses = c.Guesses
		c.Guesses = counters
	})
	counters.now.Store(true)
	for _, name := range []string{demoEmail, "nobody@shop.example"} {
		h.guess(here, name, 2)
		for range 3 {
			h.mustBeRight(name)
		}
		h.guess(here, name, 1)
		h.locked(here, name, 5*time.Minute)
	}
	if n := h.count(server.EventGuessLocal, ""); n == 0 {
		t.Error("nobody was told")
	}
	for n := range 69 { // of 75 from one address
		h.guess(here, fmt.Sprintf("customer%d@shop.example", n), 1)
	}
	h.locked(here, "customer69@shop.example", 10*time.Minute)
	counters.now.Store(false)
	h.mustSignIn()
	counters.now.Store(true)
	h.guess("192.0.2.9", "customer70@shop.example", 1)
}

// TestTheReplicasOwnCountersAreBounded : it remembers so many and no more, and then lets nobody else try.
func TestTheReplicasOwnCountersAreBounded(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	counters := server.LocalGuesses(func() time.Time { return now })
	var c server.Config
	limited(&c)
	guess := func(n int) error {
		g := store.Guess{Limits: c.Guessing.Limits}
		binary.BigEndian.PutUint64(g.Account[:], uint64(n)+1)
		binary.BigEndian.PutUint64(g.Address[:], uint64(n)+1)
		_, err := counters.ReserveGuess(t.Context(), g)
		return err
	}
	n := 0
	for ; n < 10_000 && guess(n) == nil; n++ {
	}
	if err := guess(n); n < 3000 || n == 10_000 || !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("after %d: %v", n, err)
	}
	if err := guess(0); err != nil {
		t.Errorf("who is there already: %v", err)
	}
	fullTakesNothing(t, counters, store.Guess{Limits: c.Guessing.Limits, Account: store.GuessKey{15: 1}, Address: store.GuessKey{7: 2}})
	if err := guess(1); err != nil {
		t.Errorf("whose address others came from: %v", err)
	}
	now = now.Add(time.Hour)
	if err := guess(n); err != nil {
		t.Errorf("when the first ones are forgotten: %v", err)
	}
}

// fullTakesNothing : where there is a bucket of the address and no room for the pair and the account, none is taken.
func fullTakesNothing(t *testing.T, counters server.Guesses, g store.Guess) {
	t.Helper()
	for range 100 {
		if _, err := counters.ReserveGuess(t.Context(), g); !errors.Is(err, store.ErrUnavailable) {
			t.Fatalf("a new account: %v", err)
		}
	}
	g.Observe = true
	if v, err := counters.ReserveGuess(t.Context(), g); err != nil || v != (store.GuessVerdict{}) {
		t.Fatalf("observed: %+v, %v", v, err)
	}
}
