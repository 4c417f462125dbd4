package handlers_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/glueauth/glueauth/handlers"
)

func notReady(context.Context) error { return errors.New("session store: disk full") }

func get(h http.Handler, target string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, target, nil))
	return w
}

func TestLivenessDoesNotDependOnReadiness(t *testing.T) {
	t.Parallel()
	x := openShop(t, setup{ready: notReady})
	for path, want := range map[string]int{"/livez": 200, "/healthz": 200, "/.well-known/jwks.json": 200, "/readyz": 503} {
		if a := x.do(t, http.MethodGet, path, nil); a.status != want {
			t.Errorf("%s: %d %s, want %d", path, a.status, a.body, want)
		}
	}
}

func TestAdminGivesTheReasonWhenAsked(t *testing.T) {
	t.Parallel()
	x := openShop(t, setup{ready: notReady})
	admin := handlers.Admin(x.config)
	for target, reason := range map[string]bool{"/readyz": false, "/readyz?verbose": true, "/readyz?verbose=1": true} {
		w := get(admin, target)
		if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
			t.Errorf("%s: %d %v", target, w.Code, w.Header())
		}
		if strings.Contains(w.Body.String(), "disk full") != reason {
			t.Errorf("%s: %s", target, w.Body)
		}
	}
	for _, path := range []string{"/livez", "/healthz", "/metrics"} {
		if w := get(admin, path); w.Code != http.StatusOK {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
	if w := get(admin, "/token"); w.Code != http.StatusNotFound {
		t.Errorf("the token endpoint is on the admin listener: %d", w.Code)
	}
	if !strings.Contains(x.logs.String(), `"cause":"unavailable: not ready: session store: disk full"`) {
		t.Errorf("the cause is not in the log:\n%s", x.logs)
	}
}

func TestReadinessIsCheckedOnceForAllWhoAsk(t *testing.T) {
	t.Parallel()
	var checks atomic.Int32
	x := openShop(t, setup{ready: func(context.Context) error { checks.Add(1); return nil }})
	admin := handlers.Admin(x.config)
	var asking sync.WaitGroup
	for range 20 {
		asking.Go(func() { get(admin, "/readyz") })
	}
	asking.Wait()
	if n := checks.Load(); n != 1 {
		t.Errorf("%d checks within a second", n)
	}
	x.clock.advance(time.Second)
	get(admin, "/readyz")
	x.clock.advance(-time.Hour)
	get(admin, "/readyz")
	if n := checks.Load(); n != 3 {
		t.Errorf("%d checks, want another one after a second and one after the clock was set back", n)
	}
}

func TestAReadinessCheckEndsByItself(t *testing.T) {
	t.Parallel()
	hang := func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	}
	x := openShop(t, setup{ready: hang})
	if a := x.do(t, http.MethodGet, "/readyz", nil); a.status != http.StatusServiceUnavailable {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestAReadinessCheckOutlivesTheOneWhoAsked(t *testing.T) {
	t.Parallel()
	x := openShop(t, setup{ready: func(ctx context.Context) error {
		if errors.Is(ctx.Err(), context.Canceled) {
			return ctx.Err()
		}
		return nil
	}})
	ctx, gone := context.WithCancel(t.Context())
	gone()
	w := httptest.NewRecorder()
	handlers.Admin(x.config).ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodGet, "/readyz", nil))
	if w.Code != http.StatusOK {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestReadinessTurnsWithHysteresis(t *testing.T) {
	t.Parallel()
	var down, stopping atomic.Bool
	x := openShop(t, setup{ready: func(context.Context) error {
		if down.Load() {
			return errors.New("store down")
		}
		return nil
	}})
	x.config.Stopping = stopping.Load
	admin := handlers.Admin(x.config)
	for i, step := range []struct {
		down, stopping bool
		want           int
	}{
		{want: 200},
		{down: true, want: 200},
		{want: 200},
		{down: true, want: 200},
		{down: true, want: 503},
		{want: 503},
		{down: true, want: 503},
		{want: 503},
		{want: 200},
		{stopping: true, want: 503},
		{want: 200},
	} {
		down.Store(step.down)
		stopping.Store(step.stopping)
		if w := get(admin, "/readyz"); w.Code != step.want {
			t.Errorf("step %d: %d, want %d", i, w.Code, step.want)
		}
		x.clock.advance(time.Second)
	}
}

// TestAnOldBadResultDoesNotStandAgainstAGoodOne : after a silence one good look is enough; one bad look still is none.
func TestAnOldBadResultDoesNotStandAgainstAGoodOne(t *testing.T) {
	t.Parallel()
	var down atomic.Bool
	x := openShop(t, setup{ready: func(context.Context) error {
		if down.Load() {
			return errors.New("connection refused")
		}
		return nil
	}})
	admin := handlers.Admin(x.config)
	for i, step := range []struct {
		after  time.Duration
		down   bool
		want   int
		reason string
	}{
		{down: true, want: 503, reason: "connection refused"},
		{after: 5 * time.Second, want: 503, reason: "it answers again, which the next look has to confirm; before: connection refused"},
		{after: time.Second / 2, want: 503, reason: "it answers again"},
		{after: time.Second, down: true, want: 503, reason: `"connection refused"`},
		{after: 6 * time.Second, want: 200},
		{after: time.Minute, down: true, want: 200},
		{after: time.Minute, down: true, want: 503, reason: "connection refused"},
		{after: time.Minute, want: 200},
	} {
		x.clock.advance(step.after)
		down.Store(step.down)
		if w := get(admin, "/readyz?verbose"); w.Code != step.want || !strings.Contains(w.Body.String(), step.reason) {
			t.Errorf("step %d: %d %s, want %d %s", i, w.Code, w.Body, step.want, step.reason)
		}
	}
}
