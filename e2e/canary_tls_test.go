package e2e_test

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestNoKeyOfACertificateIsWrittenAnywhere(t *testing.T) {
	t.Parallel()
	s, dir, a := newSecrets(t), t.TempDir(), newAuthority(t)
	texts := map[string][]byte{}
	for _, name := range []string{"ours", "theirs", "live"} {
		a.issue(t, dir, name, 60*day)
		texts[name] = content(t, filepath.Join(dir, name, "tls.key"))
		s.addPEM("TLS key of "+name, texts[name])
	}
	live, env := filepath.Join(dir, "live"), append(pair(filepath.Join(dir, "live")), "GOTRACEBACK=system")
	p := startTLS(t, dir, a.roots, append(env, "--log-level=debug")...)
	whole := string(texts["live"])
	for what, change := range map[string]struct {
		file, text string
		mode       os.FileMode
		told       string
		live       bool // a server that runs is told too, which takes it two looks
	}{
		"another's key":          {"tls.key", string(texts["theirs"]), 0o600, "is not the private key of the first certificate", true},
		"a key that is open":     {"tls.key", whole, 0o644, "is open to other users", true},
		"a damaged key":          {"tls.key", strings.Replace(whole, "MIGH", "MIGI", 1), 0o600, "is not the private key of the first certificate", false},
		"a key that is cut off":  {"tls.key", whole[:len(whole)*2/3], 0o600, "holds no private key", false},
		"a key of another kind":  {"tls.key", strings.ReplaceAll(whole, "PRIVATE KEY", "SECRET KEY"), 0o600, "holds no private key", false},
		"a key for the chain":    {"tls.crt", whole, 0o600, "holds no certificate", true},
		"a key as a certificate": {"tls.crt", strings.ReplaceAll(whole, "PRIVATE KEY", "CERTIFICATE"), 0o600, "holds a broken certificate", false},
	} {
		before := content(t, filepath.Join(live, change.file))
		told := strings.Count(p.stderr.String(), change.told)
		write(t, dir, "live/"+change.file, change.text, change.mode)
		if r := s.run(dir, "", append(env, "GLUEAUTH_LISTEN=127.0.0.1:0"), "config", "validate"); r.code != 1 || !strings.Contains(r.stderr, change.told) {
			t.Errorf("%s: exit code %d\n%s", what, r.code, r.stderr)
		}
		eventually(t, startLimit, func() error {
			if log := p.stderr.String(); change.live && strings.Count(log, change.told) == told {
				return fmt.Errorf("%s: the log does not say that it %s:\n%s", what, change.told, log)
			}
			return nil
		})
		write(t, dir, "live/"+change.file, string(before), 0o600)
	}
	write(t, dir, "live/tls.key", string(texts["ours"]), 0o600)
	write(t, dir, "live/tls.crt", string(content(t, filepath.Join(dir, "ours/tls.crt"))), 0o600)
	p.shows(t, a.roots, "ours")
	s.run(dir, "", env, "config", "print")
	s.run(dir, "", env, "doctor", "--estimate=false")
	s.search(s.views(p))
	s.crash(p, syscall.SIGQUIT)
}

// The key of a self-signed certificate never leaves the process: nobody can look for it, but whoever has it makes the public key
// out of it.
func TestTheSelfSignedKeyIsWrittenNowhere(t *testing.T) {
	t.Parallel()
	s, dir := newSecrets(t), t.TempDir()
	p := launch(t, dir, "GLUEAUTH_LISTEN=127.0.0.1:0", "GLUEAUTH_ADMIN_LISTEN=127.0.0.1:0", "--tls-self-signed", "--demo", "--log-level=debug", "GOTRACEBACK=system")
	p.curls(t, 1)
	text := content(t, filepath.Join(dir, "data/tls-self-signed.pem"))
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		t.Fatal("no certificate in the data folder")
	}
	p.client = trusting(roots)
	p.await(t)
	if err := p.expect(p.public+"/.well-known/jwks.json", http.StatusOK); err != nil {
		t.Error(err)
	}
	block, _ := pem.Decode(text)
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	public, ok := certificate.PublicKey.(*ecdsa.PublicKey)
	if !ok {
		t.Fatalf("%T", certificate.PublicKey)
	}
	places := s.views(p)
	maps.Copy(places, read3(t, filepath.Join(dir, "data")))
	p.signal(t, syscall.SIGQUIT)
	p.wait(t)
	places["stdout"], places["stderr"] = p.stdout.String(), p.stderr.String()
	err = filepath.WalkDir(filepath.Join(dir, "data"), func(path string, entry os.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() && !strings.Contains(path, "glueauth.db") {
			places[path] = string(content(t, path))
		}
		return err
	})
	if err != nil || len(places) < 8 {
		t.Fatalf("%d places: %v", len(places), err)
	}
	for place, text := range places {
		if bears(text, public) {
			t.Errorf("%s holds the private key", place)
		}
	}
}
