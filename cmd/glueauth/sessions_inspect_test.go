package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/glueauth/glueauth/server"
	"github.com/glueauth/glueauth/store/storetest"
)

// runningServer is a whole server in this process.
type runningServer struct {
	environ []string
	log     *lockedBuffer
	public  string // address
	admin   string
	stop    func()
}

// lockedBuffer can be read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// startServer runs `glueauth serve` with the demo customer; environ comes above its other settings.
func startServer(t *testing.T, environ ...string) *runningServer {
	t.Helper()
	s := &runningServer{log: &lockedBuffer{}, environ: append([]string{
		"GLUEAUTH_DATA=" + filepath.Join(t.TempDir(), "data"), "GLUEAUTH_LISTEN=127.0.0.1:0",
		"GLUEAUTH_ADMIN_LISTEN=127.0.0.1:0", "GLUEAUTH_DEMO=true", "GLUEAUTH_ADMIN_SECRET=0123456789abcdef", "GLUEAUTH_LOG_LEVEL=debug",
	}, environ...)}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan int, 1)
	go func() { ended <- run(ctx, []string{"serve"}, s.environ, strings.NewReader(""), io.Discard, s.log) }()
	s.stop = sync.OnceFunc(func() {
		cancel()
		if code := <-ended; code != exitOK {
			t.Errorf("serve ended with %d:\n%s", code, s.log)
		}
	})
	t.Cleanup(s.stop)
	listening := regexp.MustCompile(`"listener":"(public|management)","address":"([^"]+)"`)
	deadline, tick := time.After(time.Minute), time.NewTicker(10*time.Millisecond)
	defer tick.Stop()
	for s.admin == "" || s.public == "" {
		select {
		case <-deadline:
			t.Fatal("serve does not listen:\n" + s.log.String())
		case <-tick.C:
		}
		for _, found := range listening.FindAllStringSubmatch(s.log.String(), -1) {
			switch found[1] {
			case "public":
				s.public = "http://" + found[2]
			default:
				s.admin = "http://" + found[2]
			}
		}
	}
	return s
}

// post asks again while the server says 503: the machine is busy with other tests, or stands still.
func (s *runningServer) post(t *testing.T, address string, form url.Values, into any) (status int) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for status = s.postOnce(t, address, form, into); status == http.StatusServiceUnavailable && time.Now().Before(deadline); {
		status = s.postOnce(t, address, form, into)
	}
	return status
}

func (s *runningServer) postOnce(t *testing.T, address string, form url.Values, into any) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("User-Agent", "browser")
	if strings.HasPrefix(address, s.admin) {
		r.Header.Set("Authorization", "Bearer 0123456789abcdef")
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close() //nolint:errcheck // read to its end
	if err := json.NewDecoder(answer.Body).Decode(into); err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode
}

func (s *runningServer) signIn(t *testing.T) (token string) {
	t.Helper()
	var tokens struct {
		Refresh string `json:"refresh_token"`
	}
	form := url.Values{"grant_type": {"password"}, "username": {"sonia@spryker.com"}, "password": {"change123"}}
	if status := s.post(t, s.public+"/token", form, &tokens); status != http.StatusOK {
		t.Fatalf("sign-in: %d\n%s", status, s.log)
	}
	return tokens.Refresh
}

// command runs `glueauth sessions` with the settings of the server.
func (s *runningServer) command(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	code, stdout, stderr = answering(t.Context(), s.environ, stdin, append([]string{"sessions"}, args...)...)
	if strings.Contains(stdout+stderr+s.log.String(), "grt_") {
		t.Error("a token came up again")
	}
	return code, stdout, stderr
}

func TestSessionsAreSeenAndEndedBesideTheServer(t *testing.T) {
	t.Parallel()
	for name, environ := range map[string]func() []string{
		"embedded": func() []string { return nil },
		"redis":    func() []string { return []string{"GLUEAUTH_REDIS=" + storetest.Redis(t).URL()} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startServer(t, environ()...)
			token, other := s.signIn(t), s.signIn(t)
			inspectBesideServer(t, s, token)
			s.stop()
			code, stdout, _ := s.command(t, other+"\n", "explain", "-")
			if code != exitOK || !strings.Contains(stdout, "an operator ended all sessions of the customer") {
				t.Errorf("after the server: exit code %d, %s", code, stdout)
			}
		})
	}
}

func inspectBesideServer(t *testing.T, s *runningServer, token string) {
	t.Helper()
	var shown server.SessionView
	_, stdout, stderr := s.command(t, token, "show", "-", "--json")
	if err := json.Unmarshal([]byte(stdout), &shown); err != nil {
		t.Fatal(stdout, stderr)
	}
	sameAsTheAPI(t, s)
	name := shown.Session
	for _, c := range []struct {
		name, stdin    string
		args           []string
		code           int
		stdout, stderr string // regular expressions
	}{
		{"list", "", []string{"list", "DE--21"}, exitOK, `(?s)^customer .*\nSESSION .* alive .* alive [^\n]*\n$`, "^$"},
		{"show by name", "", []string{"show", name}, exitOK, `(?ms)^state +alive$.*^first seen +127\.0\.0\.1 browser$`, "^$"},
		{"show by token", token, []string{"show", "-"}, exitOK, `(?m)^session +` + name + `$`, "^$"},
		{"revoke", "", []string{"revoke", name}, exitOK, "^ended session " + name + " of customer ", "^$"},
		{"revoke again", "", []string{"revoke", name}, exitOK, " had ended before\n$", "^$"},
		{"show what was revoked", "", []string{"show", name}, exitOK, `(?ms)^state +operator since \S+Z$.*^\S+Z +ended +- +1$`, "^$"},
		{"revoke all", "", []string{"revoke", "DE--21"}, exitOK, "^ended all sessions of customer ", "^$"},
		{"unknown", "", []string{"show", strings.Repeat("ab", 16)}, exitFailed, "^$", "^glueauth: the store has no record of that session[^\n]*\n$"},
	} {
		code, stdout, stderr := s.command(t, c.stdin, c.args...)
		if code != c.code || !regexp.MustCompile(c.stdout).MatchString(stdout) || !regexp.MustCompile(c.stderr).MatchString(stderr) {
			t.Errorf("%s: exit code %d, stdout\n%s\nstderr %s", c.name, code, stdout, stderr)
		}
	}
	var refusal struct{ Error string }
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}}
	if status := s.post(t, s.public+"/token", form, &refusal); status != http.StatusBadRequest {
		t.Errorf("the server answers a revoked token with %d", status)
	}
}

// sameAsTheAPI compares what the command and the management API say.
func sameAsTheAPI(t *testing.T, s *runningServer) {
	t.Helper()
	var fromAPI, fromCommand any
	if status := s.post(t, s.admin+"/sessions/list", url.Values{"who": {"sonia@spryker.com"}}, &fromAPI); status != http.StatusOK {
		t.Errorf("the management API: %d", status)
	}
	code, stdout, stderr := s.command(t, "", "list", "SONIA@spryker.com", "--json")
	if err := json.Unmarshal([]byte(stdout), &fromCommand); code != exitOK || err != nil {
		t.Fatal(code, stdout, stderr)
	}
	if diff := cmp.Diff(fromAPI, fromCommand); diff != "" || !strings.Contains(stdout, `"generation":1`) {
		t.Errorf("(-API +command):\n%s", diff)
	}
}
