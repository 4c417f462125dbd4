package e2e_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/glueauth/glueauth/store/storetest"
)

// told returns how often the server counted an outcome, and demands that as many lines of its log tell it: with the client,
// the address, and the session and its customer where the token was genuine.
func (p *process) told(t *testing.T, event, cause string) int {
	t.Helper()
	metrics, err := p.metrics()
	if err != nil {
		t.Fatal(err)
	}
	counted := sum(t, metrics, `glueauth_events_total\{cause="`+cause+`",event="`+event+`"\}`)
	eventually(t, startLimit, func() error {
		lines := 0
		for text := range strings.Lines(p.stderr.String()) {
			line, ok := readLine(text)
			if !ok || line.Event != event || line.Cause != cause {
				continue
			}
			lines++
			if !line.complete() {
				return fmt.Errorf("the line says too little: %s", text)
			}
		}
		if lines != counted {
			return fmt.Errorf("%s %s was counted %d times, the log tells it %d times\n%s", event, cause, counted, lines, p.tail())
		}
		return nil
	})
	return counted
}

// logLine is a line of the log that tells an outcome.
type logLine struct {
	Message    string `json:"msg"`
	Event      string `json:"event"`
	Cause      string `json:"cause"`
	Client     string `json:"client"`
	Address    string `json:"address"`
	Session    string `json:"session"`
	Subject    int    `json:"subject"`
	Generation int    `json:"generation"`
}

func readLine(text string) (line logLine, ok bool) {
	err := json.Unmarshal([]byte(text), &line)
	return line, err == nil && line.Message == "event"
}

func (l logLine) complete() bool {
	if l.Client == "" || l.Address == "" {
		return false
	}
	stranger := l.Cause == "not_ours" || l.Cause == "expired"
	return stranger || len(l.Session) == 32 && l.Subject != 0 && l.Generation != 0
}

// turnedAway returns how many requests were answered with 503, without those that were made again for the machine's sake, and demands
// that the log gives the reason of each, with this word in at least one of them.
func (p *process) turnedAway(t *testing.T, word string) int {
	t.Helper()
	counted, found := 0, false
	eventually(t, startLimit, func() error {
		metrics, err := p.metrics()
		if err != nil {
			return err
		}
		counted = sum(t, metrics, `glueauth_http_request_duration_seconds_count\{[^}]*status="503"\}`)
		lines := 0
		for line := range strings.Lines(p.stderr.String()) {
			if strings.Contains(line, `"msg":"request failed","code":"unavailable"`) {
				lines++
				found = found || strings.Contains(line, word)
			}
		}
		if lines != counted || counted > 0 && !found {
			return fmt.Errorf("%d answers with 503, %d lines in the log, %q among them: %t\n%s", counted, lines, word, found, p.tail())
		}
		return nil
	})
	return counted - int(p.again.Load())
}

// sum adds up the series whose name and labels match.
func sum(t *testing.T, metrics, series string) (total int) {
	t.Helper()
	for _, match := range regexp.MustCompile(`(?m)^`+series+` (\d+)$`).FindAllStringSubmatch(metrics, -1) {
		n, err := strconv.Atoi(match[1])
		if err != nil {
			t.Fatal(err)
		}
		total += n
	}
	return total
}

// hang opens a connection to the server and says nothing on it until the test is over.
func (p *process) hang(t *testing.T) {
	t.Helper()
	keep(t, "tcp", strings.TrimPrefix(p.public, "http://"))
}

func dial(t *testing.T, redis *storetest.RedisServer) {
	t.Helper()
	keep(t, "unix", redis.Socket)
}

func keep(t *testing.T, network, address string) {
	t.Helper()
	conn, err := net.Dial(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
}

// visit is one answer to a customer.
type visit struct {
	customer     int
	status       int
	begun, ended time.Time
}

// shoppers are honest customers with a session each, who refresh it all the time: each keeps his token until he has the next
// one, and comes again after a 503. Being told anything else means that he is signed out.
type shoppers struct {
	stop   context.CancelFunc
	group  sync.WaitGroup
	mu     sync.Mutex
	tokens []string
	visits []visit
}

// shop has them begin. They end with the test, or when leave is called.
func shop(t *testing.T, p *process, tokens []string) *shoppers {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	s := &shoppers{stop: stop, tokens: tokens}
	t.Cleanup(func() { s.leave() })
	for i := range tokens {
		s.group.Go(func() {
			pause := time.NewTicker(10 * time.Millisecond)
			defer pause.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-pause.C:
				}
				begun := time.Now()
				a, err := p.refresh(tokens[i])
				if err != nil || a.status != http.StatusOK && a.status != http.StatusServiceUnavailable {
					t.Errorf("customer %d: %v %v", i, a, err)
					return
				}
				if a.status == http.StatusServiceUnavailable && a.header.Get("Retry-After") == "" {
					t.Errorf("customer %d: 503 without Retry-After", i)
				}
				s.mu.Lock()
				s.visits = append(s.visits, visit{i, a.status, begun, time.Now()})
				if a.status == http.StatusOK {
					tokens[i] = a.RefreshToken
				}
				s.mu.Unlock()
			}
		})
	}
	return s
}

