package keys

import (
	"errors"
	"io/fs"
	"path/filepath"
)

// Create adds a new RSA key of 2048 bits to the folder of the options as KID.pem (PKCS#8, mode 0600), or to their vault, and
// returns its kid. It makes the folder with mode 0700 when missing. The first key becomes the signing one; a further key never
// changes which one signs, so where "current" is missing it is written first. A place that [Open] refuses is left as it is,
// and nothing is ever replaced. Since Go 1.26 key generation takes the system's randomness; Random is read for it only
// under GODEBUG=cryptocustomrand=1.
func Create(o Options) (kid string, err error) {
	if o.Vault != nil {
		return safe{o}.create()
	}
	if _, err := openToAdd(o.Dir); err != nil {
		return "", err
	}
	k, err := generate(defaultAlgorithm, o.Random)
	if err != nil {
		return "", err
	}
	return k.kid, addKey(o.Dir, k)
}

// openToAdd reads a folder that will get a further key, and writes down which one signs. Without keys it returns nil.
func openToAdd(dir string) (*folder, error) {
	f, err := loadFolder(dir)
	if errors.Is(err, ErrNoKeys) {
		return nil, nil //nolint:nilnil // no keys are not an error
	}
	if err != nil {
		return nil, err
	}
	if kid := f.bases[defaultAlgorithm]; kid != "" {
		return f, writeCurrent(dir, kid)
	}
	return f, nil
}

// addKey writes a key's file; the key signs where no other is named.
func addKey(dir string, k key) error {
	if err := writeKey(dir, k); err != nil {
		return err
	}
	// After the key, so that being killed in between leaves one key, which signs, and no name without a key.
	return writeCurrent(dir, k.kid)
}

// writeCurrent names the signing key unless one is named already.
func writeCurrent(dir, kid string) error {
	err := writeNew(filepath.Join(dir, currentFile), []byte(kid+"\n"))
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}
