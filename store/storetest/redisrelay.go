package storetest

import (
	"bytes"
	"errors"
	"net"
	"path/filepath"
	"sync"
	"testing"
)

// RedisRelay stands between a client and a server, and can harm the answer to an EVALSHA.
type RedisRelay struct {
	Socket string

	upstream string
	wg       sync.WaitGroup
	mu       sync.Mutex
	conns    []net.Conn
	scripts  int
	canned   string                               // answered instead of the server
	harm     func(write func() error) (err error) // to the answer to the next script
}

var errCut = errors.New("cut")

// Relay starts a relay before a server with a socket. It ends with the test.
func Relay(t testing.TB, server *RedisServer) *RedisRelay {
	t.Helper()
	r := &RedisRelay{Socket: filepath.Join(shortDir(t), "relay.sock"), upstream: server.Socket}
	l, err := net.Listen("unix", r.Socket)
	if err != nil {
		t.Fatal(err)
	}
	r.wg.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			r.serve(client)
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		r.mu.Lock()
		for _, c := range r.conns {
			_ = c.Close()
		}
		r.mu.Unlock()
		r.wg.Wait()
	})
	return r
}

// URL returns the URL of the relay.
func (r *RedisRelay) URL() string { return "unix://" + r.Socket }

// Scripts returns how many EVALSHA came through.
func (r *RedisRelay) Scripts() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.scripts
}

// Cut has the next EVALSHA carried out, and closes the connection instead of answering it.
func (r *RedisRelay) Cut() {
	r.set("", func(func() error) error { return errCut })
}

// Hold has the next EVALSHA carried out, and answers it when release is closed.
func (r *RedisRelay) Hold(release <-chan struct{}) {
	r.set("", func(write func() error) error {
		<-release
		return write()
	})
}

// Answer keeps every EVALSHA from the server and answers it with these bytes, until it is called with none.
func (r *RedisRelay) Answer(reply string) { r.set(reply, nil) }

func (r *RedisRelay) set(canned string, harm func(write func() error) error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.canned, r.harm = canned, harm
}

func (r *RedisRelay) serve(client net.Conn) {
	server, err := net.Dial("unix", r.upstream)
	if err != nil {
		_ = client.Close()
		return
	}
	r.mu.Lock()
	r.conns = append(r.conns, client, server)
	r.mu.Unlock()
	harm := make(chan func(write func() error) error, 1)
	r.wg.Go(func() {
		pump(client, server, func(data []byte) error { return r.request(data, client, server, harm) })
	})
	r.wg.Go(func() {
		pump(server, client, func(data []byte) error {
			write := func() error {
				_, err := client.Write(data)
				return err
			}
			select {
			case harmed := <-harm:
				return harmed(write)
			default:
				return write()
			}
		})
	})
}

// pump moves what from sends, until either side closes.
func pump(from, to net.Conn, move func(data []byte) error) {
	defer func() { _, _ = from.Close(), to.Close() }()
	buffer := make([]byte, 1<<16)
	for {
		n, err := from.Read(buffer)
		if err != nil || move(buffer[:n]) != nil {
			return
		}
	}
}

func (r *RedisRelay) request(data []byte, client, server net.Conn, harm chan<- func(write func() error) error) error {
	r.mu.Lock()
	script, canned, harmful := bytes.Contains(bytes.ToLower(data), []byte("evalsha")), r.canned, r.harm
	if script {
		r.scripts++
		r.harm = nil
	}
	r.mu.Unlock()
	if script && harmful != nil {
		harm <- harmful
	}
	to := server
	if script && canned != "" {
		to, data = client, []byte(canned)
	}
	_, err := to.Write(data)
	return err
}
