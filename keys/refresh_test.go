package keys_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/keys"
)

// unusable checks that a change of the folder is told once and changes nothing.
func unusable(t *testing.T, ring *keys.Ring, want ...string) {
	t.Helper()
	before, body := ring.List(), string(jwks(ring))
	changed, err := ring.Refresh()
	wantError(t, err, append(want, "the keys of before go on")...)
	for range 3 {
		again, err := ring.Refresh()
		if changed || again || err != nil {
			t.Errorf("changed %v and %v, told again: %v", changed, again, err)
		}
	}
	if diff := cmp.Diff(before, ring.List()); diff != "" || body != string(jwks(ring)) {
		t.Errorf("the ring has changed: %s", diff)
	}
	if _, err := ring.Sign("JWT", []byte(claims)); err != nil {
		t.Error(err)
	}
}

func TestARingFollowsItsFolder(t *testing.T) {
	t.Parallel()
	dir, ring := ringOf(t, "test-key.pem")
	first, second := kidOf(t, "test-key.pem"), kidOf(t, "second-key.pem")
	follow(t, ring, false)
	write(t, filepath.Join(dir, "README"), "not a key")
	follow(t, ring, false)

	write(t, filepath.Join(dir, "current"), first)
	follow(t, ring, true)
	copyKey(t, "second-key.pem", filepath.Join(dir, "second.pem"))
	follow(t, ring, true)
	wantStates(t, ring, map[string]string{first: keys.Signing, second: keys.Published})
	write(t, filepath.Join(dir, "current"), second)
	follow(t, ring, true)
	wantStates(t, ring, map[string]string{first: keys.Published, second: keys.Signing})
	if err := os.Remove(filepath.Join(dir, "test-key.pem")); err != nil {
		t.Fatal(err)
	}
	follow(t, ring, true)
	wantStates(t, ring, map[string]string{second: keys.Signing})
	follow(t, ring, false)
}

func TestABrokenFolderIsToldOnceAndTheKeysOfBeforeGoOn(t *testing.T) {
	t.Parallel()
	dir, ring := ringOf(t, "test-key.pem")
	broken := filepath.Join(dir, "broken.pem")
	write(t, broken, "half a k")
	unusable(t, ring, broken, "holds no PEM block")
	write(t, broken, "half a key, more of it")
	unusable(t, ring, broken)
	copyKey(t, "second-key.pem", broken)
	unusable(t, ring, "2 keys", "current")
	if err := os.Remove(broken); err != nil {
		t.Fatal(err)
	}
	follow(t, ring, false)
	write(t, broken, "half a k")
	unusable(t, ring, broken) // anew
	if err := os.Remove(broken); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "test-key.pem")
	chmod(t, file, 0o644)
	unusable(t, ring, "chmod 600 "+file)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	unusable(t, ring, "no signing key")
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	unusable(t, ring, dir)
}

// TestAFolderIsFollowedAsSoonAsItCanBe : what is wrong with it may end without a change of any file, by another owner or by time.
func TestAFolderIsFollowedAsSoonAsItCanBe(t *testing.T) {
	t.Parallel()
	c := newClock()
	dir, _ := ringOf(t, "test-key.pem")
	ring, old := c.open(t, dir), kidOf(t, "test-key.pem")
	fresh := rotate(t, ring, "RS256", true)
	c.pass(time.Second)
	if err := os.Remove(filepath.Join(dir, "test-key.pem")); err != nil {
		t.Fatal(err)
	}
	copyKey(t, "second-key.pem", filepath.Join(dir, "second-key.pem"))
	unusable(t, ring, old, "restore it")
	c.pass(expired)
	follow(t, ring, true)
	wantStates(t, ring, map[string]string{fresh.Kid: keys.Signing, kidOf(t, "second-key.pem"): keys.Published})
	follow(t, ring, false)
}

func TestALastKeyThatSignsIsNotLet(t *testing.T) {
	t.Parallel()
	dir, ring := ringOf(t, "test-key.pem")
	copyKey(t, filepath.Join("other", "p256.pem"), filepath.Join(dir, "p256.pem"))
	follow(t, ring, true)
	if _, err := ring.SignAs("ES256", "JWT", []byte(claims)); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "p256.pem")); err != nil {
		t.Fatal(err)
	}
	unusable(t, ring, "ES256", "put that key back")
}

