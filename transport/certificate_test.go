package transport_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/glueauth/glueauth/transport"
)

const day = 24 * time.Hour

// noon is the time of all tests.
func noon() time.Time { return time.Date(2027, time.March, 1, 12, 0, 0, 0, time.UTC) }

// issue returns a certificate of that name and its key, as PEM.
func issue(t *testing.T, name string, from, to time.Time) (chain, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	own := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, NotBefore: from, NotAfter: to,
	}
	der, err1 := x509.CreateCertificate(rand.Reader, own, own, private.Public(), private)
	pkcs8, err2 := x509.MarshalPKCS8PrivateKey(private)
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	return block("CERTIFICATE", der), block("PRIVATE KEY", pkcs8)
}

func block(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// good is a pair that is valid at noon.
func good(t *testing.T, name string) (chain, key string) {
	t.Helper()
	return issue(t, name, noon().Add(-30*day), noon().Add(60*day))
}

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// folder holds a pair in cert.pem and key.pem.
func folder(t *testing.T, chain, key string) string {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "cert.pem"), chain, 0o644)
	write(t, filepath.Join(dir, "key.pem"), key, 0o600)
	return dir
}

func open(dir string) (*transport.Certificate, error) {
	return transport.OpenCertificate(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), noon)
}

func mustOpen(t *testing.T, dir string) *transport.Certificate {
	t.Helper()
	c, err := open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// shown is the name of the certificate that a handshake shows.
func shown(t *testing.T, c *transport.Certificate) string {
	t.Helper()
	pair, err := c.Config().GetCertificate(&tls.ClientHelloInfo{})
	if err != nil {
		t.Fatal(err)
	}
	own, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return own.Subject.CommonName
}

// mustRefresh demands that the pair changes, or that it does not, without an error.
func mustRefresh(t *testing.T, c *transport.Certificate, changes bool) {
	t.Helper()
	if changed, err := c.Refresh(); err != nil || changed != changes {
		t.Fatalf("changed is %t, want %t; error: %v", changed, changes, err)
	}
}

func TestAPairThatCannotServeIsRefusedWithTheRemedy(t *testing.T) {
	t.Parallel()
	chain, key := good(t, "a")
	other, _ := good(t, "b")
	expired, expiredKey := issue(t, "c", noon().Add(-60*day), noon().Add(-day))
	future, futureKey := issue(t, "d", noon().Add(time.Hour), noon().Add(day))
	for name, c := range map[string]struct {
		chain, key string
		spoil      func(t *testing.T, dir string)
		want       string
	}{
		"other key":               {other, key, nil, "DIR/key.pem is not the private key of the first certificate in DIR/cert.pem; put both of one issue there, the server's own certificate before its issuers'"},
		"issuer first":            {other + chain, key, nil, "DIR/key.pem is not the private key of the first certificate in DIR/cert.pem; put both of one issue there, the server's own certificate before its issuers'"},
		"expired":                 {expired, expiredKey, nil, "the certificate in DIR/cert.pem has expired on 2027-02-28 12:00 UTC; put a renewed one there"},
		"not yet valid":           {future, futureKey, nil, "the certificate in DIR/cert.pem is not valid before 2027-03-01 13:00 UTC; put another one there, or correct this machine's clock"},
		"no certificate":          {"", key, nil, "DIR/cert.pem holds no certificate; put the PEM chain there, the server's own certificate first"},
		"files swapped":           {key, chain, openToAll, "DIR/cert.pem holds the private key and DIR/key.pem the certificate; write each path in the other's place"},
		"key twice":               {key, key, nil, "DIR/cert.pem holds no certificate; put the PEM chain there, the server's own certificate first"},
		"open, but no key":        {chain, chain, openToAll, "DIR/key.pem holds no private key; put it there as PEM"},
		"open, with a passphrase": {chain, block("ENCRYPTED PRIVATE KEY", []byte("x")), openToAll, "the private key in DIR/key.pem is open to other users (mode 0644); run chmod o= DIR/key.pem, or mount the Kubernetes secret with defaultMode 0440"},
		"broken certificate":      {block("CERTIFICATE", []byte("nonsense")), key, nil, "DIR/cert.pem holds a broken certificate; put the PEM chain there as it was issued"},
		"no key":                  {chain, chain, nil, "DIR/key.pem holds no private key; put it there as PEM"},
		"key with passphrase":     {chain, block("ENCRYPTED PRIVATE KEY", []byte("x")), nil, "DIR/key.pem is encrypted; write the key without a passphrase: openssl pkey -in FILE -out KEY"},
		"key open to others":      {chain, key, openToAll, "the private key in DIR/key.pem is open to other users (mode 0644); run chmod o= DIR/key.pem, or mount the Kubernetes secret with defaultMode 0440"},
		"no certificate file":     {chain, key, gone("cert.pem"), "DIR/cert.pem cannot be read (no such file or directory); put the PEM file there, so that the user of this process may read it"},
		"no key file":             {chain, key, gone("key.pem"), "DIR/key.pem cannot be read (no such file or directory); put the PEM file there, so that the user of this process may read it"},
		"a folder for a file":     {chain, key, instead("cert.pem"), "DIR/cert.pem is not a regular file; give the path of a PEM file"},
		"a file beyond reason":    {chain + strings.Repeat("\n", 1<<20), key, nil, "DIR/cert.pem is larger than 1048576 bytes; put only the PEM there"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := folder(t, c.chain, c.key)
			if c.spoil != nil {
				c.spoil(t, dir)
			}
			_, err := open(dir)
			if err == nil {
				t.Fatal("no error")
			}
			if diff := cmp.Diff(c.want, strings.ReplaceAll(err.Error(), dir, "DIR")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func openToAll(t *testing.T, dir string) {
	t.Helper()
	if err := os.Chmod(filepath.Join(dir, "key.pem"), 0o644); err != nil {
		t.Fatal(err)
	}
}

func gone(name string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
}

func instead(name string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		gone(name)(t, dir)
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
}

func TestOneFileMayHoldBoth(t *testing.T) {
	t.Parallel()
	chain, key := good(t, "a")
	path := filepath.Join(t.TempDir(), "both.pem")
	write(t, path, key+chain, 0o640)
	if _, err := transport.OpenCertificate(path, path, noon); err != nil {
		t.Error(err)
	}
}

func TestANewPairServesOnceItIsWhole(t *testing.T) {
	t.Parallel()
	dir := folder(t, "", "")
	first, firstKey := good(t, "first")
	second, secondKey := good(t, "second")
	write(t, filepath.Join(dir, "cert.pem"), first, 0o644)
	write(t, filepath.Join(dir, "key.pem"), firstKey, 0o600)
	c := mustOpen(t, dir)
	mustRefresh(t, c, false)

	before, err := os.Stat(filepath.Join(dir, "cert.pem"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "cert.pem"), second, 0o644) // its key is still to come
	for range 2 {
		if _, err := c.Refresh(); err == nil {
			t.Error("half a pair is no error")
		}
	}
	if got := shown(t, c); got != "first" {
		t.Errorf("half a pair shows %s", got)
	}
	write(t, filepath.Join(dir, "key.pem"), secondKey, 0o600)
	for _, name := range []string{"cert.pem", "key.pem"} { // as if all were within one tick of the disk's clock
		if err := os.Chtimes(filepath.Join(dir, name), before.ModTime(), before.ModTime()); err != nil {
			t.Fatal(err)
		}
	}
	mustRefresh(t, c, true)
	if got := shown(t, c); got != "second" {
		t.Errorf("the new pair shows %s", got)
	}
	mustRefresh(t, c, false)
}

func TestABrokenPairLeavesTheOldOneInPlace(t *testing.T) {
	t.Parallel()
	chain, key := good(t, "old")
	dir := folder(t, chain, key)
	c := mustOpen(t, dir)
	expired, expiredKey := issue(t, "expired", noon().Add(-60*day), noon().Add(-day))
	for name, pair := range map[string][2]string{
		"empty": {"", ""}, "cut off": {chain[:len(chain)/2], key}, "expired": {expired, expiredKey}, "other key": {chain, expiredKey},
	} {
		write(t, filepath.Join(dir, "cert.pem"), pair[0], 0o644)
		write(t, filepath.Join(dir, "key.pem"), pair[1], 0o600)
		if changed, err := c.Refresh(); err == nil || changed {
			t.Errorf("%s: changed is %t, error: %v", name, changed, err)
		}
		if got := shown(t, c); got != "old" {
			t.Errorf("%s: %s is shown", name, got)
		}
	}
	gone("key.pem")(t, dir)
	if _, err := c.Refresh(); err == nil {
		t.Error("a key that is gone is no error")
	}
	write(t, filepath.Join(dir, "cert.pem"), chain, 0o644)
	write(t, filepath.Join(dir, "key.pem"), key, 0o600)
	mustRefresh(t, c, false)
}

// A Kubernetes volume has its files in a folder of their own and swaps the link ..data to it.
func TestASwappedLinkIsANewPair(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"first", "second"} {
		chain, key := good(t, name)
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name, "cert.pem"), chain, 0o644)
		write(t, filepath.Join(dir, name, "key.pem"), key, 0o400)
	}
	link := func(from, to string) {
		t.Helper()
		if err := os.Symlink(to, filepath.Join(dir, from)); err != nil {
			t.Fatal(err)
		}
	}
	link("..data", "first")
	link("cert.pem", "..data/cert.pem")
	link("key.pem", "..data/key.pem")
	c := mustOpen(t, dir)
	if got := shown(t, c); got != "first" {
		t.Errorf("%s is shown", got)
	}
	link("..data_tmp", "second")
	if err := os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")); err != nil {
		t.Fatal(err)
	}
	mustRefresh(t, c, true)
	if got := shown(t, c); got != "second" {
		t.Errorf("%s is shown after the swap", got)
	}
}

func TestAnOperatorIsWarnedInTime(t *testing.T) {
	t.Parallel()
	const longLife, shortLife = 90 * day, 24 * time.Hour
	for name, c := range map[string]struct {
		life, left time.Duration
		want       string
	}{
		"fresh":                  {longLife, 60 * day, ""},
		"two weeks":              {longLife, 14 * day, ""},
		"less than two weeks":    {longLife, 14*day - time.Second, "the certificate in FILE expires on 2027-03-15 11:59 UTC; renew it; the server takes the new files by itself"},
		"over":                   {longLife, 0, "the certificate in FILE has expired on 2027-03-01 12:00 UTC and clients refuse it; renew it; the server takes the new files by itself"},
		"of a day, at noon":      {shortLife, 12 * time.Hour, ""},
		"of a day, near its end": {shortLife, 5 * time.Hour, "the certificate in FILE expires on 2027-03-01 17:00 UTC; renew it; the server takes the new files by itself"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			chain, key := issue(t, "a", noon().Add(c.left-c.life), noon().Add(c.left))
			dir := folder(t, chain, key)
			certificate := mustOpen(t, dir)
			got := strings.ReplaceAll(certificate.Warning(), filepath.Join(dir, "cert.pem"), "FILE")
			if got != c.want {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
			if end := certificate.NotAfter(); !end.Equal(noon().Add(c.left)) {
				t.Errorf("it ends at %s", end)
			}
		})
	}
}

func TestASelfSignedCertificateIsGoodForItsHosts(t *testing.T) {
	t.Parallel()
	c, err := transport.SelfSigned([]string{"localhost", "127.0.0.1", "::1", "auth.test", "fe80::1%eth0"}, noon, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p, _ := pem.Decode(c.PEM())
	own, err := x509.ParseCertificate(p.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(own)
	for host, valid := range map[string]bool{
		"localhost": true, "127.0.0.1": true, "::1": true, "auth.test": true, "fe80::1": true, "other.test": false, "127.0.0.2": false,
	} {
		_, err := own.Verify(x509.VerifyOptions{Roots: roots, DNSName: host, CurrentTime: noon()})
		if (err == nil) != valid {
			t.Errorf("%s: %v", host, err)
		}
	}
	mustRefresh(t, c, false)
	if own.IsCA || c.Warning() != "" || len(c.Fingerprint()) != 95 || own.SerialNumber.BitLen() != 127 {
		t.Errorf("%+v", own)
	}
	again, err := transport.SelfSigned([]string{"localhost"}, noon, rand.Reader)
	if err != nil || bytes.Equal(again.PEM(), c.PEM()) {
		t.Errorf("the second is the first: %v", err)
	}
}
