package keys_test

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/keys"
)

// asVariable is a file of testdata as Spryker's docker-sdk writes it into the environment.
func asVariable(tb testing.TB, file string) secret.Text {
	tb.Helper()
	return secret.Text(strings.ReplaceAll(string(read(tb, filepath.Join("testdata", file))), "\n", "__LINE__"))
}

// publicPEM is the public half of a file of testdata, as openssl writes it.
func publicPEM(tb testing.TB, file string) string {
	tb.Helper()
	der, err := x509.MarshalPKIXPublicKey(&privateKey(tb, file).PublicKey)
	if err != nil {
		tb.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// shopKey is second-key.pem as a shop's own.
func shopKey(tb testing.TB) *keys.ShopKey {
	tb.Helper()
	shop, err := keys.ReadShopKey(asVariable(tb, "second-key.pem"), "")
	if err != nil {
		tb.Fatal(err)
	}
	return shop
}

func kidOf(tb testing.TB, file string) string {
	tb.Helper()
	return keys.Thumbprint(&privateKey(tb, file).PublicKey)
}

func TestAShopsKeyIsReadInEveryForm(t *testing.T) {
	t.Parallel()
	const pkcs8, pkcs1 = "test-key.pem", "second-key.pem"
	dir := t.TempDir()
	file := filepath.Join(dir, "private.key")
	copyKey(t, pkcs8, file)
	public := publicPEM(t, pkcs8)
	write(t, filepath.Join(dir, "public.key"), public)
	chmod(t, filepath.Join(dir, "public.key"), 0o644)
	short := string(pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(&privateKey(t, pkcs8).PublicKey)}))
	for name, c := range map[string]struct {
		private secret.Text
		public  string
		want    string
	}{
		"PKCS#8 on one line":     {asVariable(t, pkcs8), "", pkcs8},
		"PKCS#1 on one line":     {asVariable(t, pkcs1), "", pkcs1},
		"with line breaks":       {secret.Text(read(t, filepath.Join("testdata", pkcs8))), public, pkcs8},
		"of a file":              {secret.Text("file://" + file), "file://" + filepath.Join(dir, "public.key"), pkcs8},
		"pair on one line":       {asVariable(t, pkcs8), strings.ReplaceAll(public, "\n", "__LINE__"), pkcs8},
		"public key as PKCS#1":   {asVariable(t, pkcs8), short, pkcs8},
		"without a last newline": {secret.Text(strings.TrimSuffix(asVariable(t, pkcs8).Reveal(), "__LINE__")), strings.TrimSpace(public), pkcs8},
		"only the public key":    {"", public, pkcs8},
		"line breaks of another OS": {
			secret.Text(strings.ReplaceAll(string(read(t, filepath.Join("testdata", pkcs1))), "\n", "\r\n")), "", pkcs1,
		},
	} {
		shop, err := keys.ReadShopKey(c.private, c.public)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if got := shop.Kid(); got != kidOf(t, c.want) {
			t.Errorf("%s: kid %s, want that of %s", name, got, c.want)
		}
	}
	if shop, err := keys.ReadShopKey("", ""); shop != nil || err != nil {
		t.Errorf("no key at all: %v, %v", shop, err)
	}
}

func TestAShopsUnfitKeyIsRefusedWithTheRemedy(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	open := filepath.Join(dir, "open.key")
	copyKey(t, "test-key.pem", open)
	chmod(t, open, 0o644)
	good := asVariable(t, "test-key.pem")
	for name, c := range map[string]struct {
		private secret.Text
		public  string
		want    []string
	}{
		"1024 bits": {
			asVariable(t, "refused/bits-1024.pem"), "",
			[]string{"the shop's private key has only 1024 bits", "in the shop and here", "openssl genrsa 2048"},
		},
		"exponent 3":                 {asVariable(t, "refused/exponent-3.pem"), "", []string{"exponent 3;", "openssl genrsa 2048"}},
		"encrypted":                  {asVariable(t, "refused/encrypted-pkcs8.pem"), "", []string{"the shop's private key is encrypted"}},
		"elliptic":                   {asVariable(t, "other/p256.pem"), "", []string{"not an RSA key"}},
		"cut off":                    {good[:200], "", []string{"cut off"}},
		"a path":                     {"/keys/private.key", "", []string{"no PEM block"}},
		"the public one":             {secret.Text(publicPEM(t, "test-key.pem")), "", []string{"give the private key"}},
		"file that is missing":       {"file:///nowhere/private.key", "", []string{"/nowhere/private.key", "correct the path"}},
		"file that others read":      {secret.Text("file://" + open), "", []string{open, "chmod 600"}},
		"another's public key":       {good, publicPEM(t, "second-key.pem"), []string{"no pair", kidOf(t, "test-key.pem"), kidOf(t, "second-key.pem")}},
		"a private key as public":    {good, asVariable(t, "test-key.pem").Reveal(), []string{"the shop's public key is no public key"}},
		"garbage as public":          {good, "MII", []string{"not one PEM block"}},
		"damaged public":             {good, strings.Replace(publicPEM(t, "test-key.pem"), "MII", "MIA", 1), []string{"no valid RSA key"}},
		"two public":                 {good, publicPEM(t, "test-key.pem") + publicPEM(t, "second-key.pem"), []string{"not one PEM block"}},
		"public file that is absent": {good, "file:///nowhere/public.key", []string{"/nowhere/public.key", "correct the path"}},
	} {
		shop, err := keys.ReadShopKey(c.private, c.public)
		if shop != nil {
			t.Errorf("%s: read as %s", name, shop.Kid())
		}
		wantError(t, err, c.want...)
		if body := good[100:160].Reveal(); strings.Contains(fmt.Sprint(err), body) {
			t.Errorf("%s: the error shows the key: %v", name, err)
		}
	}
}

