package e2e_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func TestStopUnderLoadAnswersWhatItHasBegunAndLosesNothing(t *testing.T) {
	t.Parallel()
	const clients = 8
	dir := t.TempDir()
	emails := customers(t, dir, clients+1)
	p := start(t, dir)
	journal := make([]string, clients)
	for i, email := range emails[:clients] {
		journal[i] = p.signIn(t, email).RefreshToken
	}
	var load sync.WaitGroup
	warm := make(chan struct{}, clients)
	for i := range journal {
		load.Go(func() {
			for n := 0; ; {
				a, err := p.refresh(journal[i])
				if err != nil {
					return // nobody listens any more
				}
				if a.status == http.StatusServiceUnavailable {
					continue // nothing was promised; the disk is busy
				}
				if a.status != http.StatusOK {
					t.Errorf("client %d: %v", i, a)
					return
				}
				journal[i] = a.RefreshToken
				if n++; n == 4 {
					warm <- struct{}{}
				}
			}
		})
	}
	for range clients {
		<-warm
	}
	late := begin(t, p, url.Values{"grant_type": {"password"}, "username": {emails[clients]}, "password": {demoPassword}}.Encode())
	p.signal(t, syscall.SIGTERM)
	eventually(t, stopLimit, func() error { return refusesConnections(p) })
	inFlight := late(t)
	load.Wait()
	p.wait(t)
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d\n%s", code, p.tail())
	}

	again := start(t, dir)
	for _, token := range slices.Concat(journal, []string{inFlight.RefreshToken}) {
		again.mustRefresh(t, token)
	}
}

func TestStopDrainsFirst(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := start(t, dir, "GLUEAUTH_SHUTDOWN_DRAIN=6s")
	email := customers(t, dir, 1)[0]
	p.signal(t, syscall.SIGTERM)
	eventually(t, 6*time.Second, func() error { return p.expect(p.public+"/readyz", http.StatusServiceUnavailable) })
	if err := p.expect(p.public+"/livez", http.StatusOK); err != nil {
		t.Error(err)
	}
	if a, err := p.token("grant_type", "password", "username", email, "password", demoPassword); err != nil || a.status != http.StatusOK {
		t.Errorf("sign in while draining: %v %v", a, err)
	}
	p.wait(t)
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d\n%s", code, p.tail())
	}
}

// begin sends the head of a token request and waits until the server asks for its body. The returned function sends the
// body and demands a complete answer.
func begin(t *testing.T, p *process, body string) func(*testing.T) answer {
	t.Helper()
	host := strings.TrimPrefix(p.public, "http://")
	conn, err := net.Dial("tcp", host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(stopLimit))
	_, err = fmt.Fprintf(conn, "POST /token HTTP/1.1\r\nHost: %s\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n", host, len(body))
	if err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(conn)
	if line, err := in.ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 100 ") {
		t.Fatalf("%q %v, want 100 Continue", line, err)
	}
	if _, err := in.ReadString('\n'); err != nil { // the empty line
		t.Fatal(err)
	}
	return func(t *testing.T) answer {
		t.Helper()
		if _, err := io.WriteString(conn, body); err != nil {
			t.Fatal(err)
		}
		response, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatalf("the request in flight: %v\n%s", err, p.tail())
		}
		defer func() { _ = response.Body.Close() }()
		a, err := read(response)
		if err != nil || a.status != http.StatusOK {
			t.Fatalf("the request in flight: %v %v", a, err)
		}
		return a
	}
}

func refusesConnections(p *process) error {
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.public, "http://"))
	if err == nil {
		_ = conn.Close()
		return errors.New("the server still takes connections")
	}
	return nil
}
