package e2e_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/glueauth/glueauth/e2e/gatekeeper"
	"github.com/glueauth/glueauth/store/storetest"
)

const (
	revocationsPath = "/.well-known/revocations"
	// cutOffLimit is how long a gateway may go on letting tokens pass after the answer to the sign-out.
	cutOffLimit = 2 * time.Second

	refusedAsRevoked = `401 Bearer error="invalid_token", error_description="revoked"`
)

// following is a server that says which sessions have ended, and a gateway that follows it.
type following struct {
	*process
	gateway *gateway
	dir     string
	emails  []string
}

func follow(t *testing.T, options ...string) following {
	t.Helper()
	f := following{dir: t.TempDir()}
	f.process = start(t, f.dir, append(options, "GLUEAUTH_REVOCATIONS=true")...)
	f.emails = customers(t, f.dir, 8)
	key := write(t, f.dir, "gateway/ours.pem", succeed(t, f.dir, "", "keys", "export", "--format", "pem"), 0o600)
	f.gateway = startHAProxy(t, f.dir, "TOKEN_KEY="+key, "REVOCATIONS_URL="+f.public+revocationsPath,
		"REVOCATIONS_LUA=../deploy/gateways/haproxy/revocations.lua")
	return f
}

// asks returns what the gateway, and our own /verify, make of an access token.
func (f following) asks(t *testing.T, s answer) [2]string {
	t.Helper()
	return [2]string{f.gateway.ask(t, "Bearer "+s.AccessToken), fmt.Sprint(f.verify(t, "", s.AccessToken).status)}
}

func (f following) passes(t *testing.T, what string, s answer) {
	t.Helper()
	if got := f.asks(t, s); got != [2]string{"200", "200"} {
		t.Errorf("%s: %q", what, got)
	}
}

// mustCutOff demands that the token is refused by both in time.
func (f following) mustCutOff(t *testing.T, s answer) {
	t.Helper()
	eventually(t, cutOffLimit, func() error {
		if got := f.asks(t, s); got != [2]string{refusedAsRevoked, "401"} {
			return fmt.Errorf("a token that has ended: %q", got)
		}
		return nil
	})
}

// It runs alone, for it counts seconds.
func TestAGatewayThatFollowsCutsOffWhoIsSignedOut(t *testing.T) {
	impatient := []string{
		"GLUEAUTH_REFRESH_REPLAY_WINDOW=0s", "GLUEAUTH_REFRESH_REJOIN_WINDOW=0s", "GLUEAUTH_REFRESH_LATE_RETRY=0s",
		"GLUEAUTH_REFRESH_CONCURRENCY_ALLOWANCE=0s", "GLUEAUTH_REFRESH_MAX_SESSIONS=2",
	}
	for _, place := range []string{"data folder", "Redis"} {
		t.Run(place, func(t *testing.T) {
			options := impatient
			if place == "Redis" {
				options = append(options, "GLUEAUTH_REDIS="+storetest.Redis(t).URL())
			}
			cutOffEachWay(t, follow(t, options...))
		})
	}
}

func cutOffEachWay(t *testing.T, f following) {
	t.Helper()
	bystander := f.signIn(t, f.emails[7])
	for i, c := range []struct {
		name  string
		end   func(mine answer)
		other bool // his other session ends too
		own   bool // his own ends
	}{
		{"this", func(mine answer) { f.mustSignOut(t, mine.RefreshToken) }, false, true},
		{"all", func(mine answer) { f.mustSignOut(t, mine.RefreshToken, "sessions", "all") }, true, true},
		{"others", func(mine answer) { f.mustSignOut(t, mine.RefreshToken, "sessions", "others") }, true, false},
		{"an operator, one", func(mine answer) { succeed(t, f.dir, "", f.revoking(sessionOf(t, mine.RefreshToken))...) }, false, true},
		{"an operator, all", func(answer) { succeed(t, f.dir, "", f.revoking(f.emails[4])...) }, true, true},
		{"reuse", func(mine answer) { f.steal(t, mine) }, false, true},
		{"too many", func(answer) { f.signIn(t, f.emails[6]) }, false, true},
	} {
		mine := f.signIn(t, f.emails[i])
		time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(time.Second))) // the cap ends the one that is older by a second
		other := f.signIn(t, f.emails[i])
		f.passes(t, c.name+": before", mine)
		f.passes(t, c.name+": the other one, before", other)
		c.end(mine)
		fresh := f.signIn(t, f.emails[i])
		if c.own {
			f.mustCutOff(t, mine)
		}
		if c.other {
			f.mustCutOff(t, other)
		}
		if !c.own {
			f.passes(t, c.name+": his own", mine)
		}
		eventually(t, cutOffLimit, func() error { // that he is spared is news too
			if got := f.asks(t, fresh); got != [2]string{"200", "200"} {
				return fmt.Errorf("%s: signed in since: %q", c.name, got)
			}
			return nil
		})
		f.passes(t, c.name+": another customer", bystander)
	}
}

