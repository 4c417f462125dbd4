package sqlitefile_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/pressly/goose/v3"

	"github.com/glueauth/glueauth/store/sqlitefile"
)

// older returns the path of a closed database whose tables have that version.
func older(t *testing.T, version int64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "glueauth.db")
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(fmt.Sprintf("PRAGMA journal_mode = WAL; PRAGMA application_id = %d", sqlitefile.ApplicationID)); err != nil { // as of any file of ours
		t.Fatal(err)
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, os.DirFS("migrations"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.UpTo(t.Context(), version); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestManyMayBringAnOlderFileUpToDate(t *testing.T) {
	t.Parallel()
	for version := range int64(7) {
		t.Run(fmt.Sprintf("from version %d", version+1), func(t *testing.T) {
			t.Parallel()
			path := older(t, version+1)
			errs := make([]error, 6)
			var wg sync.WaitGroup
			for i := range errs {
				wg.Go(func() {
					f, err := sqlitefile.Open(context.Background(), path, sqlitefile.Options{})
					if errs[i] = err; err == nil {
						errs[i] = f.Close()
					}
				})
			}
			wg.Wait()
			for _, err := range errs {
				if err != nil {
					t.Error(err)
				}
			}
			var steps, distinct int
			f := create(t, path)
			if err := f.Read.QueryRow("SELECT count(*), count(DISTINCT version_id) FROM goose_db_version").Scan(&steps, &distinct); err != nil || steps != distinct {
				t.Errorf("%d steps, %d of them different (%v)", steps, distinct, err)
			}
			if _, err := f.Write.Exec("DELETE FROM sessions WHERE timeline = x''"); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestAnUpgradedFileHasTheTablesOfANewOne : the steps lead to one schema, wherever they begin.
func TestAnUpgradedFileHasTheTablesOfANewOne(t *testing.T) {
	t.Parallel()
	schema := func(path string) (all string) {
		f := create(t, path)
		if err := f.Read.QueryRow("SELECT group_concat(name || sql, char(10)) FROM (SELECT * FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name)").Scan(&all); err != nil {
			t.Fatal(err)
		}
		return all
	}
	want := schema(made(t))
	for version := range int64(6) {
		if got := schema(older(t, version+1)); got != want || !strings.Contains(got, "sub_mark") {
			t.Errorf("from version %d:\n%s\nwant\n%s", version+1, got, want)
		}
	}
}

func TestAFileKnowsItsMasterKey(t *testing.T) {
	t.Parallel()
	path := older(t, 2)
	f, other := create(t, path), create(t, path)
	for _, mark := range []string{"", "mine", "mine", "another", "min", "mine "} {
		err := f.Claim(t.Context(), []byte(mark))
		if mark == "mine" && err != nil || mark != "mine" && err == nil {
			t.Errorf("claimed with %q: %v", mark, err)
		}
		if mark != "" && mark != "mine" && !errors.Is(err, sqlitefile.ErrOtherMaster) {
			t.Errorf("claimed with %q: %v", mark, err)
		}
	}
	if err := other.Claim(t.Context(), []byte("mine")); err != nil {
		t.Error(err)
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.Claim(canceled, []byte("mine")); err == nil || errors.Is(err, sqlitefile.ErrOtherMaster) {
		t.Errorf("nobody could look: %v", err)
	}
}

func TestWhetherAMasterKeyFitsAFile(t *testing.T) {
	t.Parallel()
	f := create(t, older(t, 2))
	if err := f.Fits(t.Context(), []byte("mine")); err != nil {
		t.Errorf("nobody has claimed it: %v", err)
	}
	mustBeClaimed(t, f, false)
	if err := f.Claim(t.Context(), []byte("mine")); err != nil {
		t.Fatalf("looking has claimed it: %v", err)
	}
	if err := f.Fits(t.Context(), []byte("mine")); err != nil {
		t.Error(err)
	}
	if err := f.Fits(t.Context(), []byte("other")); !errors.Is(err, sqlitefile.ErrOtherMaster) {
		t.Errorf("got %v, want %v", err, sqlitefile.ErrOtherMaster)
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	mustBeClaimed(t, f, true)
	if err := f.Fits(canceled, []byte("other")); err == nil || errors.Is(err, sqlitefile.ErrOtherMaster) {
		t.Errorf("nobody could look: %v", err)
	}
}

func mustBeClaimed(t *testing.T, f *sqlitefile.File, want bool) {
	t.Helper()
	if got, err := f.Claimed(t.Context()); err != nil || got != want {
		t.Errorf("claimed: %v, %v; want %v", got, err, want)
	}
}

func TestAFileOfAnOlderVersionCanBeLookedAt(t *testing.T) {
	t.Parallel()
	f, err := sqlitefile.Open(t.Context(), older(t, 2), sqlitefile.Options{Look: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	mustBeClaimed(t, f, false)
	if err := f.Fits(t.Context(), []byte("mine")); err != nil {
		t.Error(err)
	}
	if place, err := f.MovedTo(t.Context()); err != nil || place != "" {
		t.Errorf("moved to %q, %v", place, err)
	}
}

func TestAFileKnowsWhereItsSessionsAre(t *testing.T) {
	t.Parallel()
	path := older(t, 6)
	for _, want := range []string{"", "redis at h:6379, database 3", "/other/glueauth.db", ""} {
		f, err := sqlitefile.Open(t.Context(), path, sqlitefile.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := f.SetMoved(t.Context(), want); err != nil {
			t.Error(err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		if got, err := create(t, path).MovedTo(t.Context()); err != nil || got != want {
			t.Errorf("moved to %q, %v; want %q", got, err, want)
		}
	}
}

func TestOfManyWhoClaimANewFileOneMasterKeyWins(t *testing.T) {
	t.Parallel()
	path := made(t)
	var files [4]*sqlitefile.File
	for i := range files {
		files[i] = create(t, path)
	}
	errs := make([]error, len(files))
	var wg sync.WaitGroup
	for i, f := range files {
		wg.Go(func() { errs[i] = f.Claim(t.Context(), []byte{byte(i + 1)}) })
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else if !errors.Is(err, sqlitefile.ErrOtherMaster) {
			t.Error(err)
		}
	}
	if won != 1 {
		t.Errorf("%d of them won", won)
	}
}

func TestLookingLeavesAnOlderFileAsItIs(t *testing.T) {
	t.Parallel()
	path := older(t, 1)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := sqlitefile.Open(t.Context(), path, sqlitefile.Options{Look: true})
	if err != nil {
		t.Fatal(err)
	}
	var customers int
	if err := f.Read.QueryRowContext(t.Context(), "SELECT count(*) FROM customers").Scan(&customers); err != nil {
		t.Error(err)
	}
	if _, err := f.Write.ExecContext(t.Context(), "DELETE FROM customers"); err == nil {
		t.Error("it can be written to")
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the file has changed, %v", err)
	}
}
