package e2e_test

import (
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// With E2E_SCALE=10 these are the two hundred kills that the design asks for.
func TestKillAfterKillLosesNothingAndNeedsNoHands(t *testing.T) {
	t.Parallel()
	kills := 20 * scale(t)
	dir := t.TempDir()
	var people []*customer
	for _, email := range customers(t, dir, 4) {
		people = append(people, &customer{email: email})
	}
	var slowest time.Duration
	for range kills {
		p, took := restart(t, dir)
		slowest = max(slowest, took)
		refreshNewest(t, p, people, 8)
		p.never(t, "refresh_healed", "refresh_refused", "refresh_reuse", "session_ended")
		workUntilKilled(t, p, people, 25)
	}
	p, took := restart(t, dir)
	p.noLeaks(t)
	refreshNewest(t, p, people, kills*25)
	p.never(t, "refresh_healed", "refresh_refused", "refresh_reuse", "session_ended")
	t.Logf("%d kills; the slowest start took %s, with the race detector", kills, max(slowest, took).Round(time.Millisecond))
}

// restart starts the server and measures how long it took to be ready.
func restart(t *testing.T, dir string) (*process, time.Duration) {
	t.Helper()
	begun := time.Now()
	p := start(t, dir)
	return p, time.Since(begun)
}

// refreshNewest demands that what was acknowledged still works, for so many of the newest sessions of each customer.
func refreshNewest(t *testing.T, p *process, people []*customer, n int) {
	t.Helper()
	for _, c := range people {
		newest := c.journal[max(0, len(c.journal)-n):]
		for i, token := range newest {
			newest[i] = p.mustRefresh(t, token).RefreshToken
		}
	}
}

func TestFullDiskTurnsWritersAwayUntilThereIsSpace(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	emails := customers(t, dir, 2)
	p, disk := startOnSmallDisk(t, "GLUEAUTH_CUSTOMERS_FILE="+filepath.Join(dir, "data", "glueauth.db"))
	p.noLeaks(t)
	var tokens []string
	for range 8 {
		tokens = append(tokens, p.mustRefresh(t, p.signIn(t, emails[0]).RefreshToken).RefreshToken)
	}
	ballast := filepath.Join(disk, "ballast")
	fill(t, ballast)
	for i := range tokens { // while the log has room in its last page
		a, err := p.refresh(tokens[i])
		if err == nil && a.status == http.StatusOK {
			tokens[i] = a.RefreshToken
		}
	}
	full := sizes(t, disk)
	for range 10 {
		p.offersNoWrites(t, tokens[0], emails[1])
	}
	eventually(t, startLimit, func() error { return p.expect(p.public+"/readyz", http.StatusServiceUnavailable) })
	if diff := cmp.Diff(full, sizes(t, disk)); diff != "" {
		t.Errorf("what could not be written grew (-before +after):\n%s", diff)
	}
	if r := command(t, dir, "", "--data", disk, "keys", "rotate"); r.code == 0 || !strings.Contains(r.stderr, "make room there") {
		t.Errorf("the signing key was rotated: %+v", r)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	eventually(t, startLimit, func() error { return p.expect(p.public+"/readyz", http.StatusOK) })
	for _, token := range tokens {
		p.mustRefresh(t, token)
	}
	p.signIn(t, emails[1])
	if n := p.turnedAway(t, "full"); n < 30 {
		t.Errorf("%d requests were turned away, want 30 at least", n)
	}
	p.never(t, "refresh_refused", "refresh_healed", "refresh_reuse", "session_ended")
}

// offersNoWrites demands that a refresh, a sign-out and a sign-in are told to come again, and that everything else works.
func (p *process) offersNoWrites(t *testing.T, token, email string) {
	t.Helper()
	p.mustTurnAway(t, "/token", "grant_type", "refresh_token", "refresh_token", token)
	p.mustTurnAway(t, "/revoke", "token", token)
	p.mustTurnAway(t, "/token", "grant_type", "password", "username", email, "password", demoPassword)
	for _, address := range []string{p.public + "/.well-known/jwks.json", p.public + "/livez", p.admin + "/metrics"} {
		if err := p.expect(address, http.StatusOK); err != nil {
			t.Error(err)
		}
	}
}

// startOnSmallDisk starts a server whose data folder is a file system of its own, of two megabytes, in a mount namespace
// that needs no privileges. It returns the folder as the test sees it.
func startOnSmallDisk(t *testing.T, options ...string) (_ *process, disk string) {
	t.Helper()
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	unshare, err := exec.LookPath("unshare")
	if err != nil {
		t.Fatal("unshare is missing: install util-linux")
	}
	mount := []string{"--user", "--map-root-user", "--mount", "sh", "-c", `mount -t tmpfs -o size=2m,mode=700 small "$1" && exec "$0" serve`}
	if out, err := exec.CommandContext(t.Context(), unshare, append(mount, "true", data)...).CombinedOutput(); err != nil {
		t.Fatalf("no tmpfs in a user namespace: %v: %s: allow unprivileged user namespaces (sysctl kernel.unprivileged_userns_clone=1, "+
			"kernel.apparmor_restrict_unprivileged_userns=0; in a container, --security-opt seccomp=unconfined)", err, out)
	}
	p := &process{cmd: exec.Command(unshare, append(mount, binary, data)...), exited: make(chan struct{}), client: newClient()}
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = dir, &p.stdout, &p.stderr
	p.cmd.Env = append(append(environment(dir), "GLUEAUTH_LISTEN=127.0.0.1:0", "GLUEAUTH_ADMIN_LISTEN=127.0.0.1:0"), options...)
	p.run(t)
	p.admin = p.address("management")
	t.Cleanup(func() { p.checkLog(t) })
	return p, filepath.Join(fmt.Sprintf("/proc/%d/root", p.cmd.Process.Pid), data)
}

// fill writes until there is no space left.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	for size := 1 << 16; size > 0; {
		if _, err := f.Write(make([]byte, size)); err != nil {
			size /= 2
		}
	}
}