func TestAKubernetesVolumeIsFollowedThroughItsSwap(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	// swap puts a revision of the volume in the place of the one before, as the kubelet does.
	swap := func(revision string, files ...string) {
		t.Helper()
		folder := filepath.Join(dir, ".."+revision)
		if err := os.Mkdir(folder, 0o750); err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			copyKey(t, file, filepath.Join(folder, file))
			chmod(t, filepath.Join(folder, file), 0o440)
		}
		write(t, filepath.Join(folder, "current"), kidOf(t, files[0]))
		if err := os.Symlink(filepath.Base(folder), filepath.Join(dir, "..data_tmp")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
		for _, file := range append(files, "current") {
			if err := os.Symlink(filepath.Join("..data", file), filepath.Join(dir, file)); err != nil && !os.IsExist(err) {
				t.Fatal(err)
			}
		}
	}
	swap("2026_11_20_09_30_00.1", "test-key.pem")
	ring := open(t, dir)
	follow(t, ring, false)
	swap("2026_11_21_09_30_00.2", "second-key.pem", "test-key.pem")
	follow(t, ring, true)
	wantStates(t, ring, map[string]string{kidOf(t, "second-key.pem"): keys.Signing, kidOf(t, "test-key.pem"): keys.Published})
	if err := os.Remove(filepath.Join(dir, "test-key.pem")); err != nil {
		t.Fatal(err)
	}
	swap("2026_11_22_09_30_00.3", "second-key.pem")
	follow(t, ring, true)
	wantStates(t, ring, map[string]string{kidOf(t, "second-key.pem"): keys.Signing})
}

func TestNothingFailsWhileKeysRotate(t *testing.T) {
	t.Parallel()
	c := newClock()
	dir, _ := ringOf(t, "test-key.pem")
	replicas := []*keys.Ring{c.open(t, dir), c.open(t, dir)}
	stop := make(chan struct{})
	var load sync.WaitGroup
	for i, ring := range replicas {
		load.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				token, err := ring.Sign("JWT", []byte(payload("")))
				if err == nil {
					_, err = replicas[1-i].Verify(secret.Text(token), verifiedAt)
				}
				if err != nil {
					t.Error(err)
					return
				}
				ring.JWKS()
			}
		})
	}
	defer func() { close(stop); load.Wait() }()
	for range 3 {
		rotate(t, replicas[0], "RS256", false)
		follow(t, replicas[1], true)
		for range 4 {
			c.pass(ahead / 4)
		}
	}
}

func TestKeysOfTheSettingsDoNotLeaveByThemselves(t *testing.T) {
	t.Parallel()
	c := newClock()
	o := c.options(filepath.Join(t.TempDir(), "keys"))
	o.Shop = shopKey(t)
	shop := o.Shop.Kid()
	if err := os.Mkdir(o.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	ring, err := keys.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	wantStates(t, ring, map[string]string{shop: keys.Signing})
	fresh := rotate(t, ring, "RS256", false)
	wantStates(t, ring, map[string]string{shop: keys.Signing, fresh.Kid: keys.Announced})
	c.pass(ahead)
	wantStates(t, ring, map[string]string{shop: keys.Retired, fresh.Kid: keys.Signing})
	c.pass(expired)
	wantStates(t, ring, map[string]string{shop: keys.Published, fresh.Kid: keys.Signing})
	keep(t, ring, false)
	wantError(t, keys.Withdraw(o, shop), "keys.shop_private")
	without := c.open(t, o.Dir)
	wantStates(t, without, map[string]string{shop: keys.Gone, fresh.Kid: keys.Signing})
	keep(t, without, true)

	// Back by hand, it signs when it is told to.
	for _, step := range []struct {
		sign bool
		want map[string]string
	}{
		{false, map[string]string{shop: keys.Published, fresh.Kid: keys.Signing}},
		{true, map[string]string{shop: keys.Signing, fresh.Kid: keys.Retired}},
	} {
		if _, err := keys.Import(o, step.sign); err != nil {
			t.Fatal(err)
		}
		follow(t, without, true)
		c.pass(time.Millisecond)
		wantStates(t, without, step.want)
	}
	if name := without.List()[0].File; !strings.HasPrefix(name, shop) {
		t.Errorf("its file is %s", name)
	}
}
