package keys_test

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/keys"
)

// The settings of the tests, and what comes of them.
const (
	cache    = time.Hour
	lifetime = 8 * time.Hour
	ahead    = cache + time.Minute // from being announced to signing
	expired  = lifetime + time.Minute
)

// clock is one that is moved by hand.
type clock struct{ nanos atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.nanos.Store(verifiedAt.UnixNano())
	return c
}

func (c *clock) now() time.Time       { return time.Unix(0, c.nanos.Load()).UTC() }
func (c *clock) pass(d time.Duration) { c.nanos.Add(int64(d)) }
func (c *clock) set(at time.Time)     { c.nanos.Store(at.UnixNano()) }
func (c *clock) options(dir string) keys.Options {
	return keys.Options{Dir: dir, Now: c.now, Random: rand.Reader, Cache: cache, Lifetime: lifetime}
}

func (c *clock) open(tb testing.TB, dir string) *keys.Ring {
	tb.Helper()
	ring, err := keys.Open(c.options(dir))
	if err != nil {
		tb.Fatal(err)
	}
	return ring
}

func rotate(tb testing.TB, ring *keys.Ring, algorithm string, now bool) keys.Info {
	tb.Helper()
	info, err := ring.Rotate(algorithm, now, 0)
	if err != nil {
		tb.Fatal(err)
	}
	return info
}

// keep has a ring do what is due without a schedule.
func keep(tb testing.TB, ring *keys.Ring, want bool) {
	tb.Helper()
	if done, err := ring.Keep(0); err != nil || done != want {
		tb.Errorf("keep: done %v, %v; want %v", done, err, want)
	}
}

// follow has a ring look at its folder.
func follow(tb testing.TB, ring *keys.Ring, want bool) {
	tb.Helper()
	if changed, err := ring.Refresh(); err != nil || changed != want {
		tb.Errorf("refresh: changed %v, %v; want %v", changed, err, want)
	}
}

// states returns the state of each key.
func states(ring *keys.Ring) map[string]string {
	all := map[string]string{}
	for _, i := range ring.List() {
		all[i.Kid] = i.State
	}
	return all
}

func wantStates(tb testing.TB, ring *keys.Ring, want map[string]string) {
	tb.Helper()
	if diff := cmp.Diff(want, states(ring)); diff != "" {
		tb.Errorf("states (-want +got)\n%s", diff)
	}
	listed := 0
	for _, state := range want {
		if state != keys.Gone {
			listed++
		}
	}
	var set struct {
		Keys []map[string]string `json:"keys"`
	}
	if err := json.Unmarshal(jwks(ring), &set); err != nil || len(set.Keys) != listed {
		tb.Errorf("%d keys published, want %d (%v)", len(set.Keys), listed, err)
	}
	if all, err := ring.PEM(); err != nil || bytes.Count(all, []byte("-----BEGIN PUBLIC KEY-----")) != listed {
		tb.Errorf("%d keys as PEM wanted, got %v\n%s", listed, err, all)
	}
}

func sign(tb testing.TB, ring *keys.Ring, algorithm string, at time.Time) secret.Text {
	tb.Helper()
	claims, err := json.Marshal(map[string]int64{"iat": at.Unix(), "exp": at.Add(lifetime).Unix()})
	if err != nil {
		tb.Fatal(err)
	}
	token, err := ring.SignAs(algorithm, "JWT", claims)
	if err != nil {
		tb.Fatal(err)
	}
	return secret.Text(token)
}

