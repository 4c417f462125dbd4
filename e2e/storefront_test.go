package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

const (
	glueauthJS   = "../deploy/storefront/glueauth.js"
	browserLimit = time.Minute

	// insecureHost stands for a shop without https: browsers have no Web Locks there.
	insecureHost = "shop.example"
)

const storefrontClients = `clients:
  - id: frontend
  - id: standard
    dialect: rfc6749
`

// browser is a running Chromium.
type browser struct {
	ctx context.Context //nolint:containedctx // chromedp keeps the browser in it
}

// openBrowser starts Chromium; the end of the test ends it.
func openBrowser(t *testing.T) browser {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("chromium is missing: run make deps")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.Env("HOME="+t.TempDir()),
		chromedp.Flag("host-resolver-rules", "MAP "+insecureHost+" 127.0.0.1"))
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(stop)
	ctx, quit := chromedp.NewContext(allocator)
	t.Cleanup(quit)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("start chromium: %v", err)
	}
	return browser{ctx}
}

// storefront is a page with glueauth.js in a browser, a server for its customers, and the network between them.
type storefront struct {
	*process
	dir    string
	emails []string

	t       *testing.T
	browser browser
	pages   *httptest.Server
	relay   *relay
}

// newStorefront puts its customers into dir and starts their server.
func newStorefront(t *testing.T, b browser, n int) *storefront {
	t.Helper()
	s := &storefront{browser: b, dir: t.TempDir(), relay: &relay{}}
	s.pages = serveUntilDone(t, http.HandlerFunc(servePage))
	s.emails = customers(t, s.dir, n)
	s.process = start(t, s.dir, "--config="+write(t, s.dir, "glueauth.yaml", storefrontClients, 0o600),
		"GLUEAUTH_REFRESH_CONCURRENCY_ALLOWANCE=60s", // slow machines
		"GLUEAUTH_CORS_ORIGINS="+s.origin("localhost")+","+s.origin(insecureHost))
	return s
}

func serveUntilDone(t *testing.T, h http.Handler) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server
}

func servePage(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/glueauth.js" {
		http.ServeFile(w, r, glueauthJS)
		return
	}
	_, _ = io.WriteString(w, `<!doctype html><script type=module>
		import { createSession } from '/glueauth.js'
		const query = new URLSearchParams(location.search)
		window.changes = []
		window.session = createSession({
			url: query.get('url'), clientId: query.get('client'), onChange: (signedIn) => changes.push(signedIn),
		})
	</script>`)
}

// visited returns the same storefront with a network of its own, and two customers whom nobody else has.
func (s *storefront) visited(t *testing.T, i int) *storefront {
	t.Helper()
	own := *s
	own.t = t
	own.emails = s.emails[2*i : 2*i+2]
	own.relay = &relay{server: s.process}
	server := serveUntilDone(t, own.relay)
	// On a connection that was used before, a browser sends a request again by itself.
	server.Config.SetKeepAlivesEnabled(false)
	own.relay.url = server.URL
	return &own
}

func (s *storefront) origin(host string) string {
	return strings.Replace(s.pages.URL, "127.0.0.1", host, 1)
}

// page is the address of the storefront for that client.
func (s *storefront) page(host, client string) string {
	return s.origin(host) + "?" + url.Values{"url": {s.relay.url}, "client": {client}}.Encode()
}

// profile opens a tab in a profile of its own, which is as good as another browser. More tabs of it come from [tab.more].
func (s *storefront) profile(t *testing.T) *tab {
	t.Helper()
	return s.profileAt(t, s.page("localhost", ""))
}

func (s *storefront) profileAt(t *testing.T, address string) *tab {
	t.Helper()
	return s.open(s.browser.ctx, t, address, chromedp.WithNewBrowserContext())
}

// counted compares how often the server rotated, and how often it gave the same successor again; below 0: no matter.
func (s *storefront) counted(t *testing.T, rotated, replayed int) {
	t.Helper()
	s.relay.mu.Lock()
	defer s.relay.mu.Unlock()
	if n := len(s.relay.successors); n != rotated || replayed >= 0 && s.relay.refreshes-n != replayed {
		t.Errorf("rotated %d times and replayed %d times, want %d and %d", n, s.relay.refreshes-n, rotated, replayed)
	}
}

// tab is a page of the storefront.
type tab struct {
	*storefront
	ctx     context.Context //nolint:containedctx // chromedp keeps the tab in it
	close   func()
	address string
	console *output
}

