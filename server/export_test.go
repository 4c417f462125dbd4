package server

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"time"

	"github.com/glueauth/glueauth/config/secret"
)

// DummyHash returns what an unknown name is verified against.
func (s *Server) DummyHash(name string) secret.Text {
	return s.customers.dummies.pick(s.customers.source.EmailKey(name))
}

// LocalGuesses returns the counters of a server whose store is gone.
func LocalGuesses(now func() time.Time) Guesses { return newLocalGuesses(now) }

// OpenShopToken returns what is inside a shop's refresh token, and false when it is none.
func OpenShopToken(key, token secret.Text) ([]byte, bool, error) {
	keys, err := shopKeys(key)
	if err != nil || !shopShaped(token) {
		return nil, false, err
	}
	plain, err := decryptShop(keys, token)
	if errors.Is(err, errNotOurs) {
		return nil, false, nil
	}
	return plain, err == nil, err
}

// ShopTokenFits reports whether what is inside a token makes one of a customer's, and returns its id.
func ShopTokenFits(plain []byte) (id string, customer int64, fits bool) {
	t, err := parseShop(plain)
	return t.id, t.customer, err == nil
}

// OnShopKey has the server call f in place of deriving the keys of a shop's token.
func (s *Server) OnShopKey(f func(salt []byte) ([]byte, error)) { s.refresh.shop.keys = []shopKey{f} }

// IsBusy reports whether an error says that the queue is full, or that there is no time left.
func IsBusy(err error) bool { return errors.Is(err, errBusy) }

// Waiting returns how many wait for a worker to verify their password.
func (s *Server) Waiting() (n int) {
	p := s.customers.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.queue.places {
		if l.ready {
			n++
		}
	}
	return n
}

// Pool is a pool whose jobs are names, each of which takes a second.
type Pool struct {
	Admit func(context.Context) error
	Work  func(names []string)

	pool *pool[string]
	all  sync.WaitGroup

	mu       sync.Mutex
	batches  [][]string
	refused  []string
	outcomes map[string]error
}

// NewPool returns a pool of workers that take so many jobs at a time.
func NewPool(workers, batch int) *Pool {
	p := &Pool{outcomes: map[string]error{}}
	p.Work = func(names []string) {
		time.Sleep(time.Second)
		p.mu.Lock()
		defer p.mu.Unlock()
		p.batches = append(p.batches, names)
	}
	p.pool = newPool(workers, batch, func(names []string) { p.Work(names) }, time.Now)
	return p
}

// Learn has the pool take a job for one that takes so long.
func (p *Pool) Learn(mean time.Duration) { p.pool.mean = mean }

// Measure is what a job that took so long tells the pool.
func (p *Pool) Measure(took time.Duration) { p.pool.measured(took) }

// Do has a job done.
func (p *Pool) Do(ctx context.Context, name, address, account, cost string) error {
	place, err := p.pool.enter(netip.MustParseAddr(address), account)
	if err != nil {
		return err
	}
	defer place.leave()
	return place.do(ctx, name, cost, p.Admit)
}

// Go has a job done while the caller goes on.
func (p *Pool) Go(ctx context.Context, name, address, account string) {
	p.GoCost(ctx, name, address, account, "")
}

// GoCost is Go with a cost.
func (p *Pool) GoCost(ctx context.Context, name, address, account, cost string) {
	p.all.Go(func() {
		err := p.Do(ctx, name, address, account, cost)
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.outcomes[name] = err; IsBusy(err) {
			p.refused = append(p.refused, name)
		}
	})
}

// Wait returns when nobody waits any more.
func (p *Pool) Wait() { p.all.Wait() }

// Batches returns what was done together.
func (p *Pool) Batches() [][]string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.batches
}

// Done returns what was done, in order.
func (p *Pool) Done() (all []string) {
	for _, batch := range p.Batches() {
		all = append(all, batch...)
	}
	return all
}

// Refused returns who was sent away because the queue was full, in order.
func (p *Pool) Refused() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.refused
}

// Outcome returns what somebody got.
func (p *Pool) Outcome(name string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.outcomes[name]
}

// Left returns how many places, addresses and accounts a pool remembers.
func (p *Pool) Left() []int {
	p.pool.mu.Lock()
	defer p.pool.mu.Unlock()
	q := &p.pool.queue
	return []int{len(q.places), len(q.addresses), len(q.accounts)}
}
