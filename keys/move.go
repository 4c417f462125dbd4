package keys

import (
	"errors"
	"fmt"
	"slices"
)

// Move copies the keys that are not gone from one place to another, with their kids and their times, and returns the kids of
// those that were not there yet. Nothing is replaced, and what it copies from stays. It can be repeated. It refuses a place
// whose keys are all others, since theirs would sign before anybody knows them.
func Move(from, to Options) (kids []string, err error) {
	f, err := from.place().load()
	if err == nil {
		err = f.missing(from.place().name(), from.Now(), from.pace())
	}
	if err != nil {
		return nil, err
	}
	source := from.edit(f)
	living := slices.DeleteFunc(slices.Clone(f.keys), func(k key) bool {
		return slices.ContainsFunc(spans(source.entries, from.pace()), func(s span) bool {
			state, _, _ := s.at(from.Now())
			return s.Kid == k.kid && state == Gone
		})
	})
	if to.Vault == nil {
		if err := makeDir(to.Dir); err != nil {
			return nil, fmt.Errorf("make the folder %s: %w; %s", to.Dir, err, writeRemedy(err))
		}
	}
	_, err = to.place().change(true, func(there *folder, err error) (*edit, error) {
		e := &edit{}
		kids = nil
		switch {
		case errors.Is(err, ErrNoKeys):
			there = &folder{}
		case !slices.ContainsFunc(living, func(k key) bool { return there.has(k.kid) }):
			return nil, fmt.Errorf("%s holds other signing keys already, and none of those in %s; take them away there first", to.place().name(), from.place().name())
		default:
			e = to.edit(there)
		}
		for _, k := range living {
			if !there.has(k.kid) {
				e.add, kids = append(e.add, k), append(kids, k.kid)
			}
		}
		e.entries = union(e.entries, source.entries)
		return e, nil
	})
	return kids, err
}

// union adds to a schedule what another one knows; a key that is withdrawn in one of them is so.
func union(entries, others []entry) []entry {
	entries = slices.Clone(entries)
	for _, o := range others {
		i := slices.IndexFunc(entries, func(e entry) bool { return e.Kid == o.Kid })
		switch {
		case i < 0:
			entries = append(entries, o)
		case entries[i].Withdrawn.IsZero():
			entries[i].Withdrawn = o.Withdrawn
		}
	}
	return entries
}
