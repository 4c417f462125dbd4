package sqlitestore_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/glueauth/glueauth/store"
	"github.com/glueauth/glueauth/store/sqlitefile"
	"github.com/glueauth/glueauth/store/sqlitestore"
)

// hold takes the one writing connection of this process, as an import does; the result gives it back.
func hold(t *testing.T, f *sqlitefile.File) (release func()) {
	t.Helper()
	tx, err := f.Write.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := tx.Rollback(); err != nil && !errors.Is(err, sql.ErrTxDone) {
			t.Error(err)
		}
	}
}

func unavailable(t *testing.T, err error, says string) {
	t.Helper()
	if !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), says) {
		t.Errorf("%v, want %v: %s", err, store.ErrUnavailable, says)
	}
}

func TestDatabaseLockedByAnotherProcess(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "glueauth.db")
	f, other := file(t, path, sqlitefile.Options{}), file(t, path, sqlitefile.Options{})
	s := sqlitestore.Patient(f, noon)
	t.Cleanup(s.Close)
	open(t, s, 1)
	exec1(t, f.Write, "PRAGMA busy_timeout = 50")
	release := hold(t, other)
	_, err := s.Rotate(t.Context(), refresh(1, 1))
	unavailable(t, err, "locked")
	unavailable(t, s.Ping(t.Context()), "locked")
	release()
	if err := s.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	want(t, s, 1, 1, store.Rotated)
}

func TestACallerWaitsOnlyAsLongAsHeWants(t *testing.T) {
	t.Parallel()
	s, f := newStore(t)
	open(t, s, 1)
	release := hold(t, f)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := s.Rotate(ctx, refresh(1, 1))
	unavailable(t, err, "deadline")
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	release()
	want(t, s, 1, 1, store.Rotated) // so the call that nobody waited for was not carried out
}

