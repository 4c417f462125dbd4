package server_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/glueauth/glueauth/server"
)

// The work of these tests takes a second by the clock of their bubble; the queue is of two seconds' work.

func same(t *testing.T, what string, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestThePoolServesAddressesInTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := server.NewPool(1, 1)
		p.Learn(10 * time.Millisecond) // so that all of these have a place
		p.Go(t.Context(), "first", "192.0.2.1", "z")
		synctest.Wait()
		for _, account := range []string{"a", "b", "c", "d"} {
			p.Go(t.Context(), "1"+account, "192.0.2.1", account)
			synctest.Wait()
		}
		for _, account := range []string{"e", "f"} {
			p.Go(t.Context(), "2"+account, "192.0.2.2", account)
			synctest.Wait()
		}
		p.Go(t.Context(), "3g", "2001:db8::1", "g")
		synctest.Wait()
		p.Go(t.Context(), "3h", "2001:db8::2", "h") // of the same network
		p.Wait()
		same(t, "order", []string{"first", "1a", "2e", "3g", "1b", "2f", "3h", "1c", "1d"}, p.Done())
	})
}

func TestAnAccountHasOneAtATimeWhileOthersWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := server.NewPool(2, 1)
		p.Learn(10 * time.Millisecond)
		for n := range 4 {
			p.Go(t.Context(), fmt.Sprint("guess", n), fmt.Sprint("192.0.2.", n), "ann") // from everywhere
			synctest.Wait()
		}
		for _, name := range []string{"bob", "cid"} {
			p.Go(t.Context(), name, "192.0.2.9", name)
			synctest.Wait()
		}
		p.Wait()
		done := p.Done()
		for second, want := range []int{2, 1, 1} { // when the first two came nobody else waited
			guesses := 0
			for _, name := range done[2*second : 2*second+2] {
				if strings.HasPrefix(name, "guess") {
					guesses++
				}
			}
			if guesses != want {
				t.Errorf("%d guesses in second %d, want %d: %v", guesses, second, want, done)
			}
		}
	})
}

func TestWhoHoldsTheMostOfAFullQueueMakesRoom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := server.NewPool(1, 1)
		p.Learn(time.Second)
		p.Go(t.Context(), "worked on", "192.0.2.1", "a")
		synctest.Wait()
		for _, account := range []string{"b", "c", "c"} { // room for three
			p.Go(t.Context(), "1"+account, "192.0.2.1", account)
			synctest.Wait()
		}
		p.Go(t.Context(), "1d", "192.0.2.1", "d") // in place of the second c
		synctest.Wait()
		p.Go(t.Context(), "1e", "192.0.2.1", "e") // nobody holds more
		synctest.Wait()
		p.Go(t.Context(), "2f", "192.0.2.2", "f") // in place of the last of the other address
		synctest.Wait()
		same(t, "refused", []string{"1c", "1e", "1d"}, p.Refused())
		p.Wait()
		same(t, "order", []string{"worked on", "1b", "2f", "1c"}, p.Done())
	})
}

// TestAPoolThatBecomesSlowerSendsAwayAtOnce : those who came while the work was quick would wait for what cannot be.
func TestAPoolThatBecomesSlowerSendsAwayAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := server.NewPool(1, 1)
		p.Learn(10 * time.Millisecond)
		p.Go(t.Context(), "worked on", "192.0.2.1", "a")
		synctest.Wait()
		for n := range 10 {
			p.Go(t.Context(), fmt.Sprint(n), fmt.Sprint("192.0.2.1", n), fmt.Sprint(n))
			synctest.Wait()
		}
		p.Learn(time.Second) // room for three
		p.Go(t.Context(), "late", "192.0.2.99", "late")
		synctest.Wait()
		same(t, "refused", []string{"3", "4", "5", "6", "7", "8", "9", "late"}, slices.Sorted(slices.Values(p.Refused())))
		p.Wait()
		same(t, "order", []string{"worked on", "0", "1", "2"}, p.Done())
	})
}

func TestGuessesAtOneAccountFromEverywhereMakeRoom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := server.NewPool(1, 1)
		p.Learn(time.Second)
		for n := range 4 { // one is worked on, room for three
			p.Go(t.Context(), fmt.Sprint("guess", n), fmt.Sprint("192.0.2.", n), "ann")
			synctest.Wait()
		}
		p.Go(t.Context(), "bob", "192.0.2.9", "bob")
		synctest.Wait()
		same(t, "refused", []string{"guess3"}, p.Refused())
		p.Wait()
	})
}

