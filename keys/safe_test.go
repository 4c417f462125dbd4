package keys_test

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/glueauth/glueauth/keys"
	"github.com/glueauth/glueauth/store/redisstore"
)

// records returns what a vault holds.
func records(t *testing.T, vault *redisstore.Keyring) (string, map[string][]byte) {
	t.Helper()
	version, all, err := vault.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return version, all
}

// put replaces records behind the back of everybody.
func put(t *testing.T, vault *redisstore.Keyring, next string, changed map[string][]byte, aside ...string) {
	t.Helper()
	version, _ := records(t, vault)
	if done, err := vault.Swap(t.Context(), version, next, changed, aside); err != nil || !done {
		t.Fatal(done, err)
	}
}

// shown returns the forms in which a text has the private key of the tests.
func shown(t *testing.T, in []byte) (found []string) {
	t.Helper()
	private := privateKey(t, "second-key.pem")
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range [][]byte{der, private.D.Bytes(), private.Primes[0].Bytes(), private.Primes[1].Bytes()} {
		for name, form := range map[string]string{
			"bytes": string(part), "base64": base64.StdEncoding.EncodeToString(part)[:64], "hex": hex.EncodeToString(part)[:64],
		} {
			if bytes.Contains(in, []byte(form)) {
				found = append(found, name)
			}
		}
	}
	if bytes.Contains(in, []byte("PRIVATE KEY")) || bytes.Contains(in, []byte(`"kid"`)) {
		found = append(found, "text")
	}
	return found
}

func TestAVaultShowsNoPrivateKey(t *testing.T) {
	t.Parallel()
	c := newClock()
	o, server, _ := vaultOf(t, c)
	o.Shop = shopKey(t)
	if _, err := keys.Import(o, true); err != nil {
		t.Fatal(err)
	}
	o.Shop = nil
	dump := func() []byte {
		return []byte(server.Do(t, "HGETALL", "glueauth:{keys}") + server.Do(t, "HGETALL", "glueauth:{keys}:aside"))
	}
	before := dump()
	rotate(t, ringIn(t, o), "RS256", true)
	c.pass(expired + time.Second)
	keep(t, ringIn(t, o), true) // puts it aside
	text := read(t, filepath.Join("testdata", "second-key.pem"))
	if len(shown(t, text)) == 0 || len(shown(t, privateKey(t, "second-key.pem").D.Bytes())) == 0 {
		t.Fatal("the search finds nothing where the key is")
	}
	for _, all := range [][]byte{before, dump()} {
		if found := shown(t, all); len(found) > 0 || len(all) < len(text) {
			t.Errorf("redis shows the key as %v (%d bytes)", found, len(all))
		}
	}
	if aside := server.Do(t, "HKEYS", "glueauth:{keys}:aside"); aside != "key:"+kidOf(t, "second-key.pem") {
		t.Errorf("put aside: %s", aside)
	}
	for _, key := range []string{"glueauth:{keys}", "glueauth:{keys}:aside"} {
		if ttl := server.Do(t, "TTL", key); ttl != "-1" {
			t.Errorf("%s has the TTL %s", key, ttl)
		}
	}
}

