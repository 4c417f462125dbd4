package e2e_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"database/sql"
	"encoding/pem"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	_ "modernc.org/sqlite" // the driver that opens what glueauth must refuse
)

func TestBrokenDataFolderStopsTheStartAndStaysAsItIs(t *testing.T) {
	t.Parallel()
	whole := t.TempDir()
	start(t, whole, "--demo").stop(t)
	key := filepath.Base(one(t, filepath.Join(whole, "data", "keys", "*.pem")))

	for name, c := range map[string]struct {
		damage func(t *testing.T, data string)
		words  []string
	}{
		"broken key":                   {replace("keys/"+key, "-----BEGIN PRIVATE KEY-----\nbm9uc2Vuc2U=\n-----END PRIVATE KEY-----\n"), []string{key}},
		"empty key":                    {replace("keys/"+key, ""), []string{key}},
		"short key":                    {replace("keys/"+key, weakKey(t)), []string{key, "2048"}},
		"key open to all":              {open("keys/" + key), []string{key, "chmod"}},
		"key is a folder":              {folder("keys/" + key), []string{key}},
		"short master key":             {replace("master.key", strings.Repeat("k", 31)), []string{"master.key", "32"}},
		"empty master key":             {replace("master.key", ""), []string{"master.key", "32"}},
		"master key open to all":       {open("master.key"), []string{"master.key", "chmod"}},
		"master key unreadable":        {folder("master.key"), []string{"master.key"}},
		"database is text":             {replace("glueauth.db", "these are not the rows you are looking for\n"), []string{"glueauth.db"}},
		"database is empty":            {replace("glueauth.db", ""), []string{"glueauth.db"}},
		"database is a folder":         {folder("glueauth.db"), []string{"glueauth.db"}},
		"database cut in the midst":    {cut("glueauth.db"), []string{"glueauth.db"}},
		"database of another program":  {instead("CREATE TABLE notes (text TEXT)", "INSERT INTO notes VALUES ('mine')", "PRAGMA application_id = 1"), []string{"glueauth.db"}},
		"database without a mark":      {instead("CREATE TABLE customers (id_customer INTEGER)", "INSERT INTO customers VALUES (1)"), []string{"glueauth.db"}},
		"database of a newer glueauth": {changed("INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, 1)"), []string{"glueauth.db", "newer"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			data := filepath.Join(dir, "data")
			clone(t, filepath.Join(whole, "data"), data)
			c.damage(t, data)
			before := snapshot(t, data)
			r := finish(t, dir, "", []string{"GLUEAUTH_LISTEN=127.0.0.1:0", "GLUEAUTH_ADMIN_LISTEN=127.0.0.1:0"}, "serve", "--demo")
			wantOneLine(t, r, c.words...)
			if r.took > 10*time.Second {
				t.Errorf("the refusal took %s", r.took)
			}
			after := snapshot(t, data)
			for path, was := range before {
				if diff := cmp.Diff(was, after[path]); diff != "" {
					t.Errorf("%s was touched (-before +after):\n%s", path, diff)
				}
			}
		})
	}
}

func TestBadSettingsStopTheStartWithTheRemedy(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		file  string
		env   []string
		args  []string
		words []string
	}{
		"unknown key":          {file: "lisen: :1\n", words: []string{"lisen", "listen", "glueauth.yaml"}},
		"unknown nested key":   {file: "refresh:\n  replay_windw: 1s\n", words: []string{"replay_windw", "refresh.replay_window"}},
		"unknown variable":     {env: []string{"GLUEAUTH_LISTN=:1"}, words: []string{"GLUEAUTH_LISTN", "GLUEAUTH_LISTEN"}},
		"unknown flag":         {args: []string{"--lisen", ":1"}, words: []string{"--lisen"}},
		"unknown command":      {args: []string{"servr"}, words: []string{"servr"}},
		"not YAML":             {file: "listen: [\n", words: []string{"glueauth.yaml"}},
		"no such file":         {args: []string{"--config", "absent.yaml"}, words: []string{"absent.yaml"}},
		"bad duration":         {env: []string{"GLUEAUTH_ACCESS_LIFETIME=soon"}, words: []string{"GLUEAUTH_ACCESS_LIFETIME", "soon"}},
		"bad address":          {args: []string{"--listen", "nowhere"}, words: []string{"--listen", "nowhere"}},
		"any origin":           {env: []string{"GLUEAUTH_CORS_ORIGINS=*"}, words: []string{"GLUEAUTH_CORS_ORIGINS"}},
		"unknown client key":   {file: "clients:\n  - id: a\n    secrt: x\n", words: []string{"secrt", "secret"}},
		"two clients of a id":  {file: "clients:\n  - id: a\n  - id: a\n", words: []string{"clients"}},
		"data is a file":       {args: []string{"--data", "glueauth.yaml"}, file: "demo: true\n", words: []string{"glueauth.yaml"}},
		"master key too short": {env: []string{"GLUEAUTH_MASTER_KEY=c2hvcnQ="}, words: []string{"32"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			env := append([]string{"GLUEAUTH_ADMIN_LISTEN=127.0.0.1:0"}, c.env...)
			if c.file != "" {
				env = append(env, "GLUEAUTH_CONFIG="+write(t, dir, "glueauth.yaml", c.file, 0o600))
			}
			wantOneLine(t, finish(t, dir, "", env, c.args...), c.words...)
		})
	}
}

