package server

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/glueauth/glueauth/store"
)

const (
	localStricter = 4      // of as many failures one is allowed
	localBuckets  = 10_000 // beyond which nobody new may try
)

var errLocalFull = errors.New("too many guesses to count without the store")

// localGuesses counts in memory while the store that counts for all is gone, with a quarter of the limits. It knows no addresses.
type localGuesses struct {
	now func() time.Time

	mu      sync.Mutex
	buckets map[string]store.GuessCount
}

func newLocalGuesses(now func() time.Time) *localGuesses {
	return &localGuesses{now: now, buckets: map[string]store.GuessCount{}}
}

// ReserveGuess implements [Guesses].
func (l *localGuesses) ReserveGuess(_ context.Context, g store.Guess) (store.GuessVerdict, error) {
	for _, limit := range []*store.GuessLimit{&g.Limits.Pair, &g.Limits.Account, &g.Limits.Address} {
		limit.Most = (limit.Most + localStricter - 1) / localStricter
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	v, err := g.Reserve((*localCounts)(l), l.now())
	if err != nil {
		return v, fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	return v, nil
}

// RefundGuess implements [Guesses].
func (l *localGuesses) RefundGuess(_ context.Context, g store.Guess, taken store.GuessPlaces) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return g.Refund((*localCounts)(l), taken) //nolint:wrapcheck // our own
}

// localCounts are localGuesses to who holds their lock.
type localCounts localGuesses

// Count implements [store.GuessCounts].
func (l *localCounts) Count(name []byte) (store.GuessCount, error) {
	return l.buckets[string(name)], nil
}

// Keep implements [store.GuessCounts].
func (l *localCounts) Keep(name []byte, c store.GuessCount) error {
	if _, there := l.buckets[string(name)]; !there && len(l.buckets) >= localBuckets {
		now := l.now()
		maps.DeleteFunc(l.buckets, func(_ string, c store.GuessCount) bool { return !c.Until().After(now) })
		if len(l.buckets) >= localBuckets {
			return errLocalFull
		}
	}
	l.buckets[string(name)] = c
	return nil
}

// Knows implements [store.GuessCounts].
func (*localCounts) Knows(store.Guess) (bool, error) { return false, nil }
