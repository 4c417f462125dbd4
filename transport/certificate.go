// Package transport is what stands between the network and the HTTP handlers: the certificates of the listeners, the gate that keeps
// the number of connections within bounds, and the address that a request comes from.
package transport

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// The kinds of PEM blocks; a key's has perhaps more words before.
const (
	certificate = "CERTIFICATE"
	privateKey  = "PRIVATE KEY"
)

// maxFile is beyond any real chain, in bytes.
const maxFile = 1 << 20

// A certificate ends soon when fewer than soon are left of it, or a quarter of its life where that is less.
const soon = 14 * 24 * time.Hour

// Certificate is the chain and the key that a listener proves itself with. One out of files follows them, see
// [Certificate.Refresh]. It is safe for concurrent use.
type Certificate struct {
	certFile, keyFile string // empty: it stays as it is
	now               func() time.Time
	current           atomic.Pointer[pair]
}

// pair is a chain with its key, and by what it is known again.
type pair struct {
	tls.Certificate
	mark [sha256.Size]byte
}

// OpenCertificate reads a chain, the server's own certificate first, and its key out of PEM files, which may be one. The
// error names the file and the remedy: one cannot be read or is no PEM, the key is open to other users, does not belong to
// the certificate or needs a passphrase, the certificate has expired or is not valid yet.
func OpenCertificate(certFile, keyFile string, now func() time.Time) (*Certificate, error) {
	c := &Certificate{certFile: certFile, keyFile: keyFile, now: now}
	if _, err := c.Refresh(); err != nil {
		return nil, err
	}
	return c, nil
}

// Config returns what a server needs to prove itself: TLS 1.2 or newer, and whatever the certificate is at each handshake.
func (c *Certificate) Config() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &c.current.Load().Certificate, nil },
	}
}

// Refresh reads the files again and reports whether they hold another pair than before, which serves from then on. One that
// [OpenCertificate] would refuse is an error, again and again until it is mended, and the pair of before goes on. The files
// are read as a whole each time, so that nothing is missed: neither a link that was set to another folder, as Kubernetes
// does it, nor a file that was written over within one tick of the disk's clock.
func (c *Certificate) Refresh() (changed bool, err error) {
	if c.certFile == "" {
		return false, nil
	}
	chain, _, err := readFile(c.certFile)
	if err != nil {
		return false, err
	}
	key, mode, err := readFile(c.keyFile)
	if err == nil {
		err = c.inPlace(chain, key, mode)
	}
	if err != nil {
		return false, err
	}
	mark := sha256.Sum256(slices.Concat(chain, []byte{0}, key))
	if p := c.current.Load(); p != nil && p.mark == mark {
		return false, nil
	}
	p, err := c.parse(chain, key)
	if err != nil {
		return false, err
	}
	p.mark = mark
	c.current.Store(p)
	return true, nil
}

// inPlace refuses files of which one holds what belongs into the other, and a key for everybody.
func (c *Certificate) inPlace(chain, key []byte, mode fs.FileMode) error {
	switch {
	case has(chain, privateKey) && !has(chain, certificate) && has(key, certificate) && !has(key, privateKey):
		return fmt.Errorf("%s holds the private key and %s the certificate; write each path in the other's place", c.certFile, c.keyFile)
	case has(key, privateKey) && mode&anyByOthers != 0:
		return fmt.Errorf("the private key in %s is open to other users (mode %04o); run chmod o= %s, or mount the Kubernetes secret with defaultMode 0440",
			c.keyFile, mode, c.keyFile)
	}
	return nil
}

