package e2e_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

const (
	startLimit   = time.Minute
	stopLimit    = time.Minute
	commandLimit = time.Minute
)

// output collects what a process writes.
type output struct {
	mu   sync.Mutex
	data bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.data.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.data.String()
}

// process is one running glueauth.
type process struct {
	cmd            *exec.Cmd
	stdout, stderr output
	exited         chan struct{}
	public, admin  string // base URLs
	client         *http.Client
	launched       time.Time
	again          atomic.Int64 // requests that were made again, after a 503 while the machine stood still
}

// start runs `glueauth serve` in dir and waits until it is ready. Options that start with a dash are flags, the others
// environment assignments.
func start(t *testing.T, dir string, options ...string) *process {
	t.Helper()
	p := launch(t, dir, append([]string{"GLUEAUTH_LISTEN=127.0.0.1:0", "GLUEAUTH_ADMIN_LISTEN=127.0.0.1:0"}, options...)...)
	p.await(t)
	return p
}

// settle waits until a process that was launched is ready, or reports that it has ended.
func (p *process) settle(t *testing.T) (ended bool) {
	t.Helper()
	eventually(t, startLimit, func() error {
		if ended = p.hasExited(); ended {
			return nil
		}
		return p.ready()
	})
	return ended
}

// await waits until a process that was launched is ready. One that did not start because its store did not answer while the
// machine stood still is started again.
func (p *process) await(t *testing.T) {
	t.Helper()
	ended := p.settle(t)
	for range 5 {
		if !ended || !p.waitedInVain() {
			break
		}
		old := p.cmd
		p.cmd = exec.Command(old.Path, old.Args[1:]...)
		p.cmd.Dir, p.cmd.Env = old.Dir, old.Env
		p.spawn(t)
		ended = p.settle(t)
	}
	if ended {
		t.Fatalf("serve ended by itself: %v\n%s", p.cmd.ProcessState, p.tail())
	}
}

func (p *process) ready() error {
	if p.public, p.admin = p.address("public"), p.address("management"); p.public == "" || p.admin == "" {
		return errors.New("no listener yet")
	}
	return p.expect(p.public+"/readyz", http.StatusOK)
}

// launch starts `glueauth serve` in dir and does not wait. The process is gone when the test is over.
func launch(t *testing.T, dir string, options ...string) *process {
	t.Helper()
	p := &process{client: newClient()}
	// Under umask 0, so that what must be private is private by our doing.
	p.cmd = exec.Command("sh", "-c", `umask 0; exec "$0" "$@"`, binary, "serve")
	p.cmd.Dir = dir
	p.cmd.Env = environment(dir)
	for _, option := range options {
		if strings.HasPrefix(option, "-") {
			p.cmd.Args = append(p.cmd.Args, option)
		} else {
			p.cmd.Env = append(p.cmd.Env, option)
		}
	}
	p.spawn(t)
	t.Cleanup(func() {
		if !p.hasExited() {
			p.stop(t)
		}
		p.client.CloseIdleConnections()
		p.checkLog(t)
	})
	return p
}

// spawn starts the process, whose command is there.
func (p *process) spawn(t *testing.T) {
	t.Helper()
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	cmd, exited := p.cmd, make(chan struct{})
	p.exited, p.launched = exited, time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = cmd.Wait()
		close(exited)
	}()
}

// waitedInVain reports whether a process that has ended may have done so because the machine stood still.
func (p *process) waitedInVain() bool {
	return wasHalted(p.launched) && late.MatchString(p.stderr.String())
}

// environment is what a process of ours sees of the machine. The race detector's runtime waits at the end of a process that
// ends well, a second unless it is told otherwise: hundreds of processes would wait minutes.
func environment(dir string) []string {
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "GORACE=halt_on_error=1 atexit_sleep_ms=100"}
}

func newClient() *http.Client {
	return &http.Client{
		Timeout:   30 * time.Second,
		Transport: &http.Transport{MaxIdleConnsPerHost: 64},
	}
}