func TestWhoWaitsTogetherIsAnsweredTogether(t *testing.T) {
	t.Parallel()
	s, f := newStore(t)
	for n := range byte(40) {
		open(t, s, n)
	}
	release := hold(t, f)
	var wg sync.WaitGroup
	for n := range byte(40) {
		wg.Go(func() {
			if got, err := s.Rotate(t.Context(), refresh(n, 1)); err != nil || got.Outcome != store.Rotated {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
	release()
	wg.Wait()
	for n := range byte(40) {
		want(t, s, n, 1, store.Replayed)
	}
}

func TestAFullQueueRefusesAtOnce(t *testing.T) {
	t.Parallel()
	s, f := newStore(t)
	release := hold(t, f)
	refused := make(chan error, 1100)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	for range 1100 {
		wg.Go(func() {
			if err := s.Ping(ctx); err != nil && !errors.Is(err, context.Canceled) {
				refused <- err
			}
		})
	}
	for err := range refused {
		if strings.Contains(err.Error(), "too many") {
			break
		}
		unavailable(t, err, "") // on a slow machine those who wait for the connection have given up meanwhile
	}
	cancel()
	wg.Wait()
	release()
	soon, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	for err := s.Ping(soon); err != nil; err = s.Ping(soon) {
		unavailable(t, err, "too many")
	}
}

func TestClosing(t *testing.T) {
	t.Parallel()
	s, f := newStore(t)
	open(t, s, 1)
	release := hold(t, f)
	answers := make(chan error)
	go func() {
		_, err := s.Rotate(t.Context(), refresh(1, 1))
		answers <- err
	}()
	var wg sync.WaitGroup
	wg.Go(s.Close)
	wg.Go(s.Close)
	release()
	if err := <-answers; err != nil {
		unavailable(t, err, "closed")
	}
	wg.Wait()
	_, err := s.Rotate(t.Context(), refresh(1, 1))
	unavailable(t, err, "closed")
	unavailable(t, s.Ping(t.Context()), "closed")
	if err := f.Write.PingContext(t.Context()); err != nil {
		t.Errorf("the file was closed too: %v", err)
	}
}

// TestAFailureInTheMiddle : whoever shares a transaction shares its failure, and nothing of it stays.
func TestAFailureInTheMiddle(t *testing.T) {
	t.Parallel()
	for _, raise := range []string{"ABORT", "FAIL", "ROLLBACK"} {
		t.Run(raise, func(t *testing.T) {
			t.Parallel()
			s, f := newStore(t)
			for n := range byte(10) {
				open(t, s, n)
			}
			exec1(t, f.Write, "CREATE TRIGGER broken BEFORE INSERT ON subjects WHEN NEW.id = 77 BEGIN SELECT RAISE("+raise+", 'out of order'); END")
			release := hold(t, f)
			var wg sync.WaitGroup
			for n := range byte(10) {
				wg.Go(func() {
					if got, err := s.Rotate(t.Context(), refresh(n, 1)); err == nil && got.Outcome != store.Rotated {
						t.Errorf("%+v", got)
					} else if err != nil {
						unavailable(t, err, "out of order")
					}
				})
			}
			wg.Go(func() {
				_, err := s.Open(t.Context(), signIn(77))
				unavailable(t, err, "out of order")
			})
			release()
			wg.Wait()
			if got, err := s.Rotate(t.Context(), refresh(77, 1)); err != nil || got.Cause != store.CauseMissing {
				t.Errorf("half of a sign-in stayed: %+v, %v", got, err)
			}
			exec1(t, f.Write, "DROP TRIGGER broken")
			open(t, s, 77)
			want(t, s, 77, 1, store.Rotated)
		})
	}
}

func TestFullDatabase(t *testing.T) {
	t.Parallel()
	s, f := newStore(t)
	open(t, s, 1)
	exec1(t, f.Write, "PRAGMA max_page_count = 1") // SQLite takes it as: as many as there are
	refused := 0
	for n := byte(2); refused < 3; n++ {
		_, err := s.Open(t.Context(), signIn(n))
		if err == nil {
			continue
		}
		unavailable(t, err, "full")
		refused++
		if got, err := s.Rotate(t.Context(), refresh(n, 1)); err != nil || got.Cause != store.CauseMissing {
			t.Errorf("half of a sign-in stayed: %+v, %v", got, err)
		}
	}
	if sessions, subjects := count(t, f, "sessions"), count(t, f, "subjects"); sessions != subjects {
		t.Errorf("%d sessions of %d subjects", sessions, subjects)
	}
	in := signIn(1)
	if e, err := s.Session(t.Context(), in.Subject, in.Name); err != nil || e.Cur != 1 {
		t.Errorf("looking at a session: %+v, %v", e, err)
	}
	if all, _, err := s.SessionsOf(t.Context(), in.Subject); err != nil || len(all) != 1 {
		t.Errorf("looking at a customer: %+v, %v", all, err)
	}
	want(t, s, 1, 1, store.Rotated)
	exec1(t, f.Write, "PRAGMA max_page_count = 100000")
	open(t, s, 250)
	want(t, s, 250, 1, store.Rotated)
	wholeFile(t, f)
}

// TestAFullDatabaseTakesNoHalfOfASignOut : a refused sign-out everywhere leaves every session as it was, and it succeeds
// when there is room again.
func TestAFullDatabaseTakesNoHalfOfASignOut(t *testing.T) {
	t.Parallel()
	s, f := newStore(t)
	open(t, s, 1)
	fill := func(kilobytes int) error {
		_, err := f.Write.ExecContext(t.Context(), "UPDATE filler SET x = randomblob(?)", kilobytes<<10)
		return err
	}
	exec1(t, f.Write, "CREATE TABLE filler (x)")
	exec1(t, f.Write, "INSERT INTO filler VALUES (x'')")
	exec1(t, f.Write, "PRAGMA max_page_count = 1")
	for kilobytes := 1; fill(kilobytes) == nil; kilobytes++ {
	}
	refused := int64(0)
	for n := int64(1000); refused == 0; n++ { // until the page of the subjects is full too
		e := store.EndingAll{Subject: store.Subject{Kind: store.SubjectCustomer, ID: n}, FreshEpoch: store.Epoch{7}, Cause: store.CauseOperator}
		if err := s.EndAll(t.Context(), e); err != nil {
			unavailable(t, err, "full")
			refused = n
		}
	}
	if _, r, err := s.SessionsOf(t.Context(), store.Subject{Kind: store.SubjectCustomer, ID: refused}); err != nil || r != nil {
		t.Errorf("half of it stayed: %+v, %v", r, err)
	}
	exec1(t, f.Write, "PRAGMA max_page_count = 100000")
	if err := s.EndAll(t.Context(), store.EndingAll{Subject: signIn(1).Subject, FreshEpoch: store.Epoch{7}, Cause: store.CauseOperator}); err != nil {
		t.Error(err)
	}
	want(t, s, 1, 1, store.Refused)
	wholeFile(t, f)
}

// damagedCopy returns a store in a copy of path whose log or whose file was changed while nobody had it open.
func damagedCopy(t *testing.T, path, suffix string, damage func([]byte) []byte) *sqlitestore.Store {
	t.Helper()
	copied := filepath.Join(t.TempDir(), "glueauth.db")
	for _, s := range []string{"", "-wal"} {
		data, err := os.ReadFile(path + s)
		if err != nil {
			t.Fatal(err)
		}
		if s == suffix {
			data = damage(data)
		}
		if err := os.WriteFile(copied+s, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := sqlitestore.Patient(file(t, copied, sqlitefile.Options{}), noon)
	t.Cleanup(s.Close)
	return s
}

// TestADamagedLogLosesItsEndOnly : what a power cut took from the log is a store that lost writes, and its customers go on.
func TestADamagedLogLosesItsEndOnly(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func([]byte) []byte{
		"truncated":           func(log []byte) []byte { return log[:len(log)-5000] },
		"a page of it zeroed": func(log []byte) []byte { clear(log[len(log)-9000:]); return log },
		"noise at its end":    func(log []byte) []byte { return append(log[:len(log)-100], bytes.Repeat([]byte{0xa5}, 9000)...) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "glueauth.db")
			s := sqlitestore.Patient(file(t, path, sqlitefile.Options{}), noon)
			t.Cleanup(s.Close)
			open(t, s, 1)
			for g := uint32(1); g <= 10; g++ {
				want(t, s, 1, g, store.Rotated)
			}
			damaged := damagedCopy(t, path, "-wal", damage)
			e, err := damaged.Session(t.Context(), signIn(1).Subject, signIn(1).Name)
			if err != nil || e.Cur < 2 || e.Cur > 10 {
				t.Fatalf("%+v, %v", e, err)
			}
			want(t, damaged, 1, 11, store.Healed)
			want(t, damaged, 1, 12, store.Rotated)
		})
	}
}

// TestAFileThatIsDamagedUnderARunningStore : nobody is told that his session is gone, only that the store cannot say.
func TestAFileThatIsDamagedUnderARunningStore(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(*os.File, int64) error{
		"truncated": func(f *os.File, size int64) error { return f.Truncate(size / 2) },
		"its pages zeroed": func(f *os.File, size int64) error {
			_, err := f.WriteAt(make([]byte, size-4096), 4096)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "glueauth.db")
			f := file(t, path, sqlitefile.Options{})
			s := sqlitestore.Patient(f, noon)
			t.Cleanup(s.Close)
			for n := range byte(100) {
				open(t, s, n)
			}
			exec1(t, f.Write, "PRAGMA wal_checkpoint(TRUNCATE)")
			exec1(t, f.Write, "PRAGMA shrink_memory") // or it would answer from memory
			raw, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = raw.Close() }) // at the end: closing drops the locks of this process
			info, err := raw.Stat()
			if err != nil {
				t.Fatal(err)
			}
			if err := damage(raw, info.Size()); err != nil {
				t.Fatal(err)
			}
			refused := 0
			for n := range byte(100) {
				got, err := s.Rotate(t.Context(), refresh(n, 1))
				if err != nil {
					unavailable(t, err, "")
					refused++
				} else if got.Outcome != store.Rotated {
					t.Errorf("session %d: %+v", n, got)
				}
			}
			if refused == 0 {
				t.Error("nobody noticed")
			}
		})
	}
}

