package keys

import (
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// key is a private key and how it signs.
type key struct {
	kid     string
	file    string
	private crypto.Signer
	public  crypto.PublicKey
	method  jwt.SigningMethod
}

// folder is what a [place] holds, read once. Nobody changes it.
type folder struct {
	stale   bool  // some of it is sealed by an older master key than it should be
	keys    []key // by kid
	entries []entry
	bases   map[string]string // kid of the key that signs by an algorithm of which the manifest has none
	kept    string            // kid of the key of the settings, which never leaves by itself
}

// join adds a shop's key to those of the place of that name.
func (f *folder) join(shop *ShopKey, place string) error {
	f.kept = shop.kid
	if f.has(shop.kid) {
		return nil
	}
	if shop.private == nil {
		return fmt.Errorf("none of our keys is the private one of the shop's public key %s; put it into %s with `glueauth keys import`, "+
			"or leave the public one out", shop.kid, place)
	}
	f.keys = append(f.keys, newKey(shop.private, ""))
	if f.bases[defaultAlgorithm] == "" && !f.lists(defaultAlgorithm) {
		f.bases[defaultAlgorithm] = shop.kid
	}
	return nil
}

// loadFolder loads every key of dir and proves that each can sign. It returns [ErrNoKeys] when there is nothing to load, and
// otherwise an error that names the file and the remedy; it never leaves out a file that it cannot use.
func loadFolder(dir string) (*folder, error) {
	files, err := keyFiles(dir)
	if err != nil {
		return nil, err
	}
	f := &folder{bases: map[string]string{}}
	if f.entries, err = readManifest(dir); err != nil {
		return nil, err
	}
	for _, file := range files {
		k, err := loadKey(dir, file)
		if err != nil {
			return nil, err
		}
		if i := slices.IndexFunc(f.keys, func(o key) bool { return o.kid == k.kid }); i >= 0 {
			return nil, fmt.Errorf("%s and %s in %s hold the same key; remove one of them", f.keys[i].file, file, dir)
		}
		if err := f.assign(filepath.Join(dir, manifestFile), &k); err != nil {
			return nil, err
		}
		f.keys = append(f.keys, k)
	}
	slices.SortFunc(f.keys, func(a, b key) int { return cmp.Compare(a.kid, b.kid) })
	return f, f.findBases(dir)
}

// assign gives a key the algorithm that the manifest says, if it speaks of it.
func (f *folder) assign(manifest string, k *key) error {
	e := f.entry(k.kid)
	if e == nil {
		return nil
	}
	a, err := algorithmNamed(e.Algorithm)
	if kind, _ := publicMembers(k.public); err != nil || kind != a.kind {
		return fmt.Errorf("%s says %s of a key of another kind, %s; restore it from a backup", manifest, e.Algorithm, k.kid)
	}
	k.use(a)
	return nil
}

// findBases finds the keys that sign without a manifest's word: of an algorithm of which it has no key the only one, or
// with several RSA keys the one that "current" names.
func (f *folder) findBases(dir string) error {
	for _, a := range algorithms() {
		var free []string
		for _, k := range f.keys {
			if k.method.Alg() == a.name && f.entry(k.kid) == nil {
				free = append(free, k.kid)
			}
		}
		if f.lists(a.name) || len(free) == 0 {
			continue
		}
		kid := free[0]
		if a.name == defaultAlgorithm {
			named, err := namedKey(dir, free)
			if err != nil {
				return err
			}
			kid = named
		} else if len(free) > 1 {
			continue
		}
		f.bases[a.name] = kid
	}
	return nil
}

// entry returns what the manifest says of a key, nil for nothing.
func (f *folder) entry(kid string) *entry {
	i := slices.IndexFunc(f.entries, func(e entry) bool { return e.Kid == kid })
	if i < 0 {
		return nil
	}
	return &f.entries[i]
}

// lists reports whether the manifest has a key of the algorithm that was not withdrawn.
func (f *folder) lists(algorithm string) bool {
	return slices.ContainsFunc(f.entries, func(e entry) bool { return e.Algorithm == algorithm && e.Withdrawn.IsZero() })
}

func (f *folder) has(kid string) bool {
	return slices.ContainsFunc(f.keys, func(k key) bool { return k.kid == kid })
}

// missing returns an error for a key that is not in the place of that name although its time is not over.
func (f *folder) missing(place string, now time.Time, p pace) error {
	for _, s := range spans(f.entries, p) {
		if state, _, _ := s.at(now); state != Gone && !f.has(s.Kid) {
			return fmt.Errorf("the key %[1]s, which is %[2]s, is not in %[3]s; restore it from a backup, or run `glueauth keys withdraw --kid %[1]s`",
				s.Kid, state, place)
		}
	}
	return nil
}

// noKeysRemedy is for a command beside a server too: a new key in another folder than the server's would be nobody's.
const noKeysRemedy = "give the settings of the server (--data or --config), or make a key with `glueauth keys generate`"

// keyFiles returns the names of the *.pem entries of dir, whatever kind of file they are.
func keyFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s does not exist; %s", ErrNoKeys, dir, noKeysRemedy)
	}
	if err != nil {
		return nil, fmt.Errorf("list the key folder: %w; let the user of this process read it", err)
	}
	var files []string
	trace := ""
	for _, entry := range entries {
		name := entry.Name()
		if name == currentFile || name == manifestFile {
			trace = name
		}
		if isKeyFile(name) {
			files = append(files, name)
		}
	}
	if len(files) == 0 && trace != "" {
		// The keys were here: making a new one would sign everybody out.
		return nil, fmt.Errorf("%s is there but its key file is not; restore the *.pem files of that folder", filepath.Join(dir, trace))
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%w: %s holds no *.pem file; %s", ErrNoKeys, dir, noKeysRemedy)
	}
	return files, nil
}

