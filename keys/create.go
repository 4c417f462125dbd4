package keys

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Create adds a new RSA key of 2048 bits to dir as KID.pem (PKCS#8, mode 0600) and returns its kid. It makes dir with
// mode 0700 when missing. The first key becomes the signing one; a further key never changes which one signs, so where
// "current" is missing it is written first. A folder that [Open] refuses is left as it is, and nothing is ever replaced.
// Since Go 1.26 key generation takes the system's randomness; random is read only under GODEBUG=cryptocustomrand=1.
func Create(dir string, random io.Reader) (kid string, err error) {
	if _, err := openToAdd(dir); err != nil {
		return "", err
	}
	private, err := rsa.GenerateKey(random, minBits)
	if err != nil {
		return "", fmt.Errorf("generate an RSA key: %w", err)
	}
	kid = thumbprint(&private.PublicKey)
	return kid, addKey(dir, kid, private)
}

// openToAdd opens a folder that will get a further key, and writes down which one signs. Without keys it returns nil.
func openToAdd(dir string) (*Ring, error) {
	ring, err := Open(dir)
	if errors.Is(err, ErrNoKeys) {
		return nil, nil //nolint:nilnil // no keys are not an error
	}
	if err != nil {
		return nil, err
	}
	return ring, writeCurrent(dir, ring.keys[0].kid)
}

// addKey writes a key's file; the key signs where no other is named.
func addKey(dir, kid string, private *rsa.PrivateKey) error {
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return fmt.Errorf("encode the key: %w", err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	if err := writeNew(filepath.Join(dir, kid+".pem"), text); err != nil {
		return err
	}
	// After the key, so that being killed in between leaves one key, which signs, and no name without a key.
	return writeCurrent(dir, kid)
}

// writeCurrent names the signing key unless one is named already.
func writeCurrent(dir, kid string) error {
	err := writeNew(filepath.Join(dir, currentFile), []byte(kid+"\n"))
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// replaceCurrent names another signing key, in one step.
func replaceCurrent(dir, kid string) error {
	path := filepath.Join(dir, currentFile)
	temp, err := writeTemp(dir, []byte(kid+"\n"))
	if err == nil {
		if err = os.Rename(temp, path); err != nil {
			err = errors.Join(err, os.Remove(temp))
		}
	}
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w; let the user of this process write there", path, err)
	}
	return nil
}
