package keys_test

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/glueauth/glueauth/keys"
)

// turn runs one turn of every replica's chores at once, and returns how many of them did something.
func turn(t *testing.T, replicas []*keys.Ring, every time.Duration) int {
	t.Helper()
	var done atomic.Int32
	var all sync.WaitGroup
	for _, ring := range replicas {
		all.Go(func() {
			did, err := ring.Keep(every)
			if err != nil {
				t.Error(err)
			}
			if did {
				done.Add(1)
			}
		})
	}
	all.Wait()
	for _, ring := range replicas {
		if _, err := ring.Refresh(); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(states(replicas[0]), states(ring)); diff != "" {
			t.Errorf("replicas differ: %s", diff)
		}
	}
	return int(done.Load())
}

func TestRotationOnScheduleIsDoneByOne(t *testing.T) {
	t.Parallel()
	const every = 90 * 24 * time.Hour
	c := newClock()
	dir, _ := ringOf(t, "test-key.pem")
	replicas := []*keys.Ring{c.open(t, dir), c.open(t, dir), c.open(t, dir)}
	all := func() int { return turn(t, replicas, every) }
	if n := all(); n != 1 || all() != 0 { // the key of before has its place in the schedule now
		t.Errorf("%d replicas adopted the key", n)
	}
	c.pass(every - ahead - time.Second)
	if n := all(); n != 0 {
		t.Errorf("%d rotations too early", n)
	}
	c.pass(time.Second)
	if n := all(); n != 1 || all() != 0 || len(replicas[0].List()) != 2 {
		t.Errorf("%d replicas rotated, keys %v", n, replicas[0].List())
	}
	c.pass(ahead)
	if got := slices.Sorted(maps.Values(states(replicas[2]))); !cmp.Equal(got, []string{keys.Retired, keys.Signing}) {
		t.Errorf("states %v", got)
	}
	c.pass(expired)
	if n := all(); n != 1 || len(replicas[1].List()) != 1 {
		t.Errorf("%d replicas put the old key away, keys %v", n, replicas[1].List())
	}
}
