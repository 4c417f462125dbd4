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
	var kid string
	_, err := r.place.change(true, func(f *folder, err error) (*edit, error) {
		if f, err = r.options.usable(f, err); err != nil {
			return nil, err
		}
		e := r.options.edit(f)
		for _, s := range spans(e.entries, r.options.pace()) {
			if state, _, until := s.at(r.options.Now()); s.Algorithm == algorithm && state == Announced && !atOnce {
				return nil, fmt.Errorf("%s is announced already and signs %s from %s on; wait for it, or rotate with --now in an emergency",
					s.Kid, algorithm, until.UTC().Format(time.RFC3339))
			}
		}
		kid, err = r.options.announce(e, algorithm, atOnce, after)
		return e, err
	})
	if err != nil {
		return Info{}, err
	}
	if _, err := r.Refresh(); err != nil {
		return Info{}, err
	}
	all := r.List()
	i := slices.IndexFunc(all, func(i Info) bool { return i.Kid == kid })
	if i < 0 {
		return Info{}, fmt.Errorf("the new key %s is not in %s any more; see `glueauth keys list`", kid, r.place.name())
	}
	return all[i], nil
}

// announce makes a key and its entry.
func (o Options) announce(e *edit, algorithm string, atOnce bool, after time.Duration) (kid string, err error) {
	if o.Random == nil {
		return "", errors.New("make a key: this ring has no source of randomness")
	}
	k, err := generate(algorithm, o.Random)
	if err != nil {
		return "", err
	}
	next := o.fresh(k)
	if atOnce {
		next = afterAll(e.entries, next)
	} else {
		next.Signs = next.Announced.Add(max(o.pace().ahead, after))
	}
	e.add, e.entries = append(e.add, k), append(e.entries, next)
	return k.kid, nil
}

// afterAll lets a key that signs at once do so after all of its algorithm that have begun.
func afterAll(entries []entry, fresh entry) entry {
	for _, e := range entries {
		if e.Algorithm == fresh.Algorithm && e.Withdrawn.IsZero() && e.Signs.Equal(fresh.Signs) {
			fresh.Announced = e.Signs.Add(time.Millisecond)
			fresh.Signs = fresh.Announced
		}
	}
	return fresh
}

// fresh is the entry of a key that signs from now on.
func (o Options) fresh(k key) entry {
	now := o.Now().UTC().Truncate(time.Millisecond)
	return entry{Kid: k.kid, Algorithm: k.method.Alg(), Announced: now, Signs: now, TokenSeconds: seconds(o.Lifetime)}
}

// base is the entry of a key that has signed before whatever comes now.
func (o Options) base(k key) entry {
	e := o.fresh(k)
	e.Announced = e.Announced.Add(-time.Millisecond)
	e.Signs = e.Announced
	return e
}

// seconds rounds up.
func seconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }

// edit begins a change: with the entries of the schedule, with those keys in it that sign without its word, and with the lives
// of tokens that these settings have. A key out of the settings is kept from then on.
func (o Options) edit(f *folder) *edit {
	e := &edit{entries: slices.Clone(f.entries)}
	for _, k := range f.keys {
		if f.bases[k.method.Alg()] != k.kid {
			continue
		}
		if k.file == "" {
			e.own = append(e.own, k)
		}
		e.entries = append(e.entries, o.base(k))
	}
	for i, s := range e.entries {
		e.entries[i].TokenSeconds = max(s.TokenSeconds, seconds(o.Lifetime))
	}
	return e
}

// Withdraw ends a key at once, whatever it has signed: it is neither published nor accepted any more. The signing key of an
// algorithm cannot be withdrawn. The key itself may be lost.
func Withdraw(o Options, kid string) error {
	_, err := o.place().change(true, func(f *folder, err error) (*edit, error) {
		if f, err = o.kept(f, err); err != nil {
			return nil, err
		}
		return o.withdraw(f, kid)
	})
	return err
}

func (o Options) withdraw(f *folder, kid string) (*edit, error) {
	if o.Shop != nil && o.Shop.kid == kid {
		return nil, fmt.Errorf("the key %s is that of the setting keys.shop_private; take it away there first", kid)
	}
	e := o.edit(f)
	for _, s := range spans(e.entries, o.pace()) {
		if state, _, _ := s.at(o.Now()); s.Kid == kid && state == Signing {
			return nil, fmt.Errorf("the key %s signs; run `glueauth keys rotate --alg %s --now` first", kid, s.Algorithm)
		}
	}
	i := slices.IndexFunc(e.entries, func(e entry) bool { return e.Kid == kid })
	if k := slices.IndexFunc(f.keys, func(k key) bool { return k.kid == kid }); i < 0 && k >= 0 {
		i, e.entries = len(e.entries), append(e.entries, o.fresh(f.keys[k]))
	}
	if i < 0 {
		return nil, fmt.Errorf("no key has the kid %q; see `glueauth keys list`", kid)
	}
	e.entries[i].Withdrawn = o.Now().UTC().Truncate(time.Millisecond)
	return e, nil
}

// writeKey writes a key's file.
func writeKey(dir string, k key) error {
	text, err := privatePEM(k)
	if err != nil {
		return err
	}
	return writeNew(filepath.Join(dir, k.kid+".pem"), text)
}

func privatePEM(k key) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(k.private)
	if err != nil {
		return nil, fmt.Errorf("encode the key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}
