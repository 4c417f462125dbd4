package bench_test

import (
	"net/http"
	"slices"
	"sync"
	"time"
)

// tally counts the answers that arrive within its time.
type tally struct {
	from, to time.Time

	mu            sync.Mutex
	good, refused []time.Duration
	failed, wrong int
}

// newTally returns one that counts from a time on, for so long.
func newTally(from time.Time, during time.Duration) *tally {
	return &tally{from: from, to: from.Add(during)}
}

// add counts an answer: a good one, a refusal that asks to come back, none in time, or any other.
func (t *tally) add(a answer) {
	now := time.Now()
	if now.Before(t.from) || !now.Before(t.to) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch a.status {
	case http.StatusOK:
		t.good = append(t.good, a.took)
	case http.StatusServiceUnavailable:
		t.refused = append(t.refused, a.took)
	case 0:
		t.failed++
	default:
		t.wrong++
	}
}

// figures is what a tally comes to.
type figures struct {
	good, refused, failed, wrong float64       // a second
	half, most, refusedMost      time.Duration // median and 99th percentile of the good ones, 99th percentile of the refusals
}

// figures returns what has been counted.
func (t *tally) figures() figures {
	t.mu.Lock()
	defer t.mu.Unlock()
	slices.Sort(t.good)
	slices.Sort(t.refused)
	seconds := t.to.Sub(t.from).Seconds()
	return figures{
		good: float64(len(t.good)) / seconds, refused: float64(len(t.refused)) / seconds,
		failed: float64(t.failed) / seconds, wrong: float64(t.wrong) / seconds,
		half: quantile(t.good, 0.5), most: quantile(t.good, 0.99), refusedMost: quantile(t.refused, 0.99),
	}
}

func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}
