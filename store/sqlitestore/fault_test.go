package sqlitestore_test

import (
	"context"
	"database/sql"
	"errors"
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
	s := sqlitestore.New(f, noon)
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
	soon, stop := context.WithTimeout(t.Context(), 10*time.Second)
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
	want(t, s, 1, 1, store.Rotated)
	exec1(t, f.Write, "PRAGMA max_page_count = 100000")
	open(t, s, 250)
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
