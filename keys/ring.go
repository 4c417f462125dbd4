// Package keys holds what this server signs with and what it derives secrets from. It knows no grant, no store and no HTTP.
//
// # The key ring
//
// A [Ring] is one folder of RSA private keys, one key in each *.pem file (PKCS#8 or PKCS#1, not encrypted; hidden files
// are ignored). Every key is published; one signs: the only one, or with several the one whose kid the file "current"
// holds. A kid is the key's RFC 7638 thumbprint, so the same key has the same kid wherever it came from, and the name of
// its file is the operator's choice. A [ShopKey] out of the settings joins them; [Import] puts one into the folder.
//
// # The master secret
//
// A [Master] is 32 bytes from which other secrets are derived, each for one purpose and with a number.
//
// # Files
//
// Losing a key signs everybody out, so nothing here ever replaces, repairs or removes a file, but "current" where an import
// is told to sign: what is broken, unreadable or open to other users ends in one error that names the file and the remedy.
// New files come into being whole, with mode 0600.
package keys

import (
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/golang-jwt/jwt/v5"
)

// currentFile names the signing key of a folder with several keys.
const currentFile = "current"

// ErrNoKeys says that the folder is missing or holds neither a *.pem file nor "current": the one case in which a first
// key may be made.
var ErrNoKeys = errors.New("no signing key")

// Ring is an immutable set of keys of which one signs. It is safe for concurrent use.
type Ring struct {
	keys     []key             // the signing key first, then by kid
	prefixes map[string]string // typ to encoded header with its dot
	jwks     []byte
	etag     string
}

// Info describes one key of a [Ring].
type Info struct {
	Kid     string // RFC 7638 thumbprint
	File    string // name inside the folder; empty for a shop's key out of the settings
	Bits    int    // size of the modulus
	Signing bool
}

type key struct {
	kid     string
	file    string
	private *rsa.PrivateKey // a pointer, so that printing a Ring shows an address
	method  jwt.SigningMethod
}

// Open loads every key of dir and proves that each can sign. It returns [ErrNoKeys] when there is nothing to load, and
// otherwise an error that names the file and the remedy; it never leaves out a file that it cannot use.
func Open(dir string) (*Ring, error) {
	files, err := keyFiles(dir)
	if err != nil {
		return nil, err
	}
	all := make([]key, 0, len(files))
	for _, file := range files {
		k, err := loadKey(dir, file)
		if err != nil {
			return nil, err
		}
		if i := slices.IndexFunc(all, func(o key) bool { return o.kid == k.kid }); i >= 0 {
			return nil, fmt.Errorf("%s and %s in %s hold the same key; remove one of them", all[i].file, file, dir)
		}
		all = append(all, k)
	}
	slices.SortFunc(all, func(a, b key) int { return strings.Compare(a.kid, b.kid) })
	signing, err := signingIndex(dir, all)
	if err != nil {
		return nil, err
	}
	first := all[signing]
	return newRing(slices.Insert(slices.Delete(all, signing, signing+1), 0, first)), nil
}

func newRing(all []key) *Ring {
	r := &Ring{keys: all, prefixes: map[string]string{}}
	for _, typ := range []string{"JWT", "at+jwt"} {
		header := fmt.Sprintf(`{"typ":%q,"alg":%q,"kid":%q}`, typ, all[0].method.Alg(), all[0].kid)
		r.prefixes[typ] = base64.RawURLEncoding.EncodeToString([]byte(header)) + "."
	}
	r.jwks = jwkSet(all)
	r.etag = entityTag(r.jwks)
	return r
}

// Sign returns claims, the bytes of a JSON object, as a JWT in JWS compact serialisation (RFC 7515 §3.1) by the signing
// key. The header is exactly {"typ":TYP,"alg":"RS256","kid":KID}, and typ must be "JWT" or "at+jwt".
func (r *Ring) Sign(typ string, claims []byte) (string, error) {
	prefix, ok := r.prefixes[typ]
	if !ok {
		return "", fmt.Errorf("token type %q is unknown; use JWT or at+jwt", typ)
	}
	return r.keys[0].sign(prefix + base64.RawURLEncoding.EncodeToString(claims))
}

