package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/store"
	"github.com/glueauth/glueauth/store/redisstore"
	"github.com/glueauth/glueauth/store/sqlitefile"
	"github.com/glueauth/glueauth/store/sqlitestore"
	"github.com/glueauth/glueauth/store/storetest"
)

// withSessions opens the sessions of a data folder as a server would.
func withSessions(t *testing.T, dir string, do func(*sqlitestore.Store)) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	f, err := sqlitefile.Open(t.Context(), filepath.Join(dir, databaseName), sqlitefile.Options{Create: true})
	if err != nil {
		t.Fatal(err)
	}
	s := sqlitestore.New(f, time.Now)
	do(s)
	s.Close()
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// signedIn returns a new data folder with n sessions.
func signedIn(t *testing.T, n int) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	now := store.Whole(time.Now())
	batch := make([]store.Snapshot, n)
	for i := range batch {
		e := store.Snapshot{Record: &store.SubjectRecord{Epoch: store.Epoch{1}, ExpiresAt: now.Add(time.Hour)}}
		e.Session = store.Session{
			Subject: store.Subject{Kind: store.SubjectCustomer, ID: int64(i)}, Client: "frontend", Epoch: store.Epoch{1}, Cur: 1,
			StartedAt: now, RotatedAt: now, ExpiresAt: now.Add(time.Hour), EndsAt: now.Add(2 * time.Hour),
		}
		binary.BigEndian.PutUint64(e.Name[:], uint64(i))
		batch[i] = e
	}
	withSessions(t, dir, func(s *sqlitestore.Store) {
		if _, err := s.Import(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
	})
	return dir
}

// moveCommand runs that command in this process.
func moveCommand(ctx context.Context, stdin string, args ...string) (code int, stdout, stderr string) {
	return answering(ctx, nil, stdin, append([]string{"sessions", "move"}, args...)...)
}

