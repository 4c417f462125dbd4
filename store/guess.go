package store

import (
	"encoding/binary"
	"slices"
	"time"
)

// Guesses of passwords are counted in three buckets: of the pair (account, address), of the account, of the address. A place is
// taken before a password is verified and given back when it was right, so that what stays is a failure, and no more are
// verified at the same time than may fail.
//
//   - A bucket's window begins with the first place that is taken. The place that fills it locks it; when the lock is over, or the
//     window without one, it is empty again. A place that is given back in its window takes the lock away.
//   - ReserveGuess takes a place in all three or in none, and looks in the order address, pair, account. Two calls never take the
//     same place, over processes too. A bucket that takes 0 is not counted.
//   - A full account bucket does not stop who comes from an address that the subject is known to use ([KnownAddresses]), or
//     strangers could lock him out. Open, Adopt and Rotate note the address, each in its own step.
//   - Keys are keyed hashes: no store learns a name or an address from them, and nobody can choose where they land.
//   - What is lost with a crash, or when a store answers too late, may be a place that was to be given back, never one that was taken.

// GuessKey is a keyed hash of an account or of an address.
type GuessKey [16]byte

// GuessBucket names one of the buckets.
type GuessBucket string

// The buckets.
const (
	GuessPair    GuessBucket = "pair"
	GuessAccount GuessBucket = "account"
	GuessAddress GuessBucket = "address"
)

// GuessLimit is how many failures a bucket takes.
type GuessLimit struct {
	Most   int           // 0: the bucket is not counted
	Window time.Duration // whole seconds, at least one
	Lock   time.Duration // whole seconds, from the moment it is full; 0: until the window ends
}

// GuessLimits are those of all buckets.
type GuessLimits struct{ Pair, Account, Address GuessLimit }

// Guess asks a store whether one more password may be verified.
type Guess struct {
	Account GuessKey
	Address GuessKey    // zero: neither the address nor the pair is counted
	Subject Subject     // zero: there is no such customer
	Mark    AddressMark // by which he knows the address; zero: he cannot
	Limits  GuessLimits
	Observe bool // a full bucket is told, and stops nothing: the others are counted all the same
}

// GuessPlaces are the places that a guess has taken, by the ends of their windows; zero: none.
type GuessPlaces struct{ Pair, Account, Address time.Time }

// GuessVerdict is what became of a [Guess].
type GuessVerdict struct {
	Full   GuessBucket   // the first one that was full; empty: none
	Wait   time.Duration // for how long it stays so; whole seconds
	Places GuessPlaces   // none where a full bucket stopped the guess
}

// GuessCount is the content of a bucket. Times are whole seconds; the zero value is an empty bucket.
type GuessCount struct {
	Taken       int
	EndsAt      time.Time // of the window
	LockedUntil time.Time // zero: it is not locked
}

// Wait returns for how long no place can be had, at the store's time now.
func (c GuessCount) Wait(now time.Time) time.Duration { return max(0, c.LockedUntil.Sub(Whole(now))) }

// Until is from when on the bucket is as good as empty.
func (c GuessCount) Until() time.Time {
	if c.LockedUntil.IsZero() {
		return c.EndsAt
	}
	return c.LockedUntil
}

// Take takes a place in a bucket that is not locked, at the store's time now.
func (c *GuessCount) Take(l GuessLimit, now time.Time) {
	now = Whole(now)
	if !c.Until().After(now) {
		*c = GuessCount{EndsAt: now.Add(l.Window)}
	}
	c.Taken++
	switch {
	case c.Taken < l.Most:
	case l.Lock > 0:
		c.LockedUntil = now.Add(l.Lock)
	default:
		c.LockedUntil = c.EndsAt
	}
}

// GiveBack undoes a Take in the window that ends then, and reports whether that is still the bucket's.
func (c *GuessCount) GiveBack(window time.Time) bool {
	if window.IsZero() || !c.EndsAt.Equal(window) || c.Taken == 0 {
		return false
	}
	if c.Taken--; c.Taken == 0 {
		c.EndsAt = time.Time{}
	}
	c.LockedUntil = time.Time{}
	return true
}

// GuessCounts is where a store that runs Go inside its transaction keeps the buckets. Names are up to 33 bytes; an absent
// bucket is empty.
type GuessCounts interface {
	Count(name []byte) (GuessCount, error)
	Keep(name []byte, c GuessCount) error
	// Knows reports whether the guess comes from an address that its subject uses.
	Knows(g Guess) (bool, error)
}

// place is one bucket of a guess.
type place struct {
	bucket GuessBucket
	name   []byte
	limit  GuessLimit
	count  GuessCount
	window *time.Time // in the guess's places
}

