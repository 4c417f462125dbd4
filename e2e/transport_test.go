package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// honestLimit is how long an honest request may take beside whatever happens, on a machine that has the other tests to run too.
const honestLimit = 10 * time.Second

// honest refreshes over one connection and asks for the keys over new ones, until the returned function is called, which demands
// that each request was answered in time.
func (p *process) honest(t *testing.T, email string) (stop func()) {
	t.Helper()
	token := p.signIn(t, email).RefreshToken
	var refreshed, fetched atomic.Int64
	done := make(chan struct{})
	var all sync.WaitGroup
	repeat := func(count *atomic.Int64, ask func() error) {
		all.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				begun := watch()
				if err := ask(); err != nil {
					t.Errorf("an honest request: %v", err)
					return
				}
				if took := begun.elapsed(); took > honestLimit {
					t.Errorf("an honest request took %s", took)
				}
				count.Add(1)
			}
		})
	}
	repeat(&refreshed, func() error {
		a, err := p.refresh(token)
		if err == nil && a.status != http.StatusOK {
			err = errors.New(a.String())
		}
		token = a.RefreshToken
		return err
	})
	fresh := &http.Client{Timeout: 15 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	repeat(&fetched, func() error {
		response, err := fresh.Get(p.public + "/.well-known/jwks.json")
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, response.Body)
		return errors.Join(err, response.Body.Close())
	})
	return func() {
		close(done)
		all.Wait()
		t.Logf("honest meanwhile: %d refreshes, %d over new connections", refreshed.Load(), fetched.Load())
		if refreshed.Load() < 1 || fetched.Load() < 1 {
			t.Errorf("only %d refreshes and %d over new connections were answered", refreshed.Load(), fetched.Load())
		}
	}
}

// memory is what the process has in memory, and has had at most, in bytes.
func (p *process) memory(t *testing.T) (now, most int) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]*int{"VmRSS": &now, "VmHWM": &most} {
		match := regexp.MustCompile(name + `:\s+(\d+) kB`).FindSubmatch(status)
		if match == nil {
			t.Fatalf("no %s in\n%s", name, status)
		}
		n, _ := strconv.Atoi(string(match[1]))
		*value = n << 10
	}
	return now, most
}

// staysFlat notes the memory of the process; the returned function demands that it has never had much more since.
func (p *process) staysFlat(t *testing.T, more int) (check func()) {
	t.Helper()
	before, _ := p.memory(t)
	return func() {
		t.Helper()
		_, most := p.memory(t)
		t.Logf("memory: %d MiB, at most %d MiB", before>>20, most>>20)
		if most > before+more {
			t.Errorf("memory went from %d MiB up to %d MiB", before>>20, most>>20)
		}
	}
}

func TestSlowConnectionsKeepNobodyOut(t *testing.T) {
	t.Parallel()
	const connections, allowed = 2000, 1024
	dir := t.TempDir()
	email := customers(t, dir, 1)[0]
	p := start(t, dir, "GLUEAUTH_HTTP_MAX_CONNECTIONS="+strconv.Itoa(allowed))
	const slowHeader = "POST /token HTTP/1.1\r\nHost: localhost\r\n"
	const slowBody = slowHeader + "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 1000\r\n\r\n"
	one := func() net.IP { return net.IPv4(127, 0, 0, 2) }
	many := func() net.IP { return net.IPv4(127, byte(1+rand.N(250)), byte(rand.N(250)), byte(1+rand.N(250))) }
	p.noLeaks(t)
	idle := p.inUse(t)
	for _, c := range []struct {
		name, begin string
		from        func() net.IP
	}{
		{"headers from one address", slowHeader, one},
		{"headers from everywhere", slowHeader, many},
		{"bodies from one address", slowBody, one},
		{"bodies from everywhere", slowBody, many},
	} {
		t.Log(c.name)
		stop := p.honest(t, email)
		ctx, cancel := context.WithCancel(t.Context())
		opened, ended := p.slow(ctx, connections, c.begin, c.from)
		most := idle
		look := func() { most = max(most, p.inUse(t)) }
		eventually(t, 30*time.Second, func() error {
			if look(); opened.Load() < connections {
				return fmt.Errorf("%s: only %d connections were opened", c.name, opened.Load())
			}
			return nil
		})
		for range 4 {
			<-time.After(250 * time.Millisecond)
			look()
		}
		cancel()
		ended()
		stop()
		if most > idle+64<<20 {
			t.Errorf("%s: %d MiB are in use, without them it was %d MiB", c.name, most>>20, idle>>20)
		}
		if open := p.gaugeOf(t, `glueauth_connections{listener="public"}`); open > allowed {
			t.Errorf("%s: %d connections are open", c.name, open)
		}
	}
	closed := p.gaugeOf(t, `glueauth_connections_closed_total{how="made_room",listener="public"}`) +
		p.gaugeOf(t, `glueauth_connections_closed_total{how="refused",listener="public"}`)
	if closed < connections {
		t.Errorf("%d connections were closed", closed)
	}
}

