package keys

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// looks returns what can be seen of the files of a key folder without reading them, through links: it changes with every
// change of a file, and when a Kubernetes volume swaps its ..data link.
func looks(dir string) (string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return "absent", nil
	}
	if err != nil {
		return "", fmt.Errorf("list the key folder: %w; let the user of this process read it", err)
	}
	var text strings.Builder
	for _, e := range entries {
		name := e.Name()
		if !isKeyFile(name) && name != currentFile && name != manifestFile {
			continue
		}
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			fmt.Fprintf(&text, "%q %t\n", name, errors.Is(err, fs.ErrNotExist))
			continue
		}
		var device, inode uint64
		if stat, ok := info.Sys().(*syscall.Stat_t); ok {
			device, inode = uint64(stat.Dev), stat.Ino //nolint:unconvert // its type differs between systems
		}
		fmt.Fprintf(&text, "%q %d %d %d %d %o\n", name, device, inode, info.Size(), info.ModTime().UnixNano(), info.Mode())
	}
	return text.String(), nil
}

// away is how a place looks that does not let itself be looked at.
const away = "away"

// Refresh reads the place again if it looks otherwise than before, and reports whether the ring has changed. A place that
// cannot be used, or that lacks a signing key which the ring has, is told once, by the error; the ring stays as it is, and the
// place is read until it can be used: another owner, or a key that is over by now, changes nothing in its looks.
func (r *Ring) Refresh() (changed bool, err error) {
	now, lookErr := r.place.looks()
	if lookErr != nil {
		now = away
	}
	r.mu.Lock()
	known := now == r.seen || now == away && r.refused == away
	if now == r.seen {
		r.refused = "" // it is mended
	}
	r.mu.Unlock()
	if known {
		return false, nil
	}
	if err := r.follow(); err != nil {
		if errors.Is(err, errAway) {
			now = away
		}
		if r.refuse(now) {
			return false, fmt.Errorf("the signing keys cannot be used as they are kept now, the keys of before go on: %w", err)
		}
		return false, nil
	}
	return true, nil
}

// follow makes what is kept now the ring's keys.
func (r *Ring) follow() error {
	if r.options.Vault != nil {
		if err := r.restore(); err != nil {
			return err
		}
	}
	f, seen, err := r.read()
	if err == nil {
		err = r.stillSigns(f)
	}
	if err != nil {
		return err
	}
	if r.options.Vault != nil && r.forgotten(f) { // since it was looked through just now
		return errForgotten
	}
	r.adopt(f, seen)
	return nil
}

// refuse notes what the ring does not use, and reports whether that is new.
func (r *Ring) refuse(looks string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.refused
	r.refused = looks
	return before != looks
}

// stillSigns returns an error if what was read has no signing key for an algorithm for which the ring has one.
func (r *Ring) stillSigns(f *folder) error {
	now := r.options.Now()
	next := f.view(now, r.options.pace())
	for _, name := range Algorithms() {
		_, had := r.viewAt(now).signers[name]
		if _, has := next.signers[name]; had && !has {
			return fmt.Errorf("no key of %s signs %s any more; put that key back", r.place.name(), name)
		}
	}
	return nil
}
