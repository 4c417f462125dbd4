package e2e_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/glueauth/glueauth/store/storetest"
)

// diagnosis is what doctor says of one check.
type diagnosis struct {
	Check  string `json:"check"`
	Result string `json:"result"`
	Seen   string `json:"seen"`
	Remedy string `json:"remedy"`
}

// secretWord is part of each password that a doctor is given here, and must not be shown.
const secretWord = "battery-staple"

// examine runs doctor without its estimates, and demands that it fails exactly when a check does, and shows no secret.
func examine(t *testing.T, dir string, env []string, args ...string) []diagnosis {
	t.Helper()
	args = append([]string{"doctor", "--estimate=false"}, args...)
	r := finish(t, dir, "", env, append(args, "--json")...)
	var found []diagnosis
	if err := json.Unmarshal([]byte(r.stdout), &found); err != nil {
		t.Fatalf("exit code %d, %v:\n%s%s", r.code, err, r.stdout, r.stderr)
	}
	failed := slices.ContainsFunc(found, func(d diagnosis) bool { return d.Result == "fail" })
	if failed != (r.code == 1) || failed != (r.stderr != "") || r.code > 1 {
		t.Errorf("exit code %d, stderr %q:\n%s", r.code, r.stderr, r.stdout)
	}
	if strings.Contains(r.stdout+r.stderr, secretWord) {
		t.Errorf("a secret is shown:\n%s%s", r.stdout, r.stderr)
	}
	return found
}

// mustFind demands a finding that has these words, and that every other check is fine.
func mustFind(t *testing.T, found []diagnosis, want diagnosis) (remedy string) {
	t.Helper()
	for _, d := range found {
		switch {
		case d.Check == want.Check && d.Result == want.Result && strings.Contains(d.Seen, want.Seen) && strings.Contains(d.Remedy, want.Remedy):
			remedy = d.Remedy
		case d.Result != "ok":
			t.Errorf("found besides: %+v", d)
		}
	}
	if remedy == "" {
		t.Errorf("%+v is not among %+v", want, found)
	}
	return remedy
}

// patient is the data folder of a server that has run, with a customer whose password costs what it should.
func patient(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	succeed(t, dir, "", "customers", "import", write(t, dir, "customers.csv", "customer_reference,email,password\nDE--1,a@shop.example,"+dearHash+"\n", 0o600))
	start(t, dir).stop(t)
	return dir
}

// dearHash is no password's, but as dear as one of the shop's.
const dearHash = "$2y$12$r/wkFy1StLlxSEGjQnefMOrEIcgZFAAtSK1ALoezVjfi55sSKLY2."

func TestDoctorOfAHealthyServerFindsNothing(t *testing.T) {
	t.Parallel()
	dir := patient(t)
	start(t, dir) // it may run meanwhile
	mustBeFine(t, examine(t, dir, nil, "--shop-public-key", publicKey(t, dir)))
	before := filesIn(t, dir)
	cores := runtime.NumCPU() // all of which verify passwords, where the process may use them
	r := finish(t, dir, "", []string{fmt.Sprint("GOMAXPROCS=", cores)}, "doctor")
	out := r.stdout
	if r.code != 0 {
		t.Errorf("exit code %d: %s", r.code, r.stderr)
	}
	for _, line := range []string{
		`customers +1 in data/glueauth\.db`,
		`passwords +1 of 1 looked at: bcrypt, cost 12`,
		fmt.Sprintf(`sign-ins +about \d+\.\d a second with %d workers and bcrypt, cost 12: .*, an estimate`, cores),
		`refreshes +about \d+\.\d a second: .*, an estimate`,
	} {
		if !regexp.MustCompile(`(?m)^ok    ` + line + `$`).MatchString(out) {
			t.Errorf("no line %s in\n%s", line, out)
		}
	}
	if !strings.HasSuffix(out, "\n\n8 checks: 8 ok, 0 warn, 0 failed\n") {
		t.Errorf("got\n%s", out)
	}
	if after := filesIn(t, dir); !slices.Equal(before, after) {
		t.Errorf("it has changed the folder from %v to %v", before, after)
	}
}

