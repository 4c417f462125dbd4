package handlers_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/handlers"
	"github.com/glueauth/glueauth/server"
	"github.com/glueauth/glueauth/store"
)

// hook stands before the real customers and does something first.
type hook struct {
	server.Customers
	before func(context.Context) error
}

func (h hook) ByEmail(ctx context.Context, email string) (store.Customer, error) {
	if err := h.before(ctx); err != nil {
		return store.Customer{}, err
	}
	return h.Customers.ByEmail(ctx, email)
}

func hooked(before func(context.Context) error) setup {
	return setup{customers: func(c server.Customers) server.Customers { return hook{c, before} }}
}

func TestAPanicIsAnsweredAndLoggedWithoutItsValue(t *testing.T) {
	t.Parallel()
	var none map[string]string
	for name, test := range map[string]struct {
		panics func()
		reason string
	}{
		"text":    {func() { panic("canary-value") }, `"reason":"string"`},
		"error":   {func() { panic(errors.New("canary-value")) }, `"reason":"*errors.errorString"`},
		"secret":  {func() { panic(secret.Text("canary-value")) }, `"reason":"secret.Text"`},
		"runtime": {func() { none["canary-value"] = "x" }, `"reason":"assignment to entry in nil map"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			first := true
			x := openShop(t, hooked(func(context.Context) error {
				if first {
					first = false
					test.panics()
				}
				return nil
			}))
			a := x.post(t, signIn)
			if a.status != http.StatusInternalServerError || a.body != `{"error":"server_error","error_description":"Internal error."}` ||
				a.header.Get("Cache-Control") != "no-store" {
				t.Errorf("%d %v %s", a.status, a.header, a.body)
			}
			logs := x.logs.String()
			if strings.Contains(logs, "canary-value") || !strings.Contains(logs, test.reason) ||
				!strings.Contains(logs, "middleware_test.go") || !strings.Contains(logs, `"route":"/token","status":500`) {
				t.Errorf("log:\n%s", logs)
			}
			if a := x.post(t, signIn); a.status != http.StatusOK {
				t.Errorf("the next sign-in: %d %s", a.status, a.body)
			}
		})
	}
}

func TestAPanicElsewhereIsAnsweredToo(t *testing.T) {
	t.Parallel()
	x := openShop(t, setup{})
	c := x.config
	c.JWKS = func() ([]byte, string) { panic("keys") }
	c.Ready = func(context.Context) error { panic("ready") }
	public, err := handlers.Public(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/.well-known/jwks.json", "/readyz", "/readyz"} { // twice: the lock was given back
		if w := get(public, path); w.Code != http.StatusInternalServerError || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %v", path, w.Code, w.Header())
		}
	}
	if w := get(public, "/livez"); w.Code != http.StatusOK {
		t.Errorf("/livez: %d", w.Code)
	}
}

func TestAPanicInTheMiddleOfAnAnswerCutsTheConnection(t *testing.T) {
	t.Parallel()
	x := openShop(t, setup{})
	address := x.listen(t, handlers.Wrap(x.config, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, `{"half":`)
		if err := http.NewResponseController(w).Flush(); err != nil {
			panic(err)
		}
		panic("after the header")
	}))
	response, err := http.Get("http://" + address + "/test")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close() //nolint:errcheck // cut
	if body, err := io.ReadAll(response.Body); err == nil {
		t.Errorf("the half was taken for the whole: %s", body)
	}
	if logs := x.logs.String(); !strings.Contains(logs, `"reason":"string"`) {
		t.Errorf("log:\n%s", logs)
	}
}

func TestAbortingIsNotAPanic(t *testing.T) {
	t.Parallel()
	x := openShop(t, setup{})
	h := handlers.Wrap(x.config, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	defer func() {
		if err, _ := recover().(error); !errors.Is(err, http.ErrAbortHandler) {
			t.Errorf("panicked with %v", err)
		}
		if strings.Contains(x.logs.String(), "stack") {
			t.Error("logged as a panic")
		}
	}()
	get(h, "/test")
}

func TestTheFirstStatusIsTheOneThatIsLogged(t *testing.T) {
	t.Parallel()
	x := openShop(t, setup{})
	get(handlers.Wrap(x.config, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		w.WriteHeader(http.StatusOK)
		_, _ = io.WriteString(w, "12345")
	}), "/test")
	get(handlers.Wrap(x.config, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "1") }), "/test")
	logs := x.logs.String()
	if !strings.Contains(logs, `"status":404,"duration":0,"bytes":5`) || !strings.Contains(logs, `"status":200,"duration":0,"bytes":1`) {
		t.Errorf("log:\n%s", logs)
	}
}

func TestEveryRequestHasADeadline(t *testing.T) {
	t.Parallel()
	x := openShop(t, hooked(func(ctx context.Context) error { // a database that hangs
		<-ctx.Done()
		return ctx.Err()
	}))
	c := x.config
	c.Deadline = 20 * time.Millisecond
	public, err := handlers.Public(c)
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, "/token", strings.NewReader(signIn))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	public.ServeHTTP(w, r)
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	if logs := x.logs.String(); !strings.Contains(logs, `"level":"WARN","msg":"request failed","code":"unavailable"`) {
		t.Errorf("log:\n%s", logs)
	}
}

func TestAClientThatLeftIsNoAlarm(t *testing.T) {
	t.Parallel()
	x := openShop(t, hooked(func(ctx context.Context) error { return ctx.Err() }))
	public, err := handlers.Public(x.config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, leave := context.WithCancel(t.Context())
	leave()
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/token", strings.NewReader(signIn))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	public.ServeHTTP(httptest.NewRecorder(), r)
	if logs := x.logs.String(); strings.Contains(logs, `"WARN"`) || strings.Contains(logs, `"ERROR"`) {
		t.Errorf("log:\n%s", logs)
	}
}

func TestRequestIDsAreRandomUnlessTaken(t *testing.T) {
	t.Parallel()
	x := openShop(t, setup{})
	seen := map[string]bool{}
	for _, sent := range []string{"", "", "short", strings.Repeat("x", 65), "with space", "ümlaut--", "semi;colon", "quote\"quote"} {
		id := x.do(t, http.MethodGet, "/livez", nil, "X-Request-Id", sent).header.Get("X-Request-Id")
		if len(id) != 32 || seen[id] {
			t.Errorf("%q: %q", sent, id)
		}
		seen[id] = true
	}
	for _, sent := range []string{"12345678", strings.Repeat("Z", 64), "a.b_c-d.0"} {
		if id := x.do(t, http.MethodGet, "/livez", nil, "X-Request-Id", sent).header.Get("X-Request-Id"); id != sent {
			t.Errorf("%q: %q", sent, id)
		}
	}
	x.random.fail()
	if a := x.do(t, http.MethodGet, "/livez", nil); a.status != http.StatusOK || a.header.Get("X-Request-Id") != "unavailable" {
		t.Errorf("without randomness: %d %v", a.status, a.header)
	}
}

func TestEachLineOfARequestHasItsID(t *testing.T) {
	t.Parallel()
	x := openShop(t, setup{})
	x.post(t, signIn, "X-Request-Id", "the-request-id", "User-Agent", "curl/8")
	want := []map[string]any{
		{
			"level": "INFO", "msg": "event", "event": "sign_in", "client": "frontend", "subject_kind": 1.0, "subject": 21.0,
			"generation": 1.0, "address": "127.0.0.1", "request_id": "the-request-id",
		},
		{
			"level": "INFO", "msg": "request", "method": "POST", "route": "/token", "status": 200.0, "duration": 0.0,
			"bytes": 1015.0, "address": "127.0.0.1", "user_agent": "curl/8", "request_id": "the-request-id",
		},
	}
	got := logLines(t, x.logs.String())
	for _, line := range got {
		if at, ok := line["time"].(string); !ok || !strings.HasSuffix(at, "Z") {
			t.Errorf("time is %v", line["time"])
		}
		delete(line, "time")
		delete(line, "session")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// logLines parses a log, each line of which must be one JSON object.
func logLines(t *testing.T, log string) []map[string]any {
	t.Helper()
	var lines []map[string]any
	for line := range strings.SplitSeq(strings.TrimSpace(log), "\n") {
		var entry map[string]any
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatalf("%v in %q", err, line)
		}
		lines = append(lines, entry)
	}
	return lines
}

// A second copy on the same device may go on with an old token (refresh-sessions: rejoin), one elsewhere is a thief. So
// the core must be told the right device.
func TestTheCoreLearnsTheDevice(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		address, agent string
		want           int
	}{
		"the same":              {"192.0.2.10:4711", "Firefox", http.StatusOK},
		"another port":          {"192.0.2.10:80", "Firefox", http.StatusOK},
		"the same, mapped":      {"[::ffff:192.0.2.10]:4711", "Firefox", http.StatusOK},
		"another browser":       {"192.0.2.10:4711", "curl", http.StatusBadRequest},
		"another network":       {"198.51.100.10:4711", "Firefox", http.StatusBadRequest},
		"IPv6":                  {"[2001:db8::1]:4711", "Firefox", http.StatusBadRequest},
		"an address like none":  {"@", "Firefox", http.StatusBadRequest},
		"forwarded by somebody": {"198.51.100.10:4711", "Firefox", http.StatusBadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := openShop(t, setup{})
			public, err := handlers.Public(x.config)
			if err != nil {
				t.Fatal(err)
			}
			post := func(form, address, agent string) (int, string) {
				r := httptest.NewRequest(http.MethodPost, "/token", strings.NewReader(form))
				r.RemoteAddr = address
				r.Header = http.Header{"Content-Type": {urlEncoded}, "User-Agent": {agent}, "X-Forwarded-For": {"192.0.2.10"}}
				w := httptest.NewRecorder()
				public.ServeHTTP(w, r)
				var tokens struct {
					Refresh string `json:"refresh_token"`
				}
				if err := json.Unmarshal(w.Body.Bytes(), &tokens); err != nil {
					t.Fatal(err)
				}
				return w.Code, "grant_type=refresh_token&refresh_token=" + tokens.Refresh
			}
			_, first := post(signIn, "192.0.2.10:4711", "Firefox")
			_, second := post(first, "192.0.2.10:4711", "Firefox")
			post(second, "192.0.2.10:4711", "Firefox")
			x.clock.advance(time.Hour)
			if status, _ := post(first, test.address, test.agent); status != test.want {
				t.Errorf("answered %d, want %d", status, test.want)
			}
		})
	}
}
