package server_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/server"
	"github.com/glueauth/glueauth/store/sqlstore"
)

// garbage returns a text that looks like a shop's token and costs as much as one.
func garbage(n int) secret.Text {
	return secret.Text("def50200" + fmt.Sprintf("%0400x", n))
}

// worker stands in for the 100,000 rounds: it can be held, and counts.
type worker struct {
	calls atomic.Int64
	begun chan struct{} // one for each call
	hold  chan struct{} // closed: nobody is held
}

func newWorker(s *server.Server) *worker {
	w := &worker{begun: make(chan struct{}, 10_000), hold: make(chan struct{})}
	s.OnShopKey(func([]byte) ([]byte, error) {
		w.calls.Add(1)
		w.begun <- struct{}{}
		<-w.hold
		return []byte(strings.Repeat("\x07", 32)), nil
	})
	return w
}

func TestNoTokenIsReadTwice(t *testing.T) {
	t.Parallel()
	h := succession(t)
	w := newWorker(h.server)
	close(w.hold)
	good := h.held(1)
	h.mustRefresh(good)
	h.mustRefresh(good)
	h.refused(garbage(1), "garbage")
	h.refused(garbage(1), "the same garbage")
	if n := w.calls.Load(); n != 2 {
		t.Errorf("read %d times, want 2", n)
	}
	for _, cheap := range []secret.Text{"def50200", garbage(2)[:300] + "X", garbage(3)[:101], secret.Text(strings.ToUpper(garbage(4).Reveal()))} {
		h.refused(cheap, "what cannot be a token")
	}
	if n := w.calls.Load(); n != 2 {
		t.Errorf("read %d times what cannot be a token", n-2)
	}
	for n := range 1024 {
		h.refused(garbage(10+n), "more garbage than is remembered")
	}
	before := w.calls.Load()
	h.refused(garbage(10+1023), "the newest")
	h.refused(garbage(10), "the oldest that is remembered")
	if n := w.calls.Load(); n != before {
		t.Errorf("read %d of the last 1024 again", n-before)
	}
	h.mustRefresh(good)
	if n := w.calls.Load(); n != before+1 {
		t.Errorf("read %d times what was forgotten, want once", n-before)
	}
}

func TestOneTokenIsReadOnceByAllWhoPresentItAtTheSameTime(t *testing.T) {
	t.Parallel()
	h := succession(t)
	w := newWorker(h.server)
	token := h.held(1)
	answers := make(chan secret.Text, 20)
	var tabs sync.WaitGroup
	for range cap(answers) {
		tabs.Go(func() {
			answer, err := h.refresh(token)
			if err != nil {
				t.Error(err)
			}
			answers <- answer.RefreshToken
		})
	}
	<-w.begun
	close(w.hold)
	tabs.Wait()
	first := <-answers
	for range cap(answers) - 1 {
		if <-answers != first {
			t.Error("two tabs were given different tokens")
		}
	}
	if n := w.calls.Load(); n != 1 {
		t.Errorf("read %d times", n)
	}
}

func TestATokenWhoseReadingPanickedIsReadAgain(t *testing.T) {
	t.Parallel()
	h := succession(t)
	token := h.held(1)
	begun, fail := make(chan struct{}), make(chan struct{})
	var calls atomic.Int64
	h.server.OnShopKey(func([]byte) ([]byte, error) {
		if calls.Add(1) == 1 {
			close(begun)
			<-fail
			panic("no key")
		}
		return []byte(strings.Repeat("\x07", 32)), nil
	})
	panicked := make(chan any)
	go func() {
		defer func() { panicked <- recover() }()
		_, _ = h.refresh(token)
	}()
	<-begun
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	waits := make(chan error)
	go func() {
		_, err := h.server.Token(ctx, server.TokenRequest{GrantType: "refresh_token", RefreshToken: &token})
		waits <- err
	}()
	close(fail)
	if value := <-panicked; value == nil {
		t.Error("the panic was swallowed")
	}
	if err := <-waits; err != nil {
		t.Fatalf("who waited for it: %v", err)
	}
	h.mustRefresh(token)
	if n := calls.Load(); n != 2 {
		t.Errorf("read %d times, want 2", n)
	}
}

func TestWhoeverIsLeftReadsTheTokenOfOneWhoHasGone(t *testing.T) {
	t.Parallel()
	h := succession(t)
	w := newWorker(h.server)
	blocker := make(chan struct{})
	go func() { defer close(blocker); h.refused(garbage(1), "garbage") }()
	<-w.begun // the worker is taken
	token := h.held(1)
	ctx, leave := context.WithCancel(t.Context())
	gone := make(chan error)
	go func() {
		_, err := h.server.Token(ctx, server.TokenRequest{GrantType: "refresh_token", RefreshToken: &token})
		gone <- err
	}()
	stayed := make(chan error)
	go func() { _, err := h.refresh(token); stayed <- err }()
	leave()
	if err := <-gone; server.CodeOf(err) != server.Unavailable {
		t.Errorf("who left got %v", err)
	}
	close(w.hold)
	if err := <-stayed; err != nil {
		t.Errorf("who stayed got %v", err)
	}
	<-blocker
}