// filesIn lists the files below a folder.
func filesIn(t *testing.T, dir string) (files []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		files = append(files, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestDoctorMakesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	found := examine(t, dir, nil)
	mustFind(t, found, diagnosis{"customers", "warn", "the first start makes data/glueauth.db", "customers import"})
	if files := filesIn(t, dir); len(files) != 1 {
		t.Errorf("it has made %v", files)
	}
}

// publicKey returns a file of the public key that a data folder signs with.
func publicKey(t *testing.T, dir string) string {
	t.Helper()
	return write(t, dir, "shop.pub", succeed(t, dir, "", "keys", "export", "--format", "pem"), 0o644)
}

func TestDoctorFindsWhatIsWrongWithTheKeys(t *testing.T) {
	t.Parallel()
	dir, other := patient(t), patient(t)
	wrong := publicKey(t, other)
	const master = "data/master.key"
	swapped, err := os.ReadFile(filepath.Join(other, master))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		env, args []string
		want      diagnosis
	}{
		"not the shop's key":         {nil, []string{"--shop-public-key", wrong}, diagnosis{"the shop's key", "fail", "none of our keys is the private one of " + wrong, "glueauth keys import"}},
		"not the shop's environment": {[]string{"SPRYKER_OAUTH_KEY_PUBLIC=file://" + wrong}, nil, diagnosis{"signing keys", "fail", "none of our keys is the private one", "glueauth keys import"}},
		"no public key":              {nil, []string{"--shop-public-key", filepath.Join(dir, master)}, diagnosis{"the shop's key", "fail", "is not one PEM block", "-----BEGIN PUBLIC KEY-----"}},
		"another master key":         {[]string{"GLUEAUTH_MASTER_KEY_FILE=" + write(t, dir, "other.key", string(swapped), 0o600)}, nil, diagnosis{"sessions", "fail", "another master key", "restore that key"}},
		"a master key lost":          {[]string{"GLUEAUTH_MASTER_KEY_FILE=" + filepath.Join(dir, "nowhere/master.key")}, nil, diagnosis{"master key", "fail", "there is no master key", "restore it from a backup or correct master_key_file"}},
		"no master key": {
			[]string{"GLUEAUTH_DATA=" + t.TempDir(), "GLUEAUTH_CUSTOMERS_FILE=" + filepath.Join(dir, "data/glueauth.db"), "GLUEAUTH_MASTER_KEY_FILE=" + filepath.Join(dir, "nowhere/master.key")},
			nil,
			diagnosis{"master key", "fail", "there is none", "openssl rand"},
		},
		"a secret others can read":   {[]string{"GLUEAUTH_ADMIN_SECRET_FILE=" + write(t, dir, "admin", "0123456789abcdef", 0o644)}, nil, diagnosis{"secret file", "warn", "admin (mode 0644)", "chmod 640"}},
		"a secret others can change": {[]string{"GLUEAUTH_ADMIN_SECRET_FILE=" + write(t, dir, "open", "0123456789abcdef", 0o622)}, nil, diagnosis{"secret file", "warn", "open (mode 0622)", "chmod 640"}},
		"no keys":                    {[]string{"GLUEAUTH_KEYS_DIR=" + filepath.Join(dir, "nowhere/keys")}, nil, diagnosis{"signing keys", "fail", "there is none", "glueauth keys import"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mustFind(t, examine(t, dir, c.env, c.args...), c.want)
		})
	}
}

// The spec's own test vector (4.3).
const (
	vectorKey   = "test-encryption-key-for-vectors-only"
	vectorToken = "def50200000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f000102030405060708090a0b0c0d0e0f" +
		"7ee039756f86ead13e7a2cb02cccfa0279610b89d007ecd6b67751252473b07f99f2d6bd2557bb73217f77a1dba702123e1a1dae69d57ed413372477feb7133d" +
		"fb1366d1fe8b6f974b8b2d6a269c7a7c95a0"
)

