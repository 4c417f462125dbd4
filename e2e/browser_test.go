package e2e_test

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestGlueauthJSIsSmall(t *testing.T) {
	t.Parallel()
	script, err := os.ReadFile(glueauthJS)
	if err != nil || len(script) > 3072 {
		t.Errorf("glueauth.js has %d bytes, want 3072 at most: %v", len(script), err)
	}
	for _, word := range []string{"console", "import", "eval(", "cookie"} {
		if strings.Contains(string(script), word) {
			t.Errorf("glueauth.js has %s", word)
		}
	}
}

func TestTabsOfAStorefront(t *testing.T) {
	t.Parallel()
	tests := map[string]func(*storefront){
		"an expired token is refreshed once for all tabs":         testOneRefreshForAllTabs,
		"a lost answer is asked for again with its retry key":     testLostAnswer,
		"a network that is away costs no session":                 testNetworkAway,
		"a server that is down is given time":                     testServerDown,
		"a limit is kept to":                                      testLimit,
		"a token that still lives serves while the server is off": testNearlyExpired,
		"a tab that is closed while it refreshes holds nobody up": testClosedTab,
		"a clock that is set costs no session":                    testClock,
		"a tab that slept goes on with what the others stored":    testSleeper,
		"an ended session signs all tabs out":                     testEndedSession,
		"another refusal signs nobody out":                        testOtherRefusals,
		"another customer is told to all tabs":                    testAnotherCustomer,
		"without web locks racing tabs stay signed in":            testNoLocks,
		"a sign-out reaches all tabs":                             testSignOut,
		"a sign-out of the others keeps this one":                 testSignOutOthers,
		"garbage in the storage is as good as nothing":            testGarbage,
	}
	shop := newStorefront(t, openBrowser(t), 2*len(tests))
	t.Run("with one server", func(t *testing.T) {
		for i, name := range slices.Sorted(maps.Keys(tests)) {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				tests[name](shop.visited(t, i))
			})
		}
	})
	if n := shop.events(t, "refresh_reuse"); n != 0 {
		t.Errorf("%d honest customers were taken for thieves", n)
	}
}

func testOneRefreshForAllTabs(s *storefront) {
	t := s.t
	const rounds = 3
	tabs := s.profile(t).more(t, 4)
	old := tabs[0].signIn(t, s.emails[0])
	s.relay.seen()
	for round := range rounds {
		tabs[0].age(t, 1, tabs...)
		tokens := map[string]bool{}
		for _, token := range asking(tabs...)() {
			tokens[token] = true
		}
		now := tabs[0].item(t)
		if len(tokens) != 1 || !tokens[now.token()] || now.Access == old.Access || now.RetryKey == old.RetryKey {
			t.Fatalf("round %d: the tabs have %d tokens, want one that is new\n%s", round, len(tokens), s.tail())
		}
		old = now
	}
	s.counted(t, rounds, -1)
	// What one tab stores another may see a moment later, so that it asks too; mostly it does not.
	if n := len(s.relay.seen()); n >= rounds*len(tabs)/2 {
		t.Errorf("%d requests of %d tabs for %d refreshes", n, len(tabs), rounds)
	}
}

func testLostAnswer(s *storefront) {
	t := s.t
	customer := s.profile(t)
	old := customer.signIn(t, s.emails[0])
	customer.age(t, 1)
	s.relay.seen()
	s.relay.next(lose, lose)
	if token := customer.token(t); token != customer.item(t).token() || token == old.token() {
		t.Errorf("no new token: %.10s", token)
	}
	requests := s.relay.seen()
	for _, r := range requests {
		if r.form.Get("refresh_token") != old.Refresh || r.form.Get("retry_key") != old.RetryKey || len(old.RetryKey) < 16 {
			t.Error("asked with another token or retry key than before")
		}
	}
	if len(requests) != 3 {
		t.Errorf("%d requests, want 3", len(requests))
	}
	s.counted(t, 1, 2)
}

func testNetworkAway(s *storefront) {
	t := s.t
	customer := s.profile(t)
	old := customer.signIn(t, s.emails[0])
	for name, away := range map[string]trouble{"offline": offline, "portal": portal} {
		customer.age(t, 1)
		s.relay.next(away, away)
		if token := customer.token(t); token != customer.item(t).token() || token == old.token() {
			t.Errorf("%s: no new token: %.10s", name, token)
		}
	}
	customer.hears(t, "[true]")
	s.counted(t, 2, 0)
}

