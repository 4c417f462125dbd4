package transport_test

import (
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/glueauth/glueauth/transport"
)

// street is where a server listens whose clients are in the same bubble.
type street struct {
	*transport.Gate
	server *http.Server
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (s *street) Accept() (net.Conn, error) {
	select {
	case conn := <-s.conns:
		return conn, nil
	case <-s.closed:
		return nil, net.ErrClosed
	}
}

func (s *street) Close() error {
	s.once.Do(func() { close(s.closed) })
	return nil
}

// Addr is nobody's.
func (*street) Addr() net.Addr { return &net.TCPAddr{} }

// visitor is the server's end of a connection.
type visitor struct {
	net.Conn
	from string
}

func (v visitor) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(v.from), 4711))
}

// openStreet serves through a gate, over TLS or without, until the returned function is called.
func openStreet(t *testing.T, secured bool) (s *street, end func()) {
	t.Helper()
	s = &street{conns: make(chan net.Conn, 1000), closed: make(chan struct{})}
	s.server = &http.Server{
		HTTP2: &http.HTTP2Config{MaxConcurrentStreams: 16},

		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: time.Minute,
		ErrorLog: log.New(io.Discard, "", 0),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/token" {
				w.WriteHeader(http.StatusNotFound)
			} else if _, err := io.Copy(io.Discard, r.Body); err != nil {
				w.WriteHeader(http.StatusBadRequest)
			}
		}),
	}
	server := s.server
	s.Gate = transport.NewGate(s, server, transport.GateOptions{Connections: most, Trusted: proxies().Contains, Now: time.Now})
	serve := server.Serve
	if secured {
		certificate, err := transport.SelfSigned([]string{"localhost"}, time.Now, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		server.TLSConfig = certificate.Config()
		serve = func(l net.Listener) error { return server.ServeTLS(l, "", "") }
	}
	var serving sync.WaitGroup
	serving.Go(func() { _ = serve(s.Gate) })
	return s, func() {
		_ = server.Close()
		serving.Wait()
		later(time.Second) // which net/http takes to close
	}
}

// dial connects from an address.
func (s *street) dial(from string) net.Conn {
	client, server := net.Pipe()
	s.conns <- visitor{server, from}
	return client
}

// dialTLS connects from an address for one of the protocols.
func (s *street) dialTLS(from, protocol string) (*tls.Conn, error) {
	conn := s.dial(from)
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	secured := tls.Client(conn, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{protocol}})
	if err := secured.Handshake(); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return secured, conn.SetDeadline(time.Time{})
}

// streams is a client of HTTP/2 that says what it wants and does not listen.
type streams struct {
	io.Writer
	last uint32
}

// A few words of HTTP/2 (RFC 9113 §6).
const (
	headersFrame, settingsFrame = 1, 4
	endOfStream, endOfHeaders   = 1, 4
)

func frame(kind, flags byte, stream uint32, payload string) string {
	head := []byte{0, byte(len(payload) >> 8), byte(len(payload)), kind, flags}
	return string(binary.BigEndian.AppendUint32(head, stream)) + payload
}

// begin sends a request's header; its body does not come, unless the header is all.
func (s *streams) begin(method, path string, flags byte, fields ...string) error {
	if s.last == 0 {
		s.last--
		if _, err := io.WriteString(s, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"+frame(settingsFrame, 0, 0, "")); err != nil {
			return err
		}
	}
	s.last += 2
	var block strings.Builder
	for i, text := range append([]string{":method", method, ":scheme", "https", ":authority", "localhost", ":path", path}, fields...) {
		if i%2 == 0 {
			block.WriteByte(0) // a field that is not indexed (RFC 7541 §6.2.2)
		}
		block.WriteByte(byte(len(text)))
		block.WriteString(text)
	}
	_, err := io.WriteString(s, frame(headersFrame, endOfHeaders|flags, s.last, block.String()))
	return err
}

func (s *streams) get() error { return s.begin("GET", "/", endOfStream) }

