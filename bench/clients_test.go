package bench_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"regexp"
	"sync"
	"time"
)

// target is the server under load, and the customers who use it.
type target struct {
	address   string
	extra     string // what each form has besides, as &name=value
	customers []customer
}

// customer is one whom the server knows.
type customer struct{ name, password string }

// signIn is the form of a sign-in.
func (t target) signIn(c customer) string {
	return "grant_type=password&username=" + url.QueryEscape(c.name) + "&password=" + url.QueryEscape(c.password) + t.extra
}

func (t target) anybody() string { return t.signIn(t.customers[rand.IntN(len(t.customers))]) }

// signInClosed has n clients sign in one after the other until ctx ends. One that is refused waits as long as it is told.
func (t target) signInClosed(ctx context.Context, n int, count *tally) {
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			c := newConn(t.address)
			defer c.close()
			for ctx.Err() == nil {
				a := c.post(t.anybody())
				count.add(a)
				wait(ctx, a.later)
			}
		})
	}
	all.Wait()
}

// signInOpen has sign-ins arrive at a rate a second (a Poisson process) until ctx ends, whatever becomes of them.
func (t target) signInOpen(ctx context.Context, rate float64, count *tally) {
	var all sync.WaitGroup
	idle := make(chan *conn, 4096)
	next := time.Now()
	for ctx.Err() == nil {
		next = next.Add(time.Duration(rand.ExpFloat64() / rate * float64(time.Second)))
		wait(ctx, time.Until(next))
		var c *conn
		select {
		case c = <-idle:
		default:
			c = newConn(t.address)
		}
		all.Go(func() {
			count.add(c.post(t.anybody()))
			select {
			case idle <- c:
			default:
				c.close()
			}
		})
	}
	all.Wait()
	close(idle)
	for c := range idle {
		c.close()
	}
}

// refreshers are clients that each hold a refresh token.
type refreshers struct {
	target target
	tokens []string
}

// newRefreshers signs n clients in.
func (t target) newRefreshers(n int) (*refreshers, error) {
	r := &refreshers{target: t}
	c := newConn(t.address)
	defer c.close()
	for i := range n {
		a := c.post(t.signIn(t.customers[i]))
		token, ok := refreshToken(a)
		if !ok {
			return nil, fmt.Errorf("sign-in of %s: status %d: %.200s", t.customers[i].name, a.status, a.body)
		}
		r.tokens = append(r.tokens, token)
	}
	return r, nil
}

// run has each client refresh one time after the other until ctx ends. A request is never broken off.
func (r *refreshers) run(ctx context.Context, count *tally) {
	var all sync.WaitGroup
	for i := range r.tokens {
		all.Go(func() {
			c := newConn(r.target.address)
			defer c.close()
			for ctx.Err() == nil {
				a := c.post("grant_type=refresh_token&refresh_token=" + url.QueryEscape(r.tokens[i]) + r.target.extra)
				count.add(a)
				if token, ok := refreshToken(a); ok {
					r.tokens[i] = token
				} else {
					wait(ctx, max(a.later, 100*time.Millisecond))
				}
			}
		})
	}
	all.Wait()
}

var tokenMember = regexp.MustCompile(`"refresh_token": ?"([^"]+)"`)

func refreshToken(a answer) (string, bool) {
	found := tokenMember.FindSubmatch(a.body)
	if a.status != http.StatusOK || found == nil {
		return "", false
	}
	return string(found[1]), true
}

func wait(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
