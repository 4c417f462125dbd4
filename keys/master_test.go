package keys_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/keys"
)

// masterKey has bytes for which the two base64 alphabets differ.
func masterKey() []byte {
	key := make([]byte, 32)
	for i := range key {
		key[i] = byte(0xfb - i)
	}
	return key
}

func texts(key []byte) map[string]string {
	return map[string]string{
		"hex":             hex.EncodeToString(key),
		"upper-case hex":  strings.ToUpper(hex.EncodeToString(key)),
		"base64":          base64.StdEncoding.EncodeToString(key),
		"unpadded base64": base64.RawStdEncoding.EncodeToString(key),
		"base64url":       base64.URLEncoding.EncodeToString(key),
		"unpadded url":    base64.RawURLEncoding.EncodeToString(key),
	}
}

func derive(t *testing.T, m *keys.Master, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	derived, err := m.Derive("refresh-token", 1, 42)
	if err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(derived)
}

// TestDeriveGivesOpenSSLsBytes has its value from: openssl kdf -keylen 42 -kdfopt digest:SHA256 -kdfopt hexkey:0001…1f
// -kdfopt hexinfo:726566726573682d746f6b656e01 HKDF.
func TestDeriveGivesOpenSSLsBytes(t *testing.T) {
	t.Parallel()
	m, err := keys.ParseMaster("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f")
	want := "f01fce3927091558b71ccda6ff3b998b9a269c6f0a190a1f829022e9c5e06baf55fcd307d13b81eb32b3"
	if diff := cmp.Diff(want, derive(t, m, err)); diff != "" {
		t.Error(diff)
	}
}

func TestDeriveIsRFC5869(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "key")
		purpose := rapid.String().Draw(t, "purpose")
		number := rapid.Byte().Draw(t, "number")
		n := rapid.IntRange(1, 8160).Draw(t, "n")
		m, err := keys.ParseMaster(secret.Text(hex.EncodeToString(key)))
		if err != nil {
			t.Fatal(err)
		}
		got, err := m.Derive(purpose, number, n)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, hkdf(key, append([]byte(purpose), number), n)) {
			t.Fatal("derived other bytes than RFC 5869 says")
		}
	})
}

// hkdf is RFC 5869 §2.2 and §2.3 with SHA-256 and no salt.
func hkdf(key, info []byte, n int) []byte {
	sum := func(key []byte, parts ...[]byte) []byte {
		mac := hmac.New(sha256.New, key)
		for _, part := range parts {
			mac.Write(part)
		}
		return mac.Sum(nil)
	}
	extracted := sum(make([]byte, 32), key)
	var out, last []byte
	for i := byte(1); len(out) < n; i++ {
		last = sum(extracted, last, info, []byte{i})
		out = append(out, last...)
	}
	return out[:n]
}

func TestDeriveRefusesLengthsBeyondHKDF(t *testing.T) {
	t.Parallel()
	m, err := keys.ParseMaster(secret.Text(hex.EncodeToString(masterKey())))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{-1, 0, 8161} {
		derived, err := m.Derive("refresh-token", 1, n)
		wantError(t, err, "refresh-token")
		if derived != nil {
			t.Errorf("%d bytes were derived", len(derived))
		}
	}
}

func TestMasterIsReadInEveryForm(t *testing.T) {
	t.Parallel()
	raw := filepath.Join(t.TempDir(), "master.key")
	write(t, raw, string(masterKey()))
	m, err := keys.OpenMaster(raw)
	want := derive(t, m, err)
	for name, text := range texts(masterKey()) {
		m, err := keys.ParseMaster(secret.Text(text))
		if got := derive(t, m, err); got != want {
			t.Errorf("%s is another key", name)
		}
		for _, end := range []string{"", "\n", "\r\n"} {
			path := filepath.Join(t.TempDir(), "master.key")
			write(t, path, text+end)
			m, err := keys.OpenMaster(path)
			if got := derive(t, m, err); got != want {
				t.Errorf("%s with end %q is another key", name, end)
			}
		}
	}
}

