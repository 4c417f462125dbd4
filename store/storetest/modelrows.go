package storetest

import (
	"slices"
	"time"

	"github.com/glueauth/glueauth/store"
)

// row is what one row of the table does.
type row struct {
	fits    func(store.Rotation, time.Time) bool
	outcome store.Outcome
	told    store.Happening
	note    func()
}

// row finds the row of the table that fits first.
func (m *model) row(r store.Rotation, now time.Time) row {
	g := r.Generation
	nothing := func() {}
	for _, row := range []row{
		{m.parts, store.Replayed, store.WasReplayed, nothing},
		{m.row4, store.Rotated, store.WasRotated, func() { m.use(g, g, now); m.note(r, g+1, now); m.lineage = r.Expires }},
		{m.row5, store.Healed, store.WasHealed, func() { m.use(m.base, g, now); m.note(r, g+1, now); m.lineage = r.Expires }},
		{m.row6, store.Replayed, store.WasReplayed, nothing},
		{m.row7, store.Replayed, store.WasReplayed, func() { m.rejoins(g, now) }},
		{m.row8, store.Displaced, store.WasDisplaced, func() { m.uses = append(m.uses, use{g, now}); m.note(r, m.cur+1, now) }},
		{m.row9, store.Replayed, store.WasReplayed, nothing},
		{m.twin, store.Replayed, store.WasReplayed, nothing},
	} {
		if row.fits(r, now) {
			return row
		}
	}
	return row{outcome: store.Reused}
}

// parts is row 6 for the answer to a sign-out of others.
func (m *model) parts(r store.Rotation, now time.Time) bool {
	p := m.parting
	return p.shut > 0 && m.base == p.shut && r.Generation == p.g && p.g <= p.shut && r.RetryKey == p.key && max(0, now.Sub(p.at)) <= r.Windows.Replay
}

func (m *model) row4(r store.Rotation, _ time.Time) bool {
	return r.Generation == m.cur && (r.Generation == 0 || r.Expires.IsZero() || r.Expires.Equal(m.expires))
}

func (m *model) row5(r store.Rotation, _ time.Time) bool { return r.Generation > m.cur }

// twin is another token of the newest generation, from before the store lost writes: a second copy, soon or on the same device.
func (m *model) twin(r store.Rotation, now time.Time) bool {
	age := max(0, now.Sub(m.rotated))
	sameDevice := r.Windows.Rejoin != 0 && age <= r.Windows.Rejoin && m.keyless() && r.Device == m.device
	return r.Generation == m.cur && (age <= r.Windows.Replay || sameDevice)
}

func (m *model) row6(r store.Rotation, now time.Time) bool {
	soon := m.usedWithin(m.base, r.Windows.Replay, now) || !m.rejoined.IsZero() && max(0, now.Sub(m.rejoined)) <= r.Windows.Replay
	return r.Generation == m.base && soon && r.RetryKey == m.key
}

// rejoins notes that the base was taken for a copy.
func (m *model) rejoins(g uint32, now time.Time) {
	if g == m.base {
		m.rejoined = now
	}
}

func (m *model) row7(r store.Rotation, now time.Time) bool {
	on := r.Windows.Rejoin != 0
	return on && r.Generation <= m.base && m.usedWithin(r.Generation, r.Windows.Rejoin, now) && m.keyless() && r.Device == m.device
}

func (m *model) row8(r store.Rotation, now time.Time) bool {
	sameKey := !m.keyless() && r.RetryKey == m.key
	lateWithoutKey := m.keyless() && m.usedWithin(m.base, r.Windows.LateRetry, now)
	soonWithoutIt := !m.keyless() && r.RetryKey != m.key && m.usedWithin(m.base, r.Windows.Replay, now)
	fromElsewhere := !r.Expires.IsZero() && !m.lineage.IsZero() && r.Expires != m.lineage
	return r.Generation == m.base && !fromElsewhere && (sameKey || lateWithoutKey || soonWithoutIt)
}

func (m *model) row9(r store.Rotation, now time.Time) bool {
	return r.Generation < m.base && m.usedWithin(r.Generation, r.Windows.Replay, now) && m.usedWithin(m.base, r.Windows.Concurrency, now)
}

func (m *model) keyless() bool { return m.key == store.RetryDigest{} }

// use notes the generations from first to last as used, and last as the base.
func (m *model) use(first, last uint32, now time.Time) {
	for g := first; g <= last; g++ {
		m.uses = append(m.uses, use{g, now})
	}
	m.base = last
}

func (m *model) note(r store.Rotation, cur uint32, now time.Time) {
	m.cur, m.key, m.device, m.rotated, m.rejoined = cur, r.RetryKey, r.Device, now, time.Time{}
	if m.expires = now.Add(r.Lifetime); m.expires.After(m.ends) {
		m.expires = m.ends
	}
}

func (m *model) usedWithin(g uint32, window time.Duration, now time.Time) bool {
	if g+store.RememberedUses <= m.base {
		return false
	}
	for _, u := range slices.Backward(m.uses) {
		if u.g == g {
			return max(0, now.Sub(u.at)) <= window
		}
	}
	return false
}

// wasDisplaced reports whether g was given out and then replaced without a use, as long as a store must know it.
func (m *model) wasDisplaced(g uint32) bool {
	used := slices.ContainsFunc(m.uses, func(u use) bool { return u.g == g })
	return g < m.cur && g+store.RememberedUses > m.base && !used
}
