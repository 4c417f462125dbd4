package sqlitestore_test

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
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
	"github.com/glueauth/glueauth/store/storetest"
)

// childFile, when set, makes the test binary the process that TestKilledProcess kills.
const childFile = "SQLITESTORE_TEST_CHILD_FILE"

func TestMain(m *testing.M) {
	if path := os.Getenv(childFile); path != "" {
		refreshForever(path, os.Getenv("SQLITESTORE_TEST_CHILD_SAFE") != "")
	}
	if err := flag.Set("rapid.checks", "20"); err != nil { // the command line still wins
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

func file(t *testing.T, path string, o sqlitefile.Options) *sqlitefile.File {
	t.Helper()
	o.Create = true
	f, err := sqlitefile.Open(t.Context(), path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

// newStore returns a store in a new file.
func newStore(t *testing.T) (*sqlitestore.Store, *sqlitefile.File) {
	t.Helper()
	f := file(t, filepath.Join(t.TempDir(), "glueauth.db"), sqlitefile.Options{})
	s := sqlitestore.New(f, noon)
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

func count(t *testing.T, f *sqlitefile.File, table string) (n int) {
	t.Helper()
	if err := f.Read.QueryRowContext(t.Context(), "SELECT count(*) FROM "+table).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestContract(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]sqlitefile.Options{
		"process-crash-safe": {},
		"power-loss-safe":    {PowerLossSafe: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			storetest.Run(t, func(t *testing.T, now func() time.Time) storetest.Sessions {
				t.Helper()
				s := sqlitestore.New(file(t, filepath.Join(t.TempDir(), "glueauth.db"), o), now)
				t.Cleanup(s.Close)
				return s
			})
		})
	}
}

func TestReopeningKeepsEverything(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "glueauth.db")
	for generation := uint32(1); generation <= 3; generation++ {
		f, err := sqlitefile.Open(t.Context(), path, sqlitefile.Options{Create: true})
		if err != nil {
			t.Fatal(err)
		}
		s := sqlitestore.New(f, noon)
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
		stores[i] = sqlitestore.New(file(t, path, sqlitefile.Options{}), noon)
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

// refreshForever is the child of TestKilledProcess: it prints each generation after the store has acknowledged it.
func refreshForever(path string, safe bool) {
	ctx := context.Background()
	f, err := sqlitefile.Open(ctx, path, sqlitefile.Options{PowerLossSafe: safe})
	if err != nil {
		panic(err)
	}
	s := sqlitestore.New(f, noon)
	for g := uint32(1); ; {
		got, err := s.Rotate(ctx, refresh(1, g))
		if err != nil || !got.Outcome.Succeeded() {
			panic(fmt.Sprint(got, err))
		}
		g = got.Generation
		fmt.Println(g)
	}
}

func TestKilledProcess(t *testing.T) {
	t.Parallel()
	for _, safe := range []string{"", "yes"} {
		t.Run("power loss safe: "+safe, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "glueauth.db")
			s := sqlitestore.New(file(t, path, sqlitefile.Options{}), noon)
			t.Cleanup(s.Close)
			open(t, s, 1)
			open(t, s, 2)
			child := exec.CommandContext(t.Context(), os.Args[0])
			child.Env = append(os.Environ(), childFile+"="+path, "SQLITESTORE_TEST_CHILD_SAFE="+safe)
			out, err := child.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := child.Start(); err != nil {
				t.Fatal(err)
			}
			acknowledged := uint32(0)
			for lines := bufio.NewScanner(out); lines.Scan(); {
				if _, err := fmt.Sscan(lines.Text(), &acknowledged); err != nil {
					t.Fatal(err)
				}
				if acknowledged == 300 {
					if err := child.Process.Kill(); err != nil { // what was printed until it dies is still read
						t.Fatal(err)
					}
				}
			}
			_ = child.Wait() // killed
			if acknowledged < 300 {
				t.Fatalf("the child ended at generation %d", acknowledged)
			}
			want(t, s, 2, 1, store.Rotated)
			got, err := s.Rotate(t.Context(), refresh(1, acknowledged))
			if err != nil || got.Outcome != store.Rotated && got.Outcome != store.Replayed {
				t.Errorf("the newest acknowledged token: %+v, %v", got, err)
			}
		})
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
	exec1(t, f.Write, `INSERT INTO sessions WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 1001)
		SELECT randomblob(16), 1, i, 'frontend', '[]', x'', x'', 0, 1, x'', x'', x'', 0, 0, 0, unixepoch('2026-11-01 12:00:00'), 0, i % 2, '' FROM n`)
	exec1(t, f.Write, `INSERT INTO subjects SELECT 2, subject_id, x'', expires_at FROM sessions WHERE expires_at <= unixepoch('2026-11-01 12:00:00')`)
	swept, err := s.Sweep(t.Context())
	if err != nil || swept != 2002 || count(t, f, "sessions") != 1 || count(t, f, "subjects") != 1 {
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
