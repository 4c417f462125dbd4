package keys

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Vault keeps records for many processes. It is given sealed ones only, and each of its calls ends within seconds.
type Vault interface {
	// Version returns what changes with every change of the records, empty while there are none.
	Version(ctx context.Context) (string, error)
	// Load returns all records by name, and their version.
	Load(ctx context.Context) (version string, records map[string][]byte, err error)
	// Swap adds or replaces records and puts others aside, in one step, if they still have the version from. They have
	// the version next then. It reports whether that was so.
	Swap(ctx context.Context, from, next string, records map[string][]byte, aside []string) (bool, error)
}

const (
	scheduleRecord = "schedule"
	keyRecord      = "key:" // and the kid
	vaultName      = "the shared store"
)

// errAway says that a vault does not answer, which is no verdict on what it holds.
var errAway = errors.New("the signing keys cannot be read")

// safe is a place in a [Vault]: a record for each key, in PEM, and one for the schedule, all of them sealed.
type safe struct{ Options }

func (s safe) name() string { return vaultName }

func (s safe) looks() (string, error) {
	version, err := s.Vault.Version(context.Background())
	if err != nil {
		return "", fmt.Errorf("%w: %w", errAway, err)
	}
	return "version " + version, nil
}

func (s safe) load() (*folder, error) {
	f, _, _, err := s.open()
	return f, err
}

// open loads what is kept. The version is there beside [ErrNoKeys] too.
func (s safe) open() (f *folder, version string, records map[string][]byte, err error) {
	if s.Master == nil {
		return nil, "", nil, errors.New("open the signing keys: they are sealed, and there is no master key")
	}
	version, records, err = s.Vault.Load(context.Background())
	if err != nil {
		return nil, "", nil, fmt.Errorf("%w: %w", errAway, err)
	}
	if len(records) == 0 {
		return nil, version, nil, fmt.Errorf("%w: %s holds none; start the server, which makes one, or bring those of a folder with `glueauth keys move --to redis`",
			ErrNoKeys, vaultName)
	}
	f, err = s.read(records)
	return f, version, records, err
}

func (s safe) read(records map[string][]byte) (*folder, error) {
	if records[scheduleRecord] == nil {
		return nil, fmt.Errorf("%s holds signing keys without their schedule; restore it from a backup", vaultName)
	}
	f := &folder{bases: map[string]string{}}
	plain := map[string][]byte{}
	for name, sealed := range records {
		record, err := s.unseal(name, sealed)
		if err != nil {
			return nil, fmt.Errorf("the record %q in %s does not open: %w", name, vaultName, err)
		}
		plain[name] = record
		f.stale = f.stale || s.isStale(sealed)
	}
	var err error
	if f.entries, err = parseManifest("the schedule in "+vaultName, plain[scheduleRecord]); err != nil {
		return nil, err
	}
	for name, record := range plain {
		if name == scheduleRecord {
			continue
		}
		k, err := readRecord(name, record)
		if err == nil {
			err = f.assign("the schedule in "+vaultName, &k)
		}
		if err != nil {
			return nil, err
		}
		f.keys = append(f.keys, k)
	}
	slices.SortFunc(f.keys, func(a, b key) int { return cmp.Compare(a.kid, b.kid) })
	return f, nil
}

func readRecord(name string, record []byte) (key, error) {
	private, err := parsePEM(record)
	if err != nil {
		return key{}, fmt.Errorf("the record %q in %s %w", name, vaultName, err)
	}
	k := newKey(private, name)
	if kid, ok := strings.CutPrefix(name, keyRecord); !ok || kid != k.kid {
		return key{}, fmt.Errorf("the record %q in %s holds another key; restore it from a backup", name, vaultName)
	}
	if err := k.prove(); err != nil {
		return key{}, fmt.Errorf("the key %s in %s cannot sign: %w; restore it from a backup", k.kid, vaultName, err)
	}
	return k, nil
}

// change tries again when another one was faster, as long as it waits.
func (s safe) change(wait bool, plan func(*folder, error) (*edit, error)) (bool, error) {
	const tries = 20
	for range tries {
		f, version, records, err := s.open()
		if err != nil && !errors.Is(err, ErrNoKeys) {
			return false, err
		}
		e, err := plan(f, err)
		if e == nil || err != nil {
			return false, err
		}
		done, err := s.apply(*e, version, records)
		if done || err != nil || !wait {
			return done, err
		}
	}
	return false, fmt.Errorf("change the signing keys in %s: others do so all the time; try again", vaultName)
}

