package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestOneServerADataFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := start(t, dir)
	second := finish(t, dir, "", []string{"GLUEAUTH_LISTEN=127.0.0.1:0", "GLUEAUTH_ADMIN_LISTEN=127.0.0.1:0"}, "serve")
	quick := command(t, dir, "", "keys", "list").took // what a command takes on this machine
	if second.took > 2*time.Second+2*quick {
		t.Errorf("the second server gave up after %s, want at most 2 s beside %s", second.took, 2*quick)
	}
	wantOneLine(t, second, strconv.Itoa(first.cmd.Process.Pid), "data", "--data")
	if err := first.expect(first.public+"/readyz", 200); err != nil {
		t.Errorf("the first server afterwards: %v", err)
	}
	first.kill(t)
	start(t, dir)
}

func TestOtherCommandsWorkBesideTheServer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := start(t, dir)
	succeed(t, dir, demoPassword, "customers", "add", "--email", "late@shop.example", "--reference", "DE--7", "--password-stdin")
	p.signIn(t, "LATE@shop.example")
	if list := succeed(t, dir, "", "customers", "list"); !strings.Contains(list, "late@shop.example") {
		t.Errorf("customers list: %s", list)
	}
	session := p.signIn(t, "late@shop.example")
	succeed(t, dir, "", "customers", "block", "late@shop.example")
	if a, err := p.refresh(session.RefreshToken); err != nil || a.status != 400 || a.Description != "The refresh token is invalid." {
		t.Errorf("refresh of a blocked customer: %v %v", a, err)
	}
	for _, args := range [][]string{{"keys", "list"}, {"keys", "export", "--format", "jwks"}, {"config", "validate"}} {
		succeed(t, dir, "", args...)
	}
	jwks, err := p.get(p.public + "/.well-known/jwks.json")
	if exported := succeed(t, dir, "", "keys", "export", "--format", "jwks"); err != nil || strings.TrimSpace(exported) != strings.TrimSpace(jwks.body) {
		t.Errorf("keys export says\n%s\nthe server\n%s", exported, jwks.body)
	}
	healthy := finish(t, dir, "", []string{"GLUEAUTH_ADMIN_LISTEN=" + strings.TrimPrefix(p.admin, "http://")}, "healthcheck")
	if healthy.code != 0 {
		t.Errorf("healthcheck: %d %s", healthy.code, healthy.stderr)
	}
	p.stop(t)
	if dead := finish(t, dir, "", []string{"GLUEAUTH_ADMIN_LISTEN=" + strings.TrimPrefix(p.admin, "http://")}, "healthcheck"); dead.code == 0 {
		t.Error("healthcheck of a stopped server succeeds")
	}
}

func TestFirstStartBesideOtherCommands(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var group sync.WaitGroup
	for i := range 3 {
		group.Go(func() {
			r := command(t, dir, demoPassword, "customers", "add", "--email", fmt.Sprintf("c%d@shop.example", i), "--reference", fmt.Sprintf("DE--%d", i), "--password-stdin")
			if r.code != 0 {
				t.Errorf("customers add: %d %s", r.code, r.stderr)
			}
		})
	}
	p := start(t, dir)
	group.Wait()
	for i := range 3 {
		p.signIn(t, fmt.Sprintf("c%d@shop.example", i))
	}
}

func TestCommandGivesUpOnAHeldDatabase(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	start(t, dir).stop(t)
	defer hold(t, filepath.Join(dir, "data"))()
	begun := time.Now()
	r := command(t, dir, cheapHash, "customers", "add", "--email", "a@shop.example", "--reference", "DE--1", "--password-hash-stdin")
	wantOneLine(t, r, "database")
	if time.Since(begun) < time.Second || r.took > 4*time.Second {
		t.Errorf("it waited %s for the database, want about 2 s", r.took)
	}
}

func TestReadOnlyCommandsMakeNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, args := range [][]string{{"keys", "list"}, {"keys", "export"}, {"customers", "list"}, {"config", "print"}, {"version"}} {
		_ = command(t, dir, "", args...)
		if _, err := os.Stat(filepath.Join(dir, "data")); err == nil {
			t.Fatalf("%s made a data folder", strings.Join(args, " "))
		}
	}
}

// wantOneLine demands a failure that is told in one line of plain text with all these words in it. The log may stand
// above it.
func wantOneLine(t *testing.T, r ran, words ...string) {
	t.Helper()
	if r.code == 0 {
		t.Errorf("exit code 0, want a failure")
	}
	var plain []string
	for line := range strings.Lines(r.stderr) {
		if !strings.HasPrefix(line, "{") {
			plain = append(plain, strings.TrimSpace(line))
		}
	}
	if len(plain) != 1 || !strings.HasPrefix(plain[0], "glueauth: ") {
		t.Errorf("standard error has %d lines of plain text, want one that starts with glueauth:\n%s", len(plain), r.stderr)
		return
	}
	for _, word := range words {
		if !strings.Contains(plain[0], word) {
			t.Errorf("%q does not say %q", plain[0], word)
		}
	}
}