// inUse is the memory of the process, in bytes, without what the race detector keeps for each goroutine.
func (p *process) inUse(t *testing.T) int {
	t.Helper()
	return p.gaugeOf(t, "go_memstats_heap_inuse_bytes") + p.gaugeOf(t, "go_memstats_stack_inuse_bytes")
}

// gaugeOf reads one series.
func (p *process) gaugeOf(t *testing.T, series string) int {
	t.Helper()
	metrics, err := p.metrics()
	if err != nil {
		t.Fatal(err)
	}
	n, err := gauge(metrics, regexp.QuoteMeta(series))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// slow keeps so many connections busy until ctx ends: each sends a beginning and then hardly anything. One that was closed is
// opened again a second later. It counts how often one was opened; ended waits for the end.
func (p *process) slow(ctx context.Context, connections int, beginning string, from func() net.IP) (opened *atomic.Int64, ended func()) {
	opened = &atomic.Int64{}
	var all sync.WaitGroup
	for range connections {
		all.Go(func() {
			for ctx.Err() == nil {
				dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: from()}}
				conn, err := dialer.DialContext(ctx, "tcp", strings.TrimPrefix(p.public, "http://"))
				if err != nil {
					continue
				}
				opened.Add(1)
				trickle(ctx, conn, beginning)
				_ = conn.Close()
				select {
				case <-ctx.Done():
				case <-time.After(time.Second):
				}
			}
		})
	}
	return opened, all.Wait
}

// trickle sends a byte in a while after the beginning, until the other side hangs up or ctx ends.
func trickle(ctx context.Context, conn net.Conn, beginning string) {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := io.WriteString(conn, beginning); err != nil {
		return
	}
	for ctx.Err() == nil {
		if err := conn.SetReadDeadline(time.Now().Add(time.Second)); err != nil || ctx.Err() != nil {
			return
		}
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			return // an answer, or the end
		}
		if _, err := conn.Write([]byte("x")); err != nil {
			return
		}
	}
}

func TestGreedyRequestsAreCutShort(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	email := customers(t, dir, 1)[0]
	p := start(t, dir)
	const head = "POST /token HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
	const gigabyte = 1 << 30
	stop := p.honest(t, email)
	flat := p.staysFlat(t, 64<<20)
	block := strings.Repeat("x", 1<<20)
	for name, c := range map[string]struct {
		head   string
		piece  string // sent again and again, up to a gigabyte
		status string
	}{
		"a body of 1 GB":         {head + "Content-Length: 1073741824\r\n\r\n", block, "413"},
		"chunks of 1 GB":         {head + "Transfer-Encoding: chunked\r\n\r\n", "100000\r\n" + block + "\r\n", "413"},
		"a header of 1 MB":       {head + "X-Large: " + block + "\r\n\r\n", "", "431"},
		"a header without end":   {head + "X-Large: ", block, "431"},
		"headers without end":    {head, strings.Repeat("X-Small: x\r\n", 1<<10), "431"},
		"a request line of 1 MB": {"GET /" + block + " HTTP/1.1\r\nHost: localhost\r\n\r\n", "", "431"},
		"20,000 parameters":      {head + "Content-Length: 40000\r\n\r\n" + strings.Repeat("a&", 20_000), "", "400"},
		"compressed":             {head + "Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\x00", "", "400"},
	} {
		t.Run(name, func(t *testing.T) {
			for range 4 {
				conn, err := net.Dial("tcp", strings.TrimPrefix(p.public, "http://"))
				if err != nil {
					t.Fatal(err)
				}
				_ = conn.SetDeadline(time.Now().Add(time.Minute))
				var sent atomic.Int64
				go func() { // until the server hangs up
					n, err := io.WriteString(conn, c.head)
					for sent.Add(int64(n)); err == nil && c.piece != "" && sent.Load() < gigabyte; sent.Add(int64(n)) {
						n, err = io.WriteString(conn, c.piece)
					}
				}()
				line := make([]byte, len("HTTP/1.1 200"))
				_, err = io.ReadFull(conn, line)
				_ = conn.Close()
				if err != nil || string(line) != "HTTP/1.1 "+c.status {
					t.Errorf("%q %v, want %s", line, err, c.status)
				}
				if n := sent.Load(); n > 64<<20 {
					t.Errorf("%d MiB were taken", n>>20)
				}
			}
		})
	}
	stop()
	flat()
}

