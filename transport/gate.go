package transport

import (
	"context"
	"crypto/tls"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"
)

const (
	// share is the part of all connections that one source may have, a proxy's aside: 1/share.
	share = 4
	// modest is how many waiting connections of one source are nothing odd.
	modest = 8
	// batch is the part of the connections that is closed at once when there are too many, 1/batch, so that looking for them
	// costs little under a flood.
	batch = 16
	// moment is what every connection has to send its next bytes and to get them read by a server that is busy.
	moment = time.Second
	// farewell is what a client has to take the answer that tells it to leave. Over HTTP/2, net/http takes no request after that
	// and closes a second later.
	farewell = moment / 10
	pause    = moment / 20 // between two looks at all connections: at 10,000 each takes 3 ms
)

// Gate is a listener that never has more than a number of connections open, and lets everybody in nevertheless: for a new one, those
// are closed at which the server waits for the client. First those of the sources that have most of them, the oldest first; among
// the modest, those that have used up most of the time that they have to send a whole request, or to begin the next one. Each has a
// moment at least, and while there is none that has had it, those who come wait, and a few of those who keep asking are told to leave
// with their next answer: to close theirs meanwhile could lose a request that is on its way. Nothing that they send after it is
// served, and they go as soon as they have it, unless another request of theirs is under way. One whose request has arrived and is
// worked on stays, unless that takes longer than a request may, and so do those of proxies. One source cannot have more than a
// quarter of all, and is turned away beyond that. Others are only when nothing can be closed.
type Gate struct {
	net.Listener
	o      GateOptions
	server *http.Server

	mu      sync.Mutex
	held    map[netip.Prefix]map[*held]struct{} // by source
	open    int
	cut     uint64
	refused uint64
}

// GateOptions are all required.
type GateOptions struct {
	Connections int                   // open at the same time, at least 16
	Trusted     func(netip.Addr) bool // proxies
	Now         func() time.Time
}

// NewGate returns the listener through which the server must be served. The server's deadlines and its handler must be set, its
// ConnState and ConnContext not.
func NewGate(l net.Listener, server *http.Server, o GateOptions) *Gate {
	g := &Gate{Listener: l, o: o, server: server, held: map[netip.Prefix]map[*held]struct{}{}}
	server.ConnState = g.changed
	server.ConnContext = func(ctx context.Context, conn net.Conn) context.Context {
		h, _ := g.find(conn)
		return context.WithValue(ctx, heldKey{}, h)
	}
	server.Handler = g.watch(server.Handler)
	return g
}

// Accept returns the next connection that is let in.
func (g *Gate) Accept() (net.Conn, error) {
	for {
		conn, err := g.Listener.Accept()
		if err != nil {
			return nil, err //nolint:wrapcheck // transparent: net/http looks at it
		}
		h := &held{Conn: conn, gate: g, state: http.StateNew}
		address := endOf(conn.RemoteAddr().String())
		h.source, h.trusted = source(address), g.o.Trusted(address)
		if g.admit(h) {
			return h, nil
		}
		_ = conn.Close() // nobody waits for it
	}
}

// Counts returns how many connections are open, and how many have been closed before their time: to let others in, and at once.
func (g *Gate) Counts() (open int, cut, refused uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.open, g.cut, g.refused
}

// held is an open connection.
type held struct {
	net.Conn
	gate    *Gate
	source  netip.Prefix
	trusted bool
	state   http.ConnState // new, active or idle
	working int            // requests that have arrived as a whole and are not answered yet
	since   time.Time      // of both
	came    time.Time
	leaving bool // with its next answer
	told    bool // so, by that
}

// heldKey is where a request's context has its connection.
type heldKey struct{}

// Close makes room.
func (h *held) Close() error {
	h.gate.mu.Lock()
	h.gate.forget(h)
	h.gate.mu.Unlock()
	return h.Conn.Close() //nolint:wrapcheck // transparent
}

// admit lets a connection in, if it can. It waits for two moments where that helps.
func (g *Gate) admit(h *held) bool {
	for range 2*moment/pause + 2 { // until those who keep asking have asked once more, and had a moment after that
		switch g.try(h) {
		case isIn:
			return true
		case isOut:
			return false
		default:
			time.Sleep(pause)
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.refused++
	return false
}

type verdict int

const (
	isIn verdict = iota
	isOut
	isEarly // it may be let in when others have had their moment
)

// try lets a connection in, or says why not. Those that make room for it are closed on return.
func (g *Gate) try(h *held) verdict {
	var leave []*held
	defer func() {
		for _, l := range leave {
			_ = l.Conn.Close() // nobody waits for it
		}
	}()
	g.mu.Lock()
	defer g.mu.Unlock()
	most, own := g.o.Connections, g.held[h.source]
	switch {
	case !h.trusted && len(own) >= most/share:
		among, n := []map[*held]struct{}{own}, max(1, most/share/batch)
		if leave = g.choose(among, n); leave == nil {
			g.askToLeave(among, n)
			g.refused++
			return isOut
		}
	case g.open >= most:
		among, n := slices.Collect(maps.Values(g.held)), max(1, most/batch)
		if leave = g.choose(among, n); leave == nil {
			g.askToLeave(among, n)
			return isEarly
		}
	}
	if g.held[h.source] == nil {
		g.held[h.source] = map[*held]struct{}{}
	}
	g.held[h.source][h] = struct{}{}
	h.since = g.o.Now()
	h.came = h.since
	g.open++
	return isIn
}

// forget gives a connection's place back, if it has one still.
func (g *Gate) forget(h *held) {
	of := g.held[h.source]
	if _, there := of[h]; !there {
		return
	}
	g.open--
	delete(of, h)
	if len(of) == 0 {
		delete(g.held, h.source)
	}
}

// find returns what the gate knows of a connection of the server's.
func (g *Gate) find(conn net.Conn) (*held, bool) {
	if secured, ok := conn.(*tls.Conn); ok {
		conn = secured.NetConn()
	}
	h, ours := conn.(*held)
	return h, ours
}

// changed is the server's hook.
func (g *Gate) changed(conn net.Conn, state http.ConnState) {
	h, ours := g.find(conn)
	if !ours || state == http.StateNew || state == http.StateClosed || state == http.StateHijacked {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	h.state, h.since = state, g.o.Now()
}