func TestAShopsKeySignsWhereNoOtherDoes(t *testing.T) {
	t.Parallel()
	shop, kid := shopKey(t), kidOf(t, "second-key.pem")
	old := signed(t, privateKey(t, "second-key.pem"), `{"typ":"JWT","alg":"RS256"}`, payload(`,"sub":"{}","scopes":["customer"]`))
	empty := filepath.Join(t.TempDir(), "keys")
	alone, err := openWith(empty, shop)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]keys.Info{{Kid: kid, Algorithm: "RS256", Bits: 2048, State: keys.Signing}}, alone.List()); diff != "" {
		t.Error(diff)
	}
	if _, err := os.Stat(empty); !os.IsNotExist(err) {
		t.Errorf("opening made %s", empty)
	}
	dir, own := ringOf(t, "test-key.pem")
	both, err := openWith(dir, shop)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(append(own.List(), keys.Info{Kid: kid, Algorithm: "RS256", Bits: 2048, State: keys.Published}), both.List()); diff != "" {
		t.Error(diff)
	}
	for name, ring := range map[string]*keys.Ring{"alone": alone, "beside another": both} {
		if _, err := ring.Verify(secret.Text(old), verifiedAt); err != nil {
			t.Errorf("%s: the shop's own token: %v", name, err)
		}
		token, err := ring.Sign("JWT", []byte(payload("")))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ring.Verify(secret.Text(token), verifiedAt); err != nil {
			t.Errorf("%s: our own token: %v", name, err)
		}
		if n := len(published(t, jwks(ring))); n != len(ring.List()) {
			t.Errorf("%s: %d keys published of %d", name, n, len(ring.List()))
		}
	}
	if _, err := own.Verify(secret.Text(old), verifiedAt); err == nil {
		t.Error("a ring without the shop's key took its token")
	}
}

func TestOpeningWithAShopRespectsTheFolder(t *testing.T) {
	t.Parallel()
	dir, ring := ringOf(t, "test-key.pem", "second-key.pem")
	again, err := openWith(dir, shopKey(t))
	if err != nil || !cmp.Equal(ring.List(), again.List()) {
		t.Errorf("a key that is there already: %v, %v", again.List(), err)
	}
	publicOnly := func(file string) *keys.ShopKey {
		shop, err := keys.ReadShopKey("", publicPEM(t, file))
		if err != nil {
			t.Fatal(err)
		}
		return shop
	}
	if _, err := openWith(dir, publicOnly("second-key.pem")); err != nil {
		t.Errorf("a public key whose private half is there: %v", err)
	}
	one, _ := ringOf(t, "test-key.pem")
	for _, folder := range []string{one, filepath.Join(t.TempDir(), "none")} {
		_, err = openWith(folder, publicOnly("second-key.pem"))
		wantError(t, err, kidOf(t, "second-key.pem"), folder, "glueauth keys import")
		if isNoKeys(err) {
			t.Errorf("%v invites to make a new key", err)
		}
	}
	if _, err := openWith(filepath.Join(t.TempDir(), "none"), nil); !isNoKeys(err) {
		t.Errorf("no shop and no keys: %v", err)
	}
	write(t, filepath.Join(one, "broken.pem"), "x")
	_, err = openWith(one, shopKey(t))
	wantError(t, err, "broken.pem")
}

