package server_test

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/keys"
	"github.com/glueauth/glueauth/server"
	"github.com/glueauth/glueauth/store"
	"github.com/glueauth/glueauth/store/sqlitefile"
	"github.com/glueauth/glueauth/store/sqlitestore"
	"github.com/glueauth/glueauth/store/sqlstore"
	"github.com/glueauth/glueauth/store/storetest"
)

const (
	demoEmail    = "sonia@spryker.com"
	demoPassword = secret.Text("change123")
	demoHash     = secret.Text("$2y$04$GZjXEqtJbXc0TY4Y022FL.dDb0a5VNnEbUCIEZQXfGs7NdYA4i2cC")
)

// harness is a server on real stores, with a clock that the test moves.
type harness struct {
	t         testing.TB
	server    *server.Server
	config    server.Config
	customers *sqlstore.Customers
	sessions  *sqlitestore.Store
	file      *sqlitefile.File

	mu     sync.Mutex
	clock  time.Time
	events []server.Event

	guesses int // of the test itself
}

// newHarness returns a server with one public client, frontend, after the changes that the test wants.
func newHarness(tb testing.TB, change ...func(*server.Config)) *harness {
	tb.Helper()
	h := &harness{t: tb, clock: time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)}
	file, err := sqlitefile.Open(tb.Context(), filepath.Join(tb.TempDir(), "glueauth.db"), sqlitefile.Options{Create: true})
	if err != nil {
		tb.Fatal(err)
	}
	h.file = file
	h.customers = sqlstore.New(file, h.now, rand.Reader)
	h.sessions = sqlitestore.New(file, h.now)
	tb.Cleanup(func() {
		h.sessions.Close()
		_ = file.Close()
	})
	storetest.Eventually(tb, "the store writes", func() bool { return h.sessions.Ping(tb.Context()) == nil })
	config := server.Config{
		Clients: []server.Client{client("frontend")}, Customers: h.customers, Sessions: h.sessions, Guesses: h.sessions,
		Keys: testKeys(tb), Master: testMaster(tb), RequireConfirmed: true,
		Refresh: server.RefreshPolicy{
			Windows:     store.Windows{Replay: time.Minute, Rejoin: 7 * 24 * time.Hour, LateRetry: 7 * 24 * time.Hour, Concurrency: 10 * time.Second},
			MaxSessions: 200, MACKey: 1,
		},
		PasswordWorkers: 2, Now: h.now, Random: rand.Reader, Event: h.record,
	}
	for _, c := range change {
		c(&config)
	}
	h.config = config
	if h.server, err = server.New(config); err != nil {
		tb.Fatal(err)
	}
	return h
}

// replica is another server on the same stores, with another configuration.
func (h *harness) replica(change func(*server.Config)) *harness {
	h.t.Helper()
	other := &harness{t: h.t, config: h.config, customers: h.customers, sessions: h.sessions, file: h.file, clock: h.now()}
	other.config.Clients = slices.Clone(h.config.Clients)
	other.config.Now, other.config.Event = other.now, other.record
	change(&other.config)
	var err error
	if other.server, err = server.New(other.config); err != nil {
		h.t.Fatal(err)
	}
	return other
}

func client(id string) server.Client {
	return server.Client{
		ID: id, Dialect: server.Glue, Scopes: []string{"customer"}, AccessLifetime: 8 * time.Hour,
		RefreshUntil: func(t time.Time) time.Time { return t.AddDate(0, 1, 0) }, TokenType: "JWT", Subject: server.SubjectGlue,
		MaxLife: func(t time.Time) time.Time { return t.AddDate(1, 0, 0) },
	}
}

func testMaster(tb testing.TB) *keys.Master {
	tb.Helper()
	master, err := keys.ParseMaster(secret.Text(strings.Repeat("0f", 32)))
	if err != nil {
		tb.Fatal(err)
	}
	return master
}

func testKeys(tb testing.TB) *keys.Ring {
	tb.Helper()
	dir := tb.TempDir()
	pem, err := os.ReadFile("../keys/testdata/test-key.pem")
	if err != nil {
		tb.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "test.pem"), pem, 0o600); err != nil {
		tb.Fatal(err)
	}
	ring, err := keys.Open(keys.Options{Dir: dir, Now: time.Now})
	if err != nil {
		tb.Fatal(err)
	}
	return ring
}

func (h *harness) now() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.clock
}

func (h *harness) pass(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.clock = h.clock.Add(d)
}

func (h *harness) record(_ context.Context, e server.Event) {
	if !slices.Contains(server.EventCauses()[e.Name], e.Cause) {
		h.t.Errorf("event %s has the cause %q, which is none of its own", e.Name, e.Cause)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events = append(h.events, e)
}

// last returns the newest event.
func (h *harness) last() server.Event {
	h.t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.events) == 0 {
		h.t.Fatal("there was no event")
	}
	return h.events[len(h.events)-1]
}

func (h *harness) add(c sqlstore.NewCustomer) {
	h.t.Helper()
	if _, err := h.customers.Add(h.t.Context(), c); err != nil {
		h.t.Fatal(err)
	}
}

func (h *harness) addDemo() {
	h.t.Helper()
	h.add(sqlstore.NewCustomer{ID: 21, Reference: "DE--21", Email: demoEmail, PasswordHash: demoHash, Confirmed: true})
}

func (h *harness) token(r server.TokenRequest) (server.TokenResponse, error) {
	h.t.Helper()
	if !r.Address.IsValid() {
		r.Address, r.UserAgent = netip.MustParseAddr("192.0.2.1"), "browser"
	}
	return h.server.Token(h.t.Context(), r)
}

func (h *harness) signIn(username, password string) (server.TokenResponse, error) {
	h.t.Helper()
	p := secret.Text(password)
	return h.token(server.TokenRequest{GrantType: "password", Username: &username, Password: &p})
}

func (h *harness) refresh(token secret.Text) (server.TokenResponse, error) {
	h.t.Helper()
	return h.token(server.TokenRequest{GrantType: "refresh_token", RefreshToken: &token})
}

// mustSignIn signs the demo customer in.
func (h *harness) mustSignIn() server.TokenResponse {
	h.t.Helper()
	answer, err := h.signIn(demoEmail, demoPassword.Reveal())
	if err != nil {
		h.t.Fatal(err)
	}
	return answer
}

func (h *harness) mustRefresh(token secret.Text) server.TokenResponse {
	h.t.Helper()
	answer, err := h.refresh(token)
	if err != nil {
		h.t.Fatal(err)
	}
	return answer
}

func (h *harness) refused(token secret.Text, why string) {
	h.t.Helper()
	if _, err := h.refresh(token); server.CodeOf(err) != server.BadRefreshToken {
		h.t.Errorf("%s: got %v, want %s", why, err, server.BadRefreshToken)
	}
}

// payload returns the JSON inside an access token.
func payload(t *testing.T, token secret.Text) string {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(strings.Split(token.Reveal(), ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// exec changes the database behind the server's back.
func (h *harness) exec(statement string) {
	h.t.Helper()
	if _, err := h.file.Write.ExecContext(h.t.Context(), statement); err != nil {
		h.t.Fatal(err)
	}
}

func pointer[T any](v T) *T { return &v }

// failingReader is a random source that has run dry.
type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
