package handlers_test

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/glueauth/glueauth/handlers"
)

func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn
}

func statusLine(t *testing.T, conn net.Conn) string {
	t.Helper()
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

func TestABodyWithoutEndIsRefusedEarly(t *testing.T) {
	t.Parallel()
	x := openShop(t, setup{})
	conn := dial(t, x.address)
	if _, err := io.WriteString(conn, "POST /token HTTP/1.1\r\nHost: x\r\nContent-Type: "+urlEncoded+"\r\nTransfer-Encoding: chunked\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	var sent atomic.Int64
	go func() { // until the server hangs up
		chunk := []byte(fmt.Sprintf("%x\r\n%s\r\n", 1<<15, strings.Repeat("x", 1<<15)))
		for sent.Load() < 1<<30 {
			n, err := conn.Write(chunk)
			sent.Add(int64(n))
			if err != nil {
				return
			}
		}
	}()
	if line := statusLine(t, conn); line != "HTTP/1.1 413 Request Entity Too Large" {
		t.Error(line)
	}
	if n := sent.Load(); n > 64<<20 {
		t.Errorf("%d bytes were taken", n)
	}
}

func TestATooLargeBodyIsNotAskedFor(t *testing.T) {
	t.Parallel()
	x := openShop(t, setup{})
	conn := dial(t, x.address)
	if _, err := io.WriteString(conn, "POST /token HTTP/1.1\r\nHost: x\r\nContent-Type: "+urlEncoded+
		"\r\nContent-Length: 1000000000\r\nExpect: 100-continue\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if line := statusLine(t, conn); line != "HTTP/1.1 413 Request Entity Too Large" {
		t.Error(line)
	}
}

func TestATooLargeHeaderIsRefused(t *testing.T) {
	t.Parallel()
	x := openShop(t, setup{})
	conn := dial(t, x.address)
	go io.WriteString(conn, "POST /token HTTP/1.1\r\nHost: x\r\nX: "+strings.Repeat("x", 1<<20)) //nolint:errcheck // the server hangs up
	if line := statusLine(t, conn); line != "HTTP/1.1 431 Request Header Fields Too Large" {
		t.Error(line)
	}
}

func TestEachLimitOfTheServerIsSet(t *testing.T) {
	t.Parallel()
	s := handlers.HTTPServer("127.0.0.1:8080", http.NotFoundHandler(), slog.New(slog.DiscardHandler))
	if s.Addr != "127.0.0.1:8080" || s.ReadHeaderTimeout != 5*time.Second || s.ReadTimeout != 10*time.Second ||
		s.WriteTimeout != 30*time.Second || s.IdleTimeout != time.Minute || s.MaxHeaderBytes != 16<<10 || s.ErrorLog == nil {
		t.Errorf("%+v", s)
	}
	if h := s.HTTP2; h.MaxConcurrentStreams != 16 || h.MaxReceiveBufferPerConnection != 256<<10 || h.MaxReceiveBufferPerStream != 64<<10 || h.WriteByteTimeout != 10*time.Second {
		t.Errorf("%+v", h)
	}
}

func TestOriginsAreComparedAsAWhole(t *testing.T) {
	t.Parallel()
	x := openShop(t, setup{origins: []string{"https://shop.example", "http://localhost:3000"}})
	for origin, allowed := range map[string]bool{
		"https://shop.example": true, "http://localhost:3000": true,
		"http://shop.example": false, "https://shop.example:444": false, "https://shop.example.evil.test": false,
		"https://evilshop.example": false, "https://shop.example/": false, "https://xshop.example": false, "null": false,
		"https://shop.example https://evil.test": false, "*": false, "http://localhost:30000": false, "": false,
	} {
		for _, a := range []answer{
			x.post(t, signIn, "Origin", origin),
			x.do(t, http.MethodGet, "/.well-known/jwks.json", nil, "Origin", origin),
			x.do(t, http.MethodOptions, "/token", nil, "Origin", origin, "Access-Control-Request-Method", "POST",
				"Access-Control-Request-Headers", "authorization"),
		} {
			got := a.header.Get("Access-Control-Allow-Origin")
			if want := map[bool]string{true: origin}[allowed]; got != want {
				t.Errorf("%q: allowed is %q", origin, got)
			}
			if a.header.Get("Access-Control-Allow-Credentials") != "" || !strings.HasPrefix(a.header.Get("Vary"), "Origin") {
				t.Errorf("%q: %v", origin, a.header)
			}
		}
	}
}

func TestCORSIsOffByDefault(t *testing.T) {
	t.Parallel()
	x := openShop(t, setup{})
	for _, method := range []string{http.MethodPost, http.MethodOptions} {
		a := x.do(t, method, "/token", nil, "Origin", "https://shop.example", "Access-Control-Request-Method", "POST")
		for key := range a.header {
			if strings.HasPrefix(key, "Access-Control-") {
				t.Errorf("%s: %s", method, key)
			}
		}
	}
}
