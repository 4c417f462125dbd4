package transport_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/glueauth/glueauth/transport"
)

// door is a listener at which the test knocks, and the gate behind it, whose clock is the test's.
type door struct {
	*transport.Gate
	server *http.Server
	knocks chan net.Conn
	t      *testing.T
}

// most is how many connections a door lets in.
const most = 64

func newDoor(t *testing.T) *door {
	t.Helper()
	d := &door{
		server: &http.Server{ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, IdleTimeout: time.Minute},
		knocks: make(chan net.Conn, 1), t: t,
	}
	d.server.Handler = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		close(r.Context().Value(arrivedKey{}).(chan struct{}))
		<-r.Context().Done()
	})
	d.Gate = transport.NewGate(knocked{d.knocks}, d.server, transport.GateOptions{
		Connections: most, Trusted: proxies().Contains, Now: time.Now,
	})
	return d
}

type knocked struct{ conns chan net.Conn }

var errNobody = errors.New("nobody else is there")

func (k knocked) Accept() (net.Conn, error) {
	select {
	case conn := <-k.conns:
		return conn, nil
	default:
		return nil, errNobody
	}
}
func (knocked) Close() error   { return nil }
func (knocked) Addr() net.Addr { return nil }

// guest is a connection from somewhere.
type guest struct {
	net.Conn
	from string
	left bool     // it was closed
	seen net.Conn // what the server has of it
	door *door
}

func (g *guest) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(g.from))
}

func (g *guest) Close() error {
	g.left = true
	return nil
}

// later lets time pass on the clock of the bubble that each test runs in.
func later(d time.Duration) { time.Sleep(d) }

// knock lets a connection come a moment later; it is nil when it was not let in.
func (d *door) knock(from string) *guest {
	d.t.Helper()
	later(time.Millisecond)
	g := &guest{from: from, door: d}
	d.knocks <- g
	conn, err := d.Accept()
	if err != nil {
		if !errors.Is(err, errNobody) || !g.left {
			d.t.Fatalf("%s: %v; closed: %t", from, err, g.left)
		}
		return nil
	}
	g.seen = conn
	if open, _, _ := d.Counts(); open > most {
		d.t.Fatalf("%d connections are open", open)
	}
	return g
}

// becomes is what the server makes of the connection.
func (g *guest) becomes(s http.ConnState) *guest {
	g.door.server.ConnState(g.seen, s)
	return g
}

// remaining counts those that have not been closed.
func remaining(all []*guest) (n int) {
	for _, g := range all {
		if !g.left {
			n++
		}
	}
	return n
}

func TestOneSourceCannotHaveMoreThanAQuarter(t *testing.T) {
	t.Parallel()
	for name, from := range map[string]func(int) string{
		"an address":      func(i int) string { return fmt.Sprintf("192.0.2.1:%d", 1000+i) },
		"a network of v6": func(i int) string { return fmt.Sprintf("[2001:db8:0:1::%x]:80", i+1) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				d := newDoor(t)
				honest := d.knock("198.51.100.7:80").becomes(http.StateIdle)
				var all []*guest
				for i := range 500 {
					later(100 * time.Millisecond)
					all = append(all, d.knock(from(i)))
					if n := remaining(all); n > 16 {
						t.Fatalf("%d connections of one source", n)
					}
				}
				if honest.left || all[499].left {
					t.Error("somebody else had to leave, or the newest")
				}
				if open, cut, refused := d.Counts(); open != 1+remaining(all) || cut != uint64(500-remaining(all)) || refused != 0 {
					t.Errorf("%d open, %d closed, %d refused", open, cut, refused)
				}
			})
		})
	}
}

func TestWhoHasMostWaitingMakesRoomFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t)
		var greedy, modest []*guest
		for i := range 16 {
			modest = append(modest, d.knock(fmt.Sprintf("198.51.100.%d:80", i)).becomes(http.StateIdle))
		}
		later(50 * time.Second) // they are older than all others, and still modest
		for i := range 48 {
			greedy = append(greedy, d.knock(fmt.Sprintf("192.0.2.%d:80", i/16)))
		}
		later(2 * time.Second)
		for i := range 12 {
			d.knock(fmt.Sprintf("203.0.113.%d:80", i))
		}
		if n := remaining(modest); n != 16 {
			t.Errorf("%d modest ones had to leave", 16-n)
		}
		if n := remaining(greedy); n != 36 {
			t.Errorf("%d greedy ones are left, want 36", n)
		}
		for i, g := range greedy { // each address has lost its oldest
			if i%16 >= 8 && g.left {
				t.Errorf("number %d of its address is gone", i%16)
			}
		}
	})
}

