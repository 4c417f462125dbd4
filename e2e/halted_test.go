package e2e_test

import (
	"sync/atomic"
	"time"
)

// halted counts for how long the machine did not run the tests, as a clock sees it that is late. A limit on an answer is about
// the server, so what the whole machine stood still is not counted against it.
var halted atomic.Int64 // nanoseconds

func countHalts() {
	const beat = 10 * time.Millisecond
	for last := time.Now(); ; {
		time.Sleep(beat)
		now := time.Now()
		if late := now.Sub(last) - beat; late > beat {
			halted.Add(int64(late))
		}
		last = now
	}
}

// stopwatch measures time in which the machine ran.
type stopwatch struct {
	begun  time.Time
	halted time.Duration
}

func watch() stopwatch { return stopwatch{time.Now(), time.Duration(halted.Load())} }

func (w stopwatch) elapsed() time.Duration {
	return time.Since(w.begun) - (time.Duration(halted.Load()) - w.halted)
}
