package keys

import (
	"errors"
	"slices"
)

var (
	// errRestored says that a vault had lost all, or had gone back to what it held before.
	errRestored = errors.New(vaultName + " had lost the signing keys, and this server has put its own back; see why it does not keep what it is given")
	// errForgotten says that it did so while the ring was reading it.
	errForgotten = errors.New(vaultName + " loses signing keys again; see why it does not keep what it is given")
)

// restore puts the ring's keys and what it knows of their times back into a vault that has forgotten some of it: one that has
// lost all, also where another server has made first keys there since, and one that a backup or a failover has taken back to
// an older state. It returns [errRestored] where it was the one to do so.
//
// Nothing that the vault holds is lost by it, and no withdrawal, so that servers which remember different things agree after
// one turn of each: what one of them has put back the others find there.
func (r *Ring) restore() error {
	mine := r.last()
	if !slices.ContainsFunc(mine.keys, func(k key) bool { return k.file != "" }) {
		return nil
	}
	done, err := r.place.change(true, func(f *folder, err error) (*edit, error) {
		switch {
		case errors.Is(err, ErrNoKeys):
			f = &folder{}
		case err != nil || !r.forgotten(f):
			return nil, err
		}
		return r.merge(mine, f), nil
	})
	if done && err == nil {
		err = errRestored
	}
	return err
}

// last is what the ring has read last.
func (r *Ring) last() *folder {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.folder
}

// forgotten reports whether what was read from a vault is no successor of what the ring has read before.
//
// A key that signs, will sign or is published outside the schedule leaves a vault in two ways: withdrawn, and then its entry
// stays for ever, or after its time, and then the keys that have come after it say so. Retired ones are not looked at: a state
// from before one of them is from before the key that signs now too, and at their end clocks may differ. A withdrawn key comes
// back by [Import] only, which gives it other times or none.
func (r *Ring) forgotten(f *folder) bool {
	mine, now := r.last(), r.options.Now()
	over := map[string]bool{}
	for _, s := range spans(union(mine.entries, f.entries), r.options.pace()) {
		state, _, _ := s.at(now)
		over[s.Kid] = state == Gone
	}
	return f.takesBack(mine.entries) || slices.ContainsFunc(r.viewAt(now).infos, func(i Info) bool {
		lives := i.State == Signing || i.State == Announced || i.State == Published
		return lives && i.File != "" && i.Kid != mine.kept && !f.knows(i.Kid) && !over[i.Kid]
	})
}

// takesBack reports whether a key is not withdrawn that was so, with the times that it had then.
func (f *folder) takesBack(entries []entry) bool {
	return slices.ContainsFunc(entries, func(e entry) bool {
		there := f.entry(e.Kid)
		return !e.Withdrawn.IsZero() && there != nil && there.Withdrawn.IsZero() && there.Announced.Equal(e.Announced)
	})
}

// knows reports whether a key is there, or was and is not forgotten.
func (f *folder) knows(kid string) bool { return f.has(kid) || f.entry(kid) != nil }

// merge joins what the ring has with what a vault holds. Where the vault has forgotten the signing key, a key of it that is
// new to the ring waits as if it had been announced when it was made: others may not have it yet, whoever made it. So the
// former key goes on until then. The result does not depend on when this is done.
func (r *Ring) merge(mine, f *folder) *edit {
	e := &edit{}
	for _, k := range mine.keys {
		if k.file != "" && !f.has(k.kid) {
			e.add = append(e.add, k)
		}
	}
	signers, others := r.view().signers, slices.Clone(f.entries)
	for i, o := range others {
		s, signs := signers[o.Algorithm]
		earliest := o.Announced.Add(r.options.pace().ahead)
		if signs && s.file != "" && !f.knows(s.kid) && mine.entry(o.Kid) == nil && o.Signs.Before(earliest) {
			others[i].Signs = earliest
		}
	}
	e.entries = union(mine.entries, others)
	return e
}
