package sqlitefile_test

import (
	"bytes"
	"database/sql"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/glueauth/glueauth/store/sqlitefile"
)

func create(t *testing.T, path string) *sqlitefile.File {
	t.Helper()
	f, err := sqlitefile.Open(t.Context(), path, sqlitefile.Options{Create: true})
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

// made returns the path of a complete, closed database.
func made(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "glueauth.db")
	f, err := sqlitefile.Open(t.Context(), path, sqlitefile.Options{Create: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// change runs statements in the file at path as another program would.
func change(t *testing.T, path string, statements ...string) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range statements {
		if _, err := db.Exec(s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func inFolder(t *testing.T, dir string, files int) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != files {
		t.Errorf("in the folder: %v, %v, want %d files", entries, err, files)
	}
}

func TestANewFileIsPrivateAndKeepsItsIdentity(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "glueauth.db")
	first := create(t, path)
	if id, err := hex.DecodeString(first.ID); !first.Created || err != nil || len(id) != 16 {
		t.Fatalf("created %v with id %q", first.Created, first.ID)
	}
	if _, err := first.Write.Exec("INSERT INTO subjects (kind, id, epoch, expires_at) VALUES (1, 21, x'00', 7)"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{path, path + "-wal", path + "-shm"} {
		info, err := os.Stat(name)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	second := create(t, path)
	if second.Created || second.ID != first.ID {
		t.Errorf("opened again: created %v, id %q, want %q", second.Created, second.ID, first.ID)
	}
	if other := create(t, filepath.Join(t.TempDir(), "x.db")); other.ID == first.ID {
		t.Error("two databases have one id")
	}
	inFolder(t, filepath.Dir(path), 3)
}

func TestConnectionsAreSetUp(t *testing.T) {
	t.Parallel()
	for sync, want := range map[bool]int{false: 1, true: 2} {
		path := filepath.Join(t.TempDir(), "glueauth.db")
		f, err := sqlitefile.Open(t.Context(), path, sqlitefile.Options{Create: true, PowerLossSafe: sync})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
		for pragma, want := range map[string]any{"synchronous": int64(want), "journal_mode": "wal", "busy_timeout": int64(2000), "foreign_keys": int64(1), "query_only": int64(0)} {
			var got any
			if err := f.Write.QueryRow("PRAGMA " + pragma).Scan(&got); err != nil || got != want {
				t.Errorf("power loss safe %v: %s = %v, want %v (%v)", sync, pragma, got, want, err)
			}
		}
		if _, err := f.Read.Exec("DELETE FROM sessions"); err == nil {
			t.Error("a reading connection wrote")
		}
	}
}

func TestATransactionForWritingTakesTheLockWhenItBegins(t *testing.T) {
	t.Parallel()
	path := made(t)
	a, b := create(t, path), create(t, path)
	tx, err := a.Write.Begin()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Write.Exec("PRAGMA busy_timeout = 0"); err != nil {
		t.Fatal(err)
	}
	if other, err := b.Write.Begin(); err == nil {
		t.Error("two transactions for writing at the same time", other.Rollback())
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
}

func TestNamesWithCharactersThatMeanSomethingInAURI(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"a b", "a?mode=memory", "a#b", "a%41", "a%zz", "a&b=c", "ä€", "a'b\"c", "a+b;c:d", ":memory:"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), name)
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, name+".db")
			f := create(t, path)
			if _, err := f.Write.Exec("INSERT INTO subjects (kind, id, epoch, expires_at) VALUES (1, 21, x'00', 7)"); err != nil {
				t.Fatal(err)
			}
			var n int
			if err := create(t, path).Read.QueryRow("SELECT count(*) FROM subjects").Scan(&n); err != nil || n != 1 {
				t.Errorf("%d rows, %v", n, err)
			}
			if _, err := os.Stat(path); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestARelativePathIsThatOfTheWorkingFolder(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	create(t, "glueauth.db")
	if _, err := os.Stat(filepath.Join(dir, "glueauth.db")); err != nil {
		t.Error(err)
	}
}

func TestWhatIsRefusedStaysAsItIs(t *testing.T) {
	t.Parallel()
	write := func(data string) func(t *testing.T, path string) {
		return func(t *testing.T, path string) {
			t.Helper()
			if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	sqlite := func(statements ...string) func(t *testing.T, path string) {
		return func(t *testing.T, path string) {
			t.Helper()
			change(t, path, statements...)
		}
	}
	ours := func(statements ...string) func(t *testing.T, path string) {
		return func(t *testing.T, path string) {
			t.Helper()
			if err := os.Rename(made(t), path); err != nil {
				t.Fatal(err)
			}
			change(t, path, statements...)
		}
	}
	broken := func(damage func(data []byte) []byte) func(t *testing.T, path string) {
		return func(t *testing.T, path string) {
			t.Helper()
			ours("CREATE TABLE filler AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 2000) SELECT i, hex(randomblob(20)) FROM n")(t, path)
			write(string(damage(read(t, path))))(t, path)
		}
	}
	for name, c := range map[string]struct {
		make func(t *testing.T, path string)
		says string
	}{
		"empty":                     {write(""), "is empty"},
		"text":                      {write(strings.Repeat("hello ", 1000)), "is not an SQLite database"},
		"shorter than a header":     {write("SQLite format 3\x00"), "is not an SQLite database"},
		"zeros":                     {write(strings.Repeat("\x00", 8192)), "is not an SQLite database"},
		"other program's":           {sqlite("CREATE TABLE spy_customer (id)"), "belongs to another program"},
		"other application id":      {sqlite("CREATE TABLE x (y)", "PRAGMA application_id = 42"), "belongs to another program"},
		"our mark, other tables":    {sqlite("CREATE TABLE x (y)", "PRAGMA application_id = 1735161189"), "has lost its identity"},
		"no identity":               {ours("DELETE FROM instance"), "has lost its identity"},
		"newer version":             {ours("INSERT INTO goose_db_version (version_id, is_applied) VALUES (4711, 1)"), "start a newer glueauth"},
		"truncated":                 {broken(func(d []byte) []byte { return d[:len(d)/2] }), "is damaged"},
		"truncated within the page": {broken(func(d []byte) []byte { return d[:5000] }), "is damaged"},
		"header only":               {broken(func(d []byte) []byte { return d[:100] }), "is damaged"},
		"zeroed page": {broken(func(d []byte) []byte {
			copy(d[len(d)-4096*5:], make([]byte, 4096))
			return d
		}), "is damaged"},
		"noise in the first page": {broken(func(d []byte) []byte {
			copy(d[100:4096], bytes.Repeat([]byte{0xa5}, 3996))
			return d
		}), "is damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "glueauth.db")
			c.make(t, path)
			before := read(t, path)
			f, err := sqlitefile.Open(t.Context(), path, sqlitefile.Options{Create: true})
			if err == nil {
				_ = f.Close()
				t.Fatal("opened")
			}
			if text := err.Error(); !strings.Contains(text, c.says) || !strings.Contains(text, path) || strings.Contains(text, "\n") {
				t.Errorf("says %q, want %q", text, c.says)
			}
			if !bytes.Equal(before, read(t, path)) {
				t.Error("the file was changed")
			}
			inFolder(t, filepath.Dir(path), 1)
		})
	}
}

func TestWhatCannotBeOpened(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	loop := filepath.Join(dir, "loop.db")
	if err := os.Symlink("loop.db", loop); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		path string
		o    sqlitefile.Options
		says string
	}{
		"a folder":              {dir, sqlitefile.Options{Create: true}, "is a directory"},
		"unreadable":            {loop, sqlitefile.Options{Create: true}, "let this user read and write it"},
		"absent":                {filepath.Join(dir, "absent.db"), sqlitefile.Options{}, "glueauth makes one only in its own data folder"},
		"absent, folder absent": {filepath.Join(dir, "no", "absent.db"), sqlitefile.Options{Create: true}, "make the folder"},
		"a device":              {os.DevNull, sqlitefile.Options{Create: true}, "is not a regular file"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, err := sqlitefile.Open(t.Context(), c.path, c.o)
			if err == nil {
				_ = f.Close()
				t.Fatal("opened")
			}
			if text := err.Error(); !strings.Contains(text, c.says) || !strings.Contains(text, c.path) {
				t.Errorf("says %q, want %q", text, c.says)
			}
		})
	}
}

func TestManyMayOpenANewFileAtTheSameTime(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "glueauth.db")
	files, errs := make([]*sqlitefile.File, 8), make([]error, 8)
	var wg sync.WaitGroup
	for i := range files {
		wg.Go(func() {
			files[i], errs[i] = sqlitefile.Open(t.Context(), path, sqlitefile.Options{Create: true})
		})
	}
	wg.Wait()
	created := 0
	for i, f := range files {
		if errs[i] != nil {
			t.Fatal(errs[i])
		}
		if f.Created {
			created++
		}
		if f.ID != files[0].ID {
			t.Error("two ids")
		}
	}
	if created != 1 {
		t.Errorf("%d of them made it", created)
	}
	for _, f := range files {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestAFileThatVanishedIsNotMadeAgainByItself(t *testing.T) {
	t.Parallel()
	path := made(t)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := sqlitefile.Open(t.Context(), path, sqlitefile.Options{}); err == nil {
		t.Error("opened")
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("made again")
	}
}

func TestALogWithoutItsDatabaseIsLeftAlone(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "glueauth.db")
	if err := os.WriteFile(path+"-wal", []byte("the last commits"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := sqlitefile.Open(t.Context(), path, sqlitefile.Options{Create: true})
	if err == nil || !strings.Contains(err.Error(), "-wal") {
		t.Errorf("got %v", err)
	}
	if left, err := os.ReadFile(path + "-wal"); err != nil || string(left) != "the last commits" {
		t.Errorf("the log is now %q (%v)", left, err)
	}
}