func TestAmongTheModestWhoIsNearestToHisDeadlineLeaves(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t)
		var idle, slow []*guest
		for i := range 32 {
			idle = append(idle, d.knock(fmt.Sprintf("198.51.100.%d:80", i)).becomes(http.StateIdle))
		}
		later(10 * time.Second) // a sixth of their minute
		for i := range 32 {
			slow = append(slow, d.knock(fmt.Sprintf("192.0.2.%d:80", i)))
		}
		later(3 * time.Second) // a third of the time for a request
		d.knock("203.0.113.1:80")
		if remaining(idle) != 32 || remaining(slow) != 28 {
			t.Errorf("%d of those that wait between requests are left, %d of those that send none", remaining(idle), remaining(slow))
		}
		for i, g := range slow {
			if g.left != (i < 4) {
				t.Errorf("number %d has left: %t", i, g.left)
			}
		}
	})
}

// arrivedKey is where a request's context has what is closed when all of the request is there.
type arrivedKey struct{}

// sends lets a request arrive; its body is whole, or the end is missing. The returned function has it answered.
func (g *guest) sends(whole bool) (answered func() http.Header) {
	g.door.t.Helper()
	return g.becomes(http.StateActive).sendsBeside(whole)
}

// sendsBeside lets another request arrive before the former is answered.
func (g *guest) sendsBeside(whole bool) (answered func() http.Header) {
	g.door.t.Helper()
	arrived, end := make(chan struct{}), make(chan struct{})
	ctx, cancel := context.WithCancel(context.WithValue(g.door.server.ConnContext(g.door.t.Context(), g.seen), arrivedKey{}, arrived))
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/token", ended{end})
	var serving sync.WaitGroup
	answer := httptest.NewRecorder()
	serving.Go(func() { g.door.server.Handler.ServeHTTP(answer, r) })
	if whole {
		close(end)
		<-arrived
	}
	return func() http.Header {
		if !whole {
			close(end)
		}
		cancel()
		serving.Wait()
		g.becomes(http.StateIdle)
		return answer.Header()
	}
}

// ended is a body without a byte whose end comes some time.
type ended struct{ when chan struct{} }

func (e ended) Read([]byte) (int, error) {
	<-e.when
	return 0, io.EOF
}

func TestARequestThatHasArrivedIsNotClosedForOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t)
		var busy []*guest
		for i := range 64 {
			g := d.knock(fmt.Sprintf("198.51.100.%d:80", i))
			defer g.sends(true)()
			busy = append(busy, g)
		}
		later(2500 * time.Millisecond)
		if d.knock("203.0.113.1:80") != nil {
			t.Error("somebody was let in, although all others are busy")
		}
		if _, cut, refused := d.Counts(); remaining(busy) != 64 || cut != 0 || refused != 1 {
			t.Errorf("%d are left, %d closed, %d refused", remaining(busy), cut, refused)
		}
		later(500 * time.Millisecond) // no honest request takes so long
		if d.knock("203.0.113.1:80") == nil || remaining(busy) != 60 {
			t.Errorf("answers that nobody takes keep everybody out: %d are left", remaining(busy))
		}
		if err := busy[63].seen.Close(); err != nil || !busy[63].left {
			t.Errorf("not closed: %v", err)
		}
		if open, _, _ := d.Counts(); open != remaining(busy)+1 {
			t.Errorf("%d open, %d left", open, remaining(busy))
		}
	})
}

func TestOneRequestAfterTheOtherKeepsNobodyWhoIsToldToLeave(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t)
		var busy []*guest
		for i := range most {
			g := d.knock(fmt.Sprintf("198.51.100.%d:80", i))
			defer g.sends(true)()
			busy = append(busy, g)
		}
		later(time.Second)
		if d.knock("203.0.113.1:80") != nil {
			t.Error("somebody was let in, although all others are busy")
		}
		for _, g := range busy { // those are told by the answer of this one
			defer g.sendsBeside(true)()
		}
		later(2 * time.Second)
		if d.knock("203.0.113.1:80") == nil || remaining(busy) != most-4 {
			t.Errorf("those who were told to leave keep everybody out: %d are left", remaining(busy))
		}
	})
}

