package store_test

import (
	"errors"
	"testing"
	"time"

	"github.com/glueauth/glueauth/store"
)

// TestSkewOfAClock moves our clock by what each reading takes on its way there and back.
func TestSkewOfAClock(t *testing.T) {
	t.Parallel()
	type reading struct{ there, back time.Duration }
	for name, c := range map[string]struct {
		ahead    time.Duration
		readings []reading
		want     time.Duration
	}{
		"the same, at once":      {0, []reading{{0, 0}, {0, 0}, {0, 0}}, 0},
		"ahead":                  {10 * time.Second, []reading{{0, 0}, {0, 0}, {0, 0}}, 10 * time.Second},
		"behind":                 {-10 * time.Second, []reading{{0, 0}, {0, 0}, {0, 0}}, -10 * time.Second},
		"half the way is ours":   {3 * time.Second, []reading{{time.Second, time.Second}, {time.Second, time.Second}, {time.Second, time.Second}}, 3 * time.Second},
		"the fastest one counts": {0, []reading{{0, 4 * time.Second}, {0, 10 * time.Millisecond}, {4 * time.Second, 0}}, -5 * time.Millisecond},
		"the first is fastest":   {0, []reading{{0, 0}, {0, 4 * time.Second}, {0, 4 * time.Second}}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			clock, asked := time.Unix(1_000_000, 0), 0
			got, err := store.Skew(func() time.Time { return clock }, func() (time.Time, error) {
				r := c.readings[asked]
				asked++
				clock = clock.Add(r.there)
				theirs := clock.Add(c.ahead)
				clock = clock.Add(r.back)
				return theirs, nil
			})
			if err != nil || got != c.want || asked != len(c.readings) {
				t.Errorf("got %s, %v after %d readings, want %s", got, err, asked, c.want)
			}
		})
	}
	broken := errors.New("broken")
	if _, err := store.Skew(time.Now, func() (time.Time, error) { return time.Time{}, broken }); !errors.Is(err, broken) {
		t.Errorf("got %v, want the error of the reading", err)
	}
}