func TestDoctorProvesTheEncryptionKey(t *testing.T) {
	t.Parallel()
	dir := patient(t)
	const ok, until = "ok", "GLUEAUTH_LEGACY_UNTIL=2027-01-31"
	for name, c := range map[string]struct {
		env   []string
		token string
		want  diagnosis
	}{
		"it opens the token":     {[]string{"GLUEAUTH_LEGACY_ENCRYPTION_KEY=" + vectorKey, until}, vectorToken + "\n", diagnosis{"encryption key", ok, "it opens the token", ""}},
		"the shop's variable":    {[]string{"SPRYKER_OAUTH_ENCRYPTION_KEY=" + vectorKey, until}, vectorToken, diagnosis{"encryption key", ok, "it opens the token", ""}},
		"no token":               {[]string{"GLUEAUTH_LEGACY_ENCRYPTION_KEY=" + vectorKey, until}, "", diagnosis{"encryption key", ok, "--shop-token proves it", ""}},
		"wrong encryption key":   {[]string{"GLUEAUTH_LEGACY_ENCRYPTION_KEY=" + secretWord, until}, vectorToken, diagnosis{"encryption key", "fail", "the encryption key does not open the token", "SPRYKER_OAUTH_ENCRYPTION_KEY"}},
		"no encryption key":      {nil, vectorToken, diagnosis{"encryption key", "fail", "there is none", "legacy.encryption_key"}},
		"a token of ours":        {[]string{"GLUEAUTH_LEGACY_ENCRYPTION_KEY=" + vectorKey, until}, "grt_AQEAAAAA", diagnosis{"encryption key", "fail", "no refresh token of a shop's", "def50200"}},
		"for ever, without shop": {[]string{"GLUEAUTH_LEGACY_ENCRYPTION_KEY=" + vectorKey}, "", diagnosis{"encryption key", "fail", "legacy.until is not set", "31 days"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			args := []string{"doctor", "--estimate=false", "--json"}
			if c.token != "" {
				args = append(args, "--shop-token", "-")
			}
			r := finish(t, dir, c.token, c.env, args...)
			var found []diagnosis
			if err := json.Unmarshal([]byte(r.stdout), &found); err != nil {
				t.Fatalf("%v:\n%s%s", err, r.stdout, r.stderr)
			}
			for _, secret := range []string{vectorToken[100:], vectorKey, secretWord} {
				if strings.Contains(r.stdout+r.stderr, secret) {
					t.Errorf("a secret is shown:\n%s%s", r.stdout, r.stderr)
				}
			}
			if c.want.Result != ok {
				mustFind(t, found, c.want)
			} else if mustBeFine(t, found); !strings.Contains(r.stdout, c.want.Seen) {
				t.Errorf("no %q in %s", c.want.Seen, r.stdout)
			}
		})
	}
}

func TestDoctorFindsWhatIsWrongWithPasswords(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		hashes []string
		want   diagnosis
	}{
		"cost 4": {[]string{cheapHash, dearHash}, diagnosis{"passwords", "warn", "1 of 2 looked at: bcrypt, cost 4", "cost 12"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			csv := "customer_reference,email,password\n"
			for i, hash := range c.hashes {
				csv += fmt.Sprintf("DE--%d,%d@shop.example,%s\n", i, i, hash)
			}
			succeed(t, dir, "", "customers", "import", write(t, dir, "customers.csv", csv, 0o600))
			found := examine(t, dir, nil)
			mustFind(t, found, c.want)
			for _, d := range found {
				if strings.Contains(d.Seen+d.Remedy, cheapHash[10:]) {
					t.Errorf("a hash is shown: %+v", d)
				}
			}
		})
	}
}

func TestDoctorFindsWhatIsWrongWithRedis(t *testing.T) {
	t.Parallel()
	dir := patient(t)
	redis := storetest.RedisPort(t, "--appendonly", "yes", "--requirepass", secretWord)
	expired := tlsRedis(t, time.Now().Add(-time.Hour))
	at := func(scheme, address string) string { return scheme + "://:" + secretWord + "@" + address }
	for name, c := range map[string]struct {
		url  string
		want diagnosis
	}{
		"nothing":             {at("redis", redis.Addr), diagnosis{}},
		"allkeys-lru":         {storetest.Redis(t, "--appendonly", "yes", "--maxmemory-policy", "allkeys-lru").URL(), diagnosis{"policy of Redis", "fail", "(allkeys-lru)", "set maxmemory-policy noeviction"}},
		"no persistence":      {storetest.Redis(t).URL(), diagnosis{"policy of Redis", "warn", "keeps nothing on disk", "set appendonly yes"}},
		"clock 10 s off":      {fastRedis(t), diagnosis{"clock of Redis", "fail", "ahead of this machine's", "NTP"}},
		"unreachable host":    {at("redis", "127.0.0.1:1"), diagnosis{"sessions", "fail", "no connection to 127.0.0.1:1 (connection refused)", "correct the host"}},
		"unknown host":        {at("redis", "redis.invalid"), diagnosis{"sessions", "fail", "no connection to redis.invalid:6379", "correct the host"}},
		"TLS refused":         {at("rediss", redis.Addr), diagnosis{"sessions", "fail", redis.Addr + " refuses TLS", "write redis in place of rediss"}},
		"TLS only":            {at("redis", expired), diagnosis{"sessions", "fail", expired + " speaks TLS only", "write rediss in place of redis"}},
		"expired certificate": {at("rediss", expired), diagnosis{"sessions", "fail", "has expired", "renew it"}},
		"wrong password":      {strings.Replace(at("redis", redis.Addr), secretWord, "another", 1), diagnosis{"sessions", "fail", "wrongpass", "user or password in the url are wrong"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			found := examine(t, dir, []string{"GLUEAUTH_REDIS=" + c.url})
			if c.want == (diagnosis{}) {
				mustBeFine(t, found)
				return
			}
			mustFind(t, found, c.want)
		})
	}
}