func replace(name, content string) func(*testing.T, string) {
	return func(t *testing.T, data string) {
		t.Helper()
		write(t, data, name, content, 0o600)
	}
}

func open(name string) func(*testing.T, string) {
	return func(t *testing.T, data string) {
		t.Helper()
		if err := os.Chmod(filepath.Join(data, name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func folder(name string) func(*testing.T, string) {
	return func(t *testing.T, data string) {
		t.Helper()
		remove(t, data, name)
		if err := os.Mkdir(filepath.Join(data, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
}

func cut(name string) func(*testing.T, string) {
	return func(t *testing.T, data string) {
		t.Helper()
		path := filepath.Join(data, name)
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, info.Size()/2); err != nil {
			t.Fatal(err)
		}
	}
}

// instead makes another database in the place of ours.
func instead(statements ...string) func(*testing.T, string) {
	return func(t *testing.T, data string) {
		t.Helper()
		remove(t, data, "glueauth.db")
		execute(t, data, statements...)
	}
}

func changed(statements ...string) func(*testing.T, string) {
	return func(t *testing.T, data string) {
		t.Helper()
		execute(t, data, statements...)
	}
}

func remove(t *testing.T, data, name string) {
	t.Helper()
	if err := os.Remove(filepath.Join(data, name)); err != nil {
		t.Fatal(err)
	}
}

func weakKey(t *testing.T) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// database opens the embedded database as another program would.
func database(t *testing.T, data string) *sql.DB {
	t.Helper()
	address := url.URL{Scheme: "file", Path: filepath.Join(data, "glueauth.db"), RawQuery: "_pragma=busy_timeout(10000)"}
	db, err := sql.Open("sqlite", address.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// execute changes the embedded database from outside.
func execute(t *testing.T, data string, statements ...string) {
	t.Helper()
	db := database(t, data)
	for _, statement := range statements {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func one(t *testing.T, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil || len(found) != 1 {
		t.Fatalf("%s: %v %v, want one file", pattern, found, err)
	}
	return found[0]
}

// snapshot tells every file below dir by content and mode. The lock file names the newest server, so it may change.
func snapshot(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	walk(t, dir, func(path string, mode fs.FileMode) {
		if strings.HasSuffix(path, ".lock") {
			return
		}
		sum := [sha256.Size]byte{}
		if mode.IsRegular() {
			content, err := os.ReadFile(filepath.Join(dir, path))
			if err != nil {
				t.Fatal(err)
			}
			sum = sha256.Sum256(content)
		}
		files[path] = fmt.Sprintf("%s %x", mode, sum)
	})
	return files
}

// clone copies a folder with its modes.
func clone(t *testing.T, from, to string) {
	t.Helper()
	walk(t, from, func(path string, mode fs.FileMode) {
		if mode.IsDir() {
			if err := os.MkdirAll(filepath.Join(to, path), mode.Perm()); err != nil {
				t.Fatal(err)
			}
			return
		}
		content, err := os.ReadFile(filepath.Join(from, path))
		if err != nil {
			t.Fatal(err)
		}
		write(t, to, path, string(content), mode.Perm())
	})
}

// walk calls visit for everything below dir, with the path relative to it.
func walk(t *testing.T, dir string, visit func(path string, mode fs.FileMode)) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(dir, path)
		visit(relative, info.Mode())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
