package handlers_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/glueauth/glueauth/handlers"
	"github.com/glueauth/glueauth/server"
)

type wireError struct {
	status     int
	name, text string
}

func (e wireError) challenge() string {
	switch {
	case e.status != http.StatusUnauthorized:
		return ""
	case e.name == "invalid_token":
		return `Bearer realm="glueauth", error="invalid_token"`
	default:
		return `Basic realm="glueauth"`
	}
}

// wireErrors is the specification's table (spec 1.5, decisions "The wire"), written out once more: glue, rfc6749.
func wireErrors() map[server.Code][2]wireError {
	same := func(status int, name, text string) [2]wireError {
		return [2]wireError{{status, name, text}, {status, name, text}}
	}
	return map[server.Code][2]wireError{
		server.MissingGrant:     {{400, "invalid_grant", handlers.TextLong}, {400, "invalid_request", handlers.TextMalformed}},
		server.UnsupportedGrant: {{400, "invalid_grant", handlers.TextLong}, {400, "unsupported_grant_type", "The grant type is not supported."}},
		server.InvalidClient:    {{400, "invalid_client", "Client authentication failed"}, {401, "invalid_client", "Client authentication failed"}},
		server.MissingParameter: same(400, "invalid_request", handlers.TextMalformed),
		server.Malformed:        same(400, "invalid_request", handlers.TextMalformed),
		server.WrongCredentials: same(400, "invalid_grant", "The user credentials were incorrect."),
		server.BadRefreshToken:  {{400, "invalid_request", "The refresh token is invalid."}, {400, "invalid_grant", "The refresh token is invalid."}},
		server.InvalidScope:     same(400, "invalid_scope", "The requested scope is invalid, unknown, or malformed"),
		server.BadAccessToken: same(401, "invalid_token",
			"The access token is expired, revoked, malformed, or invalid for other reasons."),
		server.NotAllowed:   same(403, "unauthorized_client", "This client may not do that."),
		server.NothingFound: same(404, "not_found", "Nothing is known by that."),
		server.Limited:      same(429, "temporarily_unavailable", "Too many attempts. Try again later."),
		server.Unavailable:  same(503, "temporarily_unavailable", "Try again in a moment."),
		server.Internal:     same(500, "server_error", "Internal error."),
	}
}

func TestEveryCodeHasItsAnswerInBothDialects(t *testing.T) {
	t.Parallel()
	c := openShop(t, setup{}).config
	want := wireErrors()
	for _, code := range server.Codes() {
		rows, ok := want[code]
		if !ok {
			t.Errorf("%s: no row in this test", code)
			continue
		}
		for i, dialect := range []server.Dialect{server.Glue, server.RFC6749} {
			for _, basic := range []bool{false, true} {
				expected := rows[i]
				if code == server.InvalidClient && basic {
					expected.status = http.StatusUnauthorized
				}
				w := fail(c, &server.Error{Code: code, Cause: errors.New("a cause")}, dialect, basic)
				checkFailure(t, fmt.Sprintf("%s %s basic=%v", code, dialect, basic), w, expected)
			}
		}
	}
}

func fail(c handlers.Config, err error, d server.Dialect, basic bool) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	handlers.WriteFailure(c, w, httptest.NewRequest(http.MethodPost, "/token", nil), err, d, basic)
	return w
}