func TestWrongMasterTextIsRefusedWithoutShowingIt(t *testing.T) {
	t.Parallel()
	good := texts(masterKey())
	for name, text := range map[string]string{
		"empty":                 "",
		"31 bytes":              hex.EncodeToString(masterKey()[:31]),
		"33 bytes":              hex.EncodeToString(append(masterKey(), 1)),
		"31 bytes of base64":    base64.StdEncoding.EncodeToString(masterKey()[:31]),
		"33 bytes of base64":    base64.StdEncoding.EncodeToString(append(masterKey(), 1)),
		"foreign hex digit":     "g" + good["hex"][1:],
		"foreign base64 digit":  "!" + good["base64"][1:],
		"padding twice":         good["base64"] + "=",
		"padded hex":            good["hex"] + "=",
		"bits beyond the bytes": good["unpadded url"][:42] + "B",
		"newline within":        good["base64"][:20] + "\n" + good["base64"][20:],
		"newline within, bare":  good["unpadded url"][:20] + "\n" + good["unpadded url"][20:],
		"newline for a digit":   good["unpadded url"][:42] + "\n",
		"space in front":        " " + good["hex"],
		"two newlines":          good["hex"] + "\n\n",
		"passphrase":            "correct horse battery staple",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := keys.ParseMaster(secret.Text(text))
			wantError(t, err, "openssl rand -base64 32")
			if text != "" && strings.Contains(err.Error(), text) {
				t.Errorf("%v shows the key", err)
			}
			dir := t.TempDir()
			path := filepath.Join(dir, "master.key")
			write(t, path, text)
			before := snapshot(t, dir)
			_, err = keys.OpenMaster(path)
			wantError(t, err, path, "restore it")
			wantError(t, keys.CreateMaster(path, rand.Reader), path, "never replaced")
			if diff := cmp.Diff(before, snapshot(t, dir)); diff != "" {
				t.Errorf("the file was changed: %s", diff)
			}
		})
	}
}

func TestCreatedMasterStays(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "data", "master.key")
	if _, err := keys.OpenMaster(path); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("%v is not fs.ErrNotExist", err)
	}
	if err := keys.CreateMaster(path, bytes.NewReader(masterKey())); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(read(t, path), masterKey()) {
		t.Error("the file does not hold the random bytes")
	}
	err := keys.CreateMaster(path, rand.Reader)
	wantError(t, err, path, "never replaced")
	if !errors.Is(err, fs.ErrExist) || !bytes.Equal(read(t, path), masterKey()) {
		t.Errorf("%v, or the file was changed", err)
	}
	short := filepath.Join(t.TempDir(), "master.key")
	wantError(t, keys.CreateMaster(short, bytes.NewReader(masterKey()[:31])), "randomness")
	if files := snapshot(t, filepath.Dir(short)); len(files) != 0 {
		t.Error("a file was made without enough randomness")
	}
}

func TestMasterNeverPrints(t *testing.T) {
	t.Parallel()
	m, err := keys.ParseMaster(secret.Text(hex.EncodeToString(masterKey())))
	if err != nil {
		t.Fatal(err)
	}
	for _, value := range []any{m, *m, []any{m}, map[string]any{"m": *m}} {
		for _, format := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q", "%d"} {
			if text := fmt.Sprintf(format, value); !strings.Contains(text, secret.Redacted) {
				t.Errorf("%s prints %s", format, text)
			}
		}
	}
	holder := struct{ master keys.Master }{*m}
	var log bytes.Buffer
	logger := slog.New(slog.NewJSONHandler(&log, nil))
	logger.Info("start", "master", m, "value", *m, "holder", holder)
	encoded, err := json.Marshal(map[string]any{"m": m, "v": *m})
	if err != nil {
		t.Fatal(err)
	}
	printed := fmt.Sprintf("%v %+v %#v %x", holder, holder, holder, holder) + log.String() + string(encoded)
	const decimal = "251 250 249 248"
	for _, form := range append([]string{decimal}, texts(masterKey())["hex"][:8], "0xfb, 0xfa") {
		if strings.Contains(printed, form) {
			t.Errorf("%s shows in %s", form, printed)
		}
	}
}

// refreshKey is what a master gives for refresh tokens of a number.
func refreshKey(t *testing.T, m *keys.Master, number byte) string {
	t.Helper()
	b, err := m.Derive("refresh-token", number, 32)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// furtherMaster rotates the file and opens it.
func furtherMaster(t *testing.T, path string, used, want byte) *keys.Master {
	t.Helper()
	number, err := keys.RotateMaster(path, used, rand.Reader)
	if err != nil || number != want {
		t.Fatalf("number %d, %v; want %d", number, err, want)
	}
	m, err := keys.OpenMaster(path)
	if err != nil || m.Number() != number {
		t.Fatal(m.Numbers(), err)
	}
	return m
}

func TestAFurtherMasterKeyChangesNothingThatWasDerived(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "master.key")
	write(t, path, string(masterKey()))
	before, err := keys.OpenMaster(path)
	if err != nil || !cmp.Equal(before.Numbers(), []byte{1}) {
		t.Fatalf("one key has the numbers %v, %v", before.Numbers(), err)
	}
	seen := map[string]bool{refreshKey(t, before, 1): true}
	for _, step := range []struct{ used, want byte }{{1, 10}, {12, 20}, {12, 30}, {30, 40}, {239, 240}, {1, 250}} {
		m := furtherMaster(t, path, step.used, step.want)
		for n := range step.want {
			if refreshKey(t, m, n) != refreshKey(t, before, n) {
				t.Errorf("number %d has changed with %d", n, step.want)
			}
		}
		for _, n := range []byte{step.want, step.want + 1, 255} {
			if refreshKey(t, m, n) == refreshKey(t, before, n) {
				t.Errorf("number %d is still of an older key after %d", n, step.want)
			}
		}
		if key := refreshKey(t, m, step.want); seen[key] {
			t.Errorf("number %d has the key of another one", step.want)
		} else {
			seen[key], before = true, m
		}
	}
	if mode := strings.Fields(snapshot(t, filepath.Dir(path))["master.key"])[0]; mode != "-rw-------" {
		t.Errorf("the file has mode %s", mode)
	}
}

