package e2e_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const day = 24 * time.Hour

// authority issues certificates for this machine.
type authority struct {
	own   *x509.Certificate
	key   *ecdsa.PrivateKey
	roots *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{roots: x509.NewCertPool()}
	now := time.Now()
	a.own, a.key = a.sign(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "authority"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(day), IsCA: true, BasicConstraintsValid: true,
	})
	a.roots.AddCert(a.own)
	return a
}

// sign signs with the authority's key, or where there is none yet, with its own.
func (a *authority) sign(t *testing.T, template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	parent, signer := a.own, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err1 := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	own, err2 := x509.ParseCertificate(der)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	return own, key
}

// issue puts a pair of that name into a folder of the same name below dir: tls.crt, which ends after the given time, and tls.key.
func (a *authority) issue(t *testing.T, dir, name string, left time.Duration) {
	t.Helper()
	end := time.Now().Add(left)
	own, key := a.sign(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: end.Add(-90 * day), NotAfter: end,
	})
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, name+"/tls.crt", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: own.Raw})), 0o644)
	write(t, dir, name+"/tls.key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})), 0o600)
}

// pair is the options for a pair of files.
func pair(dir string) []string {
	return []string{"GLUEAUTH_TLS_CERT=" + filepath.Join(dir, "tls.crt"), "GLUEAUTH_TLS_KEY=" + filepath.Join(dir, "tls.key")}
}

func trusting(roots *x509.CertPool) *http.Client {
	return &http.Client{Timeout: 15 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 64,
	}}
}

// startTLS is start for a server whose certificates these roots vouch for.
func startTLS(t *testing.T, dir string, roots *x509.CertPool, options ...string) *process {
	t.Helper()
	p := launch(t, dir, append([]string{"GLUEAUTH_LISTEN=127.0.0.1:0", "GLUEAUTH_ADMIN_LISTEN=127.0.0.1:0"}, options...)...)
	p.client = trusting(roots)
	p.await(t)
	return p
}

// shown is the name in the certificate that a new connection to a listener shows.
func shown(base string, roots *x509.CertPool) (string, error) {
	conn, err := tls.Dial("tcp", strings.TrimPrefix(base, "https://"), &tls.Config{RootCAs: roots})
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	return conn.ConnectionState().PeerCertificates[0].Subject.CommonName, nil
}

