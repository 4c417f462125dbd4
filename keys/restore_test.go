package keys_test

import (
	"context"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/keys"
	"github.com/glueauth/glueauth/store/redisstore"
)

// goBack makes a vault hold exactly the records of before, with a version that nobody has seen.
func goBack(t *testing.T, vault *redisstore.Keyring, next string, before map[string][]byte) {
	t.Helper()
	_, now := records(t, vault)
	put(t, vault, next, before, slices.DeleteFunc(slices.Collect(maps.Keys(now)), func(name string) bool { return before[name] != nil })...)
}

// restored checks that a ring puts back what its vault has forgotten, and says so once.
func restored(t *testing.T, ring *keys.Ring) {
	t.Helper()
	before := states(ring)
	_, err := ring.Refresh()
	wantError(t, err, "had lost the signing keys", "has put its own back")
	if diff := cmp.Diff(before, states(ring)); diff != "" {
		t.Errorf("other keys meanwhile: %s", diff)
	}
	follow(t, ring, true)
	follow(t, ring, false)
}

// calm checks that rings agree, and that none of them changes anything any more.
func calm(t *testing.T, rings ...*keys.Ring) {
	t.Helper()
	for _, ring := range rings {
		follow(t, ring, false)
		keep(t, ring, false)
		if string(jwks(ring)) != string(jwks(rings[0])) || !cmp.Equal(rings[0].List(), ring.List()) {
			t.Errorf("rings differ: %v and %v", rings[0].List(), ring.List())
		}
	}
}

func accepted(t *testing.T, c *clock, token secret.Text, rings ...*keys.Ring) {
	t.Helper()
	for _, ring := range rings {
		if _, err := ring.Verify(token, c.now()); err != nil {
			t.Error(err)
		}
	}
}

func TestFirstKeysOfAStartingServerDoNotEndThoseOfTheRunningOnes(t *testing.T) {
	t.Parallel()
	c := newClock()
	o, server, _ := vaultOf(t, c)
	old, beside := createIn(t, o), createIn(t, o)
	first, second := ringIn(t, o), ringIn(t, o)
	c.pass(time.Hour)
	server.Do(t, "FLUSHALL")
	made, err := keys.First(o, []string{"RS256", "ES256"}) // before the running ones look
	if err != nil {
		t.Fatal(err)
	}
	starting := ringIn(t, o)
	token, fresh := sign(t, first, "RS256", c.now()), sign(t, starting, "RS256", c.now())

	restored(t, first)
	follow(t, second, true)
	follow(t, starting, true)
	all := []*keys.Ring{first, second, starting, ringIn(t, o)}
	wantStates(t, starting, map[string]string{old: keys.Signing, beside: keys.Published, made[0]: keys.Announced, made[1]: keys.Signing})
	calm(t, all...)
	accepted(t, c, token, all...)
	accepted(t, c, fresh, all...)

	c.pass(ahead - time.Millisecond) // it was made as if a millisecond ago
	wantStates(t, starting, map[string]string{old: keys.Retired, beside: keys.Published, made[0]: keys.Signing, made[1]: keys.Signing})
	calm(t, all...)
	accepted(t, c, token, all...)
}

func TestAVaultThatIsOlderThanItsServersIsBroughtUpToDate(t *testing.T) {
	t.Parallel()
	for _, back := range []string{"before the rotation", "before the withdrawal", "before the key beside"} {
		t.Run(back, func(t *testing.T) {
			t.Parallel()
			c := newClock()
			o, _, vault := vaultOf(t, c)
			backups := map[string]map[string][]byte{}
			stolen := createIn(t, o)
			ring, other := ringIn(t, o), ringIn(t, o)
			c.pass(time.Hour)
			_, backups["before the rotation"] = records(t, vault)
			fresh := rotate(t, ring, "RS256", true).Kid
			_, backups["before the withdrawal"] = records(t, vault)
			if err := keys.Withdraw(o, stolen); err != nil {
				t.Fatal(err)
			}
			_, backups["before the key beside"] = records(t, vault)
			want := map[string]string{stolen: keys.Gone, fresh: keys.Signing}
			if back != "before the withdrawal" { // of which nothing else tells
				want[createIn(t, o)] = keys.Published
			}
			follow(t, ring, true)
			follow(t, other, true)
			wantStates(t, ring, want)
			for _, version := range []string{"restored", "restored again"} {
				goBack(t, vault, version, backups[back])
				restored(t, other)
				follow(t, ring, true)
				for _, r := range []*keys.Ring{ring, other, ringIn(t, o)} {
					wantStates(t, r, want)
				}
			}
			keep(t, ring, true) // puts the stolen key aside
			goBack(t, vault, "restored with it", backups[back])
			restored(t, ring)
			wantStates(t, ring, want)
			keep(t, ring, true)
			follow(t, other, true)
			delete(want, stolen)
			wantStates(t, other, want)
			calm(t, ring, other, ringIn(t, o))
		})
	}
}

