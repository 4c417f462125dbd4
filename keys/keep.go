package keys

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Keep does what time asks for: it rotates keys that have signed for as long as every says (0: never), writes down how long
// the tokens of these settings live, and puts away the files of keys that are gone. Of several processes on one folder one
// does it. It reports whether it has done anything.
func (r *Ring) Keep(every time.Duration) (done bool, err error) {
	r.mu.Lock()
	f := r.folder
	r.mu.Unlock()
	if r.due(f, every).nothing() {
		return false, nil
	}
	release, err := lockFolder(r.options.Dir, false)
	if release == nil {
		return false, err
	}
	defer release()
	if f, _, err = r.read(); err != nil {
		return false, err
	}
	work := r.due(f, every)
	if work.nothing() { // another one was faster
		return false, nil
	}
	if err := r.do(f, work); err != nil {
		return false, err
	}
	_, err = r.Refresh()
	return true, err
}

// work is what a folder needs.
type work struct {
	write  bool     // the manifest
	rotate []string // algorithms
	away   []key    // whose files are put away
}

func (w work) nothing() bool { return !w.write && len(w.rotate) == 0 && len(w.away) == 0 }

func (r *Ring) due(f *folder, every time.Duration) work {
	now, p := r.options.Now(), r.options.pace()
	w := work{write: every > 0 && len(f.bases) > 0}
	last := map[string]time.Time{}
	for _, s := range spans(f.entries, p) {
		switch state, _, _ := s.at(now); state {
		case Gone:
			w.away = append(w.away, f.toPutAway(s.Kid)...)
		case Signing:
			w.write = w.write || s.TokenSeconds < seconds(p.lifetime)
			last[s.Algorithm] = s.signs
		case Announced:
			last[s.Algorithm] = s.signs // they come in this order
		}
	}
	for _, name := range Algorithms() {
		if signs, ok := last[name]; every > 0 && ok && !now.Before(signs.Add(every-p.ahead)) {
			w.rotate = append(w.rotate, name)
		}
	}
	return w
}

// toPutAway returns the key if its file is in the folder and may leave it.
func (f *folder) toPutAway(kid string) []key {
	i := slices.IndexFunc(f.keys, func(k key) bool { return k.kid == kid })
	if i < 0 || f.keys[i].file == "" || kid == f.kept {
		return nil
	}
	return f.keys[i : i+1]
}

// do carries it out. A file is put away before its key leaves the manifest, or the key would be published again.
func (r *Ring) do(f *folder, w work) error {
	dir := r.options.Dir
	for _, k := range w.away {
		path := filepath.Join(dir, k.file)
		aside := path + "." + r.options.Now().UTC().Format("20060102T150405Z") + ".gone"
		if err := os.Rename(path, aside); err != nil {
			return fmt.Errorf("put the file of a key away that is gone: %w; let the user of this process write there", err)
		}
	}
	entries, err := r.written(f)
	if err != nil {
		return err
	}
	entries = slices.DeleteFunc(entries, func(e entry) bool {
		return e.Withdrawn.IsZero() && slices.ContainsFunc(w.away, func(k key) bool { return k.kid == e.Kid })
	})
	if err := writeManifest(dir, entries); err != nil {
		return err
	}
	for _, name := range w.rotate {
		if _, err := r.announce(entries, name, false, 0); err != nil {
			return err
		}
		if entries, err = readManifest(dir); err != nil {
			return err
		}
	}
	return nil
}
