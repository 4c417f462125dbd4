package keys_test

import (
	"crypto/rand"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/keys"
	"github.com/glueauth/glueauth/store/redisstore"
	"github.com/glueauth/glueauth/store/storetest"
)

// vaultOf returns the options of an empty vault in a Redis of its own.
func vaultOf(t *testing.T, c *clock, args ...string) (keys.Options, *storetest.RedisServer, *redisstore.Keyring) {
	t.Helper()
	server := storetest.Redis(t, args...)
	sessions, err := redisstore.Open(t.Context(), redisstore.Options{URL: secret.Text(server.URL())})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sessions.Close() })
	vault, err := sessions.Keyring()
	if err != nil {
		t.Fatal(err)
	}
	o := c.options("")
	o.Vault, o.Master = vault, master(t, "0f")
	return o, server, vault
}

// master returns a master key of one byte over and over, in hex, or of several with their numbers.
func master(t *testing.T, text string) *keys.Master {
	t.Helper()
	var parts []string
	for part := range strings.SplitSeq(text, ",") {
		number, digits, several := strings.Cut(part, ":")
		if !several {
			number, digits = "", part
		} else {
			number += ":"
		}
		parts = append(parts, number+strings.Repeat(digits, 32))
	}
	m, err := keys.ParseMaster(secret.Text(strings.Join(parts, ",")))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// inEachPlace runs a test on an empty folder and on an empty vault.
func inEachPlace(t *testing.T, test func(t *testing.T, c *clock, o keys.Options)) {
	t.Helper()
	t.Run("folder", func(t *testing.T) {
		t.Parallel()
		c := newClock()
		test(t, c, c.options(filepath.Join(t.TempDir(), "keys")))
	})
	t.Run("vault", func(t *testing.T) {
		t.Parallel()
		c := newClock()
		o, _, _ := vaultOf(t, c)
		test(t, c, o)
	})
}

func createIn(t *testing.T, o keys.Options) string {
	t.Helper()
	kid, err := keys.Create(o)
	if err != nil {
		t.Fatal(err)
	}
	return kid
}

func ringIn(t *testing.T, o keys.Options) *keys.Ring {
	t.Helper()
	ring, err := keys.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

func TestKeysLiveAlikeInEachPlace(t *testing.T) {
	t.Parallel()
	inEachPlace(t, func(t *testing.T, c *clock, o keys.Options) {
		t.Helper()
		_, err := keys.Open(o)
		wantError(t, err, "no signing key")
		old, beside := createIn(t, o), createIn(t, o)
		first, second := ringIn(t, o), ringIn(t, o)
		wantStates(t, first, map[string]string{old: keys.Signing, beside: keys.Published})
		begun := c.now()
		fresh := rotate(t, first, "RS256", false).Kid
		_, err = second.Rotate("RS256", false, 0)
		wantError(t, err, fresh, "announced already")
		follow(t, second, true)
		follow(t, second, false)
		for _, phase := range []struct {
			after      time.Duration
			old, fresh string
		}{
			{ahead - time.Millisecond, keys.Signing, keys.Announced},
			{ahead, keys.Retired, keys.Signing},
			{ahead + expired - time.Millisecond, keys.Retired, keys.Signing},
			{ahead + expired, keys.Gone, keys.Signing},
		} {
			c.set(begun.Add(phase.after))
			for _, ring := range []*keys.Ring{first, second, ringIn(t, o)} { // each for itself
				wantStates(t, ring, map[string]string{old: phase.old, beside: keys.Published, fresh: phase.fresh})
			}
			if diff := cmp.Diff(string(jwks(first)), string(jwks(second))); diff != "" {
				t.Error(diff)
			}
		}
		keep(t, second, true)
		follow(t, first, true)
		keep(t, first, false)
		for _, ring := range []*keys.Ring{first, second, ringIn(t, o)} {
			wantStates(t, ring, map[string]string{beside: keys.Published, fresh: keys.Signing})
		}
	})
}

func TestAStolenKeyIsEndedInEachPlace(t *testing.T) {
	t.Parallel()
	inEachPlace(t, func(t *testing.T, c *clock, o keys.Options) {
		t.Helper()
		stolen := createIn(t, o)
		ring, other := ringIn(t, o), ringIn(t, o)
		token := sign(t, ring, "RS256", c.now())
		wantError(t, keys.Withdraw(o, stolen), "keys rotate --alg RS256 --now")
		wantError(t, keys.Withdraw(o, "nobody"), "glueauth keys list")
		fresh := rotate(t, ring, "RS256", true).Kid
		wantStates(t, ring, map[string]string{stolen: keys.Retired, fresh: keys.Signing})
		if err := keys.Withdraw(o, stolen); err != nil {
			t.Fatal(err)
		}
		follow(t, other, true)
		if _, err := other.Verify(token, c.now()); err == nil {
			t.Error("a token of the stolen key is accepted")
		}
		keep(t, other, true)
		keep(t, other, false)
		wantStates(t, ringIn(t, o), map[string]string{fresh: keys.Signing})
	})
}

// TestAKeyThatIsGoneStaysGone : also where it was not put away yet when the one after it was withdrawn.
func TestAKeyThatIsGoneStaysGone(t *testing.T) {
	t.Parallel()
	inEachPlace(t, func(t *testing.T, c *clock, o keys.Options) {
		t.Helper()
		old := createIn(t, o)
		ring := ringIn(t, o)
		token := sign(t, ring, "RS256", c.now().Add(2*expired))
		wantGone := func(want map[string]string) {
			t.Helper()
			wantStates(t, ring, want)
			if _, err := ring.Verify(token, c.now()); err == nil {
				t.Error("its token is accepted")
			}
		}
		second := rotate(t, ring, "RS256", true).Kid
		c.pass(expired)
		third := rotate(t, ring, "RS256", true).Kid
		wantGone(map[string]string{old: keys.Gone, second: keys.Retired, third: keys.Signing})
		c.pass(time.Minute)
		if err := keys.Withdraw(o, second); err != nil {
			t.Fatal(err)
		}
		follow(t, ring, true)
		wantGone(map[string]string{old: keys.Gone, second: keys.Gone, third: keys.Signing})

		fourth := rotate(t, ring, "RS256", true).Kid
		c.pass(time.Minute)
		if err := keys.Withdraw(o, third); err != nil {
			t.Fatal(err)
		}
		follow(t, ring, true)
		wantGone(map[string]string{old: keys.Gone, second: keys.Gone, third: keys.Gone, fourth: keys.Signing})
		keep(t, ring, true)
		wantGone(map[string]string{fourth: keys.Signing})
	})
}

// TestAWithdrawnKeyThatNeverSignedLetsTheOthersGoOn : neither one that was announced, nor one outside the schedule.
func TestAWithdrawnKeyThatNeverSignedLetsTheOthersGoOn(t *testing.T) {
	t.Parallel()
	inEachPlace(t, func(t *testing.T, c *clock, o keys.Options) {
		t.Helper()
		signing, beside := createIn(t, o), createIn(t, o)
		now := c.now
		o.Now = func() time.Time { c.pass(time.Millisecond); return now() } // it goes on during a command
		ring := ringIn(t, o)
		first := rotate(t, ring, "RS256", false).Kid
		for _, kid := range []string{first, beside} {
			if err := keys.Withdraw(o, kid); err != nil {
				t.Fatal(err)
			}
		}
		second := rotate(t, ring, "RS256", false).Kid
		c.pass(ahead / 2)
		wantStates(t, ring, map[string]string{signing: keys.Signing, beside: keys.Gone, first: keys.Gone, second: keys.Announced})
		c.pass(ahead)
		wantStates(t, ring, map[string]string{signing: keys.Retired, beside: keys.Gone, first: keys.Gone, second: keys.Signing})
	})
}

func TestAShopsKeyIsImportedIntoEachPlace(t *testing.T) {
	t.Parallel()
	inEachPlace(t, func(t *testing.T, c *clock, o keys.Options) {
		t.Helper()
		first := rotateFirst(t, o)
		o.Shop = shopKey(t)
		shop := o.Shop.Kid()
		for _, step := range []struct {
			sign, added bool
			want        map[string]string
		}{
			{false, true, map[string]string{first: keys.Signing, shop: keys.Published}},
			{false, false, map[string]string{first: keys.Signing, shop: keys.Published}},
			{true, false, map[string]string{first: keys.Retired, shop: keys.Signing}},
		} {
			added, err := keys.Import(o, step.sign)
			if err != nil || added != step.added {
				t.Fatal(added, err)
			}
			c.pass(time.Millisecond)
			bare := o
			bare.Shop = nil
			wantStates(t, ringIn(t, bare), step.want)
		}
	})
}

// rotateFirst makes a first key that stands in the schedule, whatever the place.
func rotateFirst(t *testing.T, o keys.Options) string {
	t.Helper()
	old := createIn(t, o)
	fresh := rotate(t, ringIn(t, o), "RS256", true).Kid
	if err := keys.Withdraw(o, old); err != nil {
		t.Fatal(err)
	}
	keep(t, ringIn(t, o), true)
	return fresh
}

func TestOneOfSeveralServersRotatesInEachPlace(t *testing.T) {
	t.Parallel()
	inEachPlace(t, func(t *testing.T, c *clock, o keys.Options) {
		t.Helper()
		const every, periods = 90 * 24 * time.Hour, 3
		createIn(t, o)
		rings := []*keys.Ring{ringIn(t, o), ringIn(t, o), ringIn(t, o)}
		seen := map[string]bool{}
		for range periods {
			for range 2 { // the second time nothing is due
				var all sync.WaitGroup
				for _, ring := range rings {
					all.Go(func() {
						if _, err := ring.Keep(every); err != nil {
							t.Error(err)
						}
					})
				}
				all.Wait()
				for _, ring := range rings {
					if _, err := ring.Refresh(); err != nil {
						t.Error(err)
					}
				}
			}
			for _, key := range rings[0].List() {
				seen[key.Kid] = true
			}
			for _, ring := range rings {
				if diff := cmp.Diff(states(rings[0]), states(ring)); diff != "" {
					t.Error(diff)
				}
			}
			c.pass(every)
		}
		if want := periods; len(seen) != want { // the first one, and one at each period's end
			t.Errorf("%d keys were made, want %d", len(seen), want)
		}
	})
}

func TestTheFirstKeysOfAVaultAreMadeOnce(t *testing.T) {
	t.Parallel()
	c := newClock()
	o, _, _ := vaultOf(t, c)
	var all sync.WaitGroup
	var mu sync.Mutex
	var made []string
	for range 6 {
		all.Go(func() {
			kids, err := keys.First(o, []string{"RS256", "ES256"})
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			made = append(made, kids...)
		})
	}
	all.Wait()
	if len(made) != 2 {
		t.Fatalf("%d keys were made", len(made))
	}
	wantStates(t, ringIn(t, o), map[string]string{made[0]: keys.Signing, made[1]: keys.Signing})
	o.Random = nil
	_, err := ringIn(t, o).Rotate("RS256", false, 0)
	wantError(t, err, "no source of randomness")
	o.Random, o.Master = rand.Reader, nil
	_, err = keys.Open(o)
	wantError(t, err, "no master key")
}
