package storm_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/glueauth/glueauth/handlers"
	"github.com/glueauth/glueauth/keys"
	"github.com/glueauth/glueauth/server"
	"github.com/glueauth/glueauth/store"
	"github.com/glueauth/glueauth/store/sqlitefile"
	"github.com/glueauth/glueauth/store/sqlstore"
)

const (
	password = "change123"
	// cheapHash is the password as bcrypt at the lowest cost, so that the storm measures us and not bcrypt.
	cheapHash = "$2y$04$6QxfdBlP/XGzxP2bb0qWX.p5GEGXT/I4t.2/1XIqQrPQDPYlLk5R."
	// networkHeader holds the address of a device, which stands in for its network.
	networkHeader = "Storm-Network"
	// unconfirmed is the number of the server that does not wait for replicas.
	unconfirmed = 2
)

// windows are the defaults of the settings.
func windows() store.Windows {
	return store.Windows{Replay: time.Minute, Rejoin: 7 * 24 * time.Hour, LateRetry: 7 * 24 * time.Hour, Concurrency: 10 * time.Second}
}

// backend is the store under the storm.
type backend interface {
	// open returns the sessions as each of the three servers sees them.
	open(t *testing.T) []keeper
	close()
	// sweep is what has to be done once a day.
	sweep(t *testing.T)
	// faults are those that only this store can have, from a second on, each for at least so long.
	faults(t *testing.T, from, span int64) []fault
	// outage makes the store unavailable until heal.
	outage(t *testing.T) (heal func())
}

// world is the servers and what they stand on.
type world struct {
	t       *testing.T
	clock   *clock
	store   backend
	refresh server.RefreshPolicy
	dir     string
	rings   [3]*keys.Ring // of the servers; they share one folder
	gateway *gateway
	ahead   atomic.Int64 // the store's clock
	skew    int64        // of the servers' clocks
	tally   tally
	tell    func(format string, args ...any)

	http      *http.Client
	addresses [3]atomic.Pointer[string]
	closers   []func()
}

func newWorld(t *testing.T, c *clock, customers int, policy server.RefreshPolicy) *world {
	t.Helper()
	w := &world{
		t: t, clock: c, refresh: policy, dir: t.TempDir(), skew: 30, tally: tally{counts: map[string]int{}},
		http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 4 * workers}, Timeout: 30 * time.Second},
	}
	t.Cleanup(w.http.CloseIdleConnections)
	key, err := os.ReadFile("../../keys/testdata/test-key.pem")
	w.check(err)
	w.check(os.Mkdir(w.keyFolder(), 0o700))
	w.check(os.WriteFile(filepath.Join(w.keyFolder(), "key.pem"), key, 0o600))
	w.check(os.WriteFile(w.masterFile(), []byte(strings.Repeat("5a", 32)), 0o600))
	w.gateway = &gateway{world: w, signed: map[string]int{}}
	file := w.customers(true)
	all := sqlstore.New(file, w.now(0), rand.Reader)
	for i := range customers {
		_, err := all.Add(t.Context(), sqlstore.NewCustomer{
			Reference: fmt.Sprintf("DE--%d", i+1), Email: email(i), PasswordHash: cheapHash, Confirmed: true,
		})
		w.check(err)
	}
	w.check(file.Close())
	return w
}

func email(customer int) string { return fmt.Sprintf("customer-%d@example.com", customer) }

func (w *world) check(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) now(ahead int64) func() time.Time {
	return func() time.Time { return w.clock.reading(ahead) }
}

// storeNow is the store's clock.
func (w *world) storeNow() time.Time { return w.clock.reading(w.ahead.Load()) }

func (w *world) customers(make bool) *sqlitefile.File {
	w.t.Helper()
	file, err := sqlitefile.Open(w.t.Context(), filepath.Join(w.dir, "customers.db"), sqlitefile.Options{Create: make})
	w.check(err)
	return file
}

// open starts the servers.
func (w *world) open() {
	w.t.Helper()
	file := w.customers(false)
	sessions := w.store.open(w.t)
	for i, s := range sessions {
		w.serve(i, sqlstore.New(file, w.now(0), rand.Reader), s)
	}
	w.closers = append(w.closers, w.store.close, func() { w.check(file.Close()) })
}

// keeper is a store of sessions and of guesses.
type keeper interface {
	server.Sessions
	server.Guesses
}

