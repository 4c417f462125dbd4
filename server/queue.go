package server

import (
	"slices"
	"time"
)

// queue is who waits for a pool. Addresses take turns, and the accounts of an address do; while others wait, an account has
// one job at a time. So neither one address nor guesses at one account keep the others out.
type queue[J any] struct {
	places    []*place[J] // in the order of their coming
	addresses map[string]*line
	accounts  map[string]*line
	turn      uint64
}

// line is the places of one address or of one account.
type line struct {
	turn    uint64 // when it was served last, or had come: who has the lowest one is next
	waiting int
	working int
}

// place is somebody's in a queue.
type place[J any] struct {
	pool             *pool[J]
	address, account string
	byAddress        *line
	byAccount        *line

	ready    bool // the job is there, and so is what follows
	job      J
	cost     string
	admit    func() error
	deadline time.Time // zero: none

	done     chan struct{} // closed when the place is given up or the job is done; then err and panicked are set
	err      error
	panicked any
}

func newQueue[J any]() queue[J] {
	return queue[J]{addresses: map[string]*line{}, accounts: map[string]*line{}}
}

// join puts a place at the end.
func (q *queue[J]) join(l *place[J], address, account string) {
	q.turn++
	q.places = append(q.places, l)
	l.address, l.account = address, account
	l.byAddress, l.byAccount = q.line(q.addresses, address), q.line(q.accounts, account)
	l.byAddress.waiting++
	l.byAccount.waiting++
}

func (q *queue[J]) line(lines map[string]*line, of string) *line {
	if lines[of] == nil {
		lines[of] = &line{turn: q.turn}
	}
	return lines[of]
}

// remove takes a place out for good.
func (q *queue[J]) remove(l *place[J]) {
	q.drop(l)
	q.forget(l)
}

// take takes a place out to be worked on.
func (q *queue[J]) take(l *place[J]) {
	q.drop(l)
	q.turn++
	for _, of := range []*line{l.byAddress, l.byAccount} {
		of.turn = q.turn
		of.working++
	}
}

// finish forgets a place that was worked on.
func (q *queue[J]) finish(l *place[J]) {
	l.byAddress.working--
	l.byAccount.working--
	q.forget(l)
}

func (q *queue[J]) drop(l *place[J]) {
	q.places = slices.DeleteFunc(q.places, func(other *place[J]) bool { return other == l })
	l.byAddress.waiting--
	l.byAccount.waiting--
}

// forget keeps no line that nobody is in.
func (q *queue[J]) forget(l *place[J]) {
	if l.byAddress.waiting+l.byAddress.working == 0 {
		delete(q.addresses, l.address)
	}
	if l.byAccount.waiting+l.byAccount.working == 0 {
		delete(q.accounts, l.account)
	}
}

// next returns whose turn it is, of those whose job is ready and has this cost, or any for ""; nil if there is none.
func (q *queue[J]) next(cost string) (first *place[J]) {
	for _, l := range q.places {
		if l.ready && (cost == "" || l.cost == cost) && (first == nil || l.before(first)) {
			first = l
		}
	}
	return first
}

func (l *place[J]) before(other *place[J]) bool {
	free, otherFree := l.byAccount.working == 0, other.byAccount.working == 0
	switch {
	case free != otherFree:
		return free
	case l.byAddress.turn != other.byAddress.turn:
		return l.byAddress.turn < other.byAddress.turn
	default:
		return l.byAccount.turn < other.byAccount.turn
	}
}

// greediest returns who is to go when one is too many: the last to come of the account that holds the most places, of the
// addresses that hold the most.
func (q *queue[J]) greediest() *place[J] {
	greedy := q.places[len(q.places)-1]
	for _, l := range slices.Backward(q.places) {
		a, b := l.byAddress.waiting, greedy.byAddress.waiting
		if a > b || a == b && l.byAccount.waiting > greedy.byAccount.waiting {
			greedy = l
		}
	}
	return greedy
}
