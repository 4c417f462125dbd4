package storetest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// RedisServer is a redis-server process of a test's own, in a folder of its own. It ends with the test.
type RedisServer struct {
	Socket string // path of its unix socket; empty for a Sentinel
	Addr   string // host:port, empty unless it was started with a port

	args    []string
	process *exec.Cmd
	output  *bytes.Buffer // to be read after the process has ended
}

// Redis starts a server that listens on a unix socket only and writes nothing to disk. Further arguments are added to its
// command line, where the last one wins.
func Redis(t testing.TB, args ...string) *RedisServer {
	t.Helper()
	dir := shortDir(t)
	socket := filepath.Join(dir, "redis.sock")
	r := &RedisServer{Socket: socket, args: append([]string{
		"--port", "0", "--unixsocket", socket, "--dir", dir, "--save", "", "--appendonly", "no", "--databases", "16",
		"--repl-diskless-sync-delay", "0",
	}, args...)}
	r.Start(t)
	return r
}

// RedisPort starts a server that listens on a port of 127.0.0.1 as well.
func RedisPort(t testing.TB, args ...string) *RedisServer {
	t.Helper()
	port := freePort(t)
	r := Redis(t, append([]string{"--bind", "127.0.0.1", "--port", port}, args...)...)
	r.Addr = net.JoinHostPort("127.0.0.1", port)
	return r
}

// URL returns the server's URL, by its port if it has one.
func (r *RedisServer) URL() string {
	if r.Addr != "" {
		return "redis://" + r.Addr
	}
	return "unix://" + r.Socket
}

// Start starts the server, also again after [RedisServer.Kill], and returns when it answers.
func (r *RedisServer) Start(t testing.TB) {
	t.Helper()
	r.Launch(t)
	Eventually(t, "redis-server answers", func() bool {
		out, err := r.Try("PING")
		return out == "PONG" || err != nil && strings.Contains(err.Error(), "NOAUTH")
	})
}

// Launch starts the server with further arguments and does not wait for it.
func (r *RedisServer) Launch(t testing.TB, args ...string) {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		t.Fatal("redis-server is missing: run make deps")
	}
	r.output = new(bytes.Buffer)
	r.process = exec.Command(path, slices.Concat(r.args, args)...)
	r.process.Stdout, r.process.Stderr = r.output, r.output
	if err := r.process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Kill() })
}

// Kill ends the server as a power cut would, and returns when it is gone.
func (r *RedisServer) Kill() {
	if r.process.ProcessState == nil {
		_ = r.process.Process.Kill()
		_ = r.process.Wait()
	}
}

// Stop halts the server: it still accepts connections, and answers nothing.
func (r *RedisServer) Stop(t testing.TB) { r.signal(t, syscall.SIGSTOP) }

// Continue undoes [RedisServer.Stop].
func (r *RedisServer) Continue(t testing.TB) { r.signal(t, syscall.SIGCONT) }

func (r *RedisServer) signal(t testing.TB, s os.Signal) {
	t.Helper()
	if err := r.process.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// Try sends one command and returns its answer as redis-cli prints it.
func (r *RedisServer) Try(command ...string) (string, error) {
	address := []string{"-s", r.Socket}
	if r.Socket == "" {
		_, port, _ := net.SplitHostPort(r.Addr)
		address = []string{"-h", "127.0.0.1", "-p", port}
	}
	return redisCLI(append(append(address, "-e", "--raw"), command...)...)
}

// Do is [RedisServer.Try] for a command that must succeed.
func (r *RedisServer) Do(t testing.TB, command ...string) string {
	t.Helper()
	out, err := r.Try(command...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// confirmed reports whether a replica confirms a write soon; the write empties the server.
func (r *RedisServer) confirmed() bool {
	cli := exec.Command("redis-cli", "-s", r.Socket)
	cli.Stdin = strings.NewReader("FLUSHALL\nWAIT 1 300\n") // on one connection
	out, err := cli.Output()
	return err == nil && strings.HasSuffix(strings.TrimSpace(string(out)), "\n1")
}

func redisCLI(args ...string) (string, error) {
	out, err := exec.Command("redis-cli", args...).CombinedOutput()
	text := strings.TrimSpace(string(out))
	if errors.Is(err, exec.ErrNotFound) {
		return "", errors.New("redis-cli is missing: run make deps")
	}
	if err != nil {
		return "", fmt.Errorf("redis-cli %v: %s", args, text)
	}
	return text, nil
}

// Eventually returns when the condition holds, and fails the test when it does not within a minute and a half: a Redis Sentinel
// does nothing for half a minute when the machine stood still.
func Eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	deadline := time.After(90 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("waited in vain: " + what)
		}
	}
}

// shortDir returns a folder whose name leaves room for that of a socket, which may have 107 bytes.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "glueauth") //nolint:usetesting // the name of the test would be part of its path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// freePort returns a port of 127.0.0.1 that is free, and so is the one that a node of a Cluster uses beside it.
func freePort(t testing.TB) string {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		_ = l.Close()
		bus, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port+10000)))
		if err == nil {
			_ = bus.Close()
			return strconv.Itoa(port)
		}
	}
	t.Fatal("no free pair of ports")
	return ""
}

// Monitor starts to record what clients send to the server. The function that it returns ends the record and returns its
// lines.
func (r *RedisServer) Monitor(t testing.TB) func() []string {
	t.Helper()
	c, err := net.Dial("unix", r.Socket)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(c)
	if _, err := c.Write([]byte("MONITOR\r\n")); err != nil || !lines.Scan() {
		t.Fatalf("monitor: %v", err)
	}
	return func() []string {
		defer func() { _ = c.Close() }()
		r.Do(t, "ECHO", "end of the record")
		var all []string
		for lines.Scan() && !strings.Contains(lines.Text(), "end of the record") {
			all = append(all, lines.Text())
		}
		return all
	}
}
