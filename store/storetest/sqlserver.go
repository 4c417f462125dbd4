package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// SQLServer is a database server of a test's own, in a folder of its own. It listens on a port of 127.0.0.1, and ends with
// the test.
type SQLServer struct {
	Addr string // host:port

	kind      sqlKind
	dir, port string
	program   string
	args      []string
	as        *syscall.Credential // nil: as the test itself
	process   *exec.Cmd
	output    *bytes.Buffer // to be read after the process has ended
}

// sqlKind is what differs between the two kinds of servers.
type sqlKind struct {
	name, scheme, admin string
	account             string // of the machine, for a server that refuses to run as root
	end                 syscall.Signal
	client              func(s *SQLServer, database string) []string
}

// newSQLServer prepares a folder that the server's account can write to.
func newSQLServer(t testing.TB, kind sqlKind) *SQLServer {
	t.Helper()
	s := &SQLServer{kind: kind, dir: shortDir(t), port: freePort(t)}
	s.Addr = net.JoinHostPort("127.0.0.1", s.port)
	if os.Getuid() != 0 {
		return s
	}
	account, err := user.Lookup(kind.account)
	if err != nil {
		t.Fatalf("%s has no account: run make deps", kind.name)
	}
	uid, err1 := strconv.ParseUint(account.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(account.Gid, 10, 32)
	if err := errors.Join(err1, err2, os.Chown(s.dir, int(uid), int(gid))); err != nil {
		t.Fatal(err)
	}
	s.as = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return s
}

// URL returns the URL of a database for an account and its password.
func (s *SQLServer) URL(account, password, database string) string {
	u := url.URL{Scheme: s.kind.scheme, User: url.UserPassword(account, password), Host: s.Addr, Path: "/" + database}
	return u.String()
}

// Start starts the server, also again after [SQLServer.Kill], and returns when it answers.
func (s *SQLServer) Start(t testing.TB) {
	t.Helper()
	s.output = new(bytes.Buffer)
	s.process = s.command(s.program, s.args...)
	s.process.Stdout, s.process.Stderr = s.output, s.output
	if err := s.process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Kill)
	Eventually(t, s.kind.name+" answers", func() bool {
		_, err := s.Try("", "SELECT 1")
		return err == nil
	})
}

// Kill ends the server as a crash would, and returns when it is gone. What it had acknowledged is there again after
// [SQLServer.Start].
func (s *SQLServer) Kill() {
	if s.process.ProcessState == nil {
		_ = s.signal(syscall.SIGCONT)
		_ = s.process.Process.Signal(s.kind.end)
		_ = s.process.Wait()
	}
}

// Stop halts the server with all its processes: it still accepts connections, and answers nothing.
func (s *SQLServer) Stop(t testing.TB) {
	t.Helper()
	if err := s.signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
}

// Continue undoes [SQLServer.Stop].
func (s *SQLServer) Continue(t testing.TB) {
	t.Helper()
	if err := s.signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
}

// signal reaches the server and its children, each of which is a process group of its own.
func (s *SQLServer) signal(sig syscall.Signal) error {
	if err := s.process.Process.Signal(sig); err != nil {
		return err
	}
	pids, err := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range pids {
		stat, _ := os.ReadFile(path) // one that is gone by now
		_, rest, _ := strings.Cut(string(stat), ") ")
		if fields := strings.Fields(rest); len(fields) < 2 || fields[1] != strconv.Itoa(s.process.Process.Pid) {
			continue
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		_ = syscall.Kill(pid, sig)
	}
	return err
}

// Try runs statements as the server's administrator with its own client, and returns what they print, the columns of a row
// separated by tabs.
func (s *SQLServer) Try(database string, statements ...string) (string, error) {
	line := s.kind.client(s, database)
	client := exec.Command(line[0], line[1:]...)
	client.Stdin = strings.NewReader(strings.Join(statements, ";\n") + ";\n")
	out, err := client.CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		return "", fmt.Errorf("%s is missing: run make deps", line[0])
	}
	if err != nil {
		return "", fmt.Errorf("%s: %s", line[0], out)
	}
	return strings.TrimSpace(string(out)), nil
}

// Do is [SQLServer.Try] for statements that must succeed.
func (s *SQLServer) Do(t testing.TB, database string, statements ...string) string {
	t.Helper()
	out, err := s.Try(database, statements...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// run runs a program of the server's to its end, as the server's account.
func (s *SQLServer) run(t testing.TB, program string, args ...string) {
	t.Helper()
	if out, err := s.command(program, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", program, err, out)
	}
}

func (s *SQLServer) command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(program, args...)
	cmd.Dir = s.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.as}
	return cmd
}

// sqlProgram finds a program in PATH or where Debian keeps it.
func sqlProgram(t testing.TB, name string, folders ...string) string {
	t.Helper()
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	for _, folder := range folders {
		found, err := filepath.Glob(filepath.Join(folder, name))
		if err == nil && len(found) > 0 {
			return slices.Max(found)
		}
	}
	t.Fatal(name + " is missing: run make deps")
	return ""
}
