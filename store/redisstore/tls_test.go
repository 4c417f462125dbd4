package redisstore_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/glueauth/glueauth/store/storetest"
)

// certificates holds a self-signed certificate for this machine, trusted by this process, one of a stranger, and one that has expired.
const certificates = "GLUEAUTH_TEST_CERTIFICATES"

// trustOwn makes the certificates. SSL_CERT_FILE is read once in a process, so it is set before any test.
func trustOwn() (cleanup func(), err error) {
	dir, err := os.MkdirTemp("", "glueauth")
	if err != nil {
		return nil, err
	}
	for name, until := range map[string]time.Duration{"trusted": time.Hour, "stranger": time.Hour, "expired": -time.Hour} {
		if err := certify(filepath.Join(dir, name), time.Now().Add(until)); err != nil {
			return nil, err
		}
	}
	for key, value := range map[string]string{"SSL_CERT_FILE": filepath.Join(dir, "trusted.crt"), certificates: dir} {
		if err := os.Setenv(key, value); err != nil {
			return nil, err
		}
	}
	return func() { _ = os.RemoveAll(dir) }, nil
}

func certify(path string, until time.Time) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: filepath.Base(path)},
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: until,
		IsCA: true, BasicConstraintsValid: true, DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := os.WriteFile(path+".crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), 0o600); err != nil {
		return err
	}
	return os.WriteFile(path+".key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
}

// tlsRedis starts a server that speaks TLS at Addr, with the certificate of that name.
func tlsRedis(t *testing.T, name string) *storetest.RedisServer {
	t.Helper()
	file := filepath.Join(os.Getenv(certificates), name)
	r := storetest.RedisPort(t, "--tls-cert-file", file+".crt", "--tls-key-file", file+".key", "--tls-auth-clients", "no")
	_, port, _ := net.SplitHostPort(r.Addr)
	r.Do(t, "CONFIG", "SET", "port", "0")
	r.Do(t, "CONFIG", "SET", "tls-port", port)
	return r
}

// webServer returns the address of something that is not Redis.
func webServer(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}
