// Package keys holds what this server signs with and what it derives secrets from. It knows no grant, no store and no HTTP.
//
// # The key ring
//
// A [Ring] is usually one folder of private keys (RSA, P-256, Ed25519), one key in each *.pem file (PKCS#8 or PKCS#1, not
// encrypted; hidden files are ignored). A kid is the key's RFC 7638 thumbprint, so the same key has the same kid wherever
// it came from, and the name of its file is the operator's choice. A [ShopKey] out of the settings joins them; [Import]
// puts one into the folder. A ring follows its folder ([Ring.Refresh]).
//
// Without a manifest every key is published and one signs: the only one, or with several the one whose kid the file
// "current" holds. A rotation ([Ring.Rotate], [Ring.Keep]) writes the manifest, schedule.json. From then on it says when
// each of its keys is announced, signing, retired and gone; "current" counts no more, and keys that it does not name are
// published and never sign. The times are compared with the clock by each process for itself, so processes on one folder
// agree without talking.
//
// In place of the folder a ring can have a [Vault], where each key and the manifest are records that the master secret
// seals (AES-256-GCM). Everything else is the same, but that there is no "current": the first key stands in the manifest.
//
// # The master secret
//
// A [Master] is 32 bytes from which other secrets are derived, each for one purpose and with a number. It can be followed by
// a newer one ([RotateMaster]) and then be closed ([CloseMaster]).
//
// # Files
//
// Losing a key signs everybody out, so nothing here ever replaces, repairs or removes a key: what is broken, unreadable or
// open to other users ends in one error that names the file and the remedy. Only a key that was just made is removed again, where
// its place in the schedule cannot be written down. The file of a gone key gets the suffix .gone and stays; a vault puts its
// record aside. New files come into being whole, with mode 0600.
package keys