func TestAVaultThatDoesNotOpenIsRefusedAndLeftAsItIs(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(sealed map[string][]byte, first, second string) (aside []string)
		want   string
	}{
		"records swapped": {func(m map[string][]byte, a, b string) []string {
			m[a], m[b] = m[b], m[a]
			return nil
		}, "master_key_file"},
		"a byte changed": {func(m map[string][]byte, a, _ string) []string {
			m[a][len(m[a])/2] ^= 1
			return nil
		}, "master_key_file"},
		"its number changed": {func(m map[string][]byte, a, _ string) []string {
			m[a][1]++
			return nil
		}, "master_key_file"},
		"cut": {func(m map[string][]byte, a, _ string) []string {
			m[a] = m[a][:9]
			return nil
		}, "master_key_file"},
		"a newer form":        {func(m map[string][]byte, a, _ string) []string { m[a][0]++; return nil }, "newer"},
		"a schedule as a key": {func(m map[string][]byte, a, _ string) []string { m[a] = m["schedule"]; return nil }, "master_key_file"},
		"another record":      {func(m map[string][]byte, a, _ string) []string { m["more"] = m[a]; return nil }, "more"},
		"no schedule":         {func(m map[string][]byte, _, _ string) []string { delete(m, "schedule"); return []string{"schedule"} }, "without their schedule"},
		"a lost key":          {func(m map[string][]byte, a, _ string) []string { delete(m, a); return []string{a} }, "keys withdraw --kid"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o, _, vault := vaultOf(t, newClock())
			kids, err := keys.First(o, []string{"ES256", "EdDSA", "RS256"})
			if err != nil {
				t.Fatal(err)
			}
			ring := ringIn(t, o)
			_, changed := records(t, vault)
			put(t, vault, "changed", changed, c.change(changed, "key:"+kids[0], "key:"+kids[1])...)
			_, before := records(t, vault)
			_, err = keys.Open(o)
			wantError(t, err, c.want)
			unusable(t, ring, c.want)
			_, err = ring.Rotate("RS256", true, 0)
			wantError(t, err, c.want)
			if made, _ := keys.First(o, []string{"RS256"}); len(made) > 0 {
				t.Errorf("made %v", made)
			}
			if _, after := records(t, vault); !maps.EqualFunc(before, after, bytes.Equal) {
				t.Error("the records have changed")
			}
		})
	}
}

func TestAnotherMasterKeyOpensNoVault(t *testing.T) {
	t.Parallel()
	o, _, vault := vaultOf(t, newClock())
	kid := createIn(t, o)
	_, before := records(t, vault)
	other := o
	other.Master = master(t, "aa")
	_, err := keys.Open(other)
	wantError(t, err, "master_key_file", "restore it from a backup")
	if kids, err := keys.First(other, []string{"RS256"}); len(kids) > 0 || err == nil {
		t.Errorf("made %v, %v", kids, err)
	}
	if _, err := keys.Create(other); err == nil {
		t.Error("a key was made")
	}
	if _, after := records(t, vault); !maps.EqualFunc(before, after, bytes.Equal) {
		t.Error("the records have changed")
	}
	wantStates(t, ringIn(t, o), map[string]string{kid: keys.Signing})
}

func TestKeysGoOnWhileTheirVaultIsAway(t *testing.T) {
	t.Parallel()
	c := newClock()
	o, server, _ := vaultOf(t, c, "--appendonly", "yes", "--appendfsync", "always")
	createIn(t, o)
	ring := ringIn(t, o)
	body := string(jwks(ring))
	for range 2 { // told anew each time
		server.Kill()
		unusable(t, ring, "cannot be read", "redis: dial")
		_, err := ring.Rotate("RS256", false, 0)
		wantError(t, err, "redis: dial")
		c.pass(expired)
		if done, err := ring.Keep(ahead); done || err == nil {
			t.Errorf("rotated without its vault: %v %v", done, err)
		}
		if token := sign(t, ring, "RS256", c.now()); string(jwks(ring)) != body {
			t.Errorf("other keys, %d", len(token))
		}
		server.Start(t)
		follow(t, ring, false)
	}
	if done, err := ring.Keep(ahead); !done || err != nil {
		t.Error(done, err)
	}
}

func TestAVaultThatHasLostAllGetsItsKeysBackFromARunningServer(t *testing.T) {
	t.Parallel()
	c := newClock()
	o, server, _ := vaultOf(t, c)
	createIn(t, o)
	first, second := ringIn(t, o), ringIn(t, o)
	rotate(t, first, "ES256", true)
	follow(t, second, true)
	want := states(first)
	for range 2 {
		server.Do(t, "FLUSHALL")
		_, err := first.Refresh()
		wantError(t, err, "had lost the signing keys", "has put its own back")
		follow(t, second, true)
		follow(t, first, true)
		for _, ring := range []*keys.Ring{first, second, ringIn(t, o)} {
			wantStates(t, ring, want)
		}
	}
}

