package server

import (
	"context"
	"sync"
	"time"
)

// flightKey tells trials apart.
type flightKey [32]byte

// flights lets those who come with the same trial share one verification. The zero value but for its clock is ready.
type flights struct {
	now func() time.Time

	mu     sync.Mutex
	flying map[flightKey]*flight
	landed map[flightKey]*flight // those that were to be kept, for a while
	queue  []*flight             // the same, the oldest first
}

// remembered is for how long a trial that has failed answers for those that are the same.
const remembered = 2 * time.Second

// flight is one verification.
type flight struct {
	key    flightKey
	done   chan struct{} // closed when what follows is known
	at     time.Time
	right  bool
	err    error
	orphan bool // its leader went away, so it says nothing about the others
}

// share returns the answer of the same trial that is under way or has just failed, or else runs it.
func (f *flights) share(ctx context.Context, key flightKey, run func() (right, keep bool, err error)) (bool, error) {
	for {
		it, mine := f.join(key)
		if mine {
			return f.lead(ctx, it, run)
		}
		select {
		case <-it.done:
		case <-ctx.Done():
			return false, refuse(Unavailable, context.Cause(ctx))
		}
		if !it.orphan {
			return it.right, it.err
		}
	}
}

// join returns the flight of this key, and whether it is the caller's to lead.
func (f *flights) join(key flightKey) (it *flight, mine bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.forget()
	if it = f.landed[key]; it != nil {
		return it, false
	}
	if it = f.flying[key]; it != nil {
		return it, false
	}
	if f.flying == nil {
		f.flying, f.landed = map[flightKey]*flight{}, map[flightKey]*flight{}
	}
	it = &flight{key: key, done: make(chan struct{}), orphan: true}
	f.flying[key] = it
	return it, true
}

// lead carries a flight out. Whatever becomes of its leader, nobody waits for it in vain.
func (f *flights) lead(ctx context.Context, it *flight, run func() (right, keep bool, err error)) (bool, error) {
	keep := false
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.flying, it.key)
		if keep {
			it.at = f.now()
			f.landed[it.key] = it
			f.queue = append(f.queue, it)
		}
		close(it.done)
	}()
	it.right, keep, it.err = run()
	it.orphan = it.err != nil && ctx.Err() != nil
	return it.right, it.err
}

// forget drops what landed too long ago. There are as many as are verified in two seconds.
func (f *flights) forget() {
	now := f.now()
	for len(f.queue) > 0 && now.Sub(f.queue[0].at).Abs() >= remembered {
		delete(f.landed, f.queue[0].key)
		f.queue = f.queue[1:]
	}
}
