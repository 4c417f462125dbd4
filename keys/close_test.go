package keys_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/glueauth/glueauth/keys"
)

// rotatedMaster makes a master key file with an old and a new key.
func rotatedMaster(t *testing.T) (string, *keys.Master) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "master.key")
	write(t, path, string(masterKey()))
	if _, err := keys.RotateMaster(path, 1, rand.Reader); err != nil {
		t.Fatal(err)
	}
	return path, openMaster(t, path)
}

func openMaster(t *testing.T, path string) *keys.Master {
	t.Helper()
	m, err := keys.OpenMaster(path)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// derives returns what a master key makes by a number, empty where it is closed.
func derives(t *testing.T, m *keys.Master, purpose string, number byte) string {
	t.Helper()
	derived, err := m.Derive(purpose, number, 32)
	if err != nil && !errors.Is(err, keys.ErrClosed) {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", derived)
}

func TestAnOldMasterKeyIsClosedWhenItsLastTokenHasExpired(t *testing.T) {
	t.Parallel()
	path, before := rotatedMaster(t)
	old := read(t, path)
	c := keys.Closing{Number: 10, Now: verifiedAt, Until: verifiedAt.Add(30 * 24 * time.Hour)}
	until, err := keys.CloseMaster(path, c)
	if want := c.Until.Add(time.Second); err != nil || !until.Equal(want) {
		t.Fatalf("needed until %s, want %s; %v", until, want, err)
	}
	noted := openMaster(t, path)
	for _, number := range []byte{1, 9, 10, 11} {
		if derives(t, noted, "refresh-token", number) != derives(t, before, "refresh-token", number) {
			t.Errorf("number %d is another key already", number)
		}
	}
	c.Now, c.Until = until.Add(-time.Second), until.Add(time.Hour) // the first time counts
	_, err = keys.CloseMaster(path, c)
	wantError(t, err, until.Format(time.RFC3339), "--now")
	c.Now = until
	if until, err = keys.CloseMaster(path, c); err != nil || !until.IsZero() {
		t.Fatal(until, err)
	}
	wantClosed(t, path, before)
	if text := string(read(t, path)); strings.Contains(text, strings.Split(strings.Split(string(old), "\n")[1], ":")[1]) {
		t.Error("the old key is still in the file")
	}
	_, err = keys.CloseMaster(path, c)
	wantError(t, err, path, "no old master key")
	number, err := keys.RotateMaster(path, 10, rand.Reader)
	if again := openMaster(t, path); err != nil || number != 20 || derives(t, again, "device-mark", 1) != derives(t, before, "device-mark", 1) {
		t.Errorf("rotated to %d, %v", number, err)
	}
}

// wantClosed checks that of an old key the marks are left, and of the newest one everything.
func wantClosed(t *testing.T, path string, before *keys.Master) {
	t.Helper()
	after := openMaster(t, path)
	for _, number := range []byte{1, 9} {
		for _, purpose := range []string{"refresh-token", "signing-keys", "anything"} {
			if _, err := after.Derive(purpose, number, 32); !errors.Is(err, keys.ErrClosed) || !strings.Contains(err.Error(), "refresh.mac_key") {
				t.Errorf("%s by number %d: %v", purpose, number, err)
			}
		}
	}
	if derives(t, after, "refresh-token", 10) != derives(t, before, "refresh-token", 10) {
		t.Error("the newest one is another key")
	}
	for _, purpose := range []string{"device-mark", "password-mark", "retry-key", "dummy-cost", "fingerprint"} {
		if got := derives(t, after, purpose, 1); got == "" || got != derives(t, before, purpose, 1) {
			t.Errorf("%s is another one: %s", purpose, got)
		}
	}
	if diff := cmp.Diff(before.Numbers(), after.Numbers()); diff != "" {
		t.Error(diff)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestAMasterKeyIsNotClosedWhileItIsNeeded(t *testing.T) {
	t.Parallel()
	path, _ := rotatedMaster(t)
	before := read(t, path)
	sealed := errors.New("something is sealed by it")
	c := keys.Closing{Number: 1, Now: verifiedAt, Until: verifiedAt, Force: true}
	_, err := keys.CloseMaster(path, c)
	wantError(t, err, "set refresh.mac_key to 10")
	c.Number, c.Fits = 10, func(*keys.Master) error { return sealed }
	if _, err = keys.CloseMaster(path, c); !errors.Is(err, sealed) {
		t.Error(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	_, err = keys.CloseMaster(link, c)
	wantError(t, err, "is a link")
	if !bytes.Equal(before, read(t, path)) {
		t.Error("the file has changed")
	}
	c.Fits = func(left *keys.Master) error {
		if derives(t, left, "signing-keys", 1) != "" {
			return errors.New("it is asked about a key that is not closed")
		}
		return nil
	}
	if _, err = keys.CloseMaster(path, c); err != nil {
		t.Error(err)
	}
	one := filepath.Join(t.TempDir(), "one.key")
	write(t, one, string(masterKey()))
	_, err = keys.CloseMaster(one, c)
	wantError(t, err, one, "glueauth master-key rotate")
}

func TestAClosedMasterKeysDamageIsRefused(t *testing.T) {
	t.Parallel()
	path, _ := rotatedMaster(t)
	if _, err := keys.CloseMaster(path, keys.Closing{Number: 10, Force: true}); err != nil {
		t.Fatal(err)
	}
	good := string(read(t, path))
	newest, marks, _ := strings.Cut(good, "\n")
	for name, text := range map[string]string{
		"marks cut":            newest + "\n" + marks[:len(marks)-6] + "\n",
		"nothing but marks":    marks,
		"no marks":             newest + "\n1:marks:\n",
		"no time":              newest + "@\n" + marks,
		"not a time":           newest + "@tomorrow\n" + marks,
		"two of one number":    good + marks,
		"a closed newest one":  strings.Replace(marks, "1:", "10:", 1) + marks,
		"marks of many bytes":  newest + "\n" + strings.TrimSpace(marks) + "AAAA\n",
		"marks of another one": newest + "\n2:" + strings.TrimPrefix(marks, "1:"),
	} {
		write(t, path, text)
		if _, err := keys.OpenMaster(path); err == nil || strings.Contains(err.Error(), marks[10:30]) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
