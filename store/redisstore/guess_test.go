package redisstore_test

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/store"
	"github.com/glueauth/glueauth/store/redisstore"
	"github.com/glueauth/glueauth/store/storetest"
)

// aGuess is one by somebody whose account takes two failures.
func aGuess() store.Guess {
	return store.Guess{
		Account: store.GuessKey{1}, Address: store.GuessKey{2},
		Limits: store.GuessLimits{
			Pair:    store.GuessLimit{Most: 10, Window: 10 * time.Minute, Lock: 5 * time.Minute},
			Account: store.GuessLimit{Most: 2, Window: time.Hour},
			Address: store.GuessLimit{Most: 300, Window: 10 * time.Minute},
		},
	}
}

// TestAGuessTakesTwoCommands : one for each slot. Only at a full account there is one more, for customers and for nobodies alike.
func TestAGuessTakesTwoCommands(t *testing.T) {
	t.Parallel()
	r := storetest.Redis(t)
	s := open(t, redisstore.Options{URL: secret.Text(r.URL())})
	in := signIn(1)
	in.Address = store.AddressMark{7}
	if _, err := s.Open(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	commands := func(do func()) (n int) {
		record := r.Monitor(t)
		do()
		for _, line := range record() {
			if strings.Contains(strings.ToLower(line), `"evalsha"`) {
				n++
			}
		}
		return n
	}
	reserve := func(g store.Guess, full store.GuessBucket) (v store.GuessVerdict) {
		t.Helper()
		v, err := s.ReserveGuess(t.Context(), g)
		if err != nil || v.Full != full {
			t.Errorf("%+v, %v", v, err)
		}
		return v
	}
	takes := func(what string, want int, do func()) {
		t.Helper()
		if got := commands(do); got != want {
			t.Errorf("%s takes %d commands, want %d", what, got, want)
		}
	}
	g := aGuess()
	takes("a guess", 2, func() { reserve(g, "") })
	takes("a right password", 4, func() { _ = s.RefundGuess(t.Context(), g, reserve(g, "").Places) })
	takes("one without address", 1, func() { reserve(store.Guess{Account: store.GuessKey{3}, Limits: g.Limits}, "") })
	reserve(g, "")
	// the address, the account, whether it is known, and the address back, or the pair
	takes("a full account", 4, func() { reserve(g, store.GuessAccount) })
	g.Subject, g.Mark = in.Subject, store.AddressMark{8}
	takes("a full account of a customer", 4, func() { reserve(g, store.GuessAccount) })
	g.Mark = in.Address
	takes("a customer where he is known", 4, func() { reserve(g, "") })
	for key, left := range everyTTL(t, r) {
		if strings.Contains(key, "{n:") && left > 3601 || strings.Contains(key, "{i:") && left > 601 {
			t.Errorf("%s stays for %d s", key, left)
		}
	}
}

func TestGuessesOfAStoreThatIsGone(t *testing.T) {
	t.Parallel()
	r := storetest.Redis(t)
	s := open(t, redisstore.Options{URL: secret.Text(r.URL())})
	v, err := s.ReserveGuess(t.Context(), aGuess())
	if err != nil {
		t.Fatal(err)
	}
	r.Kill()
	if _, err := s.ReserveGuess(t.Context(), aGuess()); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("reserve: %v", err)
	}
	if err := s.RefundGuess(t.Context(), aGuess(), v.Places); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("refund: %v", err)
	}
}

// TestPlacesAreGivenBackWhereTheOtherStepFails : or right passwords would count as failures.
func TestPlacesAreGivenBackWhereTheOtherStepFails(t *testing.T) {
	t.Parallel()
	r := storetest.Redis(t)
	s := open(t, redisstore.Options{URL: secret.Text(r.URL())})
	g := aGuess()
	g.Limits.Address.Most, g.Limits.Account.Most = 1, 1
	r.Do(t, "HSET", "glueauth:{n:"+hex.EncodeToString(g.Account[:])+"}", "a", "1") // no bucket
	if v, err := s.ReserveGuess(t.Context(), g); err == nil || v.Places != (store.GuessPlaces{}) {
		t.Errorf("reserve: %+v, %v", v, err)
	}
	g.Account = store.GuessKey{9}
	v, err := s.ReserveGuess(t.Context(), g)
	if err != nil || v.Full != "" {
		t.Fatalf("the address: %+v, %v", v, err)
	}
	address := "glueauth:{i:" + hex.EncodeToString(g.Address[:]) + "}"
	r.Do(t, "DEL", address)
	r.Do(t, "HSET", address, "a", "1")
	if err := s.RefundGuess(t.Context(), g, v.Places); err == nil {
		t.Error("the refund did not fail")
	}
	g.Address = store.GuessKey{}
	if v, err := s.ReserveGuess(t.Context(), g); err != nil || v.Full != "" {
		t.Errorf("the account: %+v, %v", v, err)
	}
}