func TestSessionsMoveToRedisAndBack(t *testing.T) {
	t.Parallel()
	data, url := signedIn(t, 3), storetest.Redis(t).URL()
	back := filepath.Join(t.TempDir(), "new", "data")
	redis := redisstore.Place(secret.Text(url))
	for _, c := range []struct{ name, stdin, from, to, moved, stdout string }{
		{"there", "", data, url, redis, "3 sessions: 3 added, 0 updated, 0 left as they were\n"},
		{"there again, by the file and by standard input", url + "\n", filepath.Join(data, databaseName), "-", redis, "3 sessions: 0 added, 0 updated, 3 left as they were\n"},
		{"back", url, "-", back, "", "3 sessions: 3 added, 0 updated, 0 left as they were\n"},
		{"from folder to folder", "", back, data, filepath.Join(data, databaseName), "3 sessions: 0 added, 0 updated, 3 left as they were\n"},
	} {
		code, stdout, stderr := moveCommand(t.Context(), c.stdin, "--from", c.from, "--to", c.to)
		if code != exitOK || stdout != c.stdout || stderr != "3 of 3\n" {
			t.Fatalf("%s: exit code %d, stdout %q, stderr %q", c.name, code, stdout, stderr)
		}
		if got := [2]string{movedTo(t, c.from), movedTo(t, c.to)}; got != [2]string{c.moved, ""} {
			t.Errorf("%s: source and target say that their sessions are in %q, want %q", c.name, got, c.moved)
		}
	}
	withSessions(t, back, func(s *sqlitestore.Store) {
		name := store.SessionName{}
		binary.BigEndian.PutUint64(name[:], 2)
		got, err := s.Rotate(t.Context(), store.Rotation{
			Name: name, Subject: store.Subject{Kind: store.SubjectCustomer, ID: 2}, Generation: 1, Client: "frontend", Lifetime: time.Hour,
		})
		if err != nil || got.Outcome != store.Rotated {
			t.Errorf("%+v, %v", got, err)
		}
	})
	for path, mode := range map[string]os.FileMode{back: 0o700, filepath.Join(back, databaseName): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
}

// movedTo returns where a data folder or its file says that its sessions are; nothing for a Redis.
func movedTo(t *testing.T, at string) string {
	t.Helper()
	if at == "-" || strings.Contains(at, "://") {
		return ""
	}
	if filepath.Base(at) != databaseName {
		at = filepath.Join(at, databaseName)
	}
	f, err := sqlitefile.Open(t.Context(), at, sqlitefile.Options{Look: true})
	if err != nil {
		t.Fatal(err)
	}
	place, err := f.MovedTo(t.Context())
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	return place
}

// A server with redis.url does not see the sessions of its data folder, which nobody means who only moves the signing keys.
func TestSessionsThatAServerWouldLeaveBehindAreToldBefore(t *testing.T) {
	t.Parallel()
	data, url := signedIn(t, 3), storetest.Redis(t).URL()
	environ := []string{"GLUEAUTH_REDIS=" + url, "GLUEAUTH_DATA=" + data, "GLUEAUTH_MASTER_KEY=" + strings.Repeat("0f", 32)}
	ask := func(args ...string) string {
		t.Helper()
		code, stdout, stderr := answering(t.Context(), environ, "", args...)
		if code != exitOK {
			t.Fatalf("%v: %s%s", args, stdout, stderr)
		}
		return stdout + stderr
	}
	told := func(want bool) {
		t.Helper()
		server := startServer(t, append(environ, "GLUEAUTH_DEMO=false")...)
		server.stop()
		for _, text := range []string{ask("keys", "move", "--to", "redis"), ask("doctor", "--estimate=false"), server.log.String()} {
			if there := strings.Contains(text, "3 sessions are in "+filepath.Join(data, databaseName)); there != want {
				t.Error(text)
			}
		}
	}
	ask("keys", "generate")
	told(true)
	ask("sessions", "move", "--from", data, "--to", url)
	told(false)
}

func TestSessionsMoveRefusesInOneLine(t *testing.T) {
	t.Parallel()
	data, url := signedIn(t, 1), storetest.Redis(t).URL()
	served, empty := signedIn(t, 1), signedIn(t, 0)
	lock, err := lockData(served, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = lock.release() })
	nowhere := filepath.Join(t.TempDir(), "nowhere")
	for name, c := range map[string]struct{ stdin, from, to, stderr string }{
		"nothing there":        {"", nowhere, url, "no such file or directory: name the data folder of a server"},
		"an empty folder":      {"", empty, nowhere, databaseName + ": is that the right data folder"},
		"an empty redis":       {"", url, nowhere, ", database 0: is that the right data folder, or the right number of the database?"},
		"the same folder":      {"", data, data + "/", "--from and --to are the same"},
		"the same redis":       {"", url, url, "--from and --to are the same"},
		"no source":            {"", "", url, "--from is empty"},
		"no target":            {"", data, "", "--to is empty"},
		"both from stdin":      {url, "-", "-", "only one of --from and --to"},
		"nothing on stdin":     {"\n", data, "-", "standard input holds no url for --to"},
		"a served source":      {"", served, url, "is served by process"},
		"a served target":      {"", data, served, "is served by process"},
		"a url that is none":   {"", data, "http://:canary@h", "the url has none of the forms"},
		"a source that is off": {"", "unix://:canary@" + nowhere, data, "no connection"},
		"a target that is off": {"", data, "unix://:canary@" + nowhere, "no connection"},
	} {
		code, stdout, stderr := moveCommand(t.Context(), c.stdin, "--from", c.from, "--to", c.to)
		if code != exitFailed || stdout != "" || !strings.Contains(stderr, c.stderr) || strings.Count(stderr, "\n") != 1 || strings.Contains(stderr, "canary") {
			t.Errorf("%s: exit code %d, stdout %q, stderr %q", name, code, stdout, stderr)
		}
	}
	if _, err := os.Stat(nowhere); err == nil {
		t.Error("made a folder for a source, or for a target that gets nothing")
	}
	if place := movedTo(t, data) + movedTo(t, served) + movedTo(t, empty); place != "" {
		t.Errorf("noted a move that was refused: %s", place)
	}
}

