package keys

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"
)

// Rotate makes a new key for an algorithm and announces it: it signs as soon as nobody can have a key set without it any
// more, and the one before it retires then. At once it signs from now on, which whoever has cached the key set will not
// accept before he reads it again; else it can be given more time to travel. It returns the new key. While one is announced
// already, there is no second one.
func (r *Ring) Rotate(algorithm string, atOnce bool, after time.Duration) (Info, error) {
	release, err := lockFolder(r.options.Dir, true)
	if err != nil {
		return Info{}, err
	}
	defer release()
	f, _, err := r.read()
	if err != nil {
		return Info{}, err
	}
	entries, err := r.written(f)
	if err != nil {
		return Info{}, err
	}
	for _, s := range spans(entries, r.options.pace()) {
		if state, _, until := s.at(r.options.Now()); s.Algorithm == algorithm && state == Announced && !atOnce {
			return Info{}, fmt.Errorf("%s is announced already and signs %s from %s on; wait for it, or rotate with --now in an emergency",
				s.Kid, algorithm, until.UTC().Format(time.RFC3339))
		}
	}
	kid, err := r.announce(entries, algorithm, atOnce, after)
	if err != nil {
		return Info{}, err
	}
	if _, err := r.Refresh(); err != nil {
		return Info{}, err
	}
	all := r.List()
	return all[slices.IndexFunc(all, func(i Info) bool { return i.Kid == kid })], nil
}

// announce makes the key, and then the manifest that names it: being killed in between leaves a key that is published only.
func (r *Ring) announce(entries []entry, algorithm string, atOnce bool, after time.Duration) (kid string, err error) {
	if r.options.Random == nil {
		return "", errors.New("make a key: this ring has no source of randomness")
	}
	k, err := generate(algorithm, r.options.Random)
	if err != nil {
		return "", err
	}
	if err := writeKey(r.options.Dir, k); err != nil {
		return "", err
	}
	next := r.fresh(k)
	if atOnce {
		next = r.after(entries, next)
	} else {
		next.Signs = next.Announced.Add(max(r.options.pace().ahead, after))
	}
	return k.kid, writeManifest(r.options.Dir, append(entries, next))
}

// after lets a key that signs at once do so after all of its algorithm that have begun.
func (r *Ring) after(entries []entry, fresh entry) entry {
	for _, e := range entries {
		if e.Algorithm == fresh.Algorithm && e.Withdrawn.IsZero() && e.Signs.Equal(fresh.Signs) {
			fresh.Announced = e.Signs.Add(time.Millisecond)
			fresh.Signs = fresh.Announced
		}
	}
	return fresh
}

// fresh is the entry of a key that signs from now on.
func (r *Ring) fresh(k key) entry {
	now := r.options.Now().UTC().Truncate(time.Millisecond)
	return entry{Kid: k.kid, Algorithm: k.method.Alg(), Announced: now, Signs: now, TokenSeconds: seconds(r.options.Lifetime)}
}

// seconds rounds up.
func seconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }

// written returns the entries of the manifest with those keys in it that sign without its word, and with the lives of tokens
// that these settings have. A key out of the settings gets its file.
func (r *Ring) written(f *folder) ([]entry, error) {
	entries := slices.Clone(f.entries)
	for _, k := range f.keys {
		if f.bases[k.method.Alg()] != k.kid {
			continue
		}
		if k.file == "" {
			if err := addKey(r.options.Dir, k); err != nil {
				return nil, err
			}
		}
		e := r.fresh(k)
		e.Announced = e.Announced.Add(-time.Millisecond) // before whatever comes now
		e.Signs = e.Announced
		entries = append(entries, e)
	}
	for i, s := range entries {
		entries[i].TokenSeconds = max(s.TokenSeconds, seconds(r.options.Lifetime))
	}
	return entries, nil
}

// Withdraw ends a key at once, whatever it has signed: it is neither published nor accepted any more. The signing key of an
// algorithm cannot be withdrawn. The file of the key may be lost.
func Withdraw(o Options, kid string) error {
	r := &Ring{options: o}
	release, err := lockFolder(o.Dir, true)
	if err != nil {
		return err
	}
	defer release()
	f, err := readFolder(o.Dir, o.Shop)
	if err != nil {
		return err
	}
	if o.Shop != nil && o.Shop.kid == kid {
		return fmt.Errorf("the key %s is that of the setting keys.shop_private; take it away there first", kid)
	}
	entries, err := r.written(f)
	if err != nil {
		return err
	}
	for _, s := range spans(entries, o.pace()) {
		if state, _, _ := s.at(o.Now()); s.Kid == kid && state == Signing {
			return fmt.Errorf("the key %s signs; run `glueauth keys rotate --alg %s --now` first", kid, s.Algorithm)
		}
	}
	now := o.Now().UTC().Truncate(time.Millisecond)
	i := slices.IndexFunc(entries, func(e entry) bool { return e.Kid == kid })
	if k := slices.IndexFunc(f.keys, func(k key) bool { return k.kid == kid }); i < 0 && k >= 0 {
		i, entries = len(entries), append(entries, r.fresh(f.keys[k]))
	}
	if i < 0 {
		return fmt.Errorf("no key has the kid %q; see `glueauth keys list`", kid)
	}
	entries[i].Withdrawn = now
	return writeManifest(o.Dir, entries)
}

// writeKey writes a key's file.
func writeKey(dir string, k key) error {
	der, err := x509.MarshalPKCS8PrivateKey(k.private)
	if err != nil {
		return fmt.Errorf("encode the key: %w", err)
	}
	return writeNew(filepath.Join(dir, k.kid+".pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}