func testServerDown(shared *storefront) {
	t := shared.t
	s := newStorefront(t, shared.browser, 2).visited(t, 0)
	tabs := s.profile(t).more(t, 1)
	old := tabs[0].signIn(t, s.emails[0])
	release := hold(t, filepath.Join(s.dir, "data"))
	tabs[0].age(t, 1, tabs...)
	s.relay.seen()
	answers := asking(tabs...)
	eventually(t, browserLimit, func() error { return s.relay.reached(2) })
	release()
	for _, token := range answers() {
		if token != tabs[0].item(t).token() || token == old.token() {
			t.Errorf("no new token: %.12s", token)
		}
	}
	requests := s.relay.seen()
	if wait := requests[1].at.Sub(requests[0].at); wait < time.Second {
		t.Errorf("asked again after %s, before Retry-After", wait)
	}
	s.counted(t, 1, 0)
}

func testLimit(s *storefront) {
	t := s.t
	customer := s.profile(t)
	customer.signIn(t, s.emails[0])
	kept := customer.age(t, 1)
	s.relay.seen()
	s.relay.next(status(http.StatusTooManyRequests, "2"), status(http.StatusTooManyRequests, "60"))
	for range 3 { // the last two are told the same and ask nobody
		if token := customer.token(t); token != "rejected 429" {
			t.Errorf("the token is %.12s, want that it is rejected", token)
		}
	}
	if now := customer.item(t); now != kept {
		t.Error("the token was not kept")
	}
	requests := s.relay.seen()
	if len(requests) != 2 || requests[1].at.Sub(requests[0].at) < 2*time.Second {
		t.Errorf("%d requests, or too soon; want one, and another after two seconds", len(requests))
	}
	again := customer.more(t, 1)[1] // a new page knows nothing of it
	if token := again.token(t); token != again.item(t).token() {
		t.Errorf("no new token: %.12s", token)
	}
}

func testNearlyExpired(s *storefront) {
	t := s.t
	customer := s.profile(t)
	customer.signIn(t, s.emails[0])
	old := customer.age(t, 0.95)
	opened := make(chan struct{})
	s.relay.next(after(opened, status(http.StatusServiceUnavailable, "1")))
	for range 3 {
		if token := customer.token(t); token != old.token() {
			t.Error("the token that still lives was not given at once")
		}
	}
	close(opened)
	customer.sees(t, "a new token", func(i item) bool { return i.Access != old.Access })
	s.counted(t, 1, 0)
}

func testClosedTab(s *storefront) {
	t := s.t
	tabs := s.profile(t).more(t, 2)
	old := tabs[0].signIn(t, s.emails[0])
	tabs[0].age(t, 1, tabs...)
	s.relay.seen()
	opened := make(chan struct{})
	s.relay.next(after(opened, lose))
	tabs[1].must(t, "void session.token().catch(() => {})")
	eventually(t, browserLimit, func() error { return s.relay.reached(1) })
	answers := asking(tabs[0], tabs[2])
	tabs[1].close()
	close(opened)
	for _, token := range answers() {
		if token != tabs[0].item(t).token() || token == old.token() {
			t.Errorf("no new token: %.12s", token)
		}
	}
	s.counted(t, 1, 1)
}

func testClock(s *storefront) {
	t := s.t
	customer := s.profile(t)
	old := customer.signIn(t, s.emails[0])
	customer.age(t, -1000) // from then on the clock is about a year behind
	first := customer.token(t)
	if first == old.token() || first != customer.item(t).token() {
		t.Errorf("no new token after the clock was put back: %.12s", first)
	}
	if again := customer.token(t); again != first {
		t.Error("a token was not used twice")
	}
	refused := customer.must(t, "session.token(%s)", first) // an API that knows better
	if refused == first || refused != customer.item(t).token() {
		t.Errorf("no new token for one that was refused: %.12s", refused)
	}
	s.counted(t, 2, 0)
}

