package storm_test

import (
	"container/heap"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// Spans of simulated time are whole seconds since the start.
const (
	second = int64(1)
	minute = 60 * second
	hour   = 60 * minute
	day    = 24 * hour

	// grid is what wake-ups are rounded to, so that many clients have something to do in the same second.
	grid = 5 * minute
	// workers is how many clients act at the same time.
	workers = 16
)

// clock is the simulated time.
type clock struct{ at atomic.Int64 }

func (c *clock) now() int64 { return c.at.Load() }

// reading returns what a clock shows that is ahead by so many seconds.
func (c *clock) reading(ahead int64) time.Time {
	return time.Date(2026, 3, 1, 6, 0, 0, 0, time.UTC).Add(time.Duration(c.now()+ahead) * time.Second)
}

// step is one thing that happens to a client: it decides, and returns what to ask and what to do with the answer, or nil.
type step func() (ask func() answer, then func(answer))

type event struct {
	at, order int64
	step      step
}

// agenda holds the coming events of one client.
type agenda struct {
	clock  *clock
	events []event
	made   int64
}

func (a *agenda) Len() int { return len(a.events) }

func (a *agenda) Less(i, j int) bool {
	x, y := a.events[i], a.events[j]
	return x.at < y.at || x.at == y.at && x.order < y.order
}

func (a *agenda) Swap(i, j int) { a.events[i], a.events[j] = a.events[j], a.events[i] }

func (a *agenda) Push(x any) { a.events = append(a.events, x.(event)) }

func (a *agenda) Pop() any {
	last := a.events[len(a.events)-1]
	a.events = a.events[:len(a.events)-1]
	return last
}

// in plans a step, at the same second at the earliest.
func (a *agenda) in(delay int64, s step) {
	a.made++
	heap.Push(a, event{a.clock.now() + max(0, delay), a.made, s})
}

// run carries out what is due. All requests of the same second are sent at the same moment.
func (a *agenda) run() {
	for len(a.events) > 0 && a.events[0].at <= a.clock.now() {
		type open struct {
			ask    func() answer
			then   func(answer)
			answer answer
		}
		var asks []*open
		for len(a.events) > 0 && a.events[0].at <= a.clock.now() {
			if ask, then := heap.Pop(a).(event).step(); ask != nil {
				asks = append(asks, &open{ask: ask, then: then})
			}
		}
		var group sync.WaitGroup
		for _, o := range asks {
			group.Go(func() { o.answer = o.ask() })
		}
		group.Wait()
		for _, o := range asks {
			o.then(o.answer)
		}
	}
}

// fault is something that the operators, or their machines, do to the servers.
type fault struct {
	at   int64
	name string
	do   func()
}

// schedule runs all clients until their agendas are empty.
type schedule struct {
	clock   *clock
	clients []*client
	faults  []fault // in order of time
	daily   func()
}

func (s *schedule) Len() int           { return len(s.clients) }
func (s *schedule) Less(i, j int) bool { return s.clients[i].next() < s.clients[j].next() }
func (s *schedule) Swap(i, j int)      { s.clients[i], s.clients[j] = s.clients[j], s.clients[i] }
func (s *schedule) Push(x any)         { s.clients = append(s.clients, x.(*client)) }

func (s *schedule) Pop() any {
	last := s.clients[len(s.clients)-1]
	s.clients = s.clients[:len(s.clients)-1]
	return last
}

const never = int64(1) << 60

func (c *client) next() int64 {
	if len(c.agenda.events) == 0 {
		return never
	}
	return c.agenda.events[0].at
}

// run leaps from one second in which something happens to the next. A fault comes in the midst of what its second holds.
func (s *schedule) run() {
	heap.Init(s)
	for s.clients[0].next() < never {
		at := s.clients[0].next()
		if at/day > s.clock.now()/day {
			s.daily()
		}
		s.clock.at.Store(at)
		var batch []*client
		for len(s.clients) > 0 && s.clients[0].next() == at {
			batch = append(batch, heap.Pop(s).(*client))
		}
		s.together(batch)
		for _, c := range batch {
			heap.Push(s, c)
		}
	}
}

// together runs a batch of clients, and a fault that is due when half of them are done.
func (s *schedule) together(batch []*client) {
	var group sync.WaitGroup
	half := make(chan struct{})
	var done atomic.Int64
	queue := make(chan *client)
	for range min(workers, len(batch)) {
		group.Go(func() {
			for c := range queue {
				c.agenda.run()
				if done.Add(1) == int64(len(batch)+1)/2 {
					close(half)
				}
			}
		})
	}
	go func() {
		defer close(queue)
		for _, c := range batch {
			queue <- c
		}
	}()
	if len(s.faults) > 0 && s.faults[0].at <= s.clock.now() {
		<-half
		s.faults[0].do() // on the goroutine of the test, which it may end
		s.faults = s.faults[1:]
	}
	group.Wait()
}

// source is the random source of one client.
type source struct{ *rand.Rand }

func (r source) chance(p float64) bool { return r.Float64() < p }

// between returns a number of seconds from low to high.
func (r source) between(low, high int64) int64 { return low + r.Int64N(high-low+1) }

// onGrid rounds a delay up, so that it ends on the grid.
func (c *clock) onGrid(delay int64) int64 {
	at := c.now() + delay
	return (at+grid-1)/grid*grid - c.now()
}

func pick[T any](r source, list ...T) T { return list[r.IntN(len(list))] }
