package handlers_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/handlers"
	"github.com/glueauth/glueauth/keys"
	"github.com/glueauth/glueauth/server"
	"github.com/glueauth/glueauth/store"
	"github.com/glueauth/glueauth/store/sqlitefile"
	"github.com/glueauth/glueauth/store/sqlitestore"
	"github.com/glueauth/glueauth/store/sqlstore"
	"github.com/glueauth/glueauth/store/storetest"
)

// shop is a whole server on real parts: database file, key, TCP. Its clock and its randomness are the test's, so every
// answer is the same on each run.
type shop struct {
	config   handlers.Config // of its handlers
	core     server.Config   // of its server
	address  string          // of the public listener
	clock    *clock
	random   *random
	file     *sqlitefile.File
	sessions *sqlitestore.Store
	logs     *logBuffer
}

// setup is what a test changes in a shop before it opens.
type setup struct {
	clients   []server.Client // nil: clients()
	issuer    string
	origins   []string
	guessing  server.Guessing
	customers func(server.Customers) server.Customers
	ready     func(context.Context) error
}

func openShop(tb testing.TB, s setup) *shop {
	tb.Helper()
	fixed, err := fixtures()
	if err != nil {
		tb.Fatal(err)
	}
	path := filepath.Join(tb.TempDir(), "glueauth.db")
	if err := os.WriteFile(path, fixed.database, 0o600); err != nil {
		tb.Fatal(err)
	}
	file, err := sqlitefile.Open(tb.Context(), path, sqlitefile.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = file.Close() }) // some tests have closed it
	x := &shop{
		clock: &clock{now: start}, random: newRandom(tb.Name()), file: file, logs: &logBuffer{},
	}
	x.sessions = sqlitestore.New(file, x.clock.Now)
	tb.Cleanup(x.sessions.Close)
	storetest.Eventually(tb, "the store writes", func() bool { return x.sessions.Ping(tb.Context()) == nil })
	var customers server.Customers = sqlstore.New(file, x.clock.Now, x.random)
	if s.customers != nil {
		customers = s.customers(customers)
	}
	logger := slog.New(handlers.NewLogHandler(slog.NewJSONHandler(x.logs, &slog.HandlerOptions{Level: slog.LevelDebug})))
	metrics := handlers.NewMetrics()
	if s.clients == nil {
		s.clients = clients()
	}
	settings := server.Config{
		Clients: s.clients, Customers: customers, Sessions: x.sessions, Guesses: x.sessions, Keys: fixed.keys, Master: fixed.master,
		RequireConfirmed: true, PasswordWorkers: 2, Now: x.clock.Now, Random: x.random, Event: handlers.Events(logger, metrics),
		Refresh: server.RefreshPolicy{
			Windows: store.Windows{
				Replay: time.Minute, Rejoin: 7 * 24 * time.Hour, LateRetry: 7 * 24 * time.Hour, Concurrency: 10 * time.Second,
			},
			MaxSessions: 200, MACKey: 1,
		},
		Issuer: s.issuer, Guessing: s.guessing,
	}
	x.core = settings
	core, err1 := server.New(settings)
	introspector, err2 := server.NewIntrospector(settings, x.sessions)
	if err := errors.Join(err1, err2); err != nil {
		tb.Fatal(err)
	}
	if err := core.SampleCosts(tb.Context()); err != nil { // or unknown names cost as much as the shop's own hashes
		tb.Fatal(err)
	}
	x.config = handlers.Config{
		Server: core, JWKS: fixed.keys.JWKS, JWKSMaxAge: time.Hour, CORSOrigins: s.origins, Ready: s.ready, Logger: logger,
		Random: x.random, Now: x.clock.Now, Deadline: 30 * time.Second, Metrics: metrics, Introspector: introspector,
		PEM: func() ([]byte, error) { return fixed.keys.Export("pem", "") },
	}
	public, err := handlers.Public(x.config)
	if err != nil {
		tb.Fatal(err)
	}
	x.address = x.listen(tb, public)
	return x
}

// listen serves h on a free port until the test ends. A status that was written twice fails the test.
func (x *shop) listen(tb testing.TB, h http.Handler) string {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	s := handlers.HTTPServer("", h, x.config.Logger)
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := s.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			tb.Error(err)
		}
	})
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
		serving.Wait()
		if strings.Contains(x.logs.String(), "superfluous") {
			tb.Error("an answer wrote its status twice:\n" + x.logs.String())
		}
	})
	return listener.Addr().String()
}

// answer is a whole HTTP answer.
type answer struct {
	status int
	header http.Header
	body   string
}

// post sends a form to /token.
func (x *shop) post(t *testing.T, form string, header ...string) answer {
	t.Helper()
	return x.do(t, http.MethodPost, "/token", strings.NewReader(form),
		append([]string{"Content-Type", "application/x-www-form-urlencoded"}, header...)...)
}