func TestAVaultIsSealedAnewUnderANewMasterKey(t *testing.T) {
	t.Parallel()
	c := newClock()
	o, _, vault := vaultOf(t, c)
	createIn(t, o)
	rotate(t, ringIn(t, o), "ES256", true)
	numbers := func() []byte {
		_, all := records(t, vault)
		var list []byte
		for _, sealed := range all {
			list = append(list, sealed[1])
		}
		slices.Sort(list)
		return slices.Compact(list)
	}
	behind := ringIn(t, o) // knows the old one only
	both := o
	both.Master = master(t, "10:aa,1:0f") // the first step of a rotation
	ring := ringIn(t, both)
	keep(t, ring, false)
	both.Number = 10 // the second one
	ring = ringIn(t, both)
	if diff := cmp.Diff([]byte{1}, numbers()); diff != "" {
		t.Error(diff)
	}
	keep(t, ring, true)
	keep(t, ring, false)
	if diff := cmp.Diff([]byte{10}, numbers()); diff != "" {
		t.Error(diff)
	}
	unusable(t, behind, "master_key_file")
	both.Master = master(t, "10:aa,1:77") // without the old one
	if diff := cmp.Diff(states(behind), states(ringIn(t, both))); diff != "" {
		t.Error(diff)
	}
}

func TestKeysMoveWithTheirKidsAndTimes(t *testing.T) {
	t.Parallel()
	c := newClock()
	folder := c.options(filepath.Join(t.TempDir(), "keys"))
	vault, _, _ := vaultOf(t, c)
	old, beside := createIn(t, folder), createIn(t, folder)
	ring := ringIn(t, folder)
	files := snapshot(t, folder.Dir)
	move := func(from, to keys.Options, want int) {
		t.Helper()
		kids, err := keys.Move(from, to)
		if err != nil || len(kids) != want {
			t.Fatalf("moved %v, want %d; %v", kids, want, err)
		}
		c.pass(time.Millisecond)
		for _, o := range []keys.Options{from, to} {
			if diff := cmp.Diff(states(ring), states(ringIn(t, o))); diff != "" {
				t.Error(diff)
			}
		}
	}
	move(folder, vault, 2) // from a folder that was never rotated
	if diff := cmp.Diff(files, snapshot(t, folder.Dir)); diff != "" {
		t.Errorf("the folder has changed: %s", diff)
	}
	move(folder, vault, 0)
	ring = ringIn(t, folder)
	fresh := rotate(t, ring, "RS256", false).Kid
	move(folder, vault, 1) // what has come in the meantime
	c.pass(ahead)
	wantStates(t, ringIn(t, vault), map[string]string{old: keys.Retired, beside: keys.Published, fresh: keys.Signing})
	if err := keys.Withdraw(vault, old); err != nil {
		t.Fatal(err)
	}
	elsewhere := c.options(filepath.Join(t.TempDir(), "more", "keys"))
	ring = ringIn(t, vault)
	kids, err := keys.Move(vault, elsewhere)
	if err != nil || len(kids) != 2 {
		t.Fatal(kids, err)
	}
	wantStates(t, ringIn(t, elsewhere), map[string]string{beside: keys.Published, fresh: keys.Signing})

	strange := c.options(filepath.Join(t.TempDir(), "keys"))
	createIn(t, strange)
	before := snapshot(t, strange.Dir)
	_, err = keys.Move(vault, strange)
	wantError(t, err, strange.Dir, "other signing keys already")
	if diff := cmp.Diff(before, snapshot(t, strange.Dir)); diff != "" && !strings.Contains(diff, "schedule.lock") {
		t.Error(diff)
	}
	_, err = keys.Move(c.options(t.TempDir()), vault)
	wantError(t, err, "no signing key")
}