func TestADamagedRecordIsUnavailableAloneAndStaysAsItIs(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]string{
		"uses":            "UPDATE sessions SET uses = x'00'",
		"epoch":           "UPDATE sessions SET epoch = x'00'",
		"password mark":   "UPDATE sessions SET password_mark = x'00'",
		"retry key":       "UPDATE sessions SET retry_key = x''",
		"device":          "UPDATE sessions SET device = zeroblob(17)",
		"scopes":          "UPDATE sessions SET scopes = '[\"customer'",
		"address":         "UPDATE sessions SET last_address = x''",
		"timeline":        "UPDATE sessions SET timeline = x'00'",
		"long timeline":   "UPDATE sessions SET timeline = zeroblob(27 * 13)",
		"subject's floor": "UPDATE subjects SET floor_from = x''",
		"subject's epoch": "UPDATE subjects SET epoch = zeroblob(9)",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, f := newStore(t)
			open(t, s, 1)
			exec1(t, f.Write, damage)
			open(t, s, 2)
			release := hold(t, f)
			var wg sync.WaitGroup
			wg.Go(func() {
				_, err := s.Rotate(t.Context(), refresh(1, 1))
				unavailable(t, err, "damaged")
				_, err = s.Session(t.Context(), signIn(1).Subject, signIn(1).Name)
				unavailable(t, err, "damaged")
				_, _, err = s.SessionsOf(t.Context(), signIn(1).Subject)
				unavailable(t, err, "damaged")
			})
			wg.Go(func() {
				if got, err := s.Rotate(t.Context(), refresh(2, 1)); err != nil || got.Outcome != store.Rotated {
					t.Errorf("its neighbour: %+v, %v", got, err)
				}
			})
			release()
			wg.Wait()
		})
	}
}

func TestPingWritesWithoutGrowth(t *testing.T) {
	t.Parallel()
	s, f := newStore(t)
	pages := func() (n int) {
		t.Helper()
		if err := f.Read.QueryRow("PRAGMA page_count").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := pages()
	for range 50 {
		if err := s.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if after := pages(); after != before {
		t.Errorf("grew from %d to %d pages", before, after)
	}
	exec1(t, f.Write, "PRAGMA query_only = 1")
	unavailable(t, s.Ping(t.Context()), "readonly")
	exec1(t, f.Write, "PRAGMA query_only = 0")
	if err := s.Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestPingNeedsTheTables(t *testing.T) {
	t.Parallel()
	for _, table := range []string{"sessions", "subjects"} {
		s, f := newStore(t)
		if err := s.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
		exec1(t, f.Write, "ALTER TABLE "+table+" RENAME TO elsewhere")
		unavailable(t, s.Ping(t.Context()), table)
		exec1(t, f.Write, "ALTER TABLE elsewhere RENAME TO "+table)
		if err := s.Ping(t.Context()); err != nil {
			t.Error(err)
		}
	}
}