func (x *shop) do(t *testing.T, method, path string, body io.Reader, header ...string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://"+x.address+path, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	transport := &http.Transport{DisableCompression: true, DisableKeepAlives: true}
	response, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close() //nolint:errcheck // read to its end
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{response.StatusCode, response.Header, string(text)}
}

var start = time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)

const signIn = "grant_type=password&username=sonia%40spryker.com&password=change123"

// clients are one of each kind; the first one is the default client.
func clients() []server.Client {
	base := server.Client{
		Dialect: server.Glue, Scopes: []string{"customer", "wishlist"}, AccessLifetime: 8 * time.Hour,
		RefreshUntil: func(t time.Time) time.Time { return t.AddDate(0, 1, 0) }, TokenType: "JWT", Subject: server.SubjectGlue,
		MaxLife: func(t time.Time) time.Time { return t.AddDate(1, 0, 0) },
	}
	with := func(id, password string, d server.Dialect) server.Client {
		c := base
		c.ID, c.Secret, c.Dialect = id, secret.Text(password), d
		return c
	}
	list := []server.Client{
		with("frontend", "", server.Glue),
		with("middleware", "abc123", server.Glue),
		with("gateway", "", server.RFC6749),
		with("vault", "abc123", server.RFC6749),
		with("my app:50%+ü", "s3cr:t 100%+ü", server.RFC6749),
	}
	list[1].Introspect, list[4].Introspect = true, true
	return list
}

type fixture struct {
	database []byte
	keys     *keys.Ring
	master   *keys.Master
}

// fixtures makes once what all shops start with: the fixed key, and a database file with customers.
var fixtures = sync.OnceValues(func() (fixture, error) {
	dir, err := os.MkdirTemp("", "glueauth-handlers-")
	if err != nil {
		return fixture{}, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // in the folder for temporary files
	key, err := os.ReadFile("../keys/testdata/test-key.pem")
	if err != nil {
		return fixture{}, err
	}
	if err := os.WriteFile(filepath.Join(dir, "key.pem"), key, 0o600); err != nil {
		return fixture{}, err
	}
	ring, err := keys.Open(keys.Options{Dir: dir, Now: time.Now})
	if err != nil {
		return fixture{}, err
	}
	master, err := keys.ParseMaster(secret.Text(strings.Repeat("ab", 32)))
	if err != nil {
		return fixture{}, err
	}
	path := filepath.Join(dir, "glueauth.db")
	if err := fillDatabase(path); err != nil {
		return fixture{}, err
	}
	database, err := os.ReadFile(path)
	return fixture{database, ring, master}, err
})

func fillDatabase(path string) error {
	ctx := context.Background()
	file, err := sqlitefile.Open(ctx, path, sqlitefile.Options{Create: true})
	if err != nil {
		return err
	}
	customers := sqlstore.New(file, func() time.Time { return start }, newRandom("customers"))
	for id, c := range []struct{ email, password string }{
		{"sonia@spryker.com", "change123"},
		{"unconfirmed@spryker.com", "change123"},
		{"blocked@spryker.com", "change123"},
		{"nopassword@spryker.com", ""},
		{"appendix.b@spryker.com", " %&+£€"}, // RFC 6749 appendix B
		{"nul@spryker.com", "change\x00123"},
		{"renée+shop@spryker.com", "pass;word=&?"},
	} {
		n := sqlstore.NewCustomer{
			ID: int64(21 + id), Reference: "DE--" + string(rune('A'+id)), Email: c.email,
			Confirmed: !strings.HasPrefix(c.email, "unconfirmed"),
		}
		if id == 0 {
			n.Reference = "DE--21"
		}
		if c.password != "" {
			hash, err := bcrypt.GenerateFromPassword([]byte(preHashed(c.password)), bcrypt.MinCost)
			if err != nil {
				return err
			}
			n.PasswordHash = secret.Text(hash)
		}
		if _, err := customers.Add(ctx, n); err != nil {
			return err
		}
	}
	if err := customers.SetBlocked(ctx, "blocked@spryker.com", true); err != nil {
		return err
	}
	return file.Close()
}

// preHashed is Symfony's replacement for passwords with a NUL byte; bcrypt looks at its first 72 bytes only.
func preHashed(password string) string {
	if !strings.Contains(password, "\x00") {
		return password
	}
	sum := sha512.Sum512([]byte(password))
	return base64.StdEncoding.EncodeToString(sum[:])[:72]
}

type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// random is a source that gives the same bytes on each run, until it is told to fail.
type random struct {
	mu     sync.Mutex
	source *rand.ChaCha8
	broken bool
}

func newRandom(seed string) *random {
	return &random{source: rand.NewChaCha8(sha256.Sum256([]byte(seed)))}
}

func (r *random) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.broken {
		return 0, errors.New("no randomness left")
	}
	return r.source.Read(p)
}

func (r *random) fail() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.broken = true
}

// logBuffer is a log that can be read while it is written.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