// TestWhoSpeaksHTTP2KeepsNobodyOut : four addresses have all places, come back at once, and take care that none of their connections
// ever waits for long.
func TestWhoSpeaksHTTP2KeepsNobodyOut(t *testing.T) {
	t.Parallel()
	const second = time.Second / time.Millisecond
	for name, c := range map[string]struct {
		attack func(s *streams, ms time.Duration) error
		wait   time.Duration // of an honest client, at most
	}{
		"asking again and again": {func(s *streams, ms time.Duration) error {
			if ms%(second*9/10) == 0 {
				return s.get()
			}
			return nil
		}, time.Second},
		"asking again and again beside a body that does not come": {func(s *streams, ms time.Duration) error {
			if ms%(9*second) == 0 {
				return s.begin("POST", "/token", 0, "content-length", "10")
			}
			if ms%(second*9/10) == 0 {
				return s.get()
			}
			return nil
		}, 2 * time.Second},
		"bodies of no length that do not end": {func(s *streams, ms time.Duration) error {
			if ms%(second*9/2) == 0 {
				return s.begin("POST", "/token", 0, "content-length", "0")
			}
			return nil
		}, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				street, end := openStreet(t, true)
				over := make(chan struct{})
				var all sync.WaitGroup
				for i := range most {
					all.Go(func() {
						for !isClosed(over) {
							later(time.Duration(1+i) * time.Millisecond)
							street.attack(fmt.Sprintf("192.0.2.%d", i/16), c.attack, over)
						}
					})
				}
				later(3 * time.Second)
				for i := range 12 {
					begun := time.Now()
					if err := street.visit("198.51.100.7"); err != nil {
						t.Errorf("honest client %d: %v", i, err)
					}
					if took := time.Since(begun); took > c.wait {
						t.Errorf("honest client %d was answered after %s", i, took)
					}
					later(time.Until(begun.Add(1500 * time.Millisecond)))
				}
				close(over)
				end()
				_ = street.Close()
				all.Wait()
				for len(street.conns) > 0 {
					_ = (<-street.conns).Close()
				}
			})
		})
	}
}

// attack holds a connection for as long as it can, and has something done every 50 ms.
func (s *street) attack(from string, something func(*streams, time.Duration) error, over chan struct{}) {
	conn, err := s.dialTLS(from, "h2")
	if err != nil {
		return
	}
	defer func() { _ = conn.NetConn().Close() }()
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		_, _ = io.Copy(io.Discard, conn)
	}()
	asks := &streams{Writer: conn}
	for ms := time.Duration(0); !isClosed(over) && !isClosed(closed) && something(asks, ms) == nil; ms += 50 {
		later(50 * time.Millisecond)
	}
}

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// visit asks once over a new connection.
func (s *street) visit(from string) error {
	conn, err := s.dialTLS(from, "http/1.1")
	if err != nil {
		return err
	}
	defer func() { _ = conn.NetConn().Close() }()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); err != nil {
		return err
	}
	answer, err := io.ReadAll(conn)
	if !strings.HasPrefix(string(answer), "HTTP/1.1 404") {
		return errors.Join(err, fmt.Errorf("answered %q", answer))
	}
	return nil
}

func TestABodyThatNobodyWantsIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	for name, fields := range map[string]string{
		"that is to be asked for": "Content-Length: 10\r\nExpect: 100-continue",
		"that is large":           "Content-Length: 1000000000",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				street, end := openStreet(t, false)
				begun := time.Now()
				conn := street.dial("192.0.2.1")
				_, err := io.WriteString(conn, "POST /nowhere HTTP/1.1\r\nHost: x\r\n"+fields+"\r\n\r\n")
				line := make([]byte, len("HTTP/1.1 404"))
				if _, e := io.ReadFull(conn, line); err != nil || e != nil || string(line) != "HTTP/1.1 404" {
					t.Errorf("%q, %v, %v", line, err, e)
				}
				if took := time.Since(begun); took > time.Second {
					t.Errorf("answered after %s", took)
				}
				_ = conn.Close()
				end()
			})
		})
	}
}
