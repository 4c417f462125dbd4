package keys

import (
	"cmp"
	"slices"
	"time"
)

// The states of a key.
const (
	Announced = "announced" // published, so that whoever caches the key set has it before it signs
	Signing   = "signing"
	Retired   = "retired"   // published until the last token that it signed has expired
	Gone      = "gone"      // neither published nor accepted
	Published = "published" // outside the schedule: published and accepted until its file is taken away, and never signs
)

// pace is how far apart the states of a key are at least.
type pace struct {
	ahead    time.Duration // from being announced to signing
	lifetime time.Duration // longest life of a token
}

// slack is what comes on top of a time, so that clocks may differ and news may travel: a tenth of it, from two seconds to
// a minute.
func slack(d time.Duration) time.Duration { return min(max(d/10, 2*time.Second), time.Minute) }

// span is the life of one key of the manifest. A zero time never comes.
type span struct {
	entry
	first                bool // none of its algorithm signs before it, and it was never announced
	signs, retires, gone time.Time
}

// spans returns the lives of all entries. Each depends on nothing but the manifest and the settings, so that all
// processes on a folder agree; with different settings they differ in caution only.
func spans(entries []entry, p pace) []span {
	var all []span
	for _, a := range algorithms() {
		begin := len(all)
		for _, e := range entries {
			if e.Algorithm == a.name && e.Withdrawn.IsZero() {
				all = append(all, span{entry: e, signs: e.signsFrom(p)})
			}
		}
		group := all[begin:]
		slices.SortFunc(group, func(a, b span) int {
			return cmp.Or(a.signs.Compare(b.signs), a.Announced.Compare(b.Announced), cmp.Compare(a.Kid, b.Kid))
		})
		for i := range group {
			group[i].first = i == 0 && group[i].Signs.Equal(group[i].Announced)
			if i+1 < len(group) {
				life := max(time.Duration(group[i].TokenSeconds)*time.Second, p.lifetime)
				group[i].retires = takenOver(group[i], group[i+1].signs, entries, p)
				group[i].gone = group[i].retires.Add(life + slack(life))
			}
		}
	}
	for _, e := range entries {
		if !e.Withdrawn.IsZero() {
			all = append(all, span{entry: e, gone: e.Withdrawn})
		}
	}
	return all
}

// takenOver is when a key has stopped signing: when the next one began, or before that one which was withdrawn since, after its
// own successor had begun. Without the withdrawn ones, a key that is gone would come back.
func takenOver(s span, next time.Time, entries []entry, p pace) time.Time {
	for earlier := true; earlier; {
		earlier = false
		for _, e := range entries {
			began := e.signsFrom(p)
			if e.Algorithm == s.Algorithm && began.After(s.signs) && began.Before(next) && !e.Withdrawn.Before(next) {
				next, earlier = began, true
			}
		}
	}
	return next
}

// signsFrom is when a key takes over: as the manifest says, but never before everybody can have it who reads the key set
// from a server with these settings, unless it was made to sign at once.
func (e entry) signsFrom(p pace) time.Time {
	if earliest := e.Announced.Add(p.ahead); !e.Signs.Equal(e.Announced) && e.Signs.Before(earliest) {
		return earliest
	}
	return e.Signs
}

// at returns the state at a time, since when it holds, and until when, zero for no end that is known. The first key of an
// algorithm signs however early a clock is.
func (s span) at(now time.Time) (state string, since, until time.Time) {
	reached := func(t time.Time) bool { return !t.IsZero() && !now.Before(t) }
	switch {
	case !s.Withdrawn.IsZero() || reached(s.gone):
		return Gone, s.gone, time.Time{}
	case reached(s.retires):
		return Retired, s.retires, s.gone
	case s.first || reached(s.signs):
		return Signing, s.signs, s.retires
	default:
		return Announced, s.Announced, s.signs
	}
}

// view is what a folder means between two times.
type view struct {
	from, until time.Time         // zero: ever
	published   []key             // the signing ones first, in the order of the algorithms, then by kid
	signers     map[string]signer // by algorithm
	infos       []Info
	jwks        []byte
	etag        string
}

func (v *view) covers(now time.Time) bool {
	return (v.from.IsZero() || !now.Before(v.from)) && (v.until.IsZero() || now.Before(v.until))
}

// narrow cuts the time for which the view holds at a change.
func (v *view) narrow(now, change time.Time) {
	switch {
	case change.IsZero():
	case now.Before(change) && (v.until.IsZero() || change.Before(v.until)):
		v.until = change
	case !now.Before(change) && change.After(v.from):
		v.from = change
	}
}

// view works out what the folder means at a time.
func (f *folder) view(now time.Time, p pace) *view {
	v := &view{signers: map[string]signer{}}
	listed := map[string]Info{}
	for _, s := range spans(f.entries, p) {
		for _, change := range []time.Time{s.signs, s.retires, s.gone} {
			v.narrow(now, change)
		}
		info := Info{}
		info.State, info.Since, info.Until = s.at(now)
		if info.State == Gone && s.Kid == f.kept && s.Withdrawn.IsZero() {
			info.State = Published
		}
		listed[s.Kid] = info
	}
	for _, k := range f.keys {
		info, ok := listed[k.kid]
		switch {
		case ok:
		case f.bases[k.method.Alg()] == k.kid:
			info.State = Signing
		default:
			info.State = Published
		}
		info.Kid, info.File, info.Bits, info.Algorithm = k.kid, k.file, k.bits(), k.method.Alg()
		v.infos = append(v.infos, info)
		if info.State == Signing {
			v.signers[info.Algorithm] = newSigner(k)
		}
		if info.State != Gone {
			v.published = append(v.published, k)
		}
	}
	v.order()
	v.jwks = jwkSet(v.published)
	v.etag = entityTag(v.jwks)
	return v
}

// order puts the signing keys first.
func (v *view) order() {
	place := map[string]int{} // of the signing keys, below zero
	names := Algorithms()
	for i, name := range names {
		if s, ok := v.signers[name]; ok {
			place[s.kid] = i - len(names)
		}
	}
	slices.SortFunc(v.published, func(a, b key) int { return cmp.Or(place[a.kid]-place[b.kid], cmp.Compare(a.kid, b.kid)) })
	slices.SortFunc(v.infos, func(a, b Info) int { return cmp.Or(place[a.Kid]-place[b.Kid], cmp.Compare(a.Kid, b.Kid)) })
}
