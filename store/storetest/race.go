package storetest

import (
	"sync"
	"testing"

	"github.com/glueauth/glueauth/store"
)

const (
	racers = 32
	rounds = 50
)

// together runs f once for each of n callers, all at the same time.
func together(n int, f func(i int)) {
	gate := make(chan struct{})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			<-gate
			f(i)
		})
	}
	close(gate)
	wg.Wait()
}

// race lets racers refresh generations of a session at the same time and counts the outcomes.
func (s *session) race(t *testing.T, generation func(i int) uint32) (outcomes map[store.Outcome]int, given map[uint32]int) {
	t.Helper()
	var mu sync.Mutex
	outcomes, given = map[store.Outcome]int{}, map[uint32]int{}
	together(racers, func(i int) {
		got, err := s.store.Rotate(t.Context(), s.request(generation(i), from(byte(i))))
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			t.Errorf("racer %d: %v", i, err)
		}
		outcomes[got.Outcome]++
		given[got.Generation]++
	})
	return outcomes, given
}

func testRacers(t *testing.T, k *kit) {
	s := k.open(t, k.signIn())
	for g := uint32(1); g <= rounds; g++ {
		outcomes, given := s.race(t, func(int) uint32 { return g })
		if outcomes[rotated] != 1 || outcomes[replayed] != racers-1 || given[g+1] != racers {
			t.Fatalf("round %d: outcomes %v, generations %v", g, outcomes, given)
		}
	}
	s.lives(t, rounds+1)
}

// testMixedRacers : tabs that are a refresh apart ask at the same time.
func testMixedRacers(t *testing.T, k *kit) {
	s := k.open(t, k.signIn())
	s.lives(t, 1)
	for g := uint32(2); g <= rounds/5; g++ {
		outcomes, given := s.race(t, func(i int) uint32 { return g - uint32(i%2) })
		if outcomes[rotated] != 1 || outcomes[replayed] != racers-1 || given[g]+given[g+1] != racers || given[g+1] < racers/2 {
			t.Fatalf("round %d: outcomes %v, generations %v", g, outcomes, given)
		}
	}
	s.lives(t, rounds/5+1)
}

// testEndAgainstRotate : ending wins over a refresh in flight; nobody rotates what was reported as ended.
func testEndAgainstRotate(t *testing.T, k *kit) {
	for range rounds {
		s := k.open(t, k.signIn())
		var rotations, ends int
		var mu sync.Mutex
		together(8, func(i int) {
			if i%2 == 0 {
				got, err := s.store.Rotate(t.Context(), s.request(1, from(byte(i))))
				mu.Lock()
				defer mu.Unlock()
				if err != nil || got.Outcome != rotated && got.Outcome != replayed && got.Cause != store.CauseBlocked {
					t.Errorf("refresh: %+v, %v", got, err)
				}
				if got.Outcome == rotated {
					rotations++
				}
				return
			}
			ended, err := s.store.End(t.Context(), store.Ending{Subject: s.in.Subject, Name: s.in.Name, Cause: store.CauseBlocked})
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Errorf("end: %v", err)
			}
			if ended {
				ends++
			}
		})
		if ends != 1 || rotations > 1 {
			t.Fatalf("ended %d times, rotated %d times", ends, rotations)
		}
		s.dead(t, 2, store.CauseBlocked)
	}
}

func testRacingSignIns(t *testing.T, k *kit) {
	first := k.signIn()
	first.MaxOpen = 5
	sessions := make([]*session, racers)
	for i := range sessions {
		in := first
		in.Name = k.name()
		sessions[i] = &session{kit: k, in: in}
	}
	var mu sync.Mutex
	ended := 0
	together(racers, func(i int) {
		got, err := k.store.Open(t.Context(), sessions[i].in)
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			t.Error(err)
		}
		ended += got.Ended
	})
	alive := 0
	for _, s := range sessions {
		if s.refresh(t, 1).Outcome == rotated {
			alive++
		}
	}
	if alive != first.MaxOpen || ended != racers-first.MaxOpen {
		t.Errorf("%d live, %d ended", alive, ended)
	}
}

func testCap(t *testing.T, k *kit) {
	first := k.signIn()
	first.MaxOpen = 3
	var all []*session
	signIn := func(ended int) {
		t.Helper()
		k.clock.advance(minute)
		in := first
		in.Name = k.name()
		in.Client = []string{"frontend", "app"}[len(all)%2]
		s := k.open(t, in)
		if s.got.Ended != ended {
			t.Errorf("sign-in %d ended %d, want %d", len(all), s.got.Ended, ended)
		}
		all = append(all, s)
	}
	bystander := k.open(t, k.signIn())
	signIn(0)
	signIn(0)
	signIn(0)
	k.clock.advance(minute)
	all[0].lives(t, 1)
	signIn(1)
	all[1].dead(t, 1, store.CauseTooMany)
	if !all[2].end(t, store.CauseBlocked) {
		t.Error("not ended")
	}
	signIn(0)
	first.MaxOpen = 1
	signIn(3)
	for i, g := range []uint32{2, 1, 1, 1, 1} {
		if got := all[i].refresh(t, g); got.Outcome != store.Refused {
			t.Errorf("session %d: %+v", i, got)
		}
	}
	all[5].lives(t, 1)
	bystander.lives(t, 1)
	k.clock.advance(-hour)
	signIn(1)
	all[6].lives(t, 1)
	k.clock.advance(first.Lifetime)
	signIn(0)
}

func testAdoptRacers(t *testing.T, k *kit) {
	for range rounds / 5 {
		s := k.taken()
		var mu sync.Mutex
		outcomes := map[store.Outcome]int{}
		together(racers, func(i int) {
			got, err := s.store.Adopt(t.Context(), s.adoption(from(byte(i))))
			mu.Lock()
			defer mu.Unlock()
			if err != nil || got.Generation != 1 {
				t.Errorf("racer %d: %+v, %v", i, got, err)
			}
			outcomes[got.Outcome]++
		})
		if outcomes[rotated] != 1 || outcomes[replayed] != racers-1 {
			t.Fatalf("outcomes %v", outcomes)
		}
		s.lives(t, 1)
	}
}

// testAdoptAgainstEndAll : whichever comes first, nothing is left to use of a customer who has signed out everywhere.
func testAdoptAgainstEndAll(t *testing.T, k *kit) {
	for range rounds / 5 {
		s := k.taken()
		s.shop = k.clock.whole().Add(31 * day)
		together(8, func(i int) {
			var err error
			if i == 4 {
				err = s.store.EndAll(t.Context(), store.EndingAll{Subject: s.in.Subject, FreshEpoch: s.epoch(), Cause: store.CauseOperator})
			} else {
				_, err = s.store.Adopt(t.Context(), s.adoption())
			}
			if err != nil {
				t.Error(err)
			}
		})
		for _, got := range []store.RotateResult{s.adopt(t), s.refresh(t, 1)} {
			if got.Outcome != store.Refused {
				t.Fatalf("left to use: %+v", got)
			}
		}
	}
}
