package transport_test

import (
	"crypto/rand"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/glueauth/glueauth/transport"
)

// serveTLS serves through a gate until the test is over. A request is answered when hold is closed.
func serveTLS(t *testing.T, hold, arrived chan struct{}) *transport.Gate {
	t.Helper()
	certificate, err := transport.SelfSigned([]string{"127.0.0.1"}, time.Now, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{
		TLSConfig: certificate.Config(), ReadHeaderTimeout: time.Minute, ReadTimeout: time.Minute, IdleTimeout: time.Minute,
		ErrorLog: log.New(io.Discard, "", 0),
		Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			arrived <- struct{}{}
			<-hold
		}),
	}
	g := transport.NewGate(l, s, transport.GateOptions{Connections: most, Trusted: proxies().Contains, Now: time.Now})
	var serving sync.WaitGroup
	serving.Go(func() { _ = s.ServeTLS(g, "", "") })
	t.Cleanup(func() {
		_ = s.Close()
		serving.Wait()
	})
	return g
}

// Without this, a request over TLS would look like a connection that has sent nothing yet.
func TestRequestsOverTLSAreNotClosedForOthers(t *testing.T) {
	t.Parallel()
	hold, arrived := make(chan struct{}), make(chan struct{})
	g := serveTLS(t, hold, arrived)
	var asking sync.WaitGroup
	for _, http2 := range []bool{false, true} {
		client := &http.Client{Transport: &http.Transport{
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: http2,
		}}
		asking.Go(func() {
			response, err := client.Get("https://" + g.Addr().String())
			if err != nil {
				t.Errorf("HTTP/2 is %t: %v", http2, err)
				return
			}
			if _ = response.Body.Close(); (response.ProtoMajor == 2) != http2 {
				t.Errorf("it is %s", response.Proto)
			}
			client.CloseIdleConnections()
		})
		<-arrived
	}
	var flood []net.Conn
	for i := range 2 * most {
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+i))}}
		conn, err := dialer.DialContext(t.Context(), "tcp", g.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		flood = append(flood, conn)
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range 1000 { // until half of them had to leave
		if _, cut, _ := g.Counts(); cut >= most/2 {
			break
		}
		<-tick.C
	}
	close(hold)
	asking.Wait()
	for _, conn := range flood {
		_ = conn.Close()
	}
	if open, cut, _ := g.Counts(); cut < most/2 || open > most {
		t.Errorf("%d made room, %d are open", cut, open)
	}
}
