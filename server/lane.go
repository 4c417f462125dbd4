package server

import (
	"context"
	"errors"
	"sync"
	"time"
)

// errBusy says that the queue holds as much work as can be done in time.
var errBusy = errors.New("the queue is full")

// lane runs work that takes a core for long (verifying a password 65 to 260 ms, reading a shop's token 30) and cannot be
// interrupted, while everything else has to go on: at most so many at a time, and a queue of at most two seconds' work.
type lane struct {
	workers chan struct{}
	now     func() time.Time

	mu      sync.Mutex
	waiting int
	mean    time.Duration // moving mean of one piece of work
}

const (
	queuedWork    = 2 * time.Second
	firstMean     = 100 * time.Millisecond // until one was measured
	meanSmoothing = 8
)

func newLane(workers int, now func() time.Time) *lane {
	return &lane{workers: make(chan struct{}, workers), now: now, mean: firstMean}
}

// full reports whether one more piece of work would not be begun in time.
func (l *lane) full() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.overdue()
}

func (l *lane) overdue() bool {
	return time.Duration(l.waiting)*l.mean/time.Duration(cap(l.workers)) > queuedWork
}

// do runs work on a worker. It returns errBusy when the queue is full and the context's error when the asker left
// before his turn; then work did not run.
func (l *lane) do(ctx context.Context, work func()) error {
	if !l.join() {
		return errBusy
	}
	select {
	case l.workers <- struct{}{}:
		l.leave()
	case <-ctx.Done():
		l.leave()
		return context.Cause(ctx)
	}
	defer func() { <-l.workers }()
	if err := ctx.Err(); err != nil {
		return err
	}
	begun := l.now()
	work()
	l.measured(l.now().Sub(begun))
	return nil
}

// join takes a place in the queue, if one is left.
func (l *lane) join() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.overdue() {
		return false
	}
	l.waiting++
	return true
}

func (l *lane) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting--
}

func (l *lane) measured(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mean = max(time.Millisecond, l.mean+(d-l.mean)/meanSmoothing)
}