// A phone lets a tab sleep with a request in flight, and the others go on without its lock.
func testSleeper(s *storefront) {
	t := s.t
	tabs := s.profile(t).more(t, 1)
	for _, tab := range tabs {
		tab.must(t, "void Object.defineProperty(navigator, 'locks', { value: undefined })")
	}
	tabs[0].signIn(t, s.emails[0])
	for name, awoken := range map[string]trouble{"its answer is there": through, "its answer is lost": offline} {
		old := tabs[0].age(t, 1, tabs...)
		s.relay.seen()
		opened := make(chan struct{})
		s.relay.next(after(opened, awoken))
		slept := asking(tabs[0])
		eventually(t, browserLimit, func() error { return s.relay.reached(1) })
		for range 2 {
			tabs[1].token(t)
			tabs[1].age(t, 1)
		}
		newest := tabs[1].item(t)
		tabs[0].sees(t, "the newest token", func(i item) bool { return i == newest })
		close(opened)
		if token := slept()[0]; token == newest.token() || token != tabs[0].item(t).token() {
			t.Errorf("%s: no new token: %.12s", name, token)
		}
		for i, r := range s.relay.seen() {
			if i > 1 && r.form.Get("refresh_token") == old.Refresh {
				t.Errorf("%s: an old refresh token was sent again", name)
			}
		}
	}
	tabs[0].hears(t, "[true]")
	s.counted(t, 6, 1)
}

func testEndedSession(s *storefront) {
	t := s.t
	for i, client := range []string{"", "standard"} { // one of each dialect
		tabs := s.profileAt(t, s.page("localhost", client)).more(t, 2)
		tabs[0].signIn(t, s.emails[i])
		for _, tab := range tabs {
			tab.hears(t, "[true]")
		}
		succeed(t, s.dir, "", "customers", "block", s.emails[i])
		tabs[0].age(t, 1, tabs...)
		for _, token := range asking(tabs...)() {
			if token != "undefined" {
				t.Errorf("%q: a token of an ended session: %.12s", client, token)
			}
		}
		for _, tab := range tabs {
			tab.hears(t, "[true,false]")
			tab.sees(t, "an empty storage", func(i item) bool { return i == item{} })
		}
		if result := tabs[0].must(t, "session.signIn(%q, 'wrong')", s.emails[i]); result != "rejected 400" {
			t.Errorf("sign-in: %s, want that it is rejected", result)
		}
	}
}

func testOtherRefusals(s *storefront) {
	t := s.t
	customer := s.profile(t)
	customer.signIn(t, s.emails[0])
	kept := customer.age(t, 1)
	misled := s.open(customer.ctx, t, s.page("localhost", "nobody"))
	if token := misled.token(t); token != "rejected 400" {
		t.Errorf("unknown client: the token is %.12s", token)
	}
	for _, code := range []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound} {
		s.relay.next(status(code, ""))
		if token := customer.token(t); token != fmt.Sprint("rejected ", code) {
			t.Errorf("%d: the token is %.12s", code, token)
		}
	}
	s.relay.next(empty)
	if token := customer.token(t); token != "rejected 400" {
		t.Errorf("a proxy that drops the form: the token is %.12s", token)
	}
	if now := customer.item(t); now != kept {
		t.Error("the token was not kept")
	}
	customer.hears(t, "[true]")
	if token := customer.token(t); token != customer.item(t).token() {
		t.Errorf("no new token: %.12s", token)
	}
}

func testAnotherCustomer(s *storefront) {
	t := s.t
	tabs := s.profile(t).more(t, 1)
	tabs[0].signIn(t, s.emails[0])
	tabs[1].hears(t, "[true]")
	tabs[0].signIn(t, s.emails[1])
	for _, tab := range tabs {
		tab.hears(t, "[true,true]")
	}
	tabs[0].more(t, 1)[1].hears(t, "[true]") // a page is told when it is loaded
}

func testGarbage(s *storefront) {
	t := s.t
	tabs := s.profile(t).more(t, 1)
	tabs[0].signIn(t, s.emails[0])
	tabs[1].hears(t, "[true]")
	for _, garbage := range []string{"", "[object Object]", `{"id":"cut o`, "5", "null", "[]"} {
		tabs[0].must(t, "localStorage.setItem('glueauth', %q)", garbage)
		fresh := tabs[0].more(t, 1)[1]
		for name, tab := range map[string]*tab{"a new page": fresh, "an old one": tabs[1]} {
			if token := tab.token(t); token != "undefined" {
				t.Errorf("%q, %s: the token is %.12s", garbage, name, token)
			}
		}
		if now := fresh.signIn(t, s.emails[0]); fresh.token(t) != now.token() {
			t.Errorf("%q: a sign-in does not help", garbage)
		}
		fresh.close()
	}
}