// revoking is the operator's command, with the settings of the server.
func (f following) revoking(who string) []string {
	args := []string{"sessions", "revoke", who}
	for _, option := range f.cmd.Env {
		if url, ok := strings.CutPrefix(option, "GLUEAUTH_REDIS="); ok {
			args = append(args, "--redis="+url)
		}
	}
	return args
}

// steal has a token come back that only a thief can have.
func (f following) steal(t *testing.T, mine answer) {
	t.Helper()
	f.mustRefresh(t, f.mustRefresh(t, mine.RefreshToken).RefreshToken)
	eventually(t, startLimit, func() error {
		a, err := f.refresh(mine.RefreshToken)
		if err == nil && a.status != http.StatusBadRequest {
			err = errors.New(a.String())
		}
		return err
	})
}

// TestWhatCannotBeWrittenDownIsNoSuccess : the session ends and the list cannot be written: 503, and the repetition writes it.
func TestWhatCannotBeWrittenDownIsNoSuccess(t *testing.T) {
	t.Parallel()
	redis := storetest.Redis(t)
	f := follow(t, "GLUEAUTH_REDIS="+redis.URL())
	one, all, known := f.signIn(t, f.emails[0]), f.signIn(t, f.emails[1]), f.signIn(t, f.emails[2])
	f.mustSignOut(t, known.RefreshToken)
	f.mustCutOff(t, known)
	list := redis.Do(t, "DUMP", "glueauth:{revoked}:about")
	redis.Do(t, "RENAME", "glueauth:{revoked}", "kept")
	redis.Do(t, "SET", "glueauth:{revoked}", "a key of another kind")
	for _, pairs := range [][]string{{"token", one.RefreshToken}, {"token", all.RefreshToken, "sessions", "all"}} {
		if a, err := f.post("/revoke", pairs...); err != nil || a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" {
			t.Errorf("%v %v, want 503", a, err)
		}
	}
	eventually(t, startLimit, func() error { // never an empty list
		a, err := f.get(f.public + revocationsPath)
		if err == nil && (a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "") {
			err = fmt.Errorf("the document: %d %v", a.status, a.header)
		}
		return err
	})
	if metrics, err := f.metrics(); err != nil || sum(t, metrics, `glueauth_revocations_late`) != 1 {
		t.Errorf("the metrics do not say so: %v", err)
	}
	f.passes(t, "nobody knows of it", one)
	f.mustCutOff(t, known)
	redis.Do(t, "RENAME", "kept", "glueauth:{revoked}")
	if got := redis.Do(t, "DUMP", "glueauth:{revoked}:about"); got != list {
		t.Error("something was written down")
	}
	f.mustSignOut(t, one.RefreshToken)
	f.mustSignOut(t, all.RefreshToken, "sessions", "all")
	eventually(t, startLimit, func() error { return f.expect(f.public+revocationsPath, http.StatusOK) })
	f.mustCutOff(t, one)
	f.mustCutOff(t, all)
}