func (s *storefront) open(parent context.Context, t *testing.T, address string, options ...chromedp.ContextOption) *tab {
	t.Helper()
	page := &tab{storefront: s, address: address, console: &output{}}
	page.ctx, page.close = chromedp.NewContext(parent, append(options, chromedp.WithListener(page.listen))...)
	t.Cleanup(func() {
		page.close()
		for _, secret := range []string{"grt_", "eyJ", demoPassword, "retry_key", "Uncaught"} {
			if _, rest, found := strings.Cut(page.console.String(), secret); found {
				t.Errorf("the console of a tab has %s%.200s", secret, rest)
			}
		}
	})
	if err := chromedp.Do(page.ctx, chromedp.Navigate(address)); err != nil { //nolint:contextcheck // it comes from parent
		t.Fatalf("open %s: %v", address, err)
	}
	return page
}

// listen notes what the browser's console shows.
func (p *tab) listen(event any) {
	switch event.(type) {
	case *runtime.EventConsoleAPICalled, *runtime.EventExceptionThrown, *log.EventEntryAdded:
		line, err := json.Marshal(event)
		_, _ = fmt.Fprintln(p.console, string(line), err)
	}
}

// more opens further tabs in the same profile; it returns them all.
func (p *tab) more(t *testing.T, further int) []*tab {
	t.Helper()
	tabs := []*tab{p}
	for range further {
		tabs = append(tabs, p.open(p.ctx, t, p.address))
	}
	return tabs
}

// run evaluates an expression, waits for its promise, and returns what came of it as JSON.
func (p *tab) run(format string, args ...any) (string, error) {
	ctx, cancel := context.WithTimeout(p.ctx, browserLimit)
	defer cancel()
	script := "Promise.resolve(" + fmt.Sprintf(format, args...) + ").then((x) => JSON.stringify(x) ?? 'undefined', (e) => 'rejected ' + e.status)"
	return chromedp.Run(ctx, chromedp.Evaluate[string](script, chromedp.EvalAwaitPromise))
}

func (p *tab) must(t *testing.T, format string, args ...any) string {
	t.Helper()
	result, err := p.run(format, args...)
	if err != nil {
		t.Fatalf("%s: %v\n%s\n%s", format, err, p.console, p.tail())
	}
	return result
}

func (p *tab) signIn(t *testing.T, email string) item {
	t.Helper()
	if result := p.must(t, "session.signIn(%q, %q)", email, demoPassword); strings.HasPrefix(result, "rejected") {
		t.Fatalf("sign-in: %s\n%s", result, p.tail())
	}
	return p.item(t)
}

// token returns what session.token() comes to: a token in quotes, "undefined" for nobody, or "rejected" and a status.
func (p *tab) token(t *testing.T) string {
	t.Helper()
	return p.must(t, "session.token()")
}

// asking lets all tabs ask for a token at the same moment; it returns what they got.
func asking(tabs ...*tab) (answers func() []string) {
	results := make([]string, len(tabs))
	var group sync.WaitGroup
	for i, tab := range tabs {
		group.Go(func() {
			var err error
			if results[i], err = tab.run("session.token()"); err != nil {
				results[i] = err.Error()
			}
		})
	}
	return func() []string {
		group.Wait()
		return results
	}
}

// item is what the tabs share.
type item struct {
	Access   string  `json:"access_token"`
	Refresh  string  `json:"refresh_token"`
	RetryKey string  `json:"retry_key"`
	At       float64 `json:"at"`
}

// token is the access token as [tab.token] returns it.
func (i item) token() string { return strconv.Quote(i.Access) }

// item returns what this tab sees in the storage, which may be a moment old; nothing for nobody.
func (p *tab) item(t *testing.T) (i item) {
	t.Helper()
	if err := json.Unmarshal([]byte(p.must(t, "JSON.parse(localStorage.getItem('glueauth'))")), &i); err != nil {
		t.Fatal(err)
	}
	return i
}

// age makes the access token older by that share of its life, and waits until these tabs see it.
func (p *tab) age(t *testing.T, share float64, tabs ...*tab) item {
	t.Helper()
	p.must(t, `(() => {
		const item = JSON.parse(localStorage.getItem('glueauth'))
		localStorage.setItem('glueauth', JSON.stringify({ ...item, at: item.at - %f * item.expires_in * 1000 }))
	})()`, share)
	aged := p.item(t)
	for _, other := range tabs {
		other.sees(t, "the aged token", func(i item) bool { return i == aged })
	}
	return aged
}