func TestAKeyIsAnnouncedSignsRetiresAndGoes(t *testing.T) {
	t.Parallel()
	c := newClock()
	dir, _ := ringOf(t, "test-key.pem")
	first, second := c.open(t, dir), c.open(t, dir)
	old := kidOf(t, "test-key.pem")
	begun := c.now()

	fresh := rotate(t, first, "RS256", false)
	follow(t, second, true)
	want := keys.Info{
		Kid: fresh.Kid, Algorithm: "RS256", File: fresh.Kid + ".pem", Bits: 2048,
		State: keys.Announced, Since: begun, Until: begun.Add(ahead),
	}
	if diff := cmp.Diff(want, fresh); diff != "" {
		t.Error(diff)
	}
	for _, phase := range []struct {
		after      time.Duration
		old, fresh string
	}{
		{0, keys.Signing, keys.Announced},
		{ahead - time.Millisecond, keys.Signing, keys.Announced},
		{ahead, keys.Retired, keys.Signing},
		{ahead + expired - time.Millisecond, keys.Retired, keys.Signing},
		{ahead + expired, keys.Gone, keys.Signing},
		{1000 * lifetime, keys.Gone, keys.Signing},
		{ahead, keys.Retired, keys.Signing}, // a clock may be set back
	} {
		c.set(begun.Add(phase.after))
		for _, ring := range []*keys.Ring{first, second, c.open(t, dir)} { // each for itself
			wantStates(t, ring, map[string]string{old: phase.old, fresh.Kid: phase.fresh})
			signs := map[bool]string{true: old, false: fresh.Kid}[phase.old == keys.Signing]
			if ring.List()[0].Kid != signs {
				t.Errorf("after %s %v is the first key, want %s", phase.after, ring.List()[0], signs)
			}
		}
	}
}

func TestNoTokenFailsBeforeItsTimeAndNoneAfterIt(t *testing.T) {
	t.Parallel()
	c := newClock()
	dir, _ := ringOf(t, "test-key.pem")
	ring := c.open(t, dir)
	begun := c.now()
	rotate(t, ring, "RS256", false)
	c.set(begun.Add(ahead - time.Millisecond))
	last := c.now()
	token := sign(t, ring, "RS256", last)
	c.set(begun.Add(ahead))
	next := sign(t, ring, "", c.now())
	if header := strings.Split(next.Reveal(), ".")[0]; header == strings.Split(token.Reveal(), ".")[0] {
		t.Error("both tokens have one header")
	}
	c.set(last.Add(lifetime - time.Second))
	for _, good := range []secret.Text{token, next} {
		if _, err := ring.Verify(good, c.now()); err != nil {
			t.Errorf("a second before its end: %v", err)
		}
	}
	c.set(last.Add(lifetime + 2*time.Minute))
	if _, err := ring.Verify(token, c.now()); err == nil || errors.Is(err, keys.ErrExpired) {
		t.Errorf("after its key: %v", err)
	}
}

func TestAFolderOfBeforeGoesOnAfterItsFirstRotation(t *testing.T) {
	t.Parallel()
	c := newClock()
	dir, _ := ringOf(t, "test-key.pem", "second-key.pem") // the first one signs
	old, beside := kidOf(t, "test-key.pem"), kidOf(t, "second-key.pem")
	shops := signed(t, privateKey(t, "second-key.pem"), `{"typ":"JWT","alg":"RS256"}`, payload(""))
	files := snapshot(t, dir)
	ring := c.open(t, dir)
	wantStates(t, ring, map[string]string{old: keys.Signing, beside: keys.Published})
	fresh := rotate(t, ring, "RS256", false)
	wantStates(t, ring, map[string]string{old: keys.Signing, beside: keys.Published, fresh.Kid: keys.Announced})
	after := snapshot(t, dir)
	for name, content := range files {
		if after[name] != content {
			t.Errorf("%s has changed", name)
		}
	}
	if mode := strings.Fields(after["schedule.json"])[0]; mode != "-rw-------" {
		t.Errorf("the schedule has mode %s", mode)
	}
	if strings.Contains(after["schedule.json"], "PRIVATE") {
		t.Error("the schedule holds a key")
	}
	if _, err := ring.Verify(secret.Text(shops), verifiedAt); err != nil {
		t.Errorf("a token without kid of a key beside: %v", err)
	}
	c.pass(ahead + expired)
	keep(t, ring, true)
	wantStates(t, ring, map[string]string{beside: keys.Published, fresh.Kid: keys.Signing})
	if _, err := ring.Verify(secret.Text(shops), verifiedAt); err != nil {
		t.Errorf("a token without kid of a key beside: %v", err)
	}
}

func TestTheFileOfAGoneKeyIsPutAsideAndStays(t *testing.T) {
	t.Parallel()
	c := newClock()
	dir, _ := ringOf(t, "test-key.pem")
	ring := c.open(t, dir)
	fresh := rotate(t, ring, "RS256", true)
	keep(t, ring, false)
	c.pass(expired - time.Second)
	keep(t, ring, false)
	c.pass(time.Second + time.Millisecond)
	keep(t, ring, true)
	keep(t, ring, false)
	wantStates(t, ring, map[string]string{fresh.Kid: keys.Signing})
	aside, err := filepath.Glob(filepath.Join(dir, "test-key.pem.*.gone"))
	if err != nil || len(aside) != 1 || string(read(t, aside[0])) != string(read(t, "testdata/test-key.pem")) {
		t.Errorf("put aside: %v %v", aside, err)
	}
	wantStates(t, c.open(t, dir), map[string]string{fresh.Kid: keys.Signing})
}