func isKeyFile(name string) bool {
	return strings.HasSuffix(name, ".pem") && !strings.HasPrefix(name, ".")
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

// newKey gives a key the first algorithm of its kind.
func newKey(private crypto.Signer, file string) key {
	k := key{kid: thumbprint(private.Public()), file: file, private: private, public: private.Public()}
	kind, _ := publicMembers(k.public)
	all := algorithms()
	k.use(all[slices.IndexFunc(all, func(a algorithm) bool { return a.kind == kind })])
	return k
}

func (k *key) use(a algorithm) { k.method = a.method }

// bits is the size of the modulus, or of the curve.
func (k key) bits() int {
	switch p := k.public.(type) {
	case *rsa.PublicKey:
		return p.N.BitLen()
	case *ecdsa.PublicKey:
		return p.Params().BitSize
	default:
		return 256
	}
}

// prove signs a probe and checks the signature, so that a damaged key fails at start and not at a customer's sign-in.
func (k key) prove() error {
	const probe = "probe"
	signature, err := k.method.Sign(probe, k.private)
	if err != nil {
		return err
	}
	return k.method.Verify(probe, signature, k.public)
}

// namedKey returns that of the kids which "current" names; one alone needs no name.
func namedKey(dir string, kids []string) (string, error) {
	path := filepath.Join(dir, currentFile)
	kid, err := readCurrent(path)
	if errors.Is(err, fs.ErrNotExist) && len(kids) == 1 {
		return kids[0], nil
	}
	slices.Sort(kids)
	choice := strings.Join(kids, ", ")
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%s holds %d keys; write the kid of the signing one into %s: %s", dir, len(kids), path, choice)
	}
	if err != nil {
		return "", err
	}
	if !slices.Contains(kids, kid) {
		return "", fmt.Errorf("%s names no key of its folder; restore that key's file or write one of these kids: %s", path, choice)
	}
	return kid, nil
}