// sees waits until the tab has that in its storage.
func (p *tab) sees(t *testing.T, what string, is func(item) bool) {
	t.Helper()
	eventually(t, browserLimit, func() error {
		if !is(p.item(t)) {
			return errors.New("a tab does not see " + what)
		}
		return nil
	})
}

// hears waits until onChange was called with these values in all, as JSON.
func (p *tab) hears(t *testing.T, changes string) {
	t.Helper()
	eventually(t, browserLimit, func() error {
		if heard := p.must(t, "changes"); heard != changes {
			return fmt.Errorf("a tab heard of the changes %s, want %s", heard, changes)
		}
		return nil
	})
}

// relay is the network between the browser and the server.
type relay struct {
	server *process
	url    string

	mu         sync.Mutex
	troubles   []trouble
	requests   []relayed
	refreshes  int             // that the server answered with tokens
	successors map[string]bool // the refresh tokens among them
}

// relayed is one request of the browser.
type relayed struct {
	form url.Values
	at   time.Time
}

// trouble is what becomes of one request.
type trouble = func(n *relay, w http.ResponseWriter, r *http.Request, body string)

// next sets what becomes of the next requests; those after them pass.
func (n *relay) next(troubles ...trouble) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.troubles = troubles
}

// seen returns the requests since the last call.
func (n *relay) seen() []relayed {
	n.mu.Lock()
	defer n.mu.Unlock()
	seen := n.requests
	n.requests = nil
	return seen
}

// reached returns an error while fewer requests than that came since the last call of seen.
func (n *relay) reached(count int) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.requests) < count {
		return fmt.Errorf("%d requests, want %d", len(n.requests), count)
	}
	return nil
}

func (n *relay) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	form, malformed := url.ParseQuery(string(body))
	if err != nil || malformed != nil {
		panic(http.ErrAbortHandler)
	}
	handle := through
	n.mu.Lock()
	n.requests = append(n.requests, relayed{form, time.Now()})
	if len(n.troubles) > 0 {
		handle, n.troubles = n.troubles[0], n.troubles[1:]
	}
	n.mu.Unlock()
	handle(n, w, r, string(body))
}

// ask hands a request to the server, also when the browser has gone, writes the head of the answer and returns its body.
func (n *relay) ask(w http.ResponseWriter, r *http.Request, body string) string {
	forward, err := http.NewRequest(r.Method, n.server.public+r.URL.Path, strings.NewReader(body))
	if err != nil {
		panic(err)
	}
	forward.Header = r.Header.Clone()
	a, err := n.server.do(forward)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	n.note(a, body)
	maps.Copy(w.Header(), a.header)
	w.WriteHeader(a.status)
	return a.body
}

func (n *relay) note(a answer, body string) {
	if a.RefreshToken == "" || !strings.Contains(body, "grant_type=refresh_token") {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.successors == nil {
		n.successors = map[string]bool{}
	}
	n.refreshes++
	n.successors[a.RefreshToken] = true
}

func through(n *relay, w http.ResponseWriter, r *http.Request, body string) {
	_, _ = io.WriteString(w, n.ask(w, r, body))
}

// lose lets the server do it and cuts the answer in the middle.
func lose(n *relay, w http.ResponseWriter, r *http.Request, body string) {
	answer := n.ask(w, r, body)
	_, _ = io.WriteString(w, answer[:len(answer)/2])
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

// empty is a proxy that drops the form.
func empty(n *relay, w http.ResponseWriter, r *http.Request, _ string) { through(n, w, r, "") }

// offline reaches nobody.
func offline(*relay, http.ResponseWriter, *http.Request, string) { panic(http.ErrAbortHandler) }

// portal answers as the network of a hotel does.
func portal(n *relay, w http.ResponseWriter, r *http.Request, body string) {
	status(http.StatusOK, "")(n, w, r, body)
}

// status answers as a proxy before the server does.
func status(code int, retryAfter string) trouble {
	return func(_ *relay, w http.ResponseWriter, r *http.Request, _ string) {
		w.Header().Set("Access-Control-Allow-Origin", r.Header.Get("Origin"))
		w.Header().Set("Access-Control-Expose-Headers", "Retry-After")
		if retryAfter != "" {
			w.Header().Set("Retry-After", retryAfter)
		}
		w.WriteHeader(code)
		_, _ = fmt.Fprintf(w, "<html>%d", code)
	}
}

// after keeps the request until the channel is closed.
func after(opened <-chan struct{}, then trouble) trouble {
	return func(n *relay, w http.ResponseWriter, r *http.Request, body string) {
		select {
		case <-opened:
			then(n, w, r, body)
		case <-time.After(browserLimit):
		}
	}
}