func TestRotationAtOnce(t *testing.T) {
	t.Parallel()
	c := newClock()
	dir, _ := ringOf(t, "test-key.pem")
	ring, old := c.open(t, dir), kidOf(t, "test-key.pem")
	_, err := ring.Rotate("ES265", false, 0)
	wantError(t, err, "ES265", "use RS256, PS256, ES256, EdDSA")
	pending := rotate(t, ring, "RS256", false)
	_, err = ring.Rotate("RS256", false, 0)
	wantError(t, err, pending.Kid, "announced already", "2026-03-01T13:01:00Z", "--now")
	first := rotate(t, ring, "RS256", true)
	wantStates(t, ring, map[string]string{old: keys.Retired, pending.Kid: keys.Announced, first.Kid: keys.Signing})
	second := rotate(t, ring, "RS256", true) // within the same instant
	c.pass(time.Millisecond)
	wantStates(t, ring, map[string]string{old: keys.Retired, pending.Kid: keys.Announced, first.Kid: keys.Retired, second.Kid: keys.Signing})
	token := sign(t, ring, "RS256", c.now())

	wantError(t, keys.Withdraw(c.options(dir), second.Kid), "signs", "keys rotate --alg RS256 --now")
	wantError(t, keys.Withdraw(c.options(dir), "nobody"), "glueauth keys list")
	for _, kid := range []string{old, pending.Kid, first.Kid} {
		if err := keys.Withdraw(c.options(dir), kid); err != nil {
			t.Fatal(err)
		}
	}
	follow(t, ring, true)
	wantStates(t, ring, map[string]string{old: keys.Gone, pending.Kid: keys.Gone, first.Kid: keys.Gone, second.Kid: keys.Signing})
	if _, err := ring.Verify(token, c.now()); err != nil {
		t.Error(err)
	}
	keep(t, ring, true)
	keep(t, ring, false)
	wantStates(t, c.open(t, dir), map[string]string{second.Kid: keys.Signing})
}

func TestAKeyCanBeGivenMoreTimeToTravel(t *testing.T) {
	t.Parallel()
	for after, want := range map[time.Duration]time.Duration{-time.Hour: ahead, 0: ahead, time.Minute: ahead, 24 * time.Hour: 24 * time.Hour} {
		c := newClock()
		dir, _ := ringOf(t, "test-key.pem")
		info, err := c.open(t, dir).Rotate("ES256", false, after)
		if err != nil || !info.Until.Equal(c.now().Add(want)) {
			t.Errorf("after %s it signs at %s, want %s from now; %v", after, info.Until, want, err)
		}
	}
}

// TestWhatRootMakesIsItsFoldersOwners holds for any other user by itself.
func TestWhatRootMakesIsItsFoldersOwners(t *testing.T) {
	t.Parallel()
	dir, _ := ringOf(t, "test-key.pem")
	if os.Geteuid() == 0 {
		if err := os.Chown(dir, 4711, 4712); err != nil {
			t.Fatal(err)
		}
	}
	owner := func(path string) (uid, gid uint32) {
		t.Helper()
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		stat := info.Sys().(*syscall.Stat_t)
		return stat.Uid, stat.Gid
	}
	uid, gid := owner(dir)
	fresh := rotate(t, newClock().open(t, dir), "EdDSA", true)
	for _, name := range []string{fresh.File, "schedule.json", "schedule.lock"} {
		if u, g := owner(filepath.Join(dir, name)); u != uid || g != gid {
			t.Errorf("%s belongs to %d:%d, want %d:%d", name, u, g, uid, gid)
		}
	}
}