// shows waits until new connections to both listeners show the certificate of that name.
func (p *process) shows(t *testing.T, roots *x509.CertPool, name string) {
	t.Helper()
	eventually(t, startLimit, func() error {
		for _, base := range []string{p.public, p.admin} {
			got, err := shown(base, roots)
			if err == nil && got != name {
				err = fmt.Errorf("%s shows %s, want %s", base, got, name)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// load asks again and again until the returned function is called, which tells how often it got an answer and demands that it
// always did.
func (p *process) load(t *testing.T, clients ...*http.Client) (stop func() int64) {
	t.Helper()
	var answers atomic.Int64
	var all sync.WaitGroup
	done := make(chan struct{})
	for _, client := range clients {
		all.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				response, err := client.Get(p.public + "/.well-known/jwks.json")
				if err != nil {
					t.Errorf("under load: %v", err)
					return
				}
				_, err = io.Copy(io.Discard, response.Body)
				_ = response.Body.Close()
				if err != nil || response.StatusCode != http.StatusOK {
					t.Errorf("under load: %s, %v", response.Status, err)
					return
				}
				answers.Add(1)
			}
		})
	}
	return func() int64 {
		close(done)
		all.Wait()
		return answers.Load()
	}
}

func TestCertificatesAreReplacedUnderLoad(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a := newAuthority(t)
	for _, name := range []string{"first", "second", "third"} {
		a.issue(t, dir, name, 60*day)
	}
	write(t, dir, "broken/tls.crt", "-----BEGIN CERTIFICATE-----\n", 0o644)
	write(t, dir, "broken/tls.key", "", 0o600)
	swap := func(name string) { // as Kubernetes does it
		t.Helper()
		err := errors.Join(os.Symlink(name, filepath.Join(dir, "..data_tmp")), os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")))
		if err != nil {
			t.Fatal(err)
		}
	}
	swap("first")
	for _, file := range []string{"tls.crt", "tls.key"} {
		if err := os.Symlink(filepath.Join("..data", file), filepath.Join(dir, file)); err != nil {
			t.Fatal(err)
		}
	}
	p := startTLS(t, dir, a.roots, pair(dir)...)
	p.shows(t, a.roots, "first")

	kept, old, fresh := trusting(a.roots), trusting(a.roots), trusting(a.roots)
	old.Transport.(*http.Transport).ForceAttemptHTTP2 = false // HTTP/1.1, keep-alive
	fresh.Transport.(*http.Transport).DisableKeepAlives = true
	stop := p.load(t, kept, kept, old, fresh, fresh)
	swap("second")
	p.shows(t, a.roots, "second")
	swap("broken")
	const refused = `"msg":"the new certificate is not used, the one of before goes on"`
	eventually(t, startLimit, func() error {
		if !strings.Contains(p.stderr.String(), refused) {
			return errors.New("the broken pair is not told of")
		}
		return nil
	})
	p.shows(t, a.roots, "second")
	swap("third")
	p.shows(t, a.roots, "third")
	if n := stop(); n < 100 {
		t.Errorf("%d answers are no load", n)
	}
	log := p.stderr.String()
	if n := strings.Count(log, refused); n != 1 {
		t.Errorf("the broken pair was told of %d times", n)
	}
	if n := strings.Count(log, `"msg":"new certificate"`); n != 2 {
		t.Errorf("%d new certificates in the log, want 2\n%s", n, p.tail())
	}
}

func TestTheTLSListenersSpeakWhatClientsExpect(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a := newAuthority(t)
	a.issue(t, dir, "public", 60*day)
	a.issue(t, dir, "admin", 5*day)
	p := startTLS(t, dir, a.roots, append(pair(filepath.Join(dir, "public")), "--demo",
		"GLUEAUTH_TLS_ADMIN_CERT="+filepath.Join(dir, "admin/tls.crt"), "GLUEAUTH_TLS_ADMIN_KEY="+filepath.Join(dir, "admin/tls.key"))...)
	for base, name := range map[string]string{p.public: "public", p.admin: "admin"} {
		if got, err := shown(base, a.roots); err != nil || got != name {
			t.Errorf("%s: %s %v", name, got, err)
		}
		response, err := p.client.Get(base + "/livez")
		if err != nil || response.ProtoMajor != 2 {
			t.Fatalf("%s: %+v %v, want HTTP/2", name, response, err)
		}
		_ = response.Body.Close()
		speaksTLSOnly(t, strings.TrimPrefix(base, "https://"), a.roots)
	}
	p.mustRefresh(t, p.signIn(t, demoEmail).RefreshToken)
	const warning = "expires on"
	if ready, err := p.get(p.admin + "/readyz?verbose"); err != nil || ready.status != http.StatusOK || !strings.Contains(ready.body, warning) {
		t.Errorf("readyz: %v %v", ready, err)
	}
	if n := strings.Count(p.stderr.String(), warning); n != 1 {
		t.Errorf("the log warns %d times of the certificate that expires", n)
	}
	metrics, err := p.metrics()
	if err != nil || strings.Count(metrics, "\nglueauth_certificate_not_after_timestamp_seconds{listener=\"") != 2 {
		t.Errorf("no times of expiry in\n%s%v", metrics, err)
	}
}

// speaksTLSOnly demands TLS 1.2 or newer, and for whoever comes without an answer that tells him.
func speaksTLSOnly(t *testing.T, address string, roots *x509.CertPool) {
	t.Helper()
	if got := overPlainTCP(t, address); !strings.HasPrefix(got, "HTTP/1.0 400 ") || !strings.Contains(got, "HTTPS") {
		t.Errorf("%s to a client without TLS: %q", address, got)
	}
	for version, accepted := range map[uint16]bool{tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		conn, err := tls.Dial("tcp", address, &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS10, MaxVersion: version})
		if (err == nil) != accepted {
			t.Errorf("%s, %s: %v", address, tls.VersionName(version), err)
		}
		if err == nil {
			_ = conn.Close()
		}
	}
}

// overPlainTCP is what a client gets that asks without TLS.
func overPlainTCP(t *testing.T, address string) string {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	if _, err := io.WriteString(conn, "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	all, _ := io.ReadAll(bufio.NewReader(conn)) // the connection may be reset after the answer
	return string(all)
}

func TestCommandsFindTheirServerBehindTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a := newAuthority(t)
	a.issue(t, dir, "ours", 5*day)
	a.issue(t, dir, "theirs", 60*day)
	secret := "GLUEAUTH_ADMIN_SECRET=0123456789abcdef"
	ours, theirs := append(pair(filepath.Join(dir, "ours")), secret), append(pair(filepath.Join(dir, "theirs")), secret)
	p := startTLS(t, dir, a.roots, ours...)
	if err := p.expect(p.public+"/.well-known/jwks.json", http.StatusOK); err != nil {
		t.Fatal(err)
	}
	listens := "GLUEAUTH_ADMIN_LISTEN=" + strings.TrimPrefix(p.admin, "https://")
	for name, c := range map[string]struct {
		env            []string
		args           []string
		code           int
		stdout, stderr string
	}{
		"health":                     {ours, []string{"healthcheck"}, 0, "ok\n", ""},
		"health, without TLS":        {nil, []string{"healthcheck"}, 1, "", "400 Bad Request"},
		"health, files new just now": {theirs, []string{"healthcheck"}, 0, "ok\n", ""},
		"readers of keys":            {ours, []string{"keys", "list"}, 0, "Go-http-client/2.0", ""},
		"a secret for somebody else": {theirs, []string{"keys", "list"}, 0, "", "its certificate is not the one in"},
		"doctor":                     {ours, []string{"doctor", "--estimate=false"}, 0, "warn  certificate", ""},
	} {
		r := finish(t, dir, "", append(c.env, listens), c.args...)
		if r.code != c.code || !strings.Contains(r.stdout, c.stdout) || !strings.Contains(r.stderr, c.stderr) {
			t.Errorf("%s: exit code %d\n%s%s", name, r.code, r.stdout, r.stderr)
		}
	}
	a.issue(t, dir, "over", -day)
	for _, args := range [][]string{{"serve"}, {"config", "validate"}} {
		r := finish(t, t.TempDir(), "", append(pair(filepath.Join(dir, "over")), "GLUEAUTH_LISTEN=127.0.0.1:0"), args...)
		wantOneLine(t, r, "tls.cert, tls.key", filepath.Join(dir, "over/tls.crt"), "has expired")
	}
}

// curls waits until the server has printed so many curl lines, and returns them.
func (p *process) curls(t *testing.T, n int) (lines []string) {
	t.Helper()
	eventually(t, startLimit, func() error {
		lines = nil
		for line := range strings.Lines(p.stdout.String()) {
			if strings.HasPrefix(line, "curl ") {
				lines = append(lines, line)
			}
		}
		if len(lines) < n {
			return fmt.Errorf("%d curl lines, want %d", len(lines), n)
		}
		return nil
	})
	return lines
}

func TestASelfSignedServerIsTriedWithTheLinesThatItPrints(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := launch(t, dir, "GLUEAUTH_LISTEN=127.0.0.1:0", "GLUEAUTH_ADMIN_LISTEN=127.0.0.1:0", "--tls-self-signed", "--demo")
	lines := p.curls(t, 3)
	for i, want := range []string{"ok", "access_token", "refresh_token"} {
		out, err := said(t, func() *exec.Cmd {
			cmd := exec.Command("bash", "-c", lines[i])
			cmd.Dir = dir
			return cmd
		})
		if err != nil || !strings.Contains(out, want) {
			t.Errorf("%s%s%v", lines[i], out, err)
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, "data", "tls-self-signed.pem"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		t.Fatal("no certificate in the data folder")
	}
	p.client = trusting(roots)
	p.await(t)
	cmd := exec.Command("openssl", "x509", "-noout", "-fingerprint", "-sha256")
	cmd.Stdin = strings.NewReader(string(text))
	out, err := cmd.Output()
	if _, sum, ok := strings.Cut(strings.TrimSpace(string(out)), "="); err != nil || !ok || !strings.Contains(p.stdout.String(), "\n"+sum+"\n") {
		t.Errorf("openssl says %s%v, we say\n%s", out, err, p.stdout.String())
	}
	if matches, _ := filepath.Glob(filepath.Join(dir, "data", "*key*")); len(matches) != 2 { // keys/ and master.key
		t.Errorf("a key was left: %v", matches)
	}
}