import (
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// currentFile names the signing key of a folder with several keys.
const currentFile = "current"

// ErrNoKeys says that the folder is missing or holds neither a *.pem file nor "current": the one case in which a first
// key may be made.
var ErrNoKeys = errors.New("no signing key")

// Options say which keys a [Ring] has, and how fast they change.
type Options struct {
	Dir    string   // the folder where they are kept
	Vault  Vault    // where they are kept in place of a folder; nil for none
	Master *Master  // seals what a vault keeps
	Number byte     // with which the seal is derived from the master key, so that servers can follow one after the other
	Shop   *ShopKey // joins the keys of the place; nil for none
	Now    func() time.Time
	Random io.Reader // for new keys; without it none can be made

	Cache    time.Duration // for how long others keep the key set; a new key signs only after it
	Lifetime time.Duration // longest life of a token; a key stays published that long after its last signature
}

func (o Options) pace() pace { return pace{ahead: o.Cache + slack(o.Cache), lifetime: o.Lifetime} }

// Ring is the keys of a folder. It is safe for concurrent use.
type Ring struct {
	options Options
	place   place

	mu      sync.Mutex // for what follows
	folder  *folder
	seen    string // what the folder looked like when it was read
	refused string // what it looked like when it could not be used
	current atomic.Pointer[view]
}

// Info describes one key of a [Ring].
type Info struct {
	Kid          string // RFC 7638 thumbprint
	Algorithm    string
	File         string // name inside the folder or the vault; empty for a shop's key out of the settings
	Bits         int    // size of the modulus or the curve
	State        string
	Since, Until time.Time // of the state; zero where nobody knows
}

// Open reads the keys of a folder. It returns [ErrNoKeys] when there are none, and otherwise an error that names the file
// and the remedy; it never leaves out a file that it cannot use. A shop's key signs where the folder has none of its kind;
// of a shop's key whose private half is not known the folder must hold that half.
func Open(o Options) (*Ring, error) {
	if o.Now == nil {
		return nil, errors.New("open the key ring: it needs a clock")
	}
	r := &Ring{options: o, place: o.place()}
	f, seen, err := r.read()
	if err != nil {
		return nil, err
	}
	r.adopt(f, seen)
	return r, nil
}

// read reads the place as it is now.
func (r *Ring) read() (f *folder, seen string, err error) {
	const tries = 5
	for range tries { // until nobody has changed it in the meantime
		if seen, err = r.place.looks(); err != nil {
			return nil, "", err
		}
		f, err = r.options.usable(r.place.load())
		if after, lookErr := r.place.looks(); lookErr == nil && after == seen {
			break
		}
	}
	return f, seen, err
}

// adopt makes what was read the ring's keys.
func (r *Ring) adopt(f *folder, seen string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.folder, r.seen, r.refused = f, seen, ""
	r.current.Store(f.view(r.options.Now(), r.options.pace()))
}

func (r *Ring) view() *view { return r.viewAt(r.options.Now()) }

// viewAt returns what the folder means at a time.
func (r *Ring) viewAt(now time.Time) *view {
	if v := r.current.Load(); v.covers(now) {
		return v
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	v := r.folder.view(now, r.options.pace())
	r.current.Store(v)
	return v
}

// signer is a signing key and the beginning of its tokens.
type signer struct {
	key
	prefixes map[string]string // typ to encoded header with its dot
}

func newSigner(k key) signer {
	s := signer{key: k, prefixes: map[string]string{}}
	for _, typ := range append(types(), TypeRevocations) {
		header := fmt.Sprintf(`{"typ":%q,"alg":%q,"kid":%q}`, typ, k.method.Alg(), k.kid)
		s.prefixes[typ] = base64.RawURLEncoding.EncodeToString([]byte(header)) + "."
	}
	return s
}

// TypeRevocations is the type of the document of revocations: of no token, so that [Ring.Verify] takes it for none.
const TypeRevocations = "revocations+jwt"

// types are the types of tokens that we sign.
func types() []string { return []string{"JWT", "at+jwt"} }

// Sign is [Ring.SignAs] by RS256.
func (r *Ring) Sign(typ string, claims []byte) (string, error) {
	return r.SignAs(defaultAlgorithm, typ, claims)
}

// SignAs returns claims, the bytes of a JSON object, as a JWT in JWS compact serialisation (RFC 7515 §3.1) by the key that
// signs by the algorithm now. The header is exactly {"typ":TYP,"alg":ALG,"kid":KID}, typ must be "JWT" or "at+jwt",
// and no algorithm means RS256.
func (r *Ring) SignAs(algorithm, typ string, claims []byte) (string, error) {
	s, ok := r.view().signers[cmp.Or(algorithm, defaultAlgorithm)]
	if !ok {
		return "", r.CanSign(algorithm)
	}
	prefix, ok := s.prefixes[typ]
	if !ok {
		return "", fmt.Errorf("token type %q is unknown; use JWT or at+jwt", typ)
	}
	input := prefix + base64.RawURLEncoding.EncodeToString(claims)
	signature, err := s.method.Sign(input, s.private)
	if err != nil {
		return "", fmt.Errorf("sign with key %s: %w", s.kid, err)
	}
	return input + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}

// CanSign returns an error with the remedy where no key signs by the algorithm now.
func (r *Ring) CanSign(algorithm string) error {
	algorithm = cmp.Or(algorithm, defaultAlgorithm)
	if _, ok := r.view().signers[algorithm]; ok {
		return nil
	}
	return fmt.Errorf("no key signs %s; make one with `glueauth keys rotate --alg %[1]s`, which says from when on it does, or with --now where nobody knows our keys yet",
		algorithm)
}

// JWKS returns the public keys as a JWK set (RFC 7517 §5), the signing keys first and then by kid, and its strong entity
// tag with the quotes (RFC 9110 §8.8.3). Rings with the same keys have the same bytes at one time; the caller must not
// change them.
func (r *Ring) JWKS() (body []byte, etag string) {
	v := r.view()
	return v.jwks, v.etag
}

// List describes the keys in the order of [Ring.JWKS], those that are gone among them.
func (r *Ring) List() []Info { return append([]Info(nil), r.view().infos...) }
