package keys

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// place is where the keys of a ring are kept.
type place interface {
	// name is what it is called in messages.
	name() string
	// looks returns what changes with every change of what is kept.
	looks() (string, error)
	// load reads what is kept, and proves that each key can sign. It returns [ErrNoKeys] where there is nothing.
	load() (*folder, error)
	// change writes what plan makes of what is there, while nobody else writes. Where nothing is there, plan gets
	// [ErrNoKeys] too; it returns nil for no change. It may be called again. Unless change waits, it does nothing while
	// another process writes.
	change(wait bool, plan func(*folder, error) (*edit, error)) (done bool, err error)
}

// edit is a change of what a place keeps, in the order in which it is carried out.
type edit struct {
	away    []key   // gone; before the schedule forgets them, or they would be published again
	own     []key   // of the settings, which have signed without being kept
	add     []key   // before the schedule names them: being killed in between leaves keys that are published only
	entries []entry // the whole schedule
}

// place is where the options say that the keys are.
func (o Options) place() place {
	if o.Vault != nil {
		return safe{o}
	}
	return directory{o.Dir, o.Now}
}

// kept adds the key of the settings to what a place has loaded.
func (o Options) kept(f *folder, err error) (*folder, error) {
	if o.Shop == nil || err != nil && !errors.Is(err, ErrNoKeys) {
		return f, err
	}
	if f == nil {
		f = &folder{bases: map[string]string{}}
	}
	return f, f.join(o.Shop, o.place().name())
}

// usable is kept, of which no key may be lost.
func (o Options) usable(f *folder, err error) (*folder, error) {
	if f, err = o.kept(f, err); err != nil {
		return nil, err
	}
	return f, f.missing(o.place().name(), o.Now(), o.pace())
}

// directory is a folder of key files.
type directory struct {
	dir string
	now func() time.Time
}

func (d directory) name() string            { return d.dir }
func (d directory) looks() (string, error)  { return looks(d.dir) }
func (d directory) load() (*folder, error)  { return loadFolder(d.dir) }
func (d directory) path(name string) string { return filepath.Join(d.dir, name) }

func (d directory) change(wait bool, plan func(*folder, error) (*edit, error)) (bool, error) {
	release, err := lockFolder(d.dir, wait)
	if release == nil {
		return false, err
	}
	defer release()
	f, err := d.load()
	if err != nil && !errors.Is(err, ErrNoKeys) {
		return false, err
	}
	e, err := plan(f, err)
	if e == nil || err != nil {
		return false, err
	}
	return true, d.apply(*e)
}

func (d directory) apply(e edit) error {
	for _, k := range e.away {
		aside := d.path(k.file) + "." + d.now().UTC().Format("20060102T150405Z") + ".gone"
		if err := os.Rename(d.path(k.file), aside); err != nil {
			return fmt.Errorf("put the file of a key away that is gone: %w; %s", err, writeRemedy(err))
		}
	}
	for _, k := range e.own {
		if err := addKey(d.dir, k); err != nil {
			return err
		}
	}
	for i, k := range e.add {
		if err := writeKey(d.dir, k); err != nil {
			return errors.Join(err, d.takeBack(e.add[:i]))
		}
	}
	if err := writeManifest(d.dir, e.entries); err != nil {
		return errors.Join(err, d.takeBack(e.add))
	}
	return nil
}

// takeBack removes the files of keys that were just made and that the schedule does not name: they would be published for ever,
// and each try would add to them.
func (d directory) takeBack(made []key) error {
	entries, err := readManifest(d.dir)
	if err != nil {
		return err
	}
	for _, k := range made {
		if !slices.ContainsFunc(entries, func(e entry) bool { return e.Kid == k.kid }) {
			err = errors.Join(err, os.Remove(d.path(k.kid+".pem")))
		}
	}
	return err
}
