package e2e_test

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A block of the README is run when `<!-- tested: KIND -->` stands above it: in the order of the page, in a copy of the tree,
// as printed but for the port. The one that serves runs beside the others, which must print what their kind demands.
func TestTheReadmeWorksAsPrinted(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)<!-- tested: (\\w+) -->\\s*```sh\n(.*?)```").FindAllStringSubmatch(string(page), -1)
	tree := filepath.Join(t.TempDir(), "glueauth")
	copyTree(t, "..", tree)
	public, admin := freeAddress(t), freeAddress(t)
	kinds, prints := map[string]int{}, map[string]string{"curl": `"refresh_token":"grt_`, "revoke": "{}"}
	for _, block := range blocks {
		script := strings.ReplaceAll(block[2], "localhost:8080", public)
		command := func() *exec.Cmd {
			cmd := exec.Command("bash", "-euo", "pipefail", "-c", script)
			cmd.Dir, cmd.WaitDelay = tree, commandLimit
			cmd.Env = append(os.Environ(), "GLUEAUTH_LISTEN="+public, "GLUEAUTH_ADMIN_LISTEN="+admin,
				"GOFLAGS="+strings.TrimSpace(os.Getenv("GOFLAGS")+" "+strings.Join(raceFlags, " "))) // what TestMain has compiled already
			return cmd
		}
		if kinds[block[1]]++; block[1] == "serve" {
			serveReadme(t, command(), public)
			continue
		}
		out, err := said(t, command)
		if err != nil {
			t.Errorf("%s\n%v\n%s", script, err, out)
		}
		if want := prints[block[1]]; want == "" || !strings.Contains(out, want) {
			t.Errorf("%s\nprinted no %q:\n%s", script, want, out)
		}
	}
	if kinds["serve"] != 1 || kinds["curl"] == 0 || kinds["revoke"] != 1 {
		t.Errorf("the README has these tested blocks: %v, want one that serves, one that revokes, and one with curl at least", kinds)
	}
}

// serveReadme starts the README's server and waits until it answers; the end of the test ends it, and the go command
// around it.
func serveReadme(t *testing.T, cmd *exec.Cmd, address string) {
	t.Helper()
	log := &output{}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		timer := time.AfterFunc(stopLimit, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
		defer timer.Stop()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s", log)
		}
	})
	eventually(t, 3*time.Minute, func() error {
		if cmd.ProcessState != nil {
			return errors.New("it ended")
		}
		conn, err := net.Dial("tcp", address)
		if err == nil {
			err = conn.Close()
		}
		return err
	})
}

// copyTree copies what a clone has: no history, and nothing that the programs made.
func copyTree(t *testing.T, from, to string) {
	t.Helper()
	walk(t, from, func(path string, mode fs.FileMode) {
		first, _, _ := strings.Cut(filepath.ToSlash(path), "/")
		if first == ".git" || first == "data" || first == "bin" || !mode.IsRegular() {
			return
		}
		content, err := os.ReadFile(filepath.Join(from, path))
		if err != nil {
			t.Fatal(err)
		}
		write(t, to, path, string(content), mode.Perm())
	})
}

// freeAddress returns an address that nobody listens on. Its port is below those that the system gives to whoever asks for
// any, so that no other process gets it meanwhile.
func freeAddress(t *testing.T) string {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 12_000+rand.IntN(18_000)))
		if err == nil {
			defer func() { _ = l.Close() }()
			return l.Addr().String()
		}
	}
	t.Fatal("no port is free")
	return ""
}