// JWKS returns the public keys as a JWK set (RFC 7517 §5), the signing key first and then by kid, and its strong entity
// tag with the quotes (RFC 9110 §8.8.3). Rings with the same keys have the same bytes; the caller must not change them.
func (r *Ring) JWKS() (body []byte, etag string) { return r.jwks, r.etag }

// List describes the keys in the order of [Ring.JWKS].
func (r *Ring) List() []Info {
	infos := make([]Info, 0, len(r.keys))
	for i, k := range r.keys {
		infos = append(infos, Info{Kid: k.kid, File: k.file, Bits: k.private.N.BitLen(), Signing: i == 0})
	}
	return infos
}

// methods is the table of algorithms (RFC 7518 §3.1); a further one is one line.
func methods() map[string]jwt.SigningMethod {
	return map[string]jwt.SigningMethod{
		"RS256": jwt.SigningMethodRS256,
	}
}

func (k key) sign(input string) (string, error) {
	signature, err := k.method.Sign(input, k.private)
	if err != nil {
		return "", fmt.Errorf("sign with key %s: %w", k.kid, err)
	}
	return input + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}

// keyFiles returns the names of the *.pem entries of dir, whatever kind of file they are.
func keyFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s does not exist; make a key with `glueauth keys generate`", ErrNoKeys, dir)
	}
	if err != nil {
		return nil, fmt.Errorf("list the key folder: %w; let the user of this process read it", err)
	}
	var files []string
	current := false
	for _, entry := range entries {
		name := entry.Name()
		current = current || name == currentFile
		if strings.HasSuffix(name, ".pem") && !strings.HasPrefix(name, ".") {
			files = append(files, name)
		}
	}
	if len(files) == 0 && current {
		// The keys were here: making a new one would sign everybody out.
		return nil, fmt.Errorf("%s is there but its key file is not; restore the *.pem files of that folder",
			filepath.Join(dir, currentFile))
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%w: %s holds no *.pem file; make a key with `glueauth keys generate`", ErrNoKeys, dir)
	}
	return files, nil
}

func loadKey(dir, file string) (key, error) {
	path := filepath.Join(dir, file)
	data, err := readPrivate(path)
	if errors.Is(err, fs.ErrNotExist) {
		return key{}, fmt.Errorf("%w; restore the file behind that link or remove the link", err)
	}
	if err != nil {
		return key{}, err
	}
	private, err := parsePEM(data)
	if err != nil {
		return key{}, fmt.Errorf("key file %s: %w", path, err)
	}
	k := newKey(private, file)
	if err := k.prove(); err != nil {
		return key{}, fmt.Errorf("key file %s cannot sign: %w; restore it from a backup", path, err)
	}
	return k, nil
}

func newKey(private *rsa.PrivateKey, file string) key {
	return key{kid: thumbprint(&private.PublicKey), file: file, private: private, method: methods()["RS256"]}
}

// prove signs a probe and checks the signature, so that a damaged key fails at start and not at a customer's sign-in.
func (k key) prove() error {
	const probe = "probe"
	signature, err := k.method.Sign(probe, k.private)
	if err != nil {
		return err
	}
	return k.method.Verify(probe, signature, &k.private.PublicKey)
}

// signingIndex finds the signing key in all, which is not empty.
func signingIndex(dir string, all []key) (int, error) {
	path := filepath.Join(dir, currentFile)
	kid, err := readCurrent(path)
	if errors.Is(err, fs.ErrNotExist) && len(all) == 1 {
		return 0, nil
	}
	kids := make([]string, 0, len(all))
	for _, k := range all {
		kids = append(kids, k.kid)
	}
	choice := strings.Join(kids, ", ")
	if errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("%s holds %d keys; write the kid of the signing one into %s: %s", dir, len(all), path, choice)
	}
	if err != nil {
		return 0, err
	}
	i := slices.Index(kids, kid)
	if i < 0 {
		return 0, fmt.Errorf("%s names no key of its folder; restore that key's file or write one of these kids: %s", path, choice)
	}
	return i, nil
}