func TestNoneOfSeveralMasterKeysThatAreMadeAtOnceIsLost(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "master.key")
	write(t, path, string(masterKey()))
	var group sync.WaitGroup
	numbers := make([]byte, 8)
	for i := range numbers {
		group.Go(func() {
			var err error
			if numbers[i], err = keys.RotateMaster(path, 1, rand.Reader); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	slices.Sort(numbers)
	m, err := keys.OpenMaster(path)
	if want := []byte{10, 20, 30, 40, 50, 60, 70, 80}; err != nil || !cmp.Equal(numbers, want) || len(m.Numbers()) != 9 {
		t.Errorf("made %v, the file holds %v, %v", numbers, m.Numbers(), err)
	}
}

func TestMasterKeysAreTheSameAsASettingAndPrintNothing(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "master.key")
	write(t, path, string(masterKey()))
	m := furtherMaster(t, path, 245, 250)
	content := read(t, path)
	_, err := keys.RotateMaster(path, 1, rand.Reader)
	wantError(t, err, path, "all 255 numbers", "accept-master")
	if !bytes.Equal(content, read(t, path)) {
		t.Error("a refused rotation has changed the file")
	}
	again, err := keys.ParseMaster(secret.Text(strings.ReplaceAll(strings.TrimSpace(string(content)), "\n", ",")))
	if err != nil || refreshKey(t, again, 255) != refreshKey(t, m, 255) || refreshKey(t, again, 1) != refreshKey(t, m, 1) {
		t.Errorf("the same keys as a setting: %v", err)
	}
	text := fmt.Sprintf("%v %+v %#v %s %d", again, struct{ M *keys.Master }{again}, struct{ M keys.Master }{*again}, again, struct{ M keys.Master }{*again})
	if strings.Contains(text, "251 250 249") || strings.Contains(text, "0xfb, 0xfa") {
		t.Errorf("printed: %s", text)
	}
}

func TestSeveralMasterKeysThatDoNotFitAreRefused(t *testing.T) {
	t.Parallel()
	one := base64.StdEncoding.EncodeToString(masterKey())
	for name, text := range map[string]string{
		"without the first": "10:" + one, "oldest first": "1:" + one + ",10:" + one, "twice": "10:" + one + ",10:" + one + ",1:" + one,
		"number 0": "10:" + one + ",0:" + one, "number 256": "256:" + one + ",1:" + one, "no number": ":" + one, "negative": "-1:" + one,
		"no key": "10:,1:" + one, "half a key": "10:" + one[:20] + ",1:" + one, "no keys": ":", "only commas": ":,,,", "one without number": "10:" + one + "," + one,
	} {
		m, err := keys.ParseMaster(secret.Text(text))
		wantError(t, err, "NUMBER:KEY")
		if m != nil || strings.Contains(err.Error(), one[:20]) {
			t.Errorf("%s: %v, %v", name, m, err)
		}
	}
	dir := t.TempDir()
	for path, want := range map[string]string{filepath.Join(dir, "absent"): "no such file", filepath.Join(dir, "link"): "is a link"} {
		if want == "is a link" {
			write(t, filepath.Join(dir, "real"), string(masterKey()))
			if err := os.Symlink("real", path); err != nil {
				t.Fatal(err)
			}
		}
		_, err := keys.RotateMaster(path, 1, rand.Reader)
		wantError(t, err, path, want)
	}
	broken := filepath.Join(dir, "broken")
	write(t, broken, "10:x")
	_, err := keys.RotateMaster(broken, 1, rand.Reader)
	wantError(t, err, broken, "restore it")
	if string(read(t, broken)) != "10:x" {
		t.Error("it was replaced")
	}
}