// address returns the base URL of a listener as the log tells it, empty while it does not.
func (p *process) address(listener string) string {
	for line := range strings.Lines(p.stderr.String()) {
		var entry struct {
			Message  string `json:"msg"`
			Listener string `json:"listener"`
			Address  string `json:"address"`
			TLS      bool   `json:"tls"`
		}
		if strings.HasPrefix(line, "{") {
			_ = json.Unmarshal([]byte(line), &entry)
		} else if msg, rest, ok := strings.Cut(line, "msg=listening listener="); ok && msg != "" {
			entry.Message = "listening"
			_, _ = fmt.Sscanf(rest, "%s address=%s tls=%t", &entry.Listener, &entry.Address, &entry.TLS)
		}
		if entry.Message == "listening" && entry.Listener == listener {
			if entry.TLS {
				return "https://" + entry.Address
			}
			return "http://" + entry.Address
		}
	}
	return ""
}

func (p *process) hasExited() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

// stop asks the process to end and demands that it ends well.
func (p *process) stop(t *testing.T) {
	t.Helper()
	p.signal(t, syscall.SIGTERM)
	p.wait(t)
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d after SIGTERM\n%s", code, p.tail())
	}
}

// kill ends the process as a crash would.
func (p *process) kill(t *testing.T) {
	t.Helper()
	p.signal(t, syscall.SIGKILL)
	p.wait(t)
}

func (p *process) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatalf("send %v: %v", s, err)
	}
}

// wait waits for the end of the process; one that does not end is killed.
func (p *process) wait(t *testing.T) {
	t.Helper()
	select {
	case <-p.exited:
	case <-time.After(stopLimit):
		_ = p.cmd.Process.Kill()
		<-p.exited
		t.Errorf("the process did not end within %s\n%s", stopLimit, p.tail())
	}
}

// checkLog fails the test when the process saw a data race or a panic.
func (p *process) checkLog(t *testing.T) {
	t.Helper()
	log := p.stderr.String()
	for _, bad := range []string{"WARNING: DATA RACE", "panic: ", "fatal error: "} {
		if _, report, ok := strings.Cut(log, bad); ok {
			t.Errorf("the log has %s%s", bad, report)
		}
	}
}

// tail is the end of the log, for the message of a failed test.
func (p *process) tail() string {
	lines := strings.Split(p.stderr.String(), "\n")
	return strings.Join(lines[max(0, len(lines)-30):], "\n")
}

// ran is what became of a command that ended by itself.
type ran struct {
	code           int
	stdout, stderr string
	took           time.Duration
}

// command runs glueauth with these arguments in dir, to its end.
func command(t *testing.T, dir, stdin string, args ...string) ran {
	t.Helper()
	return finish(t, dir, stdin, nil, args...)
}

// finish is command with more settings. One that has waited in vain while the machine stood still is run again.
func finish(t *testing.T, dir, stdin string, env []string, args ...string) (r ran) {
	t.Helper()
	for range 5 {
		begun := time.Now()
		r = finishOnce(t, dir, stdin, env, args...)
		if !wasHalted(begun) || !late.MatchString(r.stdout+r.stderr) {
			break
		}
	}
	return r
}

// late is in what a command says that has waited in vain.
var late = regexp.MustCompile("does not answer|deadline exceeded|timeout|unavailable")

func finishOnce(t *testing.T, dir, stdin string, env []string, args ...string) ran {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, args...)
	cmd.Dir, cmd.Env, cmd.Stdin = dir, append(environment(dir), env...), strings.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	timer := time.AfterFunc(commandLimit, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	begun := watch()
	err := cmd.Run()
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		t.Fatal(err)
	}
	return ran{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String(), begun.elapsed()}
}

// succeed runs glueauth and demands exit code 0; it returns the standard output.
func succeed(t *testing.T, dir, stdin string, args ...string) string {
	t.Helper()
	r := command(t, dir, stdin, args...)
	if r.code != 0 {
		t.Fatalf("glueauth %s: exit code %d\n%s%s", strings.Join(args, " "), r.code, r.stdout, r.stderr)
	}
	return r.stdout
}

// eventually asks again until check has no complaint; the test fails with the last one when the limit is over.
func eventually(t *testing.T, limit time.Duration, check func() error) {
	t.Helper()
	begun := watch()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		if begun.elapsed() > limit {
			t.Fatalf("after %s still: %v", limit, err)
		}
		<-tick.C
	}
}

// write makes a file below dir.
func write(t *testing.T, dir, name, content string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // whatever the umask
		t.Fatal(err)
	}
	return path
}