// sizes tells how long each file below dir is.
func sizes(t *testing.T, dir string) map[string]int64 {
	t.Helper()
	found := map[string]int64{}
	walk(t, dir, func(path string, mode fs.FileMode) {
		info, err := os.Stat(filepath.Join(dir, path))
		if err != nil {
			t.Fatal(err)
		}
		if mode.IsRegular() {
			found[path] = info.Size()
		}
	})
	return found
}

// usedFolder returns a data folder that has been used: after an orderly stop, or killed with the newest writes in the log
// only. The tokens are of one session each; all of a session's are there, the newest last.
func usedFolder(t *testing.T, killed bool) (dir string, sessions [][]string) {
	t.Helper()
	dir = t.TempDir()
	emails := customers(t, dir, 4)
	p := start(t, dir)
	for _, email := range emails {
		tokens := []string{p.signIn(t, email).RefreshToken}
		sessions = append(sessions, tokens)
	}
	for range 8 {
		for i, tokens := range sessions {
			sessions[i] = append(tokens, p.mustRefresh(t, tokens[len(tokens)-1]).RefreshToken)
		}
	}
	if killed {
		p.kill(t)
	} else {
		p.stop(t)
	}
	return dir, sessions
}

func TestTruncatedDatabaseIsRefusedAndLeftAsItIs(t *testing.T) {
	t.Parallel()
	whole, _ := usedFolder(t, false)
	info, err := os.Stat(filepath.Join(whole, "data", "glueauth.db"))
	if err != nil {
		t.Fatal(err)
	}
	for name, size := range map[string]int64{
		"in the header": 50, "after the header": 100, "after a page": 4096, "by a page": info.Size() - 4096, "by a byte": info.Size() - 1,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			data := filepath.Join(dir, "data")
			clone(t, filepath.Join(whole, "data"), data)
			if err := os.Truncate(filepath.Join(data, "glueauth.db"), size); err != nil {
				t.Fatal(err)
			}
			before := snapshot(t, data)
			r := finish(t, dir, "", []string{"GLUEAUTH_LISTEN=127.0.0.1:0", "GLUEAUTH_ADMIN_LISTEN=127.0.0.1:0"}, "serve")
			wantOneLine(t, r, "glueauth.db", "restore")
			if diff := cmp.Diff(before["glueauth.db"], snapshot(t, data)["glueauth.db"]); diff != "" {
				t.Errorf("the file was touched (-before +after):\n%s", diff)
			}
		})
	}
}

// A log that was cut, as by a disk that lied about a power cut, loses the newest writes. Whoever holds a token that came
// from one of them goes on with it.
func TestCutLogHealsTheSessionsWhoseWritesItLost(t *testing.T) {
	t.Parallel()
	dir, sessions := usedFolder(t, true)
	wal := filepath.Join(dir, "data", "glueauth.db-wal")
	info, err := os.Stat(wal)
	if err != nil {
		t.Fatal(err)
	}
	const frame = 24 + 4096
	if err := os.Truncate(wal, info.Size()-10*frame-frame/2); err != nil {
		t.Fatal(err)
	}
	p := start(t, dir)
	p.noLeaks(t)
	for i, tokens := range sessions {
		newest, before := tokens[len(tokens)-1], tokens[len(tokens)-2]
		successor := p.mustRefresh(t, newest).RefreshToken
		if a := p.mustRefresh(t, before); a.RefreshToken != successor { // of another tab
			t.Errorf("session %d: the other tab got another token", i)
		}
	}
	if healed := p.told(t, "refresh_healed", ""); healed == 0 {
		t.Error("nothing was lost, so this proves nothing")
	}
	p.never(t, "refresh_refused", "refresh_reuse", "session_ended")
}