func TestAFloodOfGarbageIsShedAndEverythingElseGoesOn(t *testing.T) {
	t.Parallel()
	h := succession(t)
	own := h.mustSignIn()
	w := newWorker(h.server)
	const flood = 200
	codes := make(chan server.Code, flood)
	var senders sync.WaitGroup
	for n := range flood {
		senders.Go(func() {
			_, err := h.server.Token(t.Context(), server.TokenRequest{GrantType: "refresh_token", RefreshToken: new(garbage(n))})
			codes <- server.CodeOf(err)
		})
	}
	<-w.begun
	shed := 0
	for range flood - 22 { // one is being read, and 21 wait: two seconds' work
		if code := <-codes; code != server.Unavailable {
			t.Errorf("got %s, want %s", code, server.Unavailable)
		}
		shed++
	}
	good := make(chan error)
	go func() { _, err := h.refresh(h.held(1)); good <- err }() // from another address than the flood
	if code := <-codes; code != server.Unavailable {
		t.Errorf("one of the flood that made room got %s", code)
	}
	shed++
	h.mustSignIn()
	own = h.mustRefresh(own.RefreshToken)
	h.mustRefresh(own.RefreshToken)
	if n := w.calls.Load(); n != 1 {
		t.Errorf("%d at the same time", n)
	}
	close(w.hold)
	senders.Wait()
	for range flood - shed {
		if code := <-codes; code != server.BadRefreshToken {
			t.Errorf("one that waited got %s", code)
		}
	}
	if err := <-good; err != nil {
		t.Errorf("a good token: %v", err)
	}
}

func TestAFailureOfTheReaderItselfIsNoVerdict(t *testing.T) {
	t.Parallel()
	h := succession(t)
	h.server.OnShopKey(func([]byte) ([]byte, error) { return nil, errors.New("no such digest") })
	for range 2 {
		if _, err := h.refresh(h.held(1)); server.CodeOf(err) != server.Unavailable {
			t.Errorf("got %v", err)
		}
	}
}

// BenchmarkBesideAFlood reports how many sign-ins and refreshes a second there are while somebody sends texts that look like a
// shop's tokens, a thousand a second and more, beside those when nobody does.
func BenchmarkBesideAFlood(b *testing.B) {
	for name, work := range map[string]func(h *harness, email string, own secret.Text) (server.TokenResponse, error){
		"sign-in": func(h *harness, email string, _ secret.Text) (server.TokenResponse, error) {
			return h.signIn(email, demoPassword.Reveal())
		},
		"refresh": func(h *harness, _ string, own secret.Text) (server.TokenResponse, error) { return h.refresh(own) },
	} {
		b.Run(name, func(b *testing.B) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 3)) // as the program does
			h := newHarness(b, func(c *server.Config) {
				c.Legacy.Key, c.Now = shopPassword, time.Now
				c.Event = func(context.Context, server.Event) {}
				c.Refresh.MaxSessions = 1
			})
			h.pass(time.Since(h.now())) // the store's clock
			hash, err := bcrypt.GenerateFromPassword([]byte(demoPassword), 10)
			if err != nil {
				b.Fatal(err)
			}
			for n := range callers {
				h.add(sqlstore.NewCustomer{ID: int64(n + 1), Reference: fmt.Sprint(n), Email: emailOf(n), PasswordHash: secret.Text(hash), Confirmed: true})
			}
			perSecond(b, h, work)
			var alone, beside float64
			var sent, read atomic.Int64
			for range rounds { // in turns, so that whatever else the machine does meets both
				alone += perSecond(b, h, work) / rounds
				ctx, stop := context.WithCancel(b.Context())
				var senders sync.WaitGroup
				for range 32 {
					senders.Go(func() { flood(ctx, h, &sent, &read) })
				}
				beside += perSecond(b, h, work) / rounds
				stop()
				senders.Wait()
			}
			b.ReportMetric(alone, "alone/s")
			b.ReportMetric(beside, "beside/s")
			b.ReportMetric(beside/alone, "share")
			b.ReportMetric(float64(sent.Load())/rounds/measured.Seconds(), "sent/s")
			b.ReportMetric(float64(read.Load())/rounds/measured.Seconds(), "read/s")
			b.ReportMetric(0, "ns/op")
		})
	}
}

const (
	callers  = 8
	rounds   = 8
	measured = 2 * time.Second
)

func emailOf(n int) string { return fmt.Sprintf("%d@example.org", n) }

// flood sends garbage; who was shed waits ten milliseconds.
func flood(ctx context.Context, h *harness, sent, read *atomic.Int64) {
	for ctx.Err() == nil {
		_, err := h.server.Token(ctx, server.TokenRequest{GrantType: "refresh_token", RefreshToken: new(garbage(int(sent.Add(1))))})
		if server.CodeOf(err) == server.BadRefreshToken {
			read.Add(1)
			continue
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// perSecond returns how often all callers together get the work done in a second.
func perSecond(b *testing.B, h *harness, work func(*harness, string, secret.Text) (server.TokenResponse, error)) float64 {
	b.Helper()
	var done atomic.Int64
	var all sync.WaitGroup
	first := make([]server.TokenResponse, callers)
	for n := range callers {
		answer, err := h.signIn(emailOf(n), demoPassword.Reveal())
		for server.CodeOf(err) == server.Unavailable { // a slow machine
			answer, err = h.signIn(emailOf(n), demoPassword.Reveal())
		}
		if err != nil {
			b.Fatal(err)
		}
		first[n] = answer
	}
	begun := time.Now()
	for n := range callers {
		all.Go(func() {
			answer, err := first[n], error(nil)
			for own := answer.RefreshToken; time.Since(begun) < measured && err == nil; own = answer.RefreshToken {
				if answer, err = work(h, emailOf(n), own); server.CodeOf(err) == server.Unavailable {
					answer.RefreshToken, err = own, nil
					continue
				}
				done.Add(1)
			}
			if err != nil {
				b.Error(err)
			}
		})
	}
	all.Wait()
	return float64(done.Load()) / time.Since(begun).Seconds()
}