func TestThePoolDropsWhomItCannotHelp(t *testing.T) {
	t.Parallel()
	refused := errors.New("not admitted")
	synctest.Test(t, func(t *testing.T) {
		p := server.NewPool(1, 1)
		p.Learn(time.Second)
		p.Go(t.Context(), "worked on", "192.0.2.1", "a")
		synctest.Wait()
		gone, leave := context.WithCancel(t.Context())
		p.Go(gone, "gone", "192.0.2.1", "b")
		hurried, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		p.Go(hurried, "too late", "192.0.2.1", "c") // it begins after one second and takes another
		synctest.Wait()
		leave()
		synctest.Wait()
		if err := p.Outcome("gone"); !errors.Is(err, context.Canceled) {
			t.Errorf("who left got %v", err)
		}
		p.Admit = func(context.Context) error { return refused }
		p.Go(t.Context(), "not admitted", "192.0.2.1", "d")
		p.Wait()
		if err := p.Outcome("too late"); !server.IsBusy(err) {
			t.Errorf("who had no time got %v", err)
		}
		if err := p.Outcome("not admitted"); !errors.Is(err, refused) {
			t.Errorf("who was not admitted got %v", err)
		}
		same(t, "done", []string{"worked on"}, p.Done())
	})
}

func TestThePoolDoesEqualCostsTogether(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := server.NewPool(1, 2)
		p.Learn(10 * time.Millisecond)
		p.Go(t.Context(), "alone", "192.0.2.1", "a")
		synctest.Wait()
		for n, cost := range []string{"10", "12", "10", "10", "12"} {
			p.GoCost(t.Context(), fmt.Sprint(cost, "-", n), fmt.Sprint("192.0.2.", n+10), fmt.Sprint(n), cost)
			synctest.Wait()
		}
		p.Wait()
		want := [][]string{{"alone"}, {"10-0", "10-2"}, {"12-1", "12-4"}, {"10-3"}}
		same(t, "batches", want, p.Batches())
	})
}

func TestAPanicOfTheWorkIsTheAskers(t *testing.T) {
	t.Parallel()
	p := server.NewPool(1, 1)
	p.Work = func([]string) { panic("broken") }
	defer func() {
		if got := recover(); got != "broken" {
			t.Errorf("panicked with %v", got)
		}
	}()
	_ = p.Do(t.Context(), "x", "192.0.2.1", "a", "")
}

// Whatever comes and goes, in whatever order, everybody gets an answer, no more than the workers work at a time, and nothing
// is left behind.
func TestThePoolForgetsNobody(t *testing.T) {
	t.Parallel()
	p := server.NewPool(3, 2)
	p.Learn(time.Millisecond)
	p.Work = func([]string) {}
	var all sync.WaitGroup
	for n := range 2000 {
		all.Go(func() {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if n%7 == 0 {
				go cancel()
			}
			_ = p.Do(ctx, fmt.Sprint(n), netip.AddrFrom4([4]byte{192, 0, 2, byte(n % 5)}).String(), fmt.Sprint(n%11), fmt.Sprint(n%3))
		})
	}
	all.Wait()
	if left := p.Left(); !slices.Equal(left, []int{0, 0, 0}) {
		t.Errorf("places, addresses and accounts that are left: %v", left)
	}
}

// TestAPoolThatWasFrozenWorksOn : a job that took longer than any deadline is no reason to begin none.
func TestAPoolThatWasFrozenWorksOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := server.NewPool(1, 1)
		for range 100 {
			p.Measure(time.Minute)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		p.Go(ctx, "after it", "192.0.2.1", "a")
		p.Wait()
		same(t, "done", []string{"after it"}, p.Done())
	})
}

func TestAPanicOfWhatAdmitsIsTheAskersOwn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := server.NewPool(1, 1)
		p.Admit = func(context.Context) error { panic("a bug") }
		func() {
			defer func() {
				if r := recover(); r != "a bug" {
					t.Errorf("recovered %v", r)
				}
			}()
			_ = p.Do(t.Context(), "first", "192.0.2.1", "a", "")
		}()
		p.Admit = nil
		if err := p.Do(t.Context(), "second", "192.0.2.1", "a", ""); err != nil {
			t.Error(err)
		}
	})
}
