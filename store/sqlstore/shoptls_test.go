package sqlstore_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/store/sqlstore"
	"github.com/glueauth/glueauth/store/storetest"
)

func TestShopsOverTLS(t *testing.T) {
	t.Parallel()
	t.Run("PostgreSQL", func(t *testing.T) {
		t.Parallel()
		dir := publicDir(t)
		certify(t, dir, "server", "postgres", time.Hour)
		certify(t, dir, "stranger", "postgres", time.Hour)
		s := shopServer{storetest.Postgres(t, "-c", "ssl=on", "-c", "ssl_cert_file="+dir+"/server.crt", "-c", "ssl_key_file="+dir+"/server.key"), true}
		url := s.Shop(t, "shop")
		authority := "?sslmode=verify-full&sslrootcert=" + dir
		for _, good := range []string{"", "?sslmode=require", authority + "/server.crt"} {
			mustOpenShop(t, url+good, "")
			if n := s.Do(t, "", "SELECT COUNT(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'shop' AND NOT ssl"); n != "0" {
				t.Errorf("%s: %s connections without TLS", good, n)
			}
		}
		for _, bad := range []string{authority + "/stranger.crt", "?sslmode=verify-full"} {
			refused(t, bad, url+bad, "its certificate is not good")
		}
		certify(t, dir, "server", "postgres", -time.Minute)
		s.Do(t, "", "SELECT pg_reload_conf()")
		storetest.Eventually(t, "the server has its new certificate", func() bool {
			shop, err := sqlstore.OpenShop(t.Context(), sqlstore.ShopOptions{URL: secret.Text(url + authority + "/server.crt")})
			if err == nil {
				shop.Close()
			}
			return err != nil && strings.Contains(err.Error(), "expired")
		})
		refused(t, "an expired certificate", url+authority+"/server.crt", "its certificate is not good: renew it")
	})
	t.Run("MariaDB", func(t *testing.T) {
		t.Parallel()
		dir := publicDir(t)
		certify(t, dir, "server", "mysql", time.Hour)
		certify(t, dir, "stranger", "mysql", time.Hour)
		s := shopServer{storetest.MariaDB(t, "--ssl-cert="+dir+"/server.crt", "--ssl-key="+dir+"/server.key"), false}
		url := s.Shop(t, "shop")
		s.Do(t, "", "ALTER USER shop REQUIRE SSL")
		authority := "?tls=true&tls_ca=" + dir
		for _, good := range []string{"", "?tls=preferred", "?tls=skip-verify", authority + "/server.crt"} {
			mustOpenShop(t, url+good, "")
		}
		refused(t, "no TLS", url+"?tls=false", "it refuses the account")
		for _, bad := range []string{authority + "/stranger.crt", "?tls=true"} {
			refused(t, bad, url+bad, "its certificate is not good")
		}
		certify(t, dir, "server", "mysql", -time.Minute)
		s.Do(t, "", "FLUSH SSL")
		refused(t, "an expired certificate", url+authority+"/server.crt", "its certificate is not good: renew it")
	})
}

// A URL of one kind may lead to a database of the other, which understands nothing.
func testOtherKind(t *testing.T, s shopServer) {
	t.Helper()
	wrong := s.pick("mysql", "postgres") + "://shop:c4n4ry@" + s.Addr + "/shop"
	if s.postgres { // which waits for the client's first word, as the client does for the server's
		_, err := sqlstore.OpenShop(t.Context(), sqlstore.ShopOptions{URL: secret.Text(wrong)})
		if want := "start it, or correct customers.url: its host, and its kind, postgres:// or mysql://"; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
		return
	}
	for parameter, want := range map[string]string{
		"":                 " is no PostgreSQL: correct the host in customers.url, or begin that with mysql:// if it is MySQL or MariaDB",
		"?sslmode=disable": " is no PostgreSQL: correct the host in customers.url, or begin that with mysql:// if it is MySQL or MariaDB",
		"?sslmode=require": "offers no TLS: turn TLS on there, or off in customers.url, or begin that with mysql:// if it is MySQL or MariaDB",
	} {
		refused(t, parameter, wrong+parameter, want)
	}
}

// publicDir returns a folder that the servers' accounts can reach.
func publicDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "glueauth") //nolint:usetesting // other accounts cannot reach the test's own
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// certify writes a self-signed certificate for this machine, and its key for an account.
func certify(t *testing.T, dir, name, account string, life time.Duration) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(life),
		IsCA: true, BasicConstraintsValid: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for ending, block := range map[string]*pem.Block{".crt": {Type: "CERTIFICATE", Bytes: cert}, ".key": {Type: "PRIVATE KEY", Bytes: der}} {
		path := filepath.Join(dir, name+ending)
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
		if os.Getuid() == 0 {
			give(t, path, account)
		}
	}
}

// give makes a file one that the account owns.
func give(t *testing.T, path, account string) {
	t.Helper()
	u, err := user.Lookup(account)
	if err != nil {
		t.Fatal(err)
	}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	if err1 != nil || err2 != nil || os.Chown(path, uid, gid) != nil {
		t.Fatalf("%s cannot be given to %s", path, account)
	}
}