func TestSessionsMoveNeedsASourceThatStandsStill(t *testing.T) {
	t.Parallel()
	o := redisstore.Options{URL: secret.Text(storetest.Redis(t).URL())}
	replica, err := redisstore.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = replica.Close() })
	if err := replica.Agree(t.Context(), redisstore.Fingerprint{Masters: []string{"1:aa"}, Customers: "c", SigningKeys: []string{"k"}}); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := moveCommand(t.Context(), "", "--from", signedIn(t, 1), "--to", o.URL.Reveal()); code != exitOK {
		t.Fatal(stderr)
	}
	to := filepath.Join(t.TempDir(), "data")
	code, _, stderr := moveCommand(t.Context(), "", "--from", o.URL.Reveal(), "--to", to)
	if code != exitFailed || !strings.Contains(stderr, "--source-is-read-only") || strings.Count(stderr, "\n") != 1 {
		t.Errorf("exit code %d, stderr %q", code, stderr)
	}
	code, stdout, stderr := moveCommand(t.Context(), "", "--from", o.URL.Reveal(), "--to", to, "--source-is-read-only")
	if code != exitOK || stdout != "1 sessions: 1 added, 0 updated, 0 left as they were\n" || stderr != "1 of 1\n" {
		t.Errorf("exit code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
}

func TestSessionsMoveThatWasBrokenOffGoesOn(t *testing.T) {
	t.Parallel()
	const n = 3000
	data, server := signedIn(t, n), storetest.Redis(t, "--maxmemory-policy", "noeviction")
	_, used, _ := strings.Cut(server.Do(t, "INFO", "memory"), "used_memory:")
	used, _, _ = strings.Cut(used, "\r")
	memory, err := strconv.Atoi(used)
	if err != nil {
		t.Fatal(err)
	}
	server.Do(t, "CONFIG", "SET", "maxmemory", strconv.Itoa(memory+900_000)) // more than the commands of one batch take, less than all sessions
	code, stdout, stderr := moveCommand(t.Context(), "", "--from", data, "--to", server.URL())
	if code != exitFailed || stdout != "" || !strings.Contains(stderr, " of 3000 sessions; run it again") || !strings.Contains(stderr, "oom") {
		t.Fatalf("exit code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
	server.Do(t, "CONFIG", "SET", "maxmemory", "0")
	had := strings.Count(server.Do(t, "KEYS", "glueauth:{c:*}:*"), "glueauth:")
	want := strconv.Itoa(n-had) + " added, 0 updated, " + strconv.Itoa(had) + " left as they were\n"
	if code, stdout, stderr = moveCommand(t.Context(), "", "--from", data, "--to", server.URL()); code != exitOK || !strings.HasSuffix(stdout, want) || had == 0 {
		t.Fatalf("exit code %d, stdout %q, want %q; stderr %q", code, stdout, want, stderr)
	}
	if got := strings.Count(server.Do(t, "KEYS", "glueauth:{c:*}:*"), "glueauth:"); got != n {
		t.Errorf("%d sessions, want %d", got, n)
	}
}

func TestProgress(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		bar   bool
		total int
		done  []int
		want  string
	}{
		"lines, one a tenth":     {false, 1000, []int{50, 100, 150, 500, 1000}, "100 of 1000\n500 of 1000\n1000 of 1000\n"},
		"nothing to do":          {false, 0, []int{0}, ""},
		"nothing to do, bar":     {true, 0, []int{0}, ""},
		"more than was expected": {false, 10, []int{12, 13}, "12 of 10\n"},
		"bar": {true, 4, []int{1, 1, 4}, "\r[" + strings.Repeat("#", 12) + strings.Repeat(" ", 38) + "]  25 %  1 of 4" +
			"\r[" + strings.Repeat("#", 50) + "] 100 %  4 of 4\n"},
	} {
		var out bytes.Buffer
		p := progress{w: &out, bar: c.bar, total: c.total}
		for _, done := range c.done {
			p.show(done)
		}
		p.end()
		if diff := cmp.Diff(c.want, out.String()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if isTerminal(io.Discard) {
		t.Error("a writer that is no file is a terminal")
	}
}