func TestWhoseBodyDoesNotComeMakesRoom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t)
		var slow []*guest
		for i := range 63 {
			g := d.knock(fmt.Sprintf("198.51.100.%d:80", i))
			defer g.sends(false)()
			slow = append(slow, g)
		}
		honest := d.knock("192.0.2.1:80")
		answered := honest.sends(true)
		later(time.Second)
		if d.knock("203.0.113.1:80") == nil {
			t.Error("slow bodies keep everybody out")
		}
		if remaining(slow) != 59 || honest.left {
			t.Errorf("%d are left, the honest one has left: %t", remaining(slow), honest.left)
		}
		answered()
		for range 8 { // he has been here for longer than all others, but his next request has time
			d.knock("203.0.113.1:80")
		}
		if honest.left {
			t.Error("the honest one had to leave")
		}
	})
}

func TestNoMoreLeaveThanAreNearTheirDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t)
		honest := d.knock("198.51.100.1:80").becomes(http.StateIdle)
		later(time.Second)
		slow := []*guest{d.knock("192.0.2.1:80"), d.knock("192.0.2.2:80")}
		later(2 * time.Second)
		for i := range 61 { // they have their moment still
			d.knock(fmt.Sprintf("203.0.113.%d:80", i))
		}
		d.knock("203.0.113.99:80")
		if remaining(slow) != 0 || honest.left {
			t.Errorf("%d of the slow ones are left; the honest one has left: %t", remaining(slow), honest.left)
		}
	})
}

func TestEverybodyHasAMoment(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t)
		begun := time.Now()
		var all []*guest
		for i := range 200 {
			all = append(all, d.knock(fmt.Sprintf("192.0.2.%d:80", i)))
			for _, g := range all[max(0, len(all)-32):] {
				if g.left {
					t.Fatalf("one of the last was closed when %d had come", i)
				}
			}
		}
		if took := time.Since(begun); took < 2*time.Second || took > 4*time.Second {
			t.Errorf("200 have come in %s, want 64 a second", took)
		}
	})
}

func TestProxiesAreNeverClosedForOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t)
		var pool []*guest
		for range 60 { // more than a quarter, and all idle
			pool = append(pool, d.knock("10.0.0.1:80").becomes(http.StateIdle))
		}
		for i := range 100 {
			if d.knock(fmt.Sprintf("192.0.2.%d:80", i)) == nil {
				t.Fatal("not let in")
			}
		}
		for range 4 {
			d.knock("10.0.0.1:80")
		}
		if n := remaining(pool); n != 60 {
			t.Errorf("%d of the proxy's are left", n)
		}
		if d.knock("192.0.2.1:80") != nil {
			t.Error("somebody was let in, although a proxy has all")
		}
	})
}

// TestWhoKeepsAskingIsToldToLeave : a few cheap requests would hold all connections; and to close one between two requests may lose
// the second, which an honest client that posts cannot simply repeat.
func TestWhoKeepsAskingIsToldToLeave(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t)
		var over atomic.Bool
		var asking sync.WaitGroup
		var told atomic.Int64
		for i := range most {
			g := d.knock(fmt.Sprintf("192.0.2.%d:80", i/16)).becomes(http.StateIdle)
			asking.Go(func() {
				for !over.Load() {
					later(200 * time.Millisecond)
					if g.left {
						t.Error("one who asks was closed, and not told to leave")
						return
					}
					answered := g.sends(true)
					later(time.Millisecond)
					if answered().Get("Connection") == "close" {
						told.Add(1)
						_ = g.seen.Close()
						return
					}
				}
			})
		}
		later(2 * time.Second)
		for i := range 16 {
			begun := time.Now()
			if d.knock(fmt.Sprintf("203.0.113.%d:80", i)) == nil {
				t.Errorf("newcomer %d was not let in", i)
			}
			if took := time.Since(begun); took > time.Second/2 {
				t.Errorf("newcomer %d waited for %s", i, took)
			}
		}
		if n := told.Load(); n < 16 || n > 20 {
			t.Errorf("%d were told to leave for 16 others", n)
		}
		over.Store(true)
		asking.Wait()
	})
}