func TestServersThatRememberDifferentKeysAgree(t *testing.T) {
	t.Parallel()
	c := newClock()
	o, _, vault := vaultOf(t, c)
	old := createIn(t, o)
	first, second := ringIn(t, o), ringIn(t, o)
	c.pass(time.Hour)
	_, backup := records(t, vault)
	lost := rotate(t, first, "RS256", true).Kid // the second one never sees it
	c.pass(time.Second)
	goBack(t, vault, "failover", backup)
	follow(t, second, true)
	later := rotate(t, second, "RS256", true).Kid
	token := sign(t, second, "RS256", c.now())
	restored(t, first)
	follow(t, second, true)
	want := map[string]string{old: keys.Retired, lost: keys.Signing, later: keys.Announced}
	wantStates(t, second, want)
	calm(t, first, second)
	accepted(t, c, token, first, second)

	goBack(t, vault, "failover again", backup)
	var both sync.WaitGroup
	for _, ring := range []*keys.Ring{first, second} {
		both.Go(func() {
			for range 2 {
				_, _ = ring.Refresh() // one of them tells
			}
		})
	}
	both.Wait()
	wantStates(t, first, want)
	calm(t, first, second, ringIn(t, o))
}

func TestAKeyThatHasLeftItsVaultRightlyIsNotPutBack(t *testing.T) {
	t.Parallel()
	c := newClock()
	o, _, _ := vaultOf(t, c)
	old := createIn(t, o)
	ring, away := ringIn(t, o), ringIn(t, o)
	fresh := rotate(t, ring, "RS256", false).Kid
	c.pass(ahead + expired)
	keep(t, ring, true)
	wantStates(t, away, map[string]string{old: keys.Signing}) // it was cut off all the time
	follow(t, away, true)
	wantStates(t, away, map[string]string{fresh: keys.Signing})

	o.Shop = shopKey(t)
	shop := o.Shop.Kid()
	bare := o
	bare.Shop = nil
	for _, step := range []struct {
		do   func() error
		want map[string]string
	}{
		{func() error { _, err := keys.Import(o, false); return err }, map[string]string{fresh: keys.Signing, shop: keys.Published}},
		{func() error { return keys.Withdraw(bare, shop) }, map[string]string{fresh: keys.Signing, shop: keys.Gone}},
		{func() error { _, err := keys.Import(o, false); return err }, map[string]string{fresh: keys.Signing, shop: keys.Published}},
		{func() error { return keys.Withdraw(bare, shop) }, map[string]string{fresh: keys.Signing, shop: keys.Gone}},
		{func() error { _, err := keys.Import(o, true); return err }, map[string]string{fresh: keys.Retired, shop: keys.Signing}},
	} {
		c.pass(time.Second)
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		c.pass(time.Millisecond)
		follow(t, away, true)
		wantStates(t, away, step.want)
	}
}

// relapse is a vault that goes back in the middle of a Refresh.
type relapse struct {
	keys.Vault

	loads func()
}

func (v relapse) Load(ctx context.Context) (string, map[string][]byte, error) {
	v.loads()
	return v.Vault.Load(ctx)
}

func TestAVaultThatGoesBackWhileItIsReadIsNotFollowed(t *testing.T) {
	t.Parallel()
	c := newClock()
	o, _, vault := vaultOf(t, c)
	old := createIn(t, o)
	c.pass(time.Hour)
	_, backup := records(t, vault)
	loads, at := 0, 0
	o.Vault = relapse{vault, func() {
		if loads++; loads == at {
			goBack(t, vault, "failover", backup)
		}
	}}
	ring := ringIn(t, o)
	fresh := rotate(t, ring, "RS256", true).Kid
	c.pass(time.Second)
	createIn(t, o) // something to follow
	at = loads + 2 // the first load is that of who looks for what is forgotten
	_, err := ring.Refresh()
	wantError(t, err, "loses signing keys again", "the keys of before go on")
	wantStates(t, ring, map[string]string{old: keys.Retired, fresh: keys.Signing})
	restored(t, ring)
	wantStates(t, ring, map[string]string{old: keys.Retired, fresh: keys.Signing})
}