// mustBeFine demands that all is well.
func mustBeFine(t *testing.T, found []diagnosis) {
	t.Helper()
	for _, d := range found {
		if d.Result != "ok" {
			t.Errorf("found %+v", d)
		}
	}
}

// certificate makes one for 127.0.0.1 that holds until then, and returns the paths of it and its key.
func certificate(t *testing.T, until time.Time) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "shop"}, NotBefore: until.Add(-48 * time.Hour), NotAfter: until,
		IsCA: true, BasicConstraintsValid: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	cert, err1 := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	der, err2 := x509.MarshalPKCS8PrivateKey(private)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "glueauth") //nolint:usetesting // another account has to get there
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return write(t, dir, "tls.crt", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})), 0o644),
		write(t, dir, "tls.key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), 0o600)
}

// tlsRedis starts a Redis that speaks TLS only, and returns its address.
func tlsRedis(t *testing.T, until time.Time) string {
	t.Helper()
	cert, key := certificate(t, until)
	r := storetest.RedisPort(t, "--appendonly", "yes", "--tls-cert-file", cert, "--tls-key-file", key, "--tls-auth-clients", "no")
	_, port, _ := net.SplitHostPort(r.Addr)
	r.Do(t, "CONFIG", "SET", "port", "0")
	r.Do(t, "CONFIG", "SET", "tls-port", port)
	return r.Addr
}

// aheadByTen is a library that comes before libc's. Debian's libfaketime and the allocator of Redis do not get on.
const aheadByTen = `
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
int gettimeofday(struct timeval *tv, void *tz) {
	struct timespec now;
	syscall(SYS_clock_gettime, CLOCK_REALTIME, &now);
	tv->tv_sec = now.tv_sec + 10;
	tv->tv_usec = now.tv_nsec / 1000;
	return 0;
}
`

// fastRedis starts a Redis whose clock is ten seconds ahead, and returns its URL.
func fastRedis(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "glueauth") //nolint:usetesting // a short path, for the socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket, library := filepath.Join(dir, "redis.sock"), filepath.Join(dir, "ahead.so")
	if out, err := exec.Command("gcc", "-shared", "-fPIC", "-o", library, write(t, dir, "ahead.c", aheadByTen, 0o600)).CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v\n%s", err, out)
	}
	redis := exec.Command("redis-server", "--port", "0", "--unixsocket", socket, "--dir", dir, "--save", "", "--appendonly", "yes")
	redis.Env = append(os.Environ(), "LD_PRELOAD="+library)
	if err := redis.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = redis.Process.Kill()
		_ = redis.Wait()
	})
	eventually(t, startLimit, func() error { return exec.Command("redis-cli", "-s", socket, "PING").Run() })
	return "unix://" + socket
}

func TestAServerWarnsOfASecretThatEverybodyCanRead(t *testing.T) {
	t.Parallel()
	for mode, want := range map[os.FileMode]bool{0o644: true, 0o640: false} {
		dir := t.TempDir()
		p := start(t, dir, "GLUEAUTH_ADMIN_SECRET_FILE="+write(t, dir, "admin", "0123456789abcdef", mode))
		if log := p.stderr.String(); strings.Contains(log, "the file of a secret: take that right away") != want || strings.Contains(log, `"level":"WARN"`) != want {
			t.Errorf("mode %04o: a warning: %v, want %v:\n%s", mode, !want, want, p.tail())
		}
	}
}