// serve starts one server as cmd/glueauth wires it.
func (w *world) serve(number int, people server.Customers, sessions keeper) {
	w.t.Helper()
	now := w.now([]int64{w.skew, -w.skew, 0}[number])
	logger, metrics := slog.New(slog.DiscardHandler), handlers.NewMetrics()
	count := handlers.Events(logger, metrics)
	var err error
	w.rings[number], err = keys.Open(keys.Options{Dir: w.keyFolder(), Now: now, Random: rand.Reader, Cache: keySetLife, Lifetime: accessLife})
	w.check(err)
	master, err := keys.OpenMaster(w.masterFile())
	w.check(err)
	core, err := server.New(server.Config{
		Clients: []server.Client{{
			ID: "frontend", Dialect: server.Glue, Scopes: []string{"customer"}, AccessLifetime: accessLife,
			RefreshUntil: func(t time.Time) time.Time { return t.UTC().AddDate(0, 1, 0) },
			MaxLife:      func(t time.Time) time.Time { return t.UTC().AddDate(1, 0, 0) },
			TokenType:    "JWT", Subject: server.SubjectGlue,
		}},
		Customers: people, Sessions: sessions, Guesses: sessions, Keys: w.rings[number], Master: master, Refresh: w.refresh,
		Guessing: server.Guessing{Limits: store.GuessLimits{ // as built in
			Pair:    store.GuessLimit{Most: 10, Window: 10 * time.Minute, Lock: 5 * time.Minute},
			Account: store.GuessLimit{Most: 100, Window: time.Hour},
			Address: store.GuessLimit{Most: 300, Window: 10 * time.Minute},
		}},
		PasswordWorkers: 2, Now: now, Random: rand.Reader,
		Event: func(ctx context.Context, e server.Event) {
			count(ctx, e)
			w.tally.add(strings.TrimSpace(string(e.Name) + " " + e.Cause))
		},
	})
	w.check(err)
	public, err := handlers.Public(handlers.Config{
		Server: core, JWKS: w.rings[number].JWKS, JWKSMaxAge: keySetLife, Logger: logger, Random: rand.Reader, Now: now,
		Deadline: 5 * time.Second, Metrics: metrics,
	})
	w.check(err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	w.check(err)
	site := handlers.HTTPServer("", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		r.RemoteAddr = net.JoinHostPort(r.Header.Get(networkHeader), "443")
		public.ServeHTTP(rw, r)
	}), logger)
	go func() { _ = site.Serve(listener) }()
	address := "http://" + listener.Addr().String() + "/token"
	w.addresses[number].Store(&address)
	w.closers = append(w.closers, func() { _ = site.Close() })
}

// close ends everything without regard to requests in flight.
func (w *world) close() {
	for _, f := range w.closers {
		f()
	}
	w.closers = nil
}

// device is where a request comes from.
type device struct{ network, agent string }

// answer is what came back; status 0: nothing did.
type answer struct {
	status int
	token  string
}

func (a answer) granted() bool { return a.status == http.StatusOK }

// refused reports whether the server said no, which is not the same as that it could not say.
func (a answer) refused() bool {
	return a.status == http.StatusBadRequest || a.status == http.StatusUnauthorized
}

func (w *world) askRefresh(from device, number int, token, retryKey string) answer {
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}}
	if retryKey != "" {
		form.Set("retry_key", retryKey)
	}
	return w.post(from, number, form)
}

func (w *world) askSignIn(from device, number, customer int) answer {
	return w.post(from, number, url.Values{"grant_type": {"password"}, "username": {email(customer)}, "password": {password}})
}

func (w *world) post(from device, number int, form url.Values) answer {
	r, err := http.NewRequestWithContext(context.Background(), http.MethodPost, *w.addresses[number].Load(), strings.NewReader(form.Encode()))
	if err != nil {
		panic(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("User-Agent", from.agent)
	r.Header.Set(networkHeader, from.network)
	response, err := w.http.Do(r)
	if err != nil {
		return answer{}
	}
	defer func() { _ = response.Body.Close() }()
	var body struct {
		Token  string `json:"refresh_token"`
		Access string `json:"access_token"`
	}
	text, err := io.ReadAll(response.Body)
	if err != nil || json.Unmarshal(text, &body) != nil {
		return answer{}
	}
	if body.Access != "" {
		w.gateway.check(number, body.Access)
	}
	return answer{response.StatusCode, body.Token}
}

// tally counts by name. It is safe for concurrent use.
type tally struct {
	mu     sync.Mutex
	counts map[string]int
}

func (y *tally) add(name string) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.counts[name]++
}

func (y *tally) get(name string) int {
	y.mu.Lock()
	defer y.mu.Unlock()
	return y.counts[name]
}

// names returns what was counted, sorted.
func (y *tally) names() []string {
	y.mu.Lock()
	defer y.mu.Unlock()
	return slices.Sorted(maps.Keys(y.counts))
}
