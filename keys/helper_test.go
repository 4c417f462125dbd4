package keys_test

import (
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/glueauth/glueauth/keys"
)

// childDir names the folder in which this binary, started by one of its own tests, makes keys without end.
const childDir = "GLUEAUTH_KEYS_TEST_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		makeKeys(dir)
	}
	os.Exit(m.Run())
}

// makeKeys makes master keys and signing keys until it is killed, and prints the path of each file that it made.
func makeKeys(dir string) {
	mask, err := strconv.ParseInt(os.Getenv("GLUEAUTH_KEYS_TEST_UMASK"), 8, 32)
	if err != nil {
		panic(err)
	}
	syscall.Umask(int(mask))
	for i := 0; ; i++ {
		ring := filepath.Join(dir, "keys")
		kid, err := keys.Create(keys.Options{Dir: ring, Random: rand.Reader})
		if err != nil {
			panic(err)
		}
		fmt.Println(filepath.Join(ring, kid+".pem"))
		for j := range 20 {
			master := filepath.Join(dir, fmt.Sprintf("master-%d-%d.key", i, j))
			if err := keys.CreateMaster(master, rand.Reader); err != nil {
				panic(err)
			}
			fmt.Println(master)
		}
	}
}

// child starts makeKeys in a process of its own under a umask.
func child(t *testing.T, dir string, umask string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir, "GLUEAUTH_KEYS_TEST_UMASK="+umask)
	cmd.Stderr = t.Output()
	return cmd
}

// copyKey puts a file of testdata into dir with a mode that is accepted, since git keeps only 0644.
func copyKey(tb testing.TB, from, to string) {
	tb.Helper()
	write(tb, to, string(read(tb, filepath.Join("testdata", from))))
}

func write(tb testing.TB, path, content string) {
	tb.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		tb.Fatal(err)
	}
}

func read(tb testing.TB, path string) []byte {
	tb.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

func chmod(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// ringOf opens a folder that holds copies of the named files of testdata.
func ringOf(t *testing.T, files ...string) (string, *keys.Ring) {
	t.Helper()
	dir := t.TempDir()
	for _, file := range files {
		copyKey(t, file, filepath.Join(dir, file))
	}
	if len(files) > 1 {
		_, only := ringOf(t, files[0])
		write(t, filepath.Join(dir, "current"), only.List()[0].Kid+"\n")
	}
	return dir, open(t, dir)
}

// options name a folder whose keys have no times, or one at the present time.
func options(dir string) keys.Options { return keys.Options{Dir: dir, Now: time.Now} }

func openWith(dir string, shop *keys.ShopKey) (*keys.Ring, error) {
	return keys.Open(keys.Options{Dir: dir, Shop: shop, Now: time.Now})
}

func open(tb testing.TB, dir string) *keys.Ring {
	tb.Helper()
	ring, err := keys.Open(options(dir))
	if err != nil {
		tb.Fatal(err)
	}
	return ring
}

// wantError checks that an error is one line that holds every part.
func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", parts)
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("error of several lines: %q", err)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q, want %q in it", err, part)
		}
	}
}

// snapshot returns every file below dir with its mode and content, links by their target.
func snapshot(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		info, err := entry.Info()
		if err != nil {
			t.Fatal(err)
		}
		content := ""
		if info.Mode().IsRegular() {
			content = string(read(t, path))
		} else if info.Mode().Type() == os.ModeSymlink {
			if content, err = os.Readlink(path); err != nil {
				t.Fatal(err)
			}
		}
		files[entry.Name()] = info.Mode().String() + " " + content
	}
	return files
}