func TestImportIsAsCreateAndIdempotent(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data", "keys")
	shop, kid := shopKey(t), kidOf(t, "second-key.pem")
	for _, want := range []bool{true, false} {
		if added, err := keys.Import(keys.Options{Dir: dir, Shop: shop, Now: time.Now}, false); err != nil || added != want {
			t.Errorf("added %v, %v; want %v", added, err, want)
		}
	}
	files := snapshot(t, dir)
	if got := slices.Sorted(maps.Keys(files)); !cmp.Equal(got, []string{kid + ".pem", "current"}) && !cmp.Equal(got, []string{"current", kid + ".pem"}) {
		t.Errorf("files %v", got)
	}
	if !strings.HasPrefix(files[kid+".pem"], "-rw------- -----BEGIN PRIVATE KEY-----\n") {
		t.Errorf("the key file is %.40s", files[kid+".pem"])
	}
	if diff := cmp.Diff([]keys.Info{{Kid: kid, File: kid + ".pem", Algorithm: "RS256", Bits: 2048, State: keys.Signing}}, open(t, dir).List()); diff != "" {
		t.Error(diff)
	}
}

func TestAnImportedKeySignsOnlyWhenAsked(t *testing.T) {
	t.Parallel()
	shop, kid := shopKey(t), kidOf(t, "second-key.pem")
	dir, before := ringOf(t, "test-key.pem")
	own := before.List()[0].Kid
	for _, step := range []struct {
		sign  bool
		added bool
		want  string
	}{{false, true, own}, {false, false, own}, {true, false, kid}, {true, false, kid}, {false, false, kid}} {
		added, err := keys.Import(keys.Options{Dir: dir, Shop: shop, Now: time.Now}, step.sign)
		if err != nil || added != step.added {
			t.Errorf("%+v: added %v, %v", step, added, err)
		}
		if infos := open(t, dir).List(); infos[0].Kid != step.want || len(infos) != 2 {
			t.Errorf("%+v: keys %v", step, infos)
		}
	}
	if got := string(read(t, filepath.Join(dir, "current"))); got != kid+"\n" {
		t.Errorf("current holds %q", got)
	}
	fresh, _ := ringOf(t, "test-key.pem")
	if added, err := keys.Import(keys.Options{Dir: fresh, Shop: shop, Now: time.Now}, true); err != nil || !added || open(t, fresh).List()[0].Kid != kid {
		t.Errorf("added and signing in one step: %v, %v", added, err)
	}
}

func TestImportLeavesWhatItRefuses(t *testing.T) {
	t.Parallel()
	shop, kid := shopKey(t), kidOf(t, "second-key.pem")
	broken := t.TempDir()
	write(t, filepath.Join(broken, "a.pem"), "x")
	taken, _ := ringOf(t, "test-key.pem")
	write(t, filepath.Join(taken, "current"), kidOf(t, "test-key.pem"))
	if err := os.Rename(filepath.Join(taken, "test-key.pem"), filepath.Join(taken, kid+".pem")); err != nil {
		t.Fatal(err)
	}
	lost := t.TempDir()
	write(t, filepath.Join(lost, "current"), kid)
	for dir, want := range map[string]string{broken: "a.pem", taken: "never replaced", lost: "restore the *.pem files"} {
		before := snapshot(t, dir)
		_, err := keys.Import(keys.Options{Dir: dir, Shop: shop, Now: time.Now}, true)
		wantError(t, err, want)
		if diff := cmp.Diff(before, snapshot(t, dir)); diff != "" {
			t.Errorf("the folder was changed: %s", diff)
		}
	}
	public, err := keys.ReadShopKey("", publicPEM(t, "second-key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	for _, none := range []*keys.ShopKey{nil, public} {
		_, err := keys.Import(keys.Options{Dir: t.TempDir(), Shop: none, Now: time.Now}, false)
		wantError(t, err, "no private key")
	}
}

func TestAShopKeyPrintsNothingPrivate(t *testing.T) {
	t.Parallel()
	private := privateKey(t, "second-key.pem")
	for _, verb := range []string{"%v", "%+v", "%#v"} {
		out := fmt.Sprintf(verb, struct{ K *keys.ShopKey }{shopKey(t)}) + fmt.Sprintf(verb, *shopKey(t))
		for _, n := range []fmt.Stringer{private.D, private.Primes[0]} {
			if strings.Contains(out, n.String()) {
				t.Errorf("%s shows the key: %s", verb, out)
			}
		}
	}
}
