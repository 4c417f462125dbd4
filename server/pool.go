package server

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// errBusy says that the queue holds as much work as can be done in time.
var errBusy = errors.New("the queue is full")

const (
	queuedWork    = 2 * time.Second
	mostPlaces    = 1024                   // in a queue, however cheap the work is
	firstMean     = 100 * time.Millisecond // until one was measured
	meanSmoothing = 8
	longestMean   = 4 * time.Second // below the time that a request has
)

// batchWork does jobs of equal cost together.
type batchWork[J any] func(jobs []J)

// pool does work that takes a core for long (verifying a password 65 to 260 ms, reading a shop's token 30) and cannot be
// interrupted, while everything else has to go on: so many jobs at a time, on threads that give way to all others. Before it
// is a queue of two seconds' work, which queue.go keeps fair. Workers are there only while somebody waits.
type pool[J any] struct {
	work    batchWork[J]
	batch   int // as many waiting jobs of equal cost are done together
	workers int
	now     func() time.Time

	mu      sync.Mutex
	queue   queue[J]
	serving int           // workers that there are
	working int           // of them, those who work
	mean    time.Duration // moving mean of one job
}

func newPool[J any](workers, batch int, work batchWork[J], now func() time.Time) *pool[J] {
	return &pool[J]{work: work, batch: batch, workers: workers, now: now, queue: newQueue[J](), mean: firstMean}
}

// enter takes a place in the queue, without waiting, for who comes from an address and asks for an account. It returns
// errBusy when the queue is full, unless somebody who holds more of it can be sent away instead. Whoever has a place leaves it.
func (p *pool[J]) enter(address netip.Addr, account string) (*place[J], error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	entered := &place[J]{pool: p, done: make(chan struct{})}
	p.queue.join(entered, network(address), account)
	for room := p.room(); len(p.queue.places) > room; { // by more than one where the work has become slower
		p.settle(p.queue.greediest(), errBusy)
	}
	return entered, entered.err
}

// room is how many can be in the queue: those who wait and will be done in time, and those who are about to be worked on.
func (p *pool[J]) room() int {
	return min(1+int(queuedWork*time.Duration(p.workers)/p.mean), mostPlaces) + p.workers - p.working
}

// network is what counts as one address: a household's, or a server's, of IPv6.
func network(a netip.Addr) string {
	a = a.Unmap()
	if a.Is4() || !a.IsValid() {
		return a.String()
	}
	prefix, _ := a.Prefix(64) // it is valid
	return prefix.String()
}

// do has the pool do a job, and returns when it is done. Jobs of the same cost may be done together. A worker calls admit right
// before; its error ends the job undone. Undone are also errBusy, when there is no time left for it, and the
// context's error, when the asker left before his turn.
func (l *place[J]) do(ctx context.Context, job J, cost string, admit func(context.Context) error) error {
	p := l.pool
	l.job, l.cost = job, cost
	l.admit = func() error {
		if err := context.Cause(ctx); err != nil || admit == nil {
			return err //nolint:wrapcheck // which the asker knows
		}
		return admit(ctx)
	}
	l.deadline, _ = ctx.Deadline()
	p.ready(l)
	select {
	case <-l.done:
	case <-ctx.Done():
		p.giveUp(l, context.Cause(ctx))
		<-l.done // what has begun is waited for
	}
	if l.panicked != nil {
		panic(l.panicked) // where the request is answered
	}
	return l.err
}

// leave gives the place up, if it is still held.
func (l *place[J]) leave() { l.pool.giveUp(l, errBusy) }

// ready has a job done when its turn comes.
func (p *pool[J]) ready(l *place[J]) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l.ready = true
	if p.serving < p.workers && slices.Contains(p.queue.places, l) {
		p.serving++
		go p.serve()
	}
}

func (p *pool[J]) giveUp(l *place[J], err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if slices.Contains(p.queue.places, l) {
		p.settle(l, err)
	}
}

// settle ends a place in the queue.
func (p *pool[J]) settle(l *place[J], err error) {
	p.queue.remove(l)
	l.err = err
	close(l.done)
}

// serve is a worker: it works until nobody is ready any more.
func (p *pool[J]) serve() {
	thread := newThread()
	defer thread.end()
	for batch := p.next(); len(batch) > 0; batch = p.next() {
		p.process(thread, batch)
	}
}

// next takes those whose turn it is out of the queue.
func (p *pool[J]) next() (batch []*place[J]) {
	p.mu.Lock()
	defer p.mu.Unlock()
	first := p.queue.next("")
	for first != nil && p.late(first) {
		p.settle(first, errBusy)
		first = p.queue.next("")
	}
	for l := first; l != nil && len(batch) < p.batch; l = p.queue.next(first.cost) {
		p.queue.take(l)
		batch = append(batch, l)
	}
	if batch == nil {
		p.serving--
	} else {
		p.working++
	}
	return batch
}

// late reports whether a job could not be done before its asker is answered for good.
func (p *pool[J]) late(l *place[J]) bool {
	return !l.deadline.IsZero() && l.deadline.Sub(p.now()) < p.mean
}

// process does the jobs that are admitted.
func (p *pool[J]) process(on thread, batch []*place[J]) {
	begun := p.now() // what admits may take long too
	var jobs []J
	panicked := attempted(func() {
		for _, l := range batch {
			if l.err = l.admit(); l.err == nil {
				jobs = append(jobs, l.job)
			}
		}
	})
	if len(jobs) > 0 && panicked == nil {
		panicked = on.do(func() { p.work(jobs) })
		p.measured(p.now().Sub(begun) / time.Duration(len(jobs)))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.working--
	for _, l := range batch {
		p.queue.finish(l)
		l.panicked = panicked
		close(l.done)
	}
}

// measured takes a job's time into the mean; of one that was held up, with the whole process perhaps, no more than longestMean, or
// every deadline would be too near and nothing would ever be measured again.
func (p *pool[J]) measured(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mean = max(time.Millisecond, p.mean+(min(d, longestMean)-p.mean)/meanSmoothing)
}
