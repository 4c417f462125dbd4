package redisstore

import (
	"context"
	"encoding/hex"
	"errors"
	"slices"
	"time"

	"github.com/glueauth/glueauth/store"
)

// ReserveGuess takes a place in each bucket of a guess, or in none: one call for the address, one for the pair and the account,
// which share a slot; a second one that finds no place gives the first one back.
func (s *Store) ReserveGuess(ctx context.Context, g store.Guess) (v store.GuessVerdict, err error) {
	address, account := buckets(g, &v.Places)
	if v.Full, v.Wait, err = s.take(ctx, address); err != nil || v.Full != "" && !g.Observe {
		return v, err
	}
	full, wait, err := s.take(ctx, account)
	if err == nil && full == store.GuessAccount {
		full, wait, err = s.pass(ctx, g, account, wait)
	}
	if v.Full == "" {
		v.Full, v.Wait = full, wait
	}
	if err != nil || v.Full != "" && !g.Observe {
		err = errors.Join(err, s.giveBack(context.WithoutCancel(ctx), address))
		v.Places = store.GuessPlaces{}
	}
	return v, err
}

// RefundGuess gives places back.
func (s *Store) RefundGuess(ctx context.Context, g store.Guess, taken store.GuessPlaces) error {
	address, account := buckets(g, &taken)
	return errors.Join(s.giveBack(ctx, address), s.giveBack(ctx, account))
}

// bucket is one that counts; window is the end of the window in which a place was taken, zero for none.
type bucket struct {
	name   store.GuessBucket
	key    string
	limit  store.GuessLimit
	window *time.Time
}

// buckets returns those of an address and those of an account; each list shares a slot that nobody can choose.
func buckets(g store.Guess, places *store.GuessPlaces) (address, account []bucket) {
	of, from := "glueauth:{n:"+hex.EncodeToString(g.Account[:])+"}", hex.EncodeToString(g.Address[:])
	if g.Address != (store.GuessKey{}) {
		address = []bucket{{store.GuessAddress, "glueauth:{i:" + from + "}", g.Limits.Address, &places.Address}}
		account = []bucket{{store.GuessPair, of + ":" + from, g.Limits.Pair, &places.Pair}}
	}
	account = append(account, bucket{store.GuessAccount, of, g.Limits.Account, &places.Account})
	off := func(b bucket) bool { return b.limit.Most == 0 }
	return slices.DeleteFunc(address, off), slices.DeleteFunc(account, off)
}

// take takes a place in each of the buckets, or tells the first one that is full and for how long.
func (s *Store) take(ctx context.Context, from []bucket) (store.GuessBucket, time.Duration, error) {
	if len(from) == 0 {
		return "", 0, nil
	}
	var names []string
	var args []any
	for _, b := range from {
		names = append(names, b.key)
		args = append(args, b.limit.Most, seconds(b.limit.Window), seconds(b.limit.Lock))
	}
	got, err := s.run(ctx, s.scripts.guess, names, 0, args...)
	if err != nil {
		return "", 0, err
	}
	r := reader{values: got}
	if full := r.number(0); full > 0 && full <= int64(len(from)) {
		if wait := time.Duration(r.number(1)) * time.Second; !r.bad {
			return from[full-1].name, wait, nil
		}
	}
	for i, b := range from {
		*b.window = time.Unix(r.number(i+1), 0).UTC()
	}
	if r.bad {
		return "", 0, unavailable(errAnswer)
	}
	return "", 0, nil
}

// pass takes a place in the pair alone for somebody whose account is full for that long, if its customer uses the address. An
// unknown customer is asked for too, so that he takes as long.
func (s *Store) pass(ctx context.Context, g store.Guess, account []bucket, wait time.Duration) (store.GuessBucket, time.Duration, error) {
	got, err := s.run(ctx, s.scripts.known, keys(g.Subject, store.SessionName{}), 0, g.Mark[:])
	if err != nil {
		return "", 0, err
	}
	if r := (reader{values: got}); r.number(0) != 1 || g.Mark == (store.AddressMark{}) {
		return store.GuessAccount, wait, nil
	}
	return s.take(ctx, account[:len(account)-1])
}

// giveBack gives back the places that were taken in the buckets.
func (s *Store) giveBack(ctx context.Context, to []bucket) error {
	var names []string
	var windows []any
	for _, b := range to {
		if !b.window.IsZero() {
			names = append(names, b.key)
			windows = append(windows, b.window.Unix())
		}
	}
	if len(names) == 0 {
		return nil
	}
	_, err := s.servers.run(ctx, call{script: s.scripts.refund, keys: names, args: windows})
	return err
}

// greeting is a mark as open.lua and rotate.lua take it.
func greeting(m store.AddressMark) []byte {
	if m == (store.AddressMark{}) {
		return nil
	}
	return m[:]
}
