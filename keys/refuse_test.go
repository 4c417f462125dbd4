package keys_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/glueauth/glueauth/keys"
)

func isNoKeys(err error) bool { return errors.Is(err, keys.ErrNoKeys) }

// refused checks that Open and Create both end in one error with the parts, and that the folder stays as it was.
func refused(t *testing.T, dir string, parts ...string) {
	t.Helper()
	before := snapshot(t, dir)
	_, err := keys.Open(options(dir))
	wantError(t, err, parts...)
	if isNoKeys(err) {
		t.Errorf("%v invites to make a new key", err)
	}
	_, err = keys.Create(keys.Options{Dir: dir, Random: rand.Reader})
	wantError(t, err, parts...)
	if diff := cmp.Diff(before, snapshot(t, dir)); diff != "" {
		t.Errorf("the folder was changed: %s", diff)
	}
}

func TestUnfitKeysOfOtherToolsAreRefused(t *testing.T) {
	t.Parallel()
	for file, want := range map[string]string{
		"bits-512.pem":         "give an RSA key of 2048 bits",
		"bits-1024.pem":        "give an RSA key of 2048 bits",
		"bits-2047.pem":        "give an RSA key of 2048 bits",
		"exponent-3.pem":       "exponent 65537",
		"ec-sec1.pem":          "convert it",
		"p384.pem":             "P-256",
		"rsa-pss.pem":          "holds no valid private key",
		"certificate.pem":      "give the private key",
		"public-key.pem":       "give the private key",
		"encrypted-pkcs8.pem":  "store it decrypted",
		"encrypted-legacy.pem": "store it decrypted",
		"openssh.pem":          "convert it",
	} {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			path := filepath.Join(dir, "a.pem")
			copyKey(t, filepath.Join("refused", file), path)
			refused(t, dir, path, want)
			// One good key beside it does not make up for it.
			copyKey(t, "test-key.pem", filepath.Join(dir, "b.pem"))
			refused(t, dir, path, want)
		})
	}
}

func TestDamagedKeyFilesAreRefused(t *testing.T) {
	t.Parallel()
	good := string(read(t, "testdata/test-key.pem"))
	pkcs1 := string(read(t, "testdata/second-key.pem"))
	block, _ := pem.Decode([]byte(good))
	cut := func(of string, n int) string { return of[:n] }
	again := func(typ string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: typ, Bytes: der}))
	}
	private, err := keys.ParsePEM([]byte(good))
	if err != nil {
		t.Fatal(err)
	}
	wrong := rsa.PrivateKey{
		PublicKey: private.PublicKey,
		D:         new(big.Int).Add(private.D, big.NewInt(2)),
		Primes:    private.Primes,
	}
	even := rsa.PrivateKey{PublicKey: rsa.PublicKey{N: private.N, E: 65538}, D: private.D, Primes: private.Primes}
	for name, c := range map[string]struct{ content, want string }{
		"empty":                  {"", "holds no PEM block"},
		"spaces":                 {" \n\n", "holds no PEM block"},
		"text":                   {"my key", "holds no PEM block"},
		"der":                    {string(block.Bytes), "holds no PEM block"},
		"first line only":        {cut(good, 28), "cut off"},
		"half":                   {cut(good, len(good)/2), "cut off"},
		"no end":                 {cut(good, len(good)-20), "cut off"},
		"damaged base64":         {strings.Replace(good, "\nM", "\n!", 1), "cut off"},
		"damaged der":            {again("PRIVATE KEY", block.Bytes[:len(block.Bytes)-9]), "holds no valid private key"},
		"bytes behind der":       {again("PRIVATE KEY", append(bytes.Clone(block.Bytes), 5, 0)), "holds bytes behind its key"},
		"bytes behind pkcs1 der": {again("RSA PRIVATE KEY", append(x509.MarshalPKCS1PrivateKey(private), 5, 0)), "holds bytes behind its key"},
		"empty block":            {again("PRIVATE KEY", nil), "restore it"},
		"wrong exponent":         {again("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(&wrong)), "restore it"},
		"even exponent":          {again("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(&even)), "restore it"},
		"text behind":            {good + "more", "holds text outside"},
		"text before":            {"Bag Attributes\n" + good, "holds text outside"},
		"two keys":               {good + pkcs1, "holds several PEM blocks"},
		"key and certificate":    {good + string(read(t, "testdata/refused/certificate.pem")), "holds several PEM blocks"},
		"huge":                   {good + strings.Repeat("\n", 1<<20), "larger than"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			path := filepath.Join(dir, "a.pem")
			write(t, path, c.content)
			refused(t, dir, path, c.want)
		})
	}
}

func TestErrorsShowNothingOfAKey(t *testing.T) {
	t.Parallel()
	good := read(t, "testdata/test-key.pem")
	lines := strings.Fields(string(good))
	for cut := 100; cut < len(good); cut += 61 {
		_, err := keys.ParsePEM(append(bytes.Clone(good[:cut]), good...))
		_, err2 := keys.ParsePEM(good[cut:])
		for _, line := range lines {
			if len(line) > 20 && (strings.Contains(err.Error(), line) || strings.Contains(err2.Error(), line)) {
				t.Fatalf("a line of the key shows in %v or %v", err, err2)
			}
		}
	}
	dir := t.TempDir()
	copyKey(t, "test-key.pem", filepath.Join(dir, "a.pem"))
	write(t, filepath.Join(dir, "current"), string(good))
	_, err := keys.Open(options(dir))
	wantError(t, err, "names no key of its folder")
	for _, line := range lines {
		if len(line) > 20 && strings.Contains(err.Error(), line) {
			t.Fatalf("a line of the key shows in %v", err)
		}
	}
}

func TestOddKindsOfFilesAreRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		put  func(path string) error
		want string
	}{
		"folder":        {func(path string) error { return os.Mkdir(path, 0o700) }, "not a regular file"},
		"fifo":          {func(path string) error { return syscall.Mkfifo(path, 0o600) }, "not a regular file"},
		"device":        {func(path string) error { return os.Symlink("/dev/zero", path) }, "not a regular file"},
		"dangling link": {func(path string) error { return os.Symlink("nowhere", path) }, "no such file"},
		"link loop":     {func(path string) error { return os.Symlink("a.pem", path) }, "too many levels"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			path := filepath.Join(dir, "a.pem")
			if err := c.put(path); err != nil {
				t.Fatal(err)
			}
			refused(t, dir, path, c.want)
			before := snapshot(t, dir)
			_, err := keys.OpenMaster(path)
			wantError(t, err, path, c.want)
			wantError(t, keys.CreateMaster(path, rand.Reader), path, "never replaced")
			if diff := cmp.Diff(before, snapshot(t, dir)); diff != "" {
				t.Errorf("the folder was changed: %s", diff)
			}
		})
	}
}

