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

// Refresh reads the folder again if it looks otherwise than before, and reports whether the ring has changed. A folder that
// cannot be used, or that lacks a signing key which the ring has, is told once, by the error; the ring stays as it is.
func (r *Ring) Refresh() (changed bool, err error) {
	now, err := looks(r.options.Dir)
	if err != nil {
		now = err.Error()
	}
	r.mu.Lock()
	known := now == r.seen || now == r.refused
	if now == r.seen {
		r.refused = "" // it is mended
	}
	r.mu.Unlock()
	if known {
		return false, nil
	}
	f, seen, err := r.read()
	if err == nil {
		err = r.stillSigns(f)
	}
	if err != nil {
		r.mu.Lock()
		r.refused = now
		r.mu.Unlock()
		return false, fmt.Errorf("the key folder has changed and is not used as it is, the keys of before go on: %w", err)
	}
	r.adopt(f, seen)
	return true, nil
}

// stillSigns returns an error if a folder has no signing key for an algorithm for which the ring has one.
func (r *Ring) stillSigns(f *folder) error {
	now := r.options.Now()
	next := f.view(now, r.options.pace())
	for _, name := range Algorithms() {
		_, had := r.viewAt(now).signers[name]
		if _, has := next.signers[name]; had && !has {
			return fmt.Errorf("no key of %s signs %s any more; put that key back", r.options.Dir, name)
		}
	}
	return nil
}