func (c *Certificate) parse(chain, key []byte) (*pair, error) {
	own, err := ownCertificate(chain)
	if err != nil {
		return nil, fmt.Errorf("%s %w", c.certFile, err)
	}
	if err := usableKey(key); err != nil {
		return nil, fmt.Errorf("%s %w", c.keyFile, err)
	}
	both, err := tls.X509KeyPair(chain, key)
	if err != nil { // its words may be about either file
		return nil, fmt.Errorf("%s is not the private key of the first certificate in %s; put both of one issue there, the server's own certificate before its issuers'",
			c.keyFile, c.certFile)
	}
	both.Leaf = own
	switch now := c.now(); {
	case now.After(own.NotAfter):
		return nil, fmt.Errorf("the certificate in %s has expired on %s; put a renewed one there", c.certFile, stamp(own.NotAfter))
	case now.Before(own.NotBefore):
		return nil, fmt.Errorf("the certificate in %s is not valid before %s; put another one there, or correct this machine's clock", c.certFile, stamp(own.NotBefore))
	}
	return &pair{Certificate: both}, nil
}

// ownCertificate returns the first certificate of a chain.
func ownCertificate(chain []byte) (*x509.Certificate, error) {
	for {
		var block *pem.Block
		if block, chain = pem.Decode(chain); block == nil {
			return nil, errors.New("holds no certificate; put the PEM chain there, the server's own certificate first")
		}
		if block.Type != certificate {
			continue
		}
		own, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, errors.New("holds a broken certificate; put the PEM chain there as it was issued")
		}
		return own, nil
	}
}

// usableKey looks only whether there is a key in the file that can be used without asking anybody. Its error tells nothing
// about the key.
func usableKey(text []byte) error {
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return errors.New("holds no private key; put it there as PEM")
		}
		if !strings.HasSuffix(block.Type, privateKey) {
			continue
		}
		if block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "" {
			return errors.New("is encrypted; write the key without a passphrase: openssl pkey -in FILE -out KEY")
		}
		return nil
	}
}

// has reports whether there is a block of a kind in a file, or what is left of one.
func has(text []byte, kind string) bool { return bytes.Contains(text, []byte(kind+"-----")) }

// NotAfter returns the end of the certificate's life.
func (c *Certificate) NotAfter() time.Time { return c.current.Load().Leaf.NotAfter }

// Warning returns what an operator has to do soon, or should have done, and an empty text where there is nothing.
func (c *Certificate) Warning() string {
	own := c.current.Load().Leaf
	left := own.NotAfter.Sub(c.now())
	what, remedy := c.certFile, "renew it; the server takes the new files by itself"
	if what == "" {
		what, remedy = "the memory of this server", "restart the server"
	}
	switch {
	case left <= 0:
		return fmt.Sprintf("the certificate in %s has expired on %s and clients refuse it; %s", what, stamp(own.NotAfter), remedy)
	case left < min(soon, own.NotAfter.Sub(own.NotBefore)/4):
		return fmt.Sprintf("the certificate in %s expires on %s; %s", what, stamp(own.NotAfter), remedy)
	default:
		return ""
	}
}

// Fingerprint returns the SHA-256 of the certificate, as openssl and browsers write it.
func (c *Certificate) Fingerprint() string {
	sum := sha256.Sum256(c.current.Load().Leaf.Raw)
	var text strings.Builder
	for i, b := range sum {
		if i > 0 {
			text.WriteByte(':')
		}
		text.WriteString(strings.ToUpper(hex.EncodeToString([]byte{b})))
	}
	return text.String()
}

// PEM returns the server's own certificate, which is public.
func (c *Certificate) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: certificate, Bytes: c.current.Load().Leaf.Raw})
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

const anyByOthers fs.FileMode = 0o007

// readFile reads a small regular file and returns its permissions too.
func readFile(path string) (_ []byte, mode fs.FileMode, err error) {
	defer func() {
		if p, ok := errors.AsType[*fs.PathError](err); ok {
			err = fmt.Errorf("%s cannot be read (%w); put the PEM file there, so that the user of this process may read it", path, p.Err)
		}
	}()
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) //nolint:gosec // the operator's own path; a FIFO must not block
	if err != nil {
		return nil, 0, err
	}
	defer f.Close() //nolint:errcheck // nothing was written
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return nil, 0, fmt.Errorf("%s is not a regular file; give the path of a PEM file", path)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if len(text) > maxFile {
		return nil, 0, fmt.Errorf("%s is larger than %d bytes; put only the PEM there", path, maxFile)
	}
	return text, info.Mode().Perm(), err
}
