package storetest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/glueauth/glueauth/store"
)

// guessModel is the rules once more: each bucket is the list of those who have failed in it or are not back yet.
type guessModel struct {
	*guessKit
	t         *testing.T
	accounts  [2]store.GuessKey
	addresses [2]store.GuessKey
	subject   store.Subject // of the first account
	known     map[int]time.Time
	buckets   map[string]*modelBucket
	places    []modelPlace
	serial    int
}

// modelBucket holds the places of one window.
type modelBucket struct {
	began, locked time.Time
	limit         store.GuessLimit
	holders       []int
	name          string
}

type modelPlace struct {
	id      int
	guess   store.Guess
	taken   store.GuessPlaces
	buckets []*modelBucket
}

// bucket returns what is in a bucket now: one that is over is a new one, once a place is taken in it. Until then a refund may
// open the one of before again.
func (m *guessModel) bucket(name string, limit store.GuessLimit) *modelBucket {
	now, b := m.clock.whole(), m.buckets[name]
	if b == nil || len(b.holders) == 0 || b.locked.IsZero() && !now.Before(b.began.Add(limit.Window)) || !b.locked.IsZero() && !now.Before(b.locked) {
		b = &modelBucket{began: now, limit: limit, name: name}
	}
	return b
}

func (m *guessModel) reserve(t *rapid.T) {
	account, address := rapid.IntRange(0, 1).Draw(t, "account"), rapid.IntRange(0, 1).Draw(t, "address")
	limits := store.GuessLimits{
		Pair:    store.GuessLimit{Most: 3, Window: 60 * time.Second, Lock: 30 * time.Second},
		Account: store.GuessLimit{Most: 5, Window: 200 * time.Second},
		Address: store.GuessLimit{Most: 6, Window: 90 * time.Second, Lock: 120 * time.Second},
	}
	g := store.Guess{Account: m.accounts[account], Address: m.addresses[address], Limits: limits, Mark: marked(byte(address + 1)), Observe: rapid.IntRange(0, 3).Draw(t, "observe") == 0}
	known := false
	if account == 0 {
		seen, ok := m.known[address]
		g.Subject, known = m.subject, ok && m.clock.now().Sub(seen.Truncate(day)) < 31*day
	}
	trail := []*modelBucket{
		m.bucket(fmt.Sprint("address", address), limits.Address), m.bucket(fmt.Sprint("pair", account, address), limits.Pair), m.bucket(fmt.Sprint("account", account), limits.Account),
	}
	want, from := m.decide(g, trail, known)
	got, err := m.guesses.ReserveGuess(m.t.Context(), g)
	if err != nil {
		t.Fatal(err)
	}
	m.serial++
	for _, b := range from {
		m.buckets[b.name] = b
		end := b.began.Add(b.limit.Window)
		switch b {
		case trail[0]:
			want.Places.Address = end
		case trail[1]:
			want.Places.Pair = end
		default:
			want.Places.Account = end
		}
		if b.holders = append(b.holders, m.serial); len(b.holders) == b.limit.Most {
			b.locked = end
			if b.limit.Lock > 0 {
				b.locked = m.clock.whole().Add(b.limit.Lock)
			}
		}
	}
	if diff := diff(want, got); diff != "" {
		t.Fatalf("at %s (-want +got):\n%s", m.clock.now(), diff)
	}
	m.places = append(m.places, modelPlace{m.serial, g, got.Places, from})
}

// decide returns which of the buckets of address, pair and account give a place. The last two do so together, but that a known
// address can do without the account.
func (m *guessModel) decide(g store.Guess, trail []*modelBucket, known bool) (v store.GuessVerdict, from []*modelBucket) {
	address, pair, account := trail[0], trail[1], trail[2]
	full := func(name store.GuessBucket, b *modelBucket) bool {
		if b.locked.IsZero() {
			return false
		}
		if v.Full == "" {
			v.Full, v.Wait = name, b.locked.Sub(m.clock.whole())
		}
		return true
	}
	if !full(store.GuessAddress, address) {
		from = append(from, address)
	}
	switch {
	case full(store.GuessPair, pair):
	case known && !account.locked.IsZero():
		from = append(from, pair)
	case !full(store.GuessAccount, account):
		from = append(from, pair, account)
	}
	if v.Full != "" && !g.Observe {
		return v, nil
	}
	return v, from
}

func (m *guessModel) refund(t *rapid.T) {
	if len(m.places) == 0 {
		return
	}
	i := rapid.IntRange(0, len(m.places)-1).Draw(t, "place")
	p := m.places[i]
	m.places = slices.Delete(m.places, i, i+1)
	m.guessKit.refund(m.t, p.guess, p.taken)
	for _, b := range p.buckets {
		before := len(b.holders)
		if b.holders = slices.DeleteFunc(b.holders, func(id int) bool { return id == p.id }); len(b.holders) < before {
			b.locked = time.Time{}
		}
	}
}

func (m *guessModel) advance(t *rapid.T) {
	m.clock.advance(time.Duration(rapid.SampledFrom([]int{1, 5, 29, 30, 60, 89, 120, 86_400, 31 * 86_400}).Draw(t, "seconds")) * time.Second)
}

func (m *guessModel) signIn(t *rapid.T) {
	at := rapid.IntRange(0, 1).Draw(t, "address")
	in := m.kit.signIn()
	in.Subject, in.Address, in.Lifetime = m.subject, marked(byte(at+1)), 90*day
	m.open(m.t, in)
	if m.known == nil {
		m.known = map[int]time.Time{}
	}
	m.known[at] = m.clock.now()
}