// apply seals what has changed, and what an older master key has sealed.
func (s safe) apply(e edit, version string, records map[string][]byte) (bool, error) {
	plain, err := s.written(e, records)
	if err != nil {
		return false, err
	}
	var aside []string
	for _, k := range e.away {
		delete(plain, k.file)
		aside = append(aside, k.file)
	}
	sealed := map[string][]byte{}
	for name, record := range plain {
		if sealed[name], err = s.seal(name, record); err != nil {
			return false, err
		}
	}
	next := make([]byte, 12)
	if _, err := io.ReadFull(s.Random, next); err != nil {
		return false, fmt.Errorf("read randomness for a version: %w", err)
	}
	done, err := s.Vault.Swap(context.Background(), version, base64.RawURLEncoding.EncodeToString(next), sealed, aside)
	if err != nil {
		return false, fmt.Errorf("write the signing keys: %w", err)
	}
	return done, nil
}

// written returns the records that an edit writes, not sealed yet.
func (s safe) written(e edit, records map[string][]byte) (map[string][]byte, error) {
	schedule, err := encodeManifest(e.entries)
	if err != nil {
		return nil, err
	}
	plain := map[string][]byte{scheduleRecord: schedule}
	for name, sealed := range records {
		if name == scheduleRecord || !s.isStale(sealed) {
			continue
		}
		if plain[name], err = s.unseal(name, sealed); err != nil {
			return nil, err
		}
	}
	for _, k := range slices.Concat(e.own, e.add) {
		if plain[keyRecord+k.kid], err = privatePEM(k); err != nil {
			return nil, err
		}
	}
	return plain, nil
}

// First makes the first keys of a [Vault], one for each algorithm. They sign at once, since nobody knows any yet. Of several
// processes one does it, and where keys are there already, nobody. It returns the kids of those that it has made.
func First(o Options, algorithms []string) (kids []string, err error) {
	done, err := o.place().change(true, func(_ *folder, err error) (*edit, error) {
		if !errors.Is(err, ErrNoKeys) {
			return nil, err
		}
		e := &edit{}
		kids = nil
		for _, name := range algorithms {
			k, err := generate(name, o.Random)
			if err != nil {
				return nil, err
			}
			e.add, e.entries = append(e.add, k), append(e.entries, o.base(k))
			kids = append(kids, k.kid)
		}
		return e, nil
	})
	if !done {
		return nil, err
	}
	return kids, err
}

// create is [Create] in a vault.
func (s safe) create() (kid string, err error) {
	_, err = s.change(true, func(f *folder, err error) (*edit, error) {
		if err != nil {
			f = &folder{}
		}
		k, err := generate(defaultAlgorithm, s.Random)
		if err != nil {
			return nil, err
		}
		e := s.edit(f)
		e.add = []key{k}
		if !f.lists(defaultAlgorithm) { // else it is published only
			e.entries = append(e.entries, s.base(k))
		}
		kid = k.kid
		return e, nil
	})
	return kid, err
}

// importKey is [Import] into a vault.
func (s safe) importKey(k key, sign bool) (added bool, err error) {
	_, err = s.change(true, func(f *folder, err error) (*edit, error) {
		if err != nil {
			f = &folder{}
		}
		e := s.edit(f)
		if added = !f.has(k.kid); added {
			e.add = []key{k}
		}
		again := slices.ContainsFunc(e.entries, func(o entry) bool { return o.Kid == k.kid && !o.Withdrawn.IsZero() })
		signs := sign || !f.lists(defaultAlgorithm)
		if again || signs {
			e.entries = slices.DeleteFunc(e.entries, func(o entry) bool { return o.Kid == k.kid })
		}
		if signs {
			e.entries = append(e.entries, afterAll(e.entries, s.fresh(k)))
		}
		if !added && !again && !signs {
			return nil, nil //nolint:nilnil // no change is not an error
		}
		return e, nil
	})
	return added, err
}
