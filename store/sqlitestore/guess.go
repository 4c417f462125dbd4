package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/glueauth/glueauth/store"
)

// ReserveGuess takes a place in each bucket of a guess, or in none; package store holds the rules.
func (s *Store) ReserveGuess(ctx context.Context, g store.Guess) (store.GuessVerdict, error) {
	return ask(ctx, s, func(ctx context.Context, t transaction) (store.GuessVerdict, error) {
		return g.Reserve(counts{ctx, t}, t.now)
	})
}

// RefundGuess gives places back.
func (s *Store) RefundGuess(ctx context.Context, g store.Guess, taken store.GuessPlaces) error {
	_, err := ask(ctx, s, func(ctx context.Context, t transaction) (none struct{}, err error) {
		return none, g.Refund(counts{ctx, t}, taken)
	})
	return err
}

// counts are the buckets, as one transaction sees them.
type counts struct {
	ctx context.Context //nolint:containedctx // of the one call that it is made for
	transaction
}

// Count returns what is in a bucket.
func (c counts) Count(name []byte) (count store.GuessCount, err error) {
	var ends, locked int64
	switch err = c.row(c.ctx, selectGuess, name).Scan(&count.Taken, &ends, &locked); {
	case errors.Is(err, sql.ErrNoRows):
		return count, nil
	case err != nil:
		return count, fmt.Errorf("read guesses: %w", err)
	}
	count.EndsAt, count.LockedUntil = at(ends), at(locked)
	return count, nil
}

// Keep writes what is in a bucket.
func (c counts) Keep(name []byte, count store.GuessCount) error {
	_, err := c.exec(c.ctx, writeGuess, name, count.Taken, unix(count.EndsAt), unix(count.LockedUntil), unix(count.Until()))
	return err
}

// Knows reports whether the guess comes from an address that its subject uses.
func (c counts) Knows(g store.Guess) (bool, error) {
	known, err := c.addresses(c.ctx, g.Subject)
	return known.Knows(g.Mark, c.now), err
}

// addresses returns those that a subject uses.
func (t transaction) addresses(ctx context.Context, s store.Subject) (known store.KnownAddresses, err error) {
	err = t.row(ctx, selectAddresses, s.Kind, s.ID).Scan((*[]byte)(&known))
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("read addresses: %w", err)
	}
	return known, nil
}

// greet notes the address that a subject uses, of whom there is a record by now.
func (t transaction) greet(ctx context.Context, s store.Subject, m store.AddressMark) error {
	if m == (store.AddressMark{}) {
		return nil
	}
	known, err := t.addresses(ctx, s)
	if err != nil {
		return err
	}
	if noted, changed := known.Note(m, t.now); changed {
		_, err = t.exec(ctx, writeAddresses, []byte(noted), s.Kind, s.ID)
	}
	return err
}

// greeting notes the address of whom a rotation hands a successor for the first time.
func (t transaction) greeting(ctx context.Context, r store.Rotation, result store.RotateResult, err error) (store.RotateResult, error) {
	if err != nil || result.Generation == 0 || result.Outcome == store.Replayed {
		return result, err
	}
	return result, t.greet(ctx, r.Subject, r.Address)
}
