package keys_test

import (
	"bufio"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/glueauth/glueauth/keys"
)

func TestFirstKeySignsAndFurtherKeysDoNot(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data", "keys")
	first := create(t, dir)
	second := create(t, dir)
	infos := open(t, dir).List()
	want := []keys.Info{
		{Kid: first, File: first + ".pem", Algorithm: "RS256", Bits: 2048, State: keys.Signing},
		{Kid: second, File: second + ".pem", Algorithm: "RS256", Bits: 2048, State: keys.Published},
	}
	if diff := cmp.Diff(want, infos); diff != "" {
		t.Error(diff)
	}
	if got := string(read(t, filepath.Join(dir, "current"))); got != first+"\n" {
		t.Errorf("current holds %q, want %s", got, first)
	}
	if files := snapshot(t, dir); len(files) != 3 {
		t.Errorf("%d files, want two keys and current", len(files))
	}
	write(t, filepath.Join(dir, "current"), second)
	if infos := open(t, dir).List(); infos[0].Kid != second || infos[0].State != keys.Signing {
		t.Errorf("%v signs after current was changed to %s", infos[0], second)
	}
}

func create(t *testing.T, dir string) string {
	t.Helper()
	kid, err := keys.Create(keys.Options{Dir: dir, Random: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	return kid
}

func TestAKeyBesideTheOperatorsOwnLeavesHisSigning(t *testing.T) {
	t.Parallel()
	dir, before := ringOf(t, "test-key.pem")
	create(t, dir)
	after := open(t, dir).List()
	if after[0].Kid != before.List()[0].Kid || len(after) != 2 {
		t.Errorf("got %v, want %s to sign", after, before.List()[0].Kid)
	}
}

func TestCurrentMustNameAKey(t *testing.T) {
	t.Parallel()
	dir, ring := ringOf(t, "test-key.pem", "second-key.pem")
	kids := []string{ring.List()[0].Kid, ring.List()[1].Kid}
	current := filepath.Join(dir, "current")
	if err := os.Remove(current); err != nil {
		t.Fatal(err)
	}
	refused(t, dir, dir, "2 keys", current, kids[0], kids[1])
	for _, content := range []string{"", "\n", "test-key.pem", kids[0] + " " + kids[1], strings.ToLower(kids[0])} {
		write(t, current, content)
		refused(t, dir, current, "names no key", kids[0], kids[1])
	}
	write(t, current, " "+kids[1]+"\r\n")
	chmod(t, current, 0o644)
	if got := open(t, dir).List()[0].Kid; got != kids[1] {
		t.Errorf("%s signs, want %s", got, kids[1])
	}
	chmod(t, current, 0o646)
	refused(t, dir, current, "chmod 600")
	only, _ := ringOf(t, "test-key.pem")
	write(t, filepath.Join(only, "current"), kids[1])
	refused(t, only, filepath.Join(only, "current"), "names no key")
}

func TestRacingForOneFileLeavesOneWinner(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "master.key")
	var racers sync.WaitGroup
	var winners atomic.Int32
	start := make(chan struct{})
	for range 16 {
		racers.Go(func() {
			<-start
			err := keys.CreateMaster(path, rand.Reader)
			if err == nil {
				winners.Add(1)
			} else if !errors.Is(err, fs.ErrExist) {
				t.Error(err)
			}
			if _, err := keys.OpenMaster(path); err != nil {
				t.Error(err)
			}
		})
	}
	close(start)
	racers.Wait()
	if winners.Load() != 1 {
		t.Errorf("%d winners, want 1", winners.Load())
	}
	if files := snapshot(t, filepath.Dir(path)); len(files) != 1 {
		t.Errorf("left behind: %v", len(files))
	}
}

func TestModesHoldUnderAnyUmask(t *testing.T) {
	t.Parallel()
	for _, umask := range []string{"000", "777"} {
		t.Run(umask, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			ring := filepath.Join(dir, "keys")
			if umask == "777" {
				// Folders are made with 0700 less the umask, as everywhere.
				if err := os.Mkdir(ring, 0o700); err != nil {
					t.Fatal(err)
				}
			}
			made := makeAndKill(t, dir, umask, 2)
			for _, path := range append(made, filepath.Join(ring, "current"), ring) {
				info, err := os.Stat(path)
				if err != nil {
					t.Fatal(err)
				}
				want := map[bool]os.FileMode{true: 0o700, false: 0o600}[info.IsDir()]
				if info.Mode().Perm() != want {
					t.Errorf("%s has mode %04o, want %04o", path, info.Mode().Perm(), want)
				}
			}
		})
	}
}

// TestKillLeavesWholeFilesOnly ends the maker at different points of its work with SIGKILL.
func TestKillLeavesWholeFilesOnly(t *testing.T) {
	t.Parallel()
	for _, after := range []int{0, 1, 2, 5, 13, 22, 30} {
		dir := t.TempDir()
		made := makeAndKill(t, dir, "022", after)
		files, err := filepath.Glob(filepath.Join(dir, "master-*.key"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if _, err := keys.OpenMaster(file); err != nil {
				t.Error(err)
			}
		}
		ring, err := keys.Open(options(filepath.Join(dir, "keys")))
		if err != nil && (!isNoKeys(err) || after > 0) {
			t.Errorf("killed after %d files: %v", after, err)
		}
		for _, path := range made {
			if _, err := os.Stat(path); err != nil {
				t.Error(err)
			}
		}
		kid := create(t, filepath.Join(dir, "keys"))
		if ring != nil && open(t, filepath.Join(dir, "keys")).List()[0].Kid == kid {
			t.Error("the key made after the kill took over signing")
		}
	}
}

// makeAndKill lets a process make keys in dir, kills it once it has told of so many files, and returns their paths.
func makeAndKill(t *testing.T, dir, umask string, files int) []string {
	t.Helper()
	cmd := child(t, dir, umask)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	var made []string
	for len(made) < files && lines.Scan() {
		made = append(made, lines.Text())
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for lines.Scan() {
		made = append(made, lines.Text())
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != -1 {
		t.Fatalf("the maker ended with %v, want to be killed", err)
	}
	return made
}
