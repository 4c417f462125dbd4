package storm_test

import (
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/store/redisstore"
	"github.com/glueauth/glueauth/store/storetest"
)

// redis keeps the sessions in a Redis with a replica, which takes over when the primary dies.
type redis struct {
	w       *world
	primary *storetest.RedisServer
	replica *storetest.RedisServer
	feed    *relay // from the primary to its replica
	front   *relay // where the servers find the primary
	stores  []*redisstore.Store
}

func newRedis(t *testing.T, w *world) *redis {
	t.Helper()
	r := &redis{w: w, primary: storetest.RedisPort(t)}
	r.feed = newRelay(t, r.primary.Addr)
	r.front = newRelay(t, r.primary.Addr)
	r.replica = storetest.RedisReplica(t, &storetest.RedisServer{Socket: r.primary.Socket, Addr: r.feed.address})
	return r
}

func (r *redis) open(t *testing.T) []keeper {
	t.Helper()
	r.stores = nil
	var all []keeper
	for _, replicas := range []int{1, 1, 0} {
		s, err := redisstore.Open(t.Context(), redisstore.Options{
			URL: secret.Text("redis://" + r.front.address), WaitReplicas: replicas, Clock: r.w.storeNow,
		})
		r.w.check(err)
		r.stores, all = append(r.stores, s), append(all, s)
	}
	return all
}

func (r *redis) close() {
	for _, s := range r.stores {
		r.w.check(s.Close())
	}
}

func (r *redis) sweep(*testing.T) {}

func (r *redis) outage(*testing.T) (heal func()) {
	r.front.point("")
	return func() { r.front.point(r.primary.Addr) }
}

// faults of Redis: a failover that loses what was written in a span of time.
func (r *redis) faults(t *testing.T, from, span int64) []fault {
	t.Helper()
	return []fault{
		{from, "the replica hears no more", func() {
			r.feed.stall()
		}},
		{from + span, "the primary is killed", func() {
			r.primary.Kill()
			r.front.point("")
			r.feed.point("")
			r.feed.gate.Unlock() // into connections that are gone
		}},
		{from + span + 2*grid, "the replica takes over, its clock 20 s behind", func() {
			r.w.ahead.Add(-20)
			r.replica.Do(t, "REPLICAOF", "NO", "ONE")
			r.primary = r.replica
			r.follow(t)
			r.front.point(r.primary.Addr)
		}},
	}
}

// follow gives the primary a new replica, or nothing could be confirmed.
func (r *redis) follow(t *testing.T) {
	t.Helper()
	host, port, _ := net.SplitHostPort(r.primary.Addr)
	r.replica = storetest.RedisPort(t, "--replicaof", host+" "+port)
	storetest.Eventually(t, "the new replica follows", func() bool {
		info, err := r.replica.Try("INFO", "replication")
		return err == nil && strings.Contains(info, "master_link_status:up")
	})
}

// relay is a TCP relay whose target can change, and which can hold back what the target sends.
type relay struct {
	address string

	mu     sync.Mutex
	target string // empty: nobody is there
	gate   sync.RWMutex
	conns  []net.Conn
}

func newRelay(t *testing.T, target string) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{address: l.Addr().String(), target: target}
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			r.serve(client)
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		r.point("")
	})
	return r
}

// point cuts all connections and leads new ones to another target.
func (r *relay) point(target string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.target = target
	for _, c := range r.conns {
		_ = c.Close()
	}
	r.conns = nil
}

// stall holds back whatever the target sends, until the gate is unlocked.
func (r *relay) stall() { r.gate.Lock() }

func (r *relay) serve(client net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	server, err := net.Dial("tcp", r.target)
	if r.target == "" || err != nil {
		_ = client.Close()
		return
	}
	r.conns = append(r.conns, client, server)
	go r.pump(server, client, func() {})
	go r.pump(client, server, func() {
		r.gate.RLock()
		r.gate.RUnlock() //nolint:staticcheck // it only waits
	})
}

func (r *relay) pump(to, from net.Conn, wait func()) {
	defer func() { _, _ = from.Close(), to.Close() }()
	buffer := make([]byte, 1<<16)
	for {
		n, err := from.Read(buffer)
		wait()
		if _, failed := to.Write(buffer[:n]); err != nil || failed != nil {
			return
		}
	}
}