func TestFilesOpenToOtherUsersAreRefused(t *testing.T) {
	t.Parallel()
	for mode, ok := range map[os.FileMode]bool{
		0o600: true, 0o400: true, 0o640: true, 0o440: true, 0o660: true,
		0o644: false, 0o604: false, 0o602: false, 0o601: false, 0o444: false, 0o666: false,
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, "a.pem")
		copyKey(t, "test-key.pem", path)
		chmod(t, path, mode)
		master := filepath.Join(t.TempDir(), "master.key")
		write(t, master, strings.Repeat("x", 32))
		chmod(t, master, mode)
		_, err := keys.OpenMaster(master)
		if ok {
			open(t, dir)
			if err != nil {
				t.Error(err)
			}
			continue
		}
		refused(t, dir, path, "chmod 600 "+path)
		wantError(t, err, master, "chmod 600 "+master)
	}
}

func TestKubernetesVolumeIsRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	revision := filepath.Join(dir, "..2026_11_20_09_30_00.123456")
	if err := os.Mkdir(revision, 0o750); err != nil {
		t.Fatal(err)
	}
	_, want := ringOf(t, "second-key.pem", "test-key.pem")
	copyKey(t, "test-key.pem", filepath.Join(revision, "old.pem"))
	copyKey(t, "second-key.pem", filepath.Join(revision, "new.pem"))
	write(t, filepath.Join(revision, "current"), want.List()[0].Kid)
	links := map[string]string{"..data": filepath.Base(revision)}
	for _, file := range []string{"old.pem", "new.pem", "current"} {
		chmod(t, filepath.Join(revision, file), 0o440)
		links[file] = filepath.Join("..data", file)
	}
	for name, target := range links {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(string(jwks(want)), string(jwks(open(t, dir)))); diff != "" {
		t.Error(diff)
	}
	chmod(t, filepath.Join(revision, "old.pem"), 0o444)
	refused(t, dir, filepath.Join(dir, "old.pem"), "defaultMode 0440")
}

func TestOneKeyInTwoFilesIsRefused(t *testing.T) {
	t.Parallel()
	dir, _ := ringOf(t, "test-key.pem")
	private, err := keys.ParsePEM(read(t, "testdata/test-key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	block := pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(private)}
	write(t, filepath.Join(dir, "copy.pem"), string(pem.EncodeToMemory(&block)))
	refused(t, dir, "copy.pem and test-key.pem", "remove one")
}
