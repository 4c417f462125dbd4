package sqlitestore_test

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/glueauth/glueauth/store"
	"github.com/glueauth/glueauth/store/sqlitefile"
	"github.com/glueauth/glueauth/store/sqlitestore"
)

// The test binary is also the other process of the tests that need one: childWork names what it does there.
const (
	childWork = "SQLITESTORE_TEST_CHILD"
	childFile = "SQLITESTORE_TEST_FILE"
	childSafe = "SQLITESTORE_TEST_SAFE"
	childSeed = "SQLITESTORE_TEST_SEED"
)

func TestMain(m *testing.M) {
	if work := os.Getenv(childWork); work != "" {
		beChild(work)
		return
	}
	if err := flag.Set("rapid.checks", "20"); err != nil { // the command line still wins
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

func beChild(work string) {
	ctx := context.Background()
	f, err := sqlitefile.Open(ctx, os.Getenv(childFile), sqlitefile.Options{PowerLossSafe: os.Getenv(childSafe) != ""})
	if err != nil {
		panic(err)
	}
	s := sqlitestore.Patient(f, noon)
	map[string]func(context.Context, *sqlitestore.Store, *sqlitefile.File){
		"live":  liveUntilKilled,
		"race":  raceTheParent,
		"break": workOnABrokenDisk,
	}[work](ctx, s, f)
	s.Close()
	if err := f.Close(); err != nil {
		panic(err)
	}
}

// child returns the other process, not started yet.
func child(t *testing.T, work, path string, more ...string) *exec.Cmd {
	t.Helper()
	c := exec.CommandContext(t.Context(), os.Args[0])
	c.Env = append(append(os.Environ(), childWork+"="+work, childFile+"="+path), more...)
	c.Stderr = os.Stderr
	return c
}

func file(t *testing.T, path string, o sqlitefile.Options) *sqlitefile.File {
	t.Helper()
	f := openFile(t, path, o)
	t.Cleanup(func() { shut(t, f) })
	return f
}

// openFile returns a file that the test must shut.
func openFile(t *testing.T, path string, o sqlitefile.Options) *sqlitefile.File {
	t.Helper()
	o.Create = true
	f, err := sqlitefile.Open(t.Context(), path, o)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// shut closes a file, and fails the test if a connection to it was not given back.
func shut(t *testing.T, f *sqlitefile.File) {
	t.Helper()
	if write, read := f.Write.Stats().InUse, f.Read.Stats().InUse; write+read != 0 {
		t.Errorf("connections in use: %d for writing, %d for reading", write, read)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

// newStore returns a store in a new file.
func newStore(t *testing.T) (*sqlitestore.Store, *sqlitefile.File) {
	t.Helper()
	f := file(t, filepath.Join(t.TempDir(), "glueauth.db"), sqlitefile.Options{})
	s := sqlitestore.Patient(f, noon)
	t.Cleanup(s.Close)
	return s, f
}

func noon() time.Time { return time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC) }

func signIn(n byte) store.SignIn {
	return store.SignIn{
		Name: store.SessionName{n}, Subject: store.Subject{Kind: store.SubjectCustomer, ID: int64(n)}, Client: "frontend",
		Scopes: []string{"customer"}, Password: store.PasswordMark{3}, Device: store.DeviceMark{4}, FreshEpoch: store.Epoch{n},
		Lifetime: 24 * time.Hour, MaxLife: 48 * time.Hour, MaxOpen: 200,
	}
}

func refresh(n byte, generation uint32) store.Rotation {
	in := signIn(n)
	return store.Rotation{
		Name: in.Name, Subject: in.Subject, Generation: generation, Client: in.Client, Password: in.Password,
		Device: store.DeviceMark{5}, Lifetime: in.Lifetime, Windows: store.Windows{Replay: time.Minute},
	}
}

func open(t *testing.T, s *sqlitestore.Store, n byte) {
	t.Helper()
	if _, err := s.Open(t.Context(), signIn(n)); err != nil {
		t.Fatal(err)
	}
}

// want fails the test unless the refresh has this outcome.
func want(t *testing.T, s *sqlitestore.Store, n byte, generation uint32, outcome store.Outcome) {
	t.Helper()
	if got, err := s.Rotate(t.Context(), refresh(n, generation)); err != nil || got.Outcome != outcome {
		t.Fatalf("session %d, generation %d: %+v, %v, want %s", n, generation, got, err, outcome)
	}
}

func exec1(t *testing.T, db *sql.DB, statement string) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// wholeFile fails the test if SQLite finds anything wrong in the file.
func wholeFile(t *testing.T, f *sqlitefile.File) {
	t.Helper()
	var verdict string
	if err := f.Write.QueryRowContext(t.Context(), "PRAGMA integrity_check").Scan(&verdict); err != nil || verdict != "ok" {
		t.Errorf("the file is %q, %v", verdict, err)
	}
}

func count(t *testing.T, f *sqlitefile.File, table string) (n int) {
	t.Helper()
	if err := f.Read.QueryRowContext(t.Context(), "SELECT count(*) FROM "+table).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestReopeningKeepsEverything(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "glueauth.db")
	for generation := uint32(1); generation <= 3; generation++ {
		f, err := sqlitefile.Open(t.Context(), path, sqlitefile.Options{Create: true})
		if err != nil {
			t.Fatal(err)
		}
		s := sqlitestore.Patient(f, noon)
		if generation == 1 {
			open(t, s, 1)
		}
		if generation > 2 {
			want(t, s, 1, 1, store.Replayed)
			want(t, s, 1, 3, store.Rotated)
		} else {
			want(t, s, 1, generation, store.Rotated)
			want(t, s, 1, generation, store.Replayed)
		}
		s.Close()
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTwoStoresOnOneFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "glueauth.db")
	var stores [2]*sqlitestore.Store
	for i := range stores {
		stores[i] = sqlitestore.Patient(file(t, path, sqlitefile.Options{}), noon)
		t.Cleanup(stores[i].Close)
	}
	open(t, stores[0], 1)
	for g := uint32(1); g <= 10; g++ {
		var mu sync.Mutex
		outcomes := map[store.Outcome]int{}
		var wg sync.WaitGroup
		for i := range 32 {
			wg.Go(func() {
				got, err := stores[i%2].Rotate(t.Context(), refresh(1, g))
				mu.Lock()
				defer mu.Unlock()
				if err != nil || got.Generation != g+1 {
					t.Errorf("%+v, %v", got, err)
				}
				outcomes[got.Outcome]++
			})
		}
		wg.Wait()
		if outcomes[store.Rotated] != 1 || outcomes[store.Replayed] != 31 {
			t.Fatalf("round %d: %v", g, outcomes)
		}
	}
}

func TestSubjectRecord(t *testing.T) {
	t.Parallel()
	for name, loss := range map[string]string{
		"gone":           "DELETE FROM subjects",
		"another epoch":  "UPDATE subjects SET epoch = x'0102030405060708'",
		"it has expired": "UPDATE subjects SET expires_at = 1",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, f := newStore(t)
			open(t, s, 1)
			open(t, s, 2)
			exec1(t, f.Write, loss)
			want(t, s, 1, 1, store.Refused)
			again := signIn(2)
			again.Name, again.FreshEpoch, again.MaxOpen = store.SessionName{3}, store.Epoch{0xff}, 1
			if got, err := s.Open(t.Context(), again); err != nil || got.Ended != 0 {
				t.Fatalf("the dead count as living: %+v, %v", got, err)
			}
			got, err := s.Rotate(t.Context(), refresh(2, 1))
			if err != nil || got.Outcome != store.Refused || got.Cause != store.CauseEpoch {
				t.Errorf("a new sign-in revived a session: %+v, %v", got, err)
			}
			r := refresh(2, 1)
			r.Name = again.Name
			if got, err := s.Rotate(t.Context(), r); err != nil || got.Outcome != store.Rotated {
				t.Errorf("the new one: %+v, %v", got, err)
			}
		})
	}
}

func TestSubjectRecordOutlivesItsSessions(t *testing.T) {
	t.Parallel()
	s, f := newStore(t)
	long, short := signIn(1), signIn(1)
	short.Name, short.Lifetime = store.SessionName{2}, time.Minute
	for _, in := range []store.SignIn{long, short} {
		if _, err := s.Open(t.Context(), in); err != nil {
			t.Fatal(err)
		}
	}
	r := refresh(1, 1)
	r.Lifetime = 30 * time.Hour
	if _, err := s.Rotate(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	r.Generation, r.Lifetime = 2, time.Hour
	if _, err := s.Rotate(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	var until int64
	if err := f.Read.QueryRow("SELECT expires_at FROM subjects").Scan(&until); err != nil || until != noon().Add(30*time.Hour).Unix() {
		t.Errorf("%v, %v", time.Unix(until, 0).UTC(), err)
	}
}

func TestSweep(t *testing.T) {
	t.Parallel()
	s, f := newStore(t)
	open(t, s, 1)
	exec1(t, f.Write, `INSERT INTO sessions (name, subject_kind, subject_id, client, scopes, epoch, password_mark, base, cur, uses, retry_key, device,
			replays, started_at, rotated_at, expires_at, ends_at, ended_at, cause)
		WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 1001)
		SELECT randomblob(16), 1, i, 'frontend', '[]', x'', x'', 0, 1, x'', x'', x'', 0, 0, 0, unixepoch('2026-10-31 12:00:00'), 0, i % 2, '' FROM n`)
	exec1(t, f.Write, `INSERT INTO subjects (kind, id, epoch, expires_at) SELECT 2, subject_id, x'', expires_at FROM sessions WHERE subject_id > 1 OR epoch = x''`)
	exec1(t, f.Write, `UPDATE sessions SET expires_at = expires_at + 1 WHERE subject_id = 1001`)
	exec1(t, f.Write, `UPDATE subjects SET expires_at = expires_at + 1 WHERE kind = 2 AND id = 1001`)
	swept, err := s.Sweep(t.Context())
	if err != nil || swept != 2000 || count(t, f, "sessions") != 2 || count(t, f, "subjects") != 2 {
		t.Errorf("swept %d, left %d sessions and %d subjects, %v", swept, count(t, f, "sessions"), count(t, f, "subjects"), err)
	}
	want(t, s, 1, 1, store.Rotated)
	if swept, err := s.Sweep(t.Context()); err != nil || swept != 0 {
		t.Errorf("swept again: %d, %v", swept, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Sweep(ctx); !errors.Is(err, store.ErrUnavailable) {
		t.Error(err)
	}
}