// steps returns the buckets that count for a guess: those of its address, and then those of its account.
func (g Guess) steps(into *GuessPlaces) (steps [2][]place) {
	if g.Address != (GuessKey{}) {
		steps[0] = []place{{bucket: GuessAddress, name: slices.Concat([]byte("a"), g.Address[:]), limit: g.Limits.Address, window: &into.Address}}
		steps[1] = []place{{bucket: GuessPair, name: slices.Concat([]byte("p"), g.Account[:], g.Address[:]), limit: g.Limits.Pair, window: &into.Pair}}
	}
	steps[1] = append(steps[1], place{bucket: GuessAccount, name: slices.Concat([]byte("n"), g.Account[:]), limit: g.Limits.Account, window: &into.Account})
	for i := range steps {
		steps[i] = slices.DeleteFunc(steps[i], func(p place) bool { return p.limit.Most == 0 })
	}
	return steps
}

// Reserve is ReserveGuess at the store's time now, on buckets that nobody else changes meanwhile.
func (g Guess) Reserve(counts GuessCounts, now time.Time) (v GuessVerdict, err error) {
	var all []place
	for _, step := range g.steps(&v.Places) {
		open, full, wait, err := g.look(counts, step, now)
		switch {
		case err != nil:
			return GuessVerdict{}, err
		case full == "":
			all = append(all, open...)
			continue
		case v.Full == "":
			v.Full, v.Wait = full, wait
		}
		if !g.Observe {
			return v, nil
		}
	}
	for _, p := range all {
		p.count.Take(p.limit, now)
		if err := counts.Keep(p.name, p.count); err != nil {
			return GuessVerdict{}, err //nolint:wrapcheck // the store's own
		}
		*p.window = p.count.EndsAt
	}
	return v, nil
}

// look returns in which of these buckets to take a place, or the first one that is full and for how long.
func (g Guess) look(counts GuessCounts, step []place, now time.Time) (open []place, full GuessBucket, wait time.Duration, err error) {
	for _, p := range step {
		known := false
		p.count, err = counts.Count(p.name)
		if wait = p.count.Wait(now); err == nil && wait > 0 && p.bucket == GuessAccount {
			known, err = counts.Knows(g)
		}
		switch {
		case err != nil:
			return nil, "", 0, err //nolint:wrapcheck // the store's own
		case wait == 0:
			open = append(open, p)
		case !known:
			return nil, p.bucket, wait, nil
		}
	}
	return open, "", 0, nil
}

// Refund is RefundGuess, likewise.
func (g Guess) Refund(counts GuessCounts, taken GuessPlaces) error {
	steps := g.steps(&taken)
	for _, p := range slices.Concat(steps[:]...) {
		c, err := counts.Count(p.name)
		if err != nil {
			return err //nolint:wrapcheck // the store's own
		}
		if c.GiveBack(*p.window) {
			if err := counts.Keep(p.name, c); err != nil {
				return err //nolint:wrapcheck // the store's own
			}
		}
	}
	return nil
}

// AddressMark is a keyed hash of a subject and of an address he uses.
type AddressMark [8]byte

const (
	// KnownFor is for how long an address counts as one that a subject uses, in whole days by UTC.
	KnownFor = 30 * 24 * time.Hour
	// KnownCount is of how many addresses that is remembered; the newest ones stay.
	KnownCount = 8
	// KnownSize is how many bytes one of them takes: its mark, and the day.
	KnownSize = len(AddressMark{}) + 2
)

// KnownAddresses are the addresses from which a subject has signed in or refreshed, the newest first: each its mark and, in two
// bytes, the day since 1970. They are kept beside his record, as long as that, survive its
// epochs, and do not move with his sessions to another store.
type KnownAddresses []byte

// Note puts an address first, at the store's time now, and reports whether anything changed: it does once a day.
func (k KnownAddresses) Note(m AddressMark, now time.Time) (KnownAddresses, bool) {
	noted := KnownAddresses(binary.BigEndian.AppendUint16(m[:], day(now)))
	if m == (AddressMark{}) {
		return k, false
	}
	for e := range slices.Chunk(k, KnownSize) {
		switch {
		case slices.Equal(e, noted[:KnownSize]):
			return k, false
		case len(e) == KnownSize && AddressMark(e[:len(m)]) != m && fresh(e, now):
			noted = append(noted, e...)
		}
	}
	return noted[:min(len(noted), KnownCount*KnownSize)], true
}

// Knows reports whether an address was noted in the last thirty days, at the store's time now.
func (k KnownAddresses) Knows(m AddressMark, now time.Time) bool {
	for e := range slices.Chunk(k, KnownSize) {
		if len(e) == KnownSize && AddressMark(e[:len(m)]) == m && fresh(e, now) {
			return m != AddressMark{}
		}
	}
	return false
}

func fresh(entry []byte, now time.Time) bool {
	return int(day(now))-int(binary.BigEndian.Uint16(entry[len(AddressMark{}):])) <= int(KnownFor/(24*time.Hour))
}

func day(now time.Time) uint16 {
	return uint16(min(max(now.Unix()/(24*60*60), 0), 1<<16-1))
}
