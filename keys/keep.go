package keys

import (
	"slices"
	"time"
)

// Keep does what time asks for: it rotates keys that have signed for as long as every says (0: never), writes down how long
// the tokens of these settings live, puts keys away that are gone, and seals anew what an older master key has sealed. Of
// several processes on one place one does it. It reports whether it has done anything.
func (r *Ring) Keep(every time.Duration) (done bool, err error) {
	r.mu.Lock()
	f := r.folder
	r.mu.Unlock()
	if r.due(f, every).nothing() {
		return false, nil
	}
	done, err = r.place.change(false, func(f *folder, err error) (*edit, error) {
		if f, err = r.options.usable(f, err); err != nil {
			return nil, err
		}
		work := r.due(f, every)
		if work.nothing() { // another one was faster
			return nil, nil //nolint:nilnil // no change is not an error
		}
		return r.options.do(f, work)
	})
	if !done || err != nil {
		return false, err
	}
	_, err = r.Refresh()
	return true, err
}

// work is what a place needs.
type work struct {
	write  bool     // the schedule
	rotate []string // algorithms
	away   []key
}

func (w work) nothing() bool { return !w.write && len(w.rotate) == 0 && len(w.away) == 0 }

func (r *Ring) due(f *folder, every time.Duration) work {
	now, p := r.options.Now(), r.options.pace()
	w := work{write: f.stale || every > 0 && len(f.bases) > 0}
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

// toPutAway returns the key if it is kept and may leave.
func (f *folder) toPutAway(kid string) []key {
	i := slices.IndexFunc(f.keys, func(k key) bool { return k.kid == kid })
	if i < 0 || f.keys[i].file == "" || kid == f.kept {
		return nil
	}
	return f.keys[i : i+1]
}

// do is the change that it takes.
func (o Options) do(f *folder, w work) (*edit, error) {
	e := o.edit(f)
	e.away = w.away
	e.entries = slices.DeleteFunc(e.entries, func(e entry) bool {
		return e.Withdrawn.IsZero() && slices.ContainsFunc(w.away, func(k key) bool { return k.kid == e.Kid })
	})
	for _, name := range w.rotate {
		if _, err := o.announce(e, name, false, 0); err != nil {
			return nil, err
		}
	}
	return e, nil
}