// wait returns when all of these customers have been answered with this status since now, several times.
func (s *shoppers) wait(t *testing.T, status int, customers ...int) {
	t.Helper()
	const times = 5
	since := time.Now()
	eventually(t, 2*time.Minute, func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, customer := range customers {
			n := 0
			for _, v := range s.visits {
				if v.customer == customer && v.status == status && v.begun.After(since) {
					n++
				}
			}
			if n < times && (status != http.StatusServiceUnavailable || !wasHalted(since)) { // a fault may be over before it shows
				return fmt.Errorf("customer %d was answered with %d only %d times", customer, status, n)
			}
		}
		return nil
	})
}

// leave ends the visits and returns them. What the customers hold then is in tokens.
func (s *shoppers) leave() []visit {
	s.stop()
	s.group.Wait()
	return s.visits
}

func TestEveryOutcomeOfARefreshIsCountedAndTold(t *testing.T) {
	t.Parallel()
	redis := storetest.Redis(t)
	dir := t.TempDir()
	emails := customers(t, dir, 20)
	const clients = "clients:\n  - id: frontend\n  - id: brief\n    refresh_lifetime: 1s\n"
	p := start(t, dir, "--redis="+redis.URL(), "--log-level=debug", "--config="+write(t, dir, "glueauth.yaml", clients, 0o600),
		"GLUEAUTH_REFRESH_MAX_SESSIONS=1")
	p.noLeaks(t, redis)
	ask := func(token string, more ...string) answer {
		a, err := p.token(append([]string{"grant_type", "refresh_token", "refresh_token", token}, more...)...)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	change := func(statement string) func(person) answer {
		return func(c person) answer {
			execute(t, filepath.Join(dir, "data"), fmt.Sprintf(statement+" WHERE email = '%s'", c.email))
			return ask(c.token)
		}
	}
	for i, c := range []struct {
		event, cause string
		status       int
		drive        func(person) answer
	}{
		{"refresh_rotated", "", 200, func(c person) answer { return ask(c.token) }},
		{"refresh_replayed", "", 200, func(c person) answer {
			ask(c.token)
			return ask(c.token)
		}},
		{"refresh_displaced", "", 200, func(c person) answer {
			ask(c.token, "retry_key", "only-this-tab-has-it")
			return ask(c.token)
		}},
		{"refresh_reuse", "reuse", 400, func(c person) answer {
			dead, _ := displace(t, p, c.token)
			return ask(dead)
		}},
		{"refresh_healed", "", 200, func(c person) answer {
			redis.Do(t, "SAVE")
			newest := ask(c.token).RefreshToken
			redis.Kill()
			redis.Start(t) // with what it had saved
			return p.mustRefresh(t, newest)
		}},
		{"refresh_refused", "not_ours", 400, func(c person) answer { return ask(forge(c.token)) }},
		{"refresh_refused", "expired", 400, func(c person) (a answer) {
			brief := p.must(t, "grant_type", "password", "username", c.email, "password", demoPassword, "client_id", "brief").RefreshToken
			eventually(t, startLimit, func() error { // a scope that he has not leaves the session as it is
				if a = ask(brief, "client_id", "brief", "scope", "unknown"); a.Error == "invalid_scope" {
					return errors.New("it lives")
				}
				return nil
			})
			return a
		}},
		{"refresh_refused", "store_lost", 400, func(c person) answer {
			redis.Do(t, "FLUSHALL")
			return ask(c.token)
		}},
		{"refresh_refused", "signed_out_all", 400, func(c person) answer {
			p.mustSignOut(t, c.token, "sessions", "all")
			return ask(c.token)
		}},
		{"refresh_refused", "signed_out", 400, func(c person) answer {
			p.mustSignOut(t, ask(c.token).RefreshToken, "sessions", "others")
			return ask(c.token) // an earlier one of the session that stays
		}},
		{"refresh_refused", "revoked", 400, func(c person) answer {
			p.mustSignOut(t, c.token)
			return ask(c.token)
		}},
		{"refresh_refused", "operator", 400, func(c person) answer {
			if r := finish(t, dir, "", []string{"GLUEAUTH_REDIS=" + redis.URL()}, "sessions", "revoke", sessionOf(t, c.token)); r.code != 0 {
				t.Errorf("sessions revoke: %s", r.stderr)
			}
			return ask(c.token)
		}},
		{"refresh_refused", "too_many_sessions", 400, func(c person) answer {
			p.signIn(t, c.email)
			return ask(c.token)
		}},
		{"refresh_refused", "password_changed", 400, change("UPDATE customers SET password = password || 'x'")},
		{"refresh_refused", "customer_blocked", 400, change("UPDATE customers SET blocked_at = 1")},
		{"refresh_refused", "customer_unconfirmed", 400, change("UPDATE customers SET registered = NULL")},
		{"refresh_refused", "customer_gone", 400, change("DELETE FROM customers")},
		{"refresh_refused", "scope_refused", 400, func(c person) answer { return ask(c.token, "scope", "unknown") }},
		{"refresh_refused", "other_client", 400, func(c person) answer { return ask(c.token, "client_id", "brief") }},
	} {
		before := p.told(t, c.event, c.cause)
		a := c.drive(person{emails[i], p.signIn(t, emails[i]).RefreshToken})
		if a.status != c.status {
			t.Errorf("%s %s: %v", c.event, c.cause, a)
		}
		if got := p.told(t, c.event, c.cause) - before; got != 1 {
			t.Errorf("%s %s was counted %d times, want 1", c.event, c.cause, got)
		}
	}
}

// person is a customer who has just signed in.
type person struct{ email, token string }

// sessionOf returns the name of a refresh token's session.
func sessionOf(t *testing.T, token string) string {
	t.Helper()
	id := decode(t, strings.TrimPrefix(token, "grt_"))[10:26]
	return fmt.Sprintf("%x", sha256.Sum256([]byte(id)))[:32]
}

// mustSignOut ends the session of a refresh token, or more of them.
func (p *process) mustSignOut(t *testing.T, token string, pairs ...string) {
	t.Helper()
	a, err := p.post("/revoke", append([]string{"token", token}, pairs...)...)
	if err != nil || a.status != http.StatusOK {
		t.Errorf("sign out: %v %v", a, err)
	}
}

// post sends a form; pairs are names and values in turn.
func (p *process) post(path string, pairs ...string) (answer, error) {
	form := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		form.Add(pairs[i], pairs[i+1])
	}
	r, err := http.NewRequest(http.MethodPost, p.public+path, strings.NewReader(form.Encode()))
	if err != nil {
		return answer{}, err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return p.do(r)
}

// forge changes the MAC of a refresh token.
func forge(token string) string {
	last := "A"
	if strings.HasSuffix(token, last) {
		last = "B"
	}
	return token[:len(token)-1] + last
}

func TestMACKeyNumbersRollOverReplicas(t *testing.T) {
	t.Parallel()
	redis := storetest.Redis(t)
	all, emails := replicas(t, 2, redis.URL())
	first, second := all[0], all[1]
	dir := first.cmd.Dir
	var old []string
	for range 3 {
		old = append(old, first.signIn(t, emails[0]).RefreshToken)
	}
	const setting = "GLUEAUTH_REFRESH_MAC_KEY=2"
	first.stop(t)
	first = start(t, dir, "GLUEAUTH_REDIS="+redis.URL(), setting)
	first.noLeaks(t, redis)
	newer := []string{first.signIn(t, emails[1]).RefreshToken, first.mustRefresh(t, old[0]).RefreshToken}
	for _, token := range newer {
		if number := decode(t, strings.TrimPrefix(token, "grt_"))[0]; number != 2 {
			t.Errorf("a token of the new number has number %d", number)
		}
		second.mustTurnAway(t, "/token", "grant_type", "refresh_token", "refresh_token", token)
		second.mustTurnAway(t, "/revoke", "token", token)
	}
	if n := second.turnedAway(t, "mac key"); n != 2*len(newer) {
		t.Errorf("%d requests were turned away, want %d", n, 2*len(newer))
	}
	old[1] = second.mustRefresh(t, old[1]).RefreshToken
	old[1] = first.mustRefresh(t, old[1]).RefreshToken // and so it has number 2

	second.stop(t)
	second = start(t, second.cmd.Dir, append(shared(dir), "GLUEAUTH_REDIS="+redis.URL(), setting)...)
	second.noLeaks(t, redis)
	for _, token := range append(newer, old[1:]...) {
		second.mustRefresh(t, token)
	}
	if rotated, refused := second.events(t, "refresh_rotated"), second.events(t, "refresh_refused"); rotated != 4 || refused != 0 {
		t.Errorf("%d refreshes, %d refused", rotated, refused)
	}
}