func checkFailure(t *testing.T, name string, w *httptest.ResponseRecorder, want wireError) {
	t.Helper()
	body := fmt.Sprintf(`{"error":%q,"error_description":%q}`, want.name, want.text)
	if w.Code != want.status || w.Body.String() != body {
		t.Errorf("%s: %d %s, want %d %s", name, w.Code, w.Body, want.status, body)
	}
	h := w.Header()
	for key, value := range map[string]string{
		"Content-Type": "application/json", "Cache-Control": "no-store", "Pragma": "no-cache",
		"X-Content-Type-Options": "nosniff", "Content-Length": strconv.Itoa(len(body)),
	} {
		if h.Get(key) != value {
			t.Errorf("%s: %s is %q, want %q", name, key, h.Get(key), value)
		}
	}
	if h.Get("WWW-Authenticate") != want.challenge() {
		t.Errorf("%s: WWW-Authenticate is %q", name, h.Get("WWW-Authenticate"))
	}
	if later := h.Get("Retry-After"); (later != "") != (want.status == http.StatusServiceUnavailable || want.status == http.StatusTooManyRequests) {
		t.Errorf("%s: Retry-After is %q", name, later)
	}
	// RFC 6749 §5.2: %x20-21 / %x23-5B / %x5D-7E
	if strings.ContainsFunc(want.text, func(c rune) bool { return c < 0x20 || c > 0x7e || c == '"' || c == '\\' }) {
		t.Errorf("%s: the text has a character that RFC 6749 does not allow", name)
	}
}

func TestTheTableHoldsNothingElse(t *testing.T) {
	t.Parallel()
	known := append(server.Codes(), handlers.OwnCodes()...)
	table := handlers.TableCodes()
	if len(table) != len(known) {
		t.Errorf("%d rows for %d codes", len(table), len(known))
	}
	for _, code := range known {
		if !slices.Contains(table, code) {
			t.Errorf("no row for %s", code)
		}
	}
}

func TestWhatIsNoCodeIsABugOfOurs(t *testing.T) {
	t.Parallel()
	x := openShop(t, setup{})
	for _, err := range []error{errors.New("never told"), &server.Error{Code: "new", Cause: errors.New("never told")}} {
		w := fail(x.config, err, server.RFC6749, true)
		checkFailure(t, err.Error(), w, wireErrors()[server.Internal][0])
	}
	if n := strings.Count(x.logs.String(), "never told"); n != 2 {
		t.Errorf("the causes are logged %d times, want 2:\n%s", n, x.logs)
	}
}

func TestRetryAfterIsOneToThreeSeconds(t *testing.T) {
	t.Parallel()
	x := openShop(t, setup{})
	seen := map[string]int{}
	for range 300 {
		w := fail(x.config, &server.Error{Code: server.Unavailable}, server.Glue, false)
		seen[w.Header().Get("Retry-After")]++
	}
	if len(seen) != 3 || seen["1"] < 50 || seen["2"] < 50 || seen["3"] < 50 {
		t.Errorf("Retry-After: %v", seen)
	}
	x.random.fail()
	if w := fail(x.config, &server.Error{Code: server.Unavailable}, server.Glue, false); w.Header().Get("Retry-After") != "2" {
		t.Error("no Retry-After without randomness")
	}
}

func TestIncompleteConfigsAreRefused(t *testing.T) {
	t.Parallel()
	c := openShop(t, setup{}).config
	for name, spoil := range map[string]func(*handlers.Config){
		"server":     func(c *handlers.Config) { c.Server = nil },
		"jwks":       func(c *handlers.Config) { c.JWKS = nil },
		"max age":    func(c *handlers.Config) { c.JWKSMaxAge = 0 },
		"logger":     func(c *handlers.Config) { c.Logger = nil },
		"random":     func(c *handlers.Config) { c.Random = nil },
		"clock":      func(c *handlers.Config) { c.Now = nil },
		"metrics":    func(c *handlers.Config) { c.Metrics = nil },
		"deadline":   func(c *handlers.Config) { c.Deadline = 0 },
		"any origin": func(c *handlers.Config) { c.CORSOrigins = []string{"*"} },
		"wildcard":   func(c *handlers.Config) { c.CORSOrigins = []string{"https://*.shop.example"} },
		"null":       func(c *handlers.Config) { c.CORSOrigins = []string{"https://shop.example", "NULL"} },
	} {
		broken := c
		spoil(&broken)
		if _, err := handlers.Public(broken); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
