package bench_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

// patience is how long a client waits for an answer.
const patience = 10 * time.Second

// answer is what became of one request.
type answer struct {
	status int           // 0: none came in time
	later  time.Duration // Retry-After
	header http.Header
	body   []byte
	took   time.Duration
}

// conn is one client of a server.
type conn struct {
	address string
	conn    net.Conn
	reader  *bufio.Reader
	seen    *bytes.Buffer // nil, or all that the server has sent
}

// newConn returns a client, which connects when it has something to say.
func newConn(address string) *conn { return &conn{address: address} }

// close ends the connection.
func (c *conn) close() {
	if c.conn != nil {
		_ = c.conn.Close()
	}
	c.conn = nil
}

// post sends a form to /token. Any failure is an answer with status 0, after which the next request connects anew.
func (c *conn) post(form string) answer {
	begun := time.Now()
	a, err := c.try(form, begun.Add(patience))
	if a.took = time.Since(begun); err != nil {
		c.close()
		a.status = 0
	}
	return a
}

func (c *conn) try(form string, until time.Time) (a answer, err error) {
	if c.conn == nil {
		if c.conn, err = net.DialTimeout("tcp", c.address, time.Until(until)); err != nil {
			return a, fmt.Errorf("connect: %w", err)
		}
		var from io.Reader = c.conn
		if c.seen != nil {
			from = io.TeeReader(from, c.seen)
		}
		c.reader = bufio.NewReader(from)
	}
	if err := c.conn.SetDeadline(until); err != nil {
		return a, fmt.Errorf("limit: %w", err)
	}
	const head = "POST /token HTTP/1.1\r\nHost: bench\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: "
	if _, err := io.WriteString(c.conn, head+strconv.Itoa(len(form))+"\r\n\r\n"+form); err != nil {
		return a, fmt.Errorf("send: %w", err)
	}
	response, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		return a, fmt.Errorf("receive: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	if a.body, err = io.ReadAll(response.Body); err != nil {
		return a, fmt.Errorf("receive: %w", err)
	}
	seconds, _ := strconv.Atoi(response.Header.Get("Retry-After")) // none: 0
	a.status, a.header, a.later = response.StatusCode, response.Header, time.Duration(seconds)*time.Second
	if response.Close {
		c.close()
	}
	return a, nil
}