func TestALostFileIsToldAndItsKeyCanBeWithdrawn(t *testing.T) {
	t.Parallel()
	c := newClock()
	dir, _ := ringOf(t, "test-key.pem")
	old := kidOf(t, "test-key.pem")
	ring := c.open(t, dir)
	fresh := rotate(t, ring, "RS256", true)
	if err := os.Remove(filepath.Join(dir, "test-key.pem")); err != nil {
		t.Fatal(err)
	}
	_, err := ring.Refresh()
	wantError(t, err, old, "restore it", "glueauth keys withdraw --kid "+old)
	_, err = keys.Open(c.options(dir))
	wantError(t, err, old, "glueauth keys withdraw --kid "+old)
	wantStates(t, ring, map[string]string{old: keys.Retired, fresh.Kid: keys.Signing})
	if err := keys.Withdraw(c.options(dir), old); err != nil {
		t.Fatal(err)
	}
	follow(t, ring, true)
	wantStates(t, ring, map[string]string{fresh.Kid: keys.Signing})
	wantStates(t, c.open(t, dir), map[string]string{fresh.Kid: keys.Signing})
}

func TestSettingsThatDifferMakeServersCautious(t *testing.T) {
	t.Parallel()
	c := newClock()
	dir, _ := ringOf(t, "test-key.pem")
	hasty, old := c.options(dir), kidOf(t, "test-key.pem")
	hasty.Cache, hasty.Lifetime = time.Second, time.Second
	ring, err := keys.Open(hasty)
	if err != nil {
		t.Fatal(err)
	}
	fresh := rotate(t, ring, "RS256", false)
	usual := c.open(t, dir)
	c.pass(3 * time.Second) // a second and its slack
	wantStates(t, ring, map[string]string{old: keys.Retired, fresh.Kid: keys.Signing})
	wantStates(t, usual, map[string]string{old: keys.Signing, fresh.Kid: keys.Announced})
	keep(t, usual, true) // writes down that its tokens live longer
	c.pass(ahead - 3*time.Second)
	wantStates(t, usual, map[string]string{old: keys.Retired, fresh.Kid: keys.Signing})
	c.pass(expired - time.Second)
	wantStates(t, usual, map[string]string{old: keys.Retired, fresh.Kid: keys.Signing})
	follow(t, ring, true)
	c.pass(time.Second)
	wantStates(t, usual, map[string]string{old: keys.Gone, fresh.Kid: keys.Signing})
}

func TestASchedulesDamageIsRefused(t *testing.T) {
	t.Parallel()
	kid := kidOf(t, "test-key.pem")
	one := `{"kid":"` + kid + `","alg":"RS256","announced":"2026-03-01T12:00:00Z","signs":"2026-03-01T12:00:00Z","token_seconds":1}`
	for name, c := range map[string]struct{ content, want string }{
		"empty":           {"", "is damaged or newer"},
		"cut":             {`{"version":1,"keys":[`, "is damaged or newer"},
		"more behind":     {`{"version":1,"keys":[]}{}`, "is damaged or newer"},
		"unknown member":  {`{"version":1,"keys":[],"x":1}`, "is damaged or newer"},
		"newer":           {`{"version":2,"keys":[]}`, "has version 2"},
		"twice":           {`{"version":1,"keys":[` + one + "," + one + `]}`, "what cannot be"},
		"another kind":    {`{"version":1,"keys":[` + strings.Replace(one, "RS256", "ES256", 1) + `]}`, "of another kind"},
		"unknown alg":     {`{"version":1,"keys":[` + strings.Replace(one, "RS256", "HS256", 1) + `]}`, "what cannot be"},
		"signs before":    {`{"version":1,"keys":[` + strings.Replace(one, `"signs":"2026`, `"signs":"2025`, 1) + `]}`, "what cannot be"},
		"lost key's file": {`{"version":1,"keys":[` + strings.Replace(one, kid, "lost", 1) + `]}`, "restore it from a backup"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, _ := ringOf(t, "test-key.pem")
			path := filepath.Join(dir, "schedule.json")
			write(t, path, c.content)
			_, err := keys.Open(options(dir))
			wantError(t, err, c.want, dir)
			write(t, path, `{"version":1,"keys":[`+one+`]}`)
			open(t, dir)
			chmod(t, path, 0o622)
			_, err = keys.Open(options(dir))
			wantError(t, err, path, "chmod 600")
		})
	}
	lost := t.TempDir()
	write(t, filepath.Join(lost, "schedule.json"), `{"version":1,"keys":[]}`)
	refused(t, lost, filepath.Join(lost, "schedule.json"), "restore the *.pem files")
}