// A client that waits to be asked for a body, or is never going to send it, must not wait for the answer until the time for bodies is over.
func TestABodyThatNobodyWantsIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	p := start(t, t.TempDir())
	for _, fields := range []string{"Content-Length: 10\r\nExpect: 100-continue", "Content-Length: 1000000000"} {
		for request, status := range map[string]string{
			"POST /nowhere HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded": "404",
			"PUT /token HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded":    "405",
			"POST /token HTTP/1.1\r\nContent-Encoding: gzip":                            "400",
		} {
			conn, err := net.Dial("tcp", strings.TrimPrefix(p.public, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			begun := watch()
			_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
			_, err = io.WriteString(conn, request+"\r\nHost: localhost\r\n"+fields+"\r\n\r\n")
			line := make([]byte, len("HTTP/1.1 200"))
			if _, e := io.ReadFull(conn, line); err != nil || e != nil || string(line) != "HTTP/1.1 "+status {
				t.Errorf("%q with %q: %q %v %v, want %s", request, fields, line, err, e, status)
			}
			if took := begun.elapsed(); took > 5*time.Second {
				t.Errorf("%q with %q was answered after %s", request, fields, took)
			}
			_ = conn.Close()
		}
	}
}

// askFrom posts from an address of this machine, with all headers that say something else, and demands success.
func (p *process) askFrom(t *testing.T, from, forwarded, id, path, body string) {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, p.public+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header = http.Header{
		"X-Forwarded-For": {forwarded}, "Forwarded": {"for=192.0.2.66"}, "X-Real-Ip": {"192.0.2.66"},
		"Content-Type": {"application/x-www-form-urlencoded"}, "X-Request-Id": {id},
	}
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	there := &process{client: &http.Client{Transport: &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true}}}
	if a, err := there.do(r); err != nil || a.status != http.StatusOK {
		t.Fatalf("%s: %v %v", path, a, err)
	}
}

func TestOnlyTrustedProxiesSayWhereARequestComesFrom(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	email := customers(t, dir, 1)[0]
	p := start(t, dir, "GLUEAUTH_TRUSTED_PROXIES=127.0.0.9, 10.0.0.0/8")
	for _, c := range []struct{ from, forwarded, want string }{
		{"127.0.0.9", "203.0.113.1, 198.51.100.7, 10.0.0.1", "198.51.100.7"},
		{"127.0.0.9", "[2001:db8::7]:443", "2001:db8::7"},
		{"127.0.0.9", "a", "127.0.0.9"},
		{"127.0.0.8", "198.51.100.7", "127.0.0.8"},
	} {
		id := "from-" + strings.ReplaceAll(c.want, ":", "-")
		p.askFrom(t, c.from, c.forwarded, id, "/token", "grant_type=password&username="+email+"&password="+demoPassword)
		p.askFrom(t, c.from, c.forwarded, id, "/revoke", "token=nothing")
		for line := range strings.Lines(p.stderr.String()) {
			if strings.Contains(line, id) && !strings.Contains(line, `"address":"`+c.want+`"`) {
				t.Errorf("from %s by %q: want %s in %s", c.from, c.forwarded, c.want, line)
			}
		}
	}
	seen := succeed(t, dir, "", "sessions", "list", email)
	for _, want := range []string{"198.51.100.7", "2001:db8::7", "127.0.0.9", "127.0.0.8"} {
		if !strings.Contains(seen, want) {
			t.Errorf("no session from %s:\n%s", want, seen)
		}
	}
	if strings.Contains(p.stderr.String()+seen, "192.0.2.66") {
		t.Error("another header was believed")
	}
	p.askFrom(t, "127.0.0.8", "198.51.100.7", "again", "/revoke", "token=nothing")
	if n := strings.Count(p.stderr.String(), "a proxy that is not in trusted_proxies"); n != 1 || !strings.Contains(p.stderr.String(), `share one address, and its limit on guesses","address":"127.0.0.8"`) {
		t.Errorf("%d warnings of a proxy that is not named", n)
	}
}