func testNoLocks(s *storefront) {
	t := s.t
	const n = 4
	tabs := s.profileAt(t, s.page(insecureHost, "")).more(t, n-1)
	if locks := tabs[0].must(t, "typeof navigator.locks"); locks != `"undefined"` {
		t.Fatalf("there are Web Locks: %s", locks)
	}
	old := tabs[0].signIn(t, s.emails[0])
	for round := range 3 {
		tabs[0].age(t, 1, tabs...)
		s.relay.seen()
		opened := make(chan struct{})
		s.relay.next(after(opened, through), after(opened, through), after(opened, lose), after(opened, through))
		answers := asking(tabs...)
		eventually(t, browserLimit, func() error { return s.relay.reached(n) })
		close(opened)
		answers()
		now := tabs[0].item(t)
		for _, tab := range tabs {
			tab.sees(t, "the token of the others", func(i item) bool { return i.Refresh == now.Refresh && i.Access != old.Access })
		}
		if now.Refresh == old.Refresh {
			t.Fatalf("round %d: nothing was refreshed", round)
		}
		old = now
	}
	tabs[0].hears(t, "[true]")
	s.counted(t, 3, -1)
}

func testSignOut(s *storefront) {
	t := s.t
	tabs := s.profile(t).more(t, 2)
	old := tabs[0].signIn(t, s.emails[0])
	tabs[1].hears(t, "[true]")
	s.relay.next(status(http.StatusServiceUnavailable, "30"))
	if result := tabs[0].must(t, "session.signOut()"); result != "rejected 503" {
		t.Errorf("sign-out: %s, want that it is rejected", result)
	}
	if tabs[0].item(t) != old {
		t.Error("a sign-out that failed dropped the token")
	}
	s.relay.next(lose, portal)
	if result := tabs[0].must(t, "session.signOut()"); result != "undefined" {
		t.Errorf("sign-out: %s", result)
	}
	for _, tab := range tabs[:2] {
		tab.hears(t, "[true,false]")
		if token := tab.token(t); token != "undefined" {
			t.Errorf("a token after sign-out: %.12s", token)
		}
	}
	if a, err := s.refresh(old.Refresh); err != nil || a.status != http.StatusBadRequest {
		t.Errorf("the refresh token after sign-out: %d %v", a.status, err)
	}
}

func testSignOutOthers(s *storefront) {
	t := s.t
	here, there := s.profile(t), s.profile(t)
	for _, browser := range []*tab{here, there} {
		browser.signIn(t, s.emails[0])
	}
	old := here.item(t)
	s.relay.next(lose)
	if result := here.must(t, "session.signOut({ sessions: 'others' })"); result != "undefined" {
		t.Errorf("sign-out of the others: %s", result)
	}
	there.age(t, 1)
	if token := there.token(t); token != "undefined" {
		t.Errorf("the other browser has a token: %.12s", token)
	}
	if now := here.item(t); now.Refresh == old.Refresh || now.RetryKey == old.RetryKey {
		t.Error("the new token was not stored")
	}
	here.age(t, 1)
	if token := here.token(t); token != here.item(t).token() {
		t.Errorf("this browser has no token: %.12s", token)
	}
	here.hears(t, "[true]")
	there.signIn(t, s.emails[0])
	if result := here.must(t, "session.signOut({ sessions: 'all' })"); result != "undefined" {
		t.Errorf("sign-out of all: %s", result)
	}
	here.hears(t, "[true,false]")
	there.age(t, 1)
	if token := there.token(t); token != "undefined" {
		t.Errorf("the other browser has a token after sign-out of all: %.12s", token)
	}
	over := there.signIn(t, s.emails[0])
	if code := there.must(t, "fetch(%q, { method: 'POST', body: new URLSearchParams({ token: %q }) }).then((r) => r.status)", s.relay.url+"/revoke", over.Refresh); code != "200" {
		t.Fatalf("revocation: %s", code)
	}
	if result := there.must(t, "session.signOut({ sessions: 'others' })"); result != "true" {
		t.Errorf("sign-out of the others in a session that is over: %s, want to be told", result)
	}
	there.hears(t, "[true,false,true,false,true,false]")
}
