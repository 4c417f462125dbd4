package server_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/glueauth/glueauth/server"
	"github.com/glueauth/glueauth/store"
	"github.com/glueauth/glueauth/store/storetest"
)

func TestFullPasswordQueueIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	var looks *looked
	clock := &slowClock{now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), held: make(chan struct{}), release: make(chan struct{})}
	h := newHarness(t, func(c *server.Config) {
		c.PasswordWorkers = 1
		c.Now = clock.Now
		looks = &looked{Customers: c.Customers}
		c.Customers = looks
	})
	h.addDemo()
	for range 8 { // by this clock each verification takes seconds, so the mean rises above the two that may wait
		h.mustSignIn()
	}
	codes := make(chan server.Code, 3)
	signIn := func() {
		_, err := h.signIn(demoEmail, demoPassword.Reveal())
		if err == nil {
			codes <- ""
			return
		}
		codes <- server.CodeOf(err)
	}
	looks.n.Store(0)
	clock.holdNext()
	go signIn()
	<-clock.held // the one worker is taken: of two more one waits and one is too many
	go signIn()
	go signIn()
	if code := <-codes; code != server.Unavailable {
		t.Errorf("the one too many got %q, want %s", code, server.Unavailable)
	}
	close(clock.release)
	for range 2 {
		if code := <-codes; code != "" {
			t.Errorf("one who had his place got %s", code)
		}
	}
	if n := looks.n.Load(); n != 2 {
		t.Errorf("%d look-ups, want none for the one who had no place", n)
	}
}

// looked counts look-ups.
type looked struct {
	server.Customers
	n atomic.Int64
}

func (l *looked) ByEmail(ctx context.Context, email string) (store.Customer, error) {
	l.n.Add(1)
	return l.Customers.ByEmail(ctx, email)
}

// slowClock is a clock in which ten seconds pass between any two looks; it can hold the one who looks next.
type slowClock struct {
	mu            sync.Mutex
	now           time.Time
	hold          bool
	held, release chan struct{}
}

func (c *slowClock) holdNext() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hold = true
}

func (c *slowClock) Now() time.Time {
	c.mu.Lock()
	c.now = c.now.Add(10 * time.Second)
	now, hold := c.now, c.hold
	c.hold = false
	c.mu.Unlock()
	if hold {
		close(c.held)
		<-c.release
	}
	return now
}

// TestWaiterWhoLeftIsNotVerified : he costs no worker any time, and no place in a bucket.
func TestWaiterWhoLeftIsNotVerified(t *testing.T) {
	t.Parallel()
	var verified atomic.Int64
	held, release := make(chan struct{}), make(chan struct{})
	h := limitedShop(t, func(c *server.Config) {
		c.PasswordWorkers = 1
		c.Guesses = holding{c.Guesses, func() {
			if verified.Add(1) == 1 {
				close(held)
				<-release
			}
		}}
	})
	first := make(chan error, 1)
	go func() { first <- h.from(here, demoEmail, "wrong") }()
	<-held // the one worker is taken
	ctx, leave := context.WithCancel(t.Context())
	second := make(chan error, 1)
	go func() {
		_, err := h.server.Token(ctx, server.TokenRequest{GrantType: "password", Username: pointer(demoEmail), Password: pointer(demoPassword)})
		second <- err
	}()
	storetest.Eventually(t, "somebody waits", func() bool { return h.server.Waiting() == 1 })
	leave()
	close(release)
	if err := <-second; server.CodeOf(err) != server.Unavailable {
		t.Errorf("who left got %v, want %s", err, server.Unavailable)
	}
	if err := <-first; server.CodeOf(err) != server.WrongCredentials {
		t.Errorf("who stayed got %v, want %s", err, server.WrongCredentials)
	}
	if n := verified.Load(); n != 1 {
		t.Errorf("%d passwords were verified, want that of who stayed", n)
	}
}
