package keys

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/glueauth/glueauth/config/secret"
)

const (
	lineMark   = "__LINE__" // how Spryker's docker-sdk writes a line break in a variable
	fileScheme = "file://"
)

// ShopKey is the RSA key of a shop, or its public half alone. It is immutable.
type ShopKey struct {
	private *rsa.PrivateKey // nil: only the public half is known; a pointer, so that printing shows an address
	kid     string
}

// ReadShopKey reads a shop's key as Spryker's settings have it: PEM (PKCS#8 or PKCS#1) whose line breaks may be written as
// __LINE__, or file:// and the path of such a file, which no other user may reach. public is the public key that the shop
// hands out (SubjectPublicKeyInfo or PKCS#1) in the same ways, but anybody may read its file; the two must be a pair.
// Either may be empty; with neither there is no key, nil. The error shows nothing of the private key.
func ReadShopKey(private secret.Text, public string) (*ShopKey, error) {
	var shop ShopKey
	if private != "" {
		key, err := readShopPrivate(private)
		if err != nil {
			return nil, fmt.Errorf("the shop's private key %w", err)
		}
		shop = ShopKey{private: key, kid: thumbprint(&key.PublicKey)}
	}
	if public != "" {
		key, err := readShopPublic(public)
		if err != nil {
			return nil, fmt.Errorf("the shop's public key %w", err)
		}
		if kid := thumbprint(key); shop.kid != "" && kid != shop.kid {
			return nil, fmt.Errorf("the shop's private and public key are no pair (their ids are %s and %s); take both from one shop, "+
				"or leave the public one out", shop.kid, kid)
		}
		shop.kid = thumbprint(key)
	}
	if shop.kid == "" {
		return nil, nil //nolint:nilnil // no key is not an error
	}
	return &shop, nil
}

// Kid returns the key id that the shop's key has in a [Ring].
func (k *ShopKey) Kid() string { return k.kid }

func readShopPrivate(text secret.Text) (*rsa.PrivateKey, error) {
	data, err := shopText(text.Reveal(), anyByOthers)
	if err != nil {
		return nil, err
	}
	private, err := parseRSA(data)
	if errors.Is(err, errWeak) {
		return nil, fmt.Errorf("%w, in the shop and here (openssl genrsa 2048): its tokens end with the old one", err)
	}
	if err != nil {
		return nil, err
	}
	if err := newKey(private, "").prove(); err != nil {
		return nil, fmt.Errorf("cannot sign: %w; restore it from a backup", err)
	}
	return private, nil
}

func readShopPublic(text string) (*rsa.PublicKey, error) {
	data, err := shopText(text, 0)
	if err != nil {
		return nil, err
	}
	block, rest := pem.Decode(bytes.TrimSpace(data))
	if block == nil || len(rest) > 0 {
		return nil, errors.New("is not one PEM block; give the lines from -----BEGIN PUBLIC KEY----- to its END")
	}
	var parsed any
	switch block.Type {
	case "PUBLIC KEY":
		parsed, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		parsed, err = x509.ParsePKCS1PublicKey(block.Bytes)
	default:
		return nil, errors.New("is no public key; make it from the private one with openssl pkey -in PRIVATE -pubout")
	}
	public, ok := parsed.(*rsa.PublicKey)
	if err != nil || !ok {
		return nil, errors.New("is no valid RSA key; make it from the private one with openssl pkey -in PRIVATE -pubout")
	}
	return public, nil
}

// shopText returns the PEM of a setting; a file that it names must not have a mode bit of forbidden.
func shopText(text string, forbidden fs.FileMode) ([]byte, error) {
	path, isFile := strings.CutPrefix(text, fileScheme)
	if !isFile {
		return []byte(strings.ReplaceAll(text, lineMark, "\n")), nil
	}
	data, err := readFile(path, forbidden)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w; correct the path behind %s", err, fileScheme)
	}
	return data, err
}

// Import puts the shop's key of the options into their place as [Create] does a new one, and reports whether it was not
// there yet. The first key of a place signs; with sign this one does at once, and nothing else is ever replaced but what
// says which key signs.
func Import(o Options, sign bool) (added bool, err error) {
	shop, dir := o.Shop, o.Dir
	if shop == nil || shop.private == nil {
		return false, errors.New("there is no private key to import; give the shop's own one")
	}
	k := newKey(shop.private, "")
	if o.Vault != nil {
		return safe{o}.importKey(k, sign)
	}
	f, err := openToAdd(dir)
	if err != nil {
		return false, err
	}
	if f == nil || !f.has(k.kid) {
		added = true
		if err := addKey(dir, k); err != nil {
			return false, err
		}
	}
	switch {
	case f == nil || f.bases[defaultAlgorithm] == k.kid:
		return added, nil
	case f.lists(defaultAlgorithm):
		return added, listImported(o, k, sign)
	case sign:
		return added, replaceFile(filepath.Join(dir, currentFile), []byte(k.kid+"\n"))
	}
	return added, nil
}

// listImported gives an imported key its place in the manifest: it signs from now on, or is published and no more.
func listImported(o Options, k key, sign bool) error {
	release, err := lockFolder(o.Dir, true)
	if err != nil {
		return err
	}
	defer release()
	entries, err := readManifest(o.Dir)
	if err != nil {
		return err
	}
	if !sign && !slices.ContainsFunc(entries, func(e entry) bool { return e.Kid == k.kid && !e.Withdrawn.IsZero() }) {
		return nil
	}
	entries = slices.DeleteFunc(entries, func(e entry) bool { return e.Kid == k.kid })
	if sign {
		entries = append(entries, afterAll(entries, o.fresh(k)))
	}
	return writeManifest(o.Dir, entries)
}