// TestTheDocumentIsOneOverReplicas : and is good for nothing else.
func TestTheDocumentIsOneOverReplicas(t *testing.T) {
	t.Parallel()
	url := storetest.Redis(t).URL()
	f := follow(t, "GLUEAUTH_REDIS="+url)
	second := start(t, t.TempDir(), append(shared(f.dir), "GLUEAUTH_REDIS="+url, "GLUEAUTH_REVOCATIONS=true")...)
	s := f.signIn(t, f.emails[0])
	second.mustSignOut(t, s.RefreshToken)
	var document answer
	eventually(t, startLimit, func() error {
		one, err1 := f.get(f.public + revocationsPath)
		two, err2 := second.get(second.public + revocationsPath)
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		document = one
		if one.body != two.body || one.header.Get("ETag") != two.header.Get("ETag") || !strings.Contains(f.claims(t, one), s.jti(t)[:50]) {
			return fmt.Errorf("%v\n%v", one, two)
		}
		return nil
	})
	if kind, cache := document.header.Get("Content-Type"), document.header.Get("Cache-Control"); kind != "application/jwt" || cache != "no-cache" {
		t.Errorf("%s, %s", kind, cache)
	}
	if got := f.asks(t, answer{AccessToken: document.body}); got[0] == "200" || got[1] != "401" {
		t.Errorf("as an access token: %q", got)
	}
}

// TestWhoSignsInAgainAtOnceIsLetThroughAtOnce : by every replica, although his sign-out everywhere was heard of a moment ago and
// his sign-in was not yet.
func TestWhoSignsInAgainAtOnceIsLetThroughAtOnce(t *testing.T) {
	t.Parallel()
	redis := storetest.Redis(t)
	settings := []string{"GLUEAUTH_REDIS=" + redis.URL(), "GLUEAUTH_REVOCATIONS=true"}
	dir := t.TempDir()
	one := start(t, dir, settings...)
	email := customers(t, dir, 1)[0]
	all := []*process{one, start(t, t.TempDir(), append(shared(dir), settings...)...)}
	for range 2 {
		s := one.signIn(t, email)
		one.mustSignOut(t, s.RefreshToken, "sessions", "all")
		for _, p := range all {
			eventually(t, cutOffLimit, func() error { // of this sign-out, not only of the one before
				if a := p.verify(t, "", s.AccessToken); a.status != http.StatusUnauthorized {
					return fmt.Errorf("the sign-out was not heard of: %s", a)
				}
				return nil
			})
		}
		fresh := one.signIn(t, email)
		for _, p := range all {
			for _, query := range []string{"", "?active=1"} {
				if a := p.verify(t, query, fresh.AccessToken); a.status != http.StatusOK {
					t.Errorf("verify%s: signed in since: %s", query, a)
				}
				if a := p.verify(t, query, s.AccessToken); a.status != http.StatusUnauthorized {
					t.Errorf("verify%s: signed out: %s", query, a)
				}
			}
		}
	}
}

func TestWhatHasEndedIsPublishedOnlyIfAsked(t *testing.T) {
	t.Parallel()
	p := start(t, t.TempDir())
	if err := p.expect(p.public+revocationsPath, http.StatusNotFound); err != nil {
		t.Error(err)
	}
}

// claims checks the signature of a document by the key set, and returns its payload.
func (f following) claims(t *testing.T, document answer) string {
	t.Helper()
	set, err := f.fetchKeys()
	if err != nil {
		t.Fatal(err)
	}
	token, err := gatekeeper.ReadToken(document.body)
	if err != nil {
		t.Fatal(err)
	}
	if err := set.keys.Verify(token); err != nil || !token.Expires.After(time.Now()) {
		t.Fatalf("%v, good until %s", err, token.Expires)
	}
	return decode(t, strings.Split(document.body, ".")[1])
}

func (a answer) jti(t *testing.T) string {
	t.Helper()
	var claims struct {
		ID string `json:"jti"`
	}
	if err := json.Unmarshal([]byte(decode(t, strings.Split(a.AccessToken, ".")[1])), &claims); err != nil {
		t.Fatal(err)
	}
	return claims.ID
}

// told is a gateway that hears of revocations what a test says.
type told struct {
	*gateway
	token  string
	answer atomic.Pointer[http.HandlerFunc]
}

// tell starts HAProxy, to which nothing good is answered yet.
func tell(t *testing.T, settings ...string) *told {
	t.Helper()
	dir := t.TempDir()
	p := start(t, dir)
	g := &told{token: p.signIn(t, customers(t, dir, 1)[0]).AccessToken}
	g.say(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	teller := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*g.answer.Load())(w, r) }))
	t.Cleanup(teller.Close)
	key := write(t, dir, "gateway/ours.pem", succeed(t, dir, "", "keys", "export", "--format", "pem"), 0o600)
	g.gateway = startHAProxy(t, dir, append(settings, "TOKEN_KEY="+key, "REVOCATIONS_URL="+teller.URL+revocationsPath,
		"REVOCATIONS_LUA=../deploy/gateways/haproxy/revocations.lua", "REVOCATIONS_EVERY=50")...)
	return g
}

