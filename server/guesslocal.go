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
	counts := localCounts{l, map[string]store.GuessCount{}}
	v, err := g.Reserve(counts, l.now())
	switch {
	case errors.Is(err, errLocalFull) && g.Observe:
		return store.GuessVerdict{}, nil // it refuses nobody
	case err != nil:
		return v, fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	maps.Copy(l.buckets, counts.kept)
	return v, nil
}

// RefundGuess implements [Guesses].
func (l *localGuesses) RefundGuess(_ context.Context, g store.Guess, taken store.GuessPlaces) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return g.Refund(localCounts{l, l.buckets}, taken) //nolint:wrapcheck // our own
}

// localCounts are localGuesses to who holds their lock, and what is to be kept.
type localCounts struct {
	*localGuesses
	kept map[string]store.GuessCount
}

// Count implements [store.GuessCounts].
func (l localCounts) Count(name []byte) (store.GuessCount, error) {
	return l.buckets[string(name)], nil
}

// Keep implements [store.GuessCounts].
func (l localCounts) Keep(name []byte, c store.GuessCount) error {
	if _, there := l.buckets[string(name)]; !there && !l.hasRoom(len(l.kept)+1) {
		return errLocalFull
	}
	l.kept[string(name)] = c
	return nil
}

// hasRoom reports whether there is room for so many more, when those are forgotten whose time is over.
func (l localCounts) hasRoom(more int) bool {
	if len(l.buckets)+more > localBuckets {
		now := l.now()
		maps.DeleteFunc(l.buckets, func(_ string, c store.GuessCount) bool { return !c.Until().After(now) })
	}
	return len(l.buckets)+more <= localBuckets
}

// Knows implements [store.GuessCounts].
func (localCounts) Knows(store.Guess) (bool, error) { return false, nil }
