package keys

import (
	"bytes"
	"cmp"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
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
	private, err := parsePEM(data)
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

// OpenWithShop is [Open] with the shop's key among those of the folder. It signs where the folder has none; where it has,
// the folder says which one signs. Of a shop's key whose private half is not known the folder must hold that half. A nil
// shop changes nothing.
func OpenWithShop(dir string, shop *ShopKey) (*Ring, error) {
	ring, err := Open(dir)
	if shop == nil || err != nil && !errors.Is(err, ErrNoKeys) {
		return ring, err
	}
	if ring == nil {
		ring = &Ring{}
	}
	if ring.has(shop.kid) {
		return ring, nil
	}
	if shop.private == nil {
		return nil, fmt.Errorf("none of our keys is the private one of the shop's public key %s; put it into %s with `glueauth keys import`, "+
			"or leave the public one out", shop.kid, dir)
	}
	all := append(slices.Clone(ring.keys), newKey(shop.private, ""))
	slices.SortFunc(all[1:], func(a, b key) int { return cmp.Compare(a.kid, b.kid) })
	return newRing(all), nil
}

// Import puts the shop's key into dir as [Create] does a new one, and reports whether it was not there yet. The first key
// of a folder signs; with sign this one does, and nothing else is ever replaced but "current", which names it.
func Import(dir string, shop *ShopKey, sign bool) (added bool, err error) {
	if shop == nil || shop.private == nil {
		return false, errors.New("there is no private key to import; give the shop's own one")
	}
	ring, err := openToAdd(dir)
	if err != nil {
		return false, err
	}
	if ring == nil || !ring.has(shop.kid) {
		added = true
		if err := addKey(dir, shop.kid, shop.private); err != nil {
			return false, err
		}
	}
	if sign && ring != nil && ring.keys[0].kid != shop.kid {
		return added, replaceCurrent(dir, shop.kid)
	}
	return added, nil
}

func (r *Ring) has(kid string) bool {
	return slices.ContainsFunc(r.keys, func(k key) bool { return k.kid == kid })
}
