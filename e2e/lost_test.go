package e2e_test

import (
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/glueauth/glueauth/store/storetest"
)

// stops starts a server that must end by itself, with these words in its log.
func stops(t *testing.T, dir, words string, options ...string) {
	t.Helper()
	var p *process
	for range 5 {
		p = launch(t, dir, options...)
		eventually(t, startLimit, func() error {
			if !p.hasExited() {
				return errors.New("it runs")
			}
			return nil
		})
		if strings.Contains(p.stderr.String(), words) || !p.waitedInVain() {
			break
		}
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(p.stderr.String(), words) {
		t.Errorf("exit code %d, want 1 and %q:\n%s", code, words, p.tail())
	}
}

func TestALostMasterKeyIsNotReplaced(t *testing.T) {
	t.Parallel()
	dir := patient(t)
	file := filepath.Join(dir, "data/master.key")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	const lost = "there is no master key in data/master.key, but data/glueauth.db was used with one"
	for range 2 { // the first start leaves nothing that would hide it
		mustFind(t, examine(t, dir, nil), diagnosis{"master key", "fail", lost, "restore it from a backup"})
		stops(t, dir, lost)
		if r := finish(t, dir, "", nil, "sessions", "list", "DE--1"); r.code != 1 || !strings.Contains(r.stderr, lost) {
			t.Errorf("exit code %d: %s", r.code, r.stderr)
		}
		if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("there is a new master key (%v)", err)
		}
	}
	succeed(t, dir, "", "keys", "accept-master")
	start(t, dir)
}

func TestALostSigningKeyIsReplacedWithAWarning(t *testing.T) {
	t.Parallel()
	const void = "access tokens of the former key are void"
	dir := t.TempDir()
	first := start(t, dir)
	first.stop(t)
	if err := os.RemoveAll(filepath.Join(dir, "data/keys")); err != nil {
		t.Fatal(err)
	}
	mustFind(t, examine(t, dir, []string{"GLUEAUTH_CUSTOMERS_FILE=" + filepath.Join(patient(t), "data/glueauth.db")}),
		diagnosis{"signing keys", "warn", void, "restore the folder from a backup"})
	again := start(t, dir)
	for p, want := range map[*process]bool{first: false, again: true} {
		if log := p.stderr.String(); strings.Contains(log, void) != want || strings.Contains(log, `"level":"WARN"`) != want {
			t.Errorf("a warning: %v, want %v:\n%s", !want, want, p.tail())
		}
	}
}

func TestSessionsThatWereMovedAwayDoNotComeBackByThemselves(t *testing.T) {
	t.Parallel()
	url := storetest.Redis(t).URL() + "?db=3"
	dir := t.TempDir()
	p := start(t, dir, "--demo")
	token := p.signIn(t, demoEmail).RefreshToken
	p.stop(t)
	succeed(t, dir, "", "sessions", "move", "--from", "data", "--to", url)
	p = start(t, dir, "--redis="+url)
	if a, err := p.post("/revoke", "token", token); err != nil || a.status != http.StatusOK {
		t.Fatalf("%v, %v", a, err)
	}
	p.stop(t)

	const moved = "data/glueauth.db were moved to redis at "
	stops(t, dir, moved)
	mustFind(t, examine(t, dir, nil), diagnosis{"sessions", "fail", ", database 3", "move them back with glueauth sessions move"})
	if r := finish(t, dir, "", nil, "sessions", "revoke", demoEmail); r.code != 1 || !strings.Contains(r.stderr, moved) {
		t.Errorf("exit code %d: %s", r.code, r.stderr)
	}

	succeed(t, dir, "", "sessions", "move", "--from", url, "--to", "data", "--source-is-read-only")
	p = start(t, dir)
	if a, err := p.refresh(token); err != nil || a.status != http.StatusBadRequest {
		t.Errorf("a session that had ended: %v, %v", a, err)
	}
	token = p.signIn(t, demoEmail).RefreshToken
	p.stop(t)

	succeed(t, dir, "", "sessions", "move", "--from", "data", "--to", url)
	if out := succeed(t, dir, "", "sessions", "take-back"); !strings.Contains(out, "moved to redis at ") {
		t.Error(out)
	}
	if r := finish(t, dir, "", nil, "sessions", "take-back"); r.code != 1 || !strings.Contains(r.stderr, "were not moved away") {
		t.Errorf("exit code %d: %s", r.code, r.stderr)
	}
	start(t, dir).mustRefresh(t, token)
}