func (g *told) say(answer http.HandlerFunc) { g.answer.Store(&answer) }

// document answers with one that was made and expires so much later than it is asked for, and lists that.
func (g *told) document(made, expires time.Duration, sessions ...string) {
	list := ""
	if len(sessions) > 0 {
		list = `"` + strings.Join(sessions, `","`) + `"`
	}
	g.say(func(w http.ResponseWriter, _ *http.Request) {
		now := time.Now()
		payload := fmt.Sprintf(`{"iat":%d,"exp":%d,"sessions":[%s],"customers":{},"spared":[]}`, now.Add(made).Unix(), now.Add(expires).Unix(), list)
		body := encode([]byte(`{"typ":"revocations+jwt"}`)) + "." + encode([]byte(payload)) + ".c2lnbmVk"
		w.Header().Set("ETag", `"one"`)
		_, _ = io.WriteString(w, body)
	})
}

// soon waits until a good token is answered so.
func (g *told) soon(t *testing.T, want string) {
	t.Helper()
	eventually(t, startLimit, func() error {
		if got := g.ask(t, "Bearer "+g.token); got != want {
			return fmt.Errorf("%s, want %s", got, want)
		}
		return nil
	})
}

// TestAGatewayGoesByDocumentsOfItsOwnTime : one from the future would make it refuse the right ones.
func TestAGatewayGoesByDocumentsOfItsOwnTime(t *testing.T) {
	t.Parallel()
	g := tell(t)
	g.soon(t, "503") // nothing is known yet
	asked := make(chan struct{}, 1)
	g.document(time.Hour, 2*time.Hour)
	future := *g.answer.Load()
	g.say(func(w http.ResponseWriter, r *http.Request) {
		future(w, r)
		select {
		case asked <- struct{}{}:
		default:
		}
	})
	for range 3 { // the first two are read whole before the third is asked for
		<-asked
	}
	g.soon(t, "503")
	g.document(-30*time.Second, time.Hour)
	g.soon(t, "200")
	g.document(-30*time.Second, time.Hour, answer{AccessToken: g.token}.jti(t)[:50])
	g.soon(t, `401 Bearer error="invalid_token", error_description="revoked"`)
}

// TestAGatewayDoesNotBelieveForEverThatNothingIsNew : something between that keeps a document would keep ended tokens alive.
func TestAGatewayDoesNotBelieveForEverThatNothingIsNew(t *testing.T) {
	t.Parallel()
	g := tell(t, "REVOCATIONS_PATIENCE=1")
	g.document(0, 3*time.Second)
	g.soon(t, "200")
	g.say(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotModified) })
	g.soon(t, "503")
	g.document(0, time.Hour)
	g.soon(t, "200")
}

// TestAGatewayThatWasNeverToldRefuses : with patience or without.
func TestAGatewayThatWasNeverToldRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := start(t, dir)
	s := p.signIn(t, customers(t, dir, 1)[0])
	key := write(t, dir, "gateway/ours.pem", succeed(t, dir, "", "keys", "export", "--format", "pem"), 0o600)
	const meanwhile = "until that is over, every token is answered with 503"
	for patience, said := range map[string]string{"": "revocations: true", "1": "cannot be reached"} {
		address := p.public // which answers 404
		if patience == "1" {
			address = "http://" + freeAddress(t)
		}
		g := startHAProxy(t, dir, "TOKEN_KEY="+key, "REVOCATIONS_URL="+address+revocationsPath,
			"REVOCATIONS_LUA=../deploy/gateways/haproxy/revocations.lua", "REVOCATIONS_PATIENCE="+patience)
		if got := g.ask(t, "Bearer "+s.AccessToken); got != "503" {
			t.Errorf("patience %q: %s, want 503", patience, got)
		}
		eventually(t, startLimit, func() error {
			if text := g.log.String(); !strings.Contains(text, said) || !strings.Contains(text, meanwhile) {
				return fmt.Errorf("the log does not say %q and %q:\n%s", said, meanwhile, text)
			}
			return nil
		})
	}
}
