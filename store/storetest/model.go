package storetest

import (
	"slices"
	"time"

	"github.com/glueauth/glueauth/store"
)

// model is the rotation table, written down a second time and without regard to cost: it
// keeps every use that ever was, and asks them all each time.
type model struct {
	in        store.SignIn
	epoch     store.Epoch
	scopes    []string
	cur, base uint32
	uses      []use
	key       store.RetryDigest
	device    store.DeviceMark
	rotated   time.Time
	expires   time.Time
	ends      time.Time
	ended     store.Cause
}

// use is one call that gave generation g a newer successor.
type use struct {
	g  uint32
	at time.Time
}

// customer is the model of one subject.
type customer struct {
	epoch    store.Epoch
	until    time.Time
	sessions []*model
}

func (c *customer) signIn(in store.SignIn, now time.Time) store.SignedIn {
	m := &model{
		in: in, scopes: in.Scopes, cur: 1, device: in.Device, rotated: now,
		expires: now.Add(in.Lifetime), ends: now.Add(in.MaxLife),
	}
	if m.expires.After(m.ends) {
		m.expires = m.ends
	}
	if !c.until.After(now) {
		c.epoch = in.FreshEpoch
	}
	m.epoch = c.epoch
	others := slices.DeleteFunc(slices.Clone(c.sessions), func(o *model) bool { return !o.living(now) || o.epoch != c.epoch })
	slices.SortFunc(others, func(a, b *model) int { return a.rotated.Compare(b.rotated) })
	surplus := max(0, len(others)+1-in.MaxOpen)
	for _, o := range others[:surplus] {
		o.ended = store.CauseTooMany
	}
	c.sessions = append(c.sessions, m)
	c.keep(m)
	return store.SignedIn{ExpiresAt: m.expires, Ended: surplus}
}

func (c *customer) keep(m *model) {
	if c.until.Before(m.expires) {
		c.until = m.expires
	}
}

func (c *customer) end(m *model, cause store.Cause, now time.Time) bool {
	if !m.living(now) {
		return false
	}
	m.ended = cause
	return true
}

func (m *model) living(now time.Time) bool { return m.ended == "" && m.expires.After(now) }

func (c *customer) refresh(m *model, r store.Rotation, now time.Time) store.RotateResult {
	if cause := c.invalid(m, r, now); cause != "" {
		if cause != store.CauseExpired {
			m.ended = cause
		}
		return store.RotateResult{Outcome: store.Refused, Cause: cause}
	}
	if r.Client != m.in.Client {
		return store.RotateResult{Outcome: store.OtherClient}
	}
	for _, scope := range r.Scopes {
		if r.ScopeGiven && !slices.Contains(m.scopes, scope) {
			return store.RotateResult{Outcome: store.ScopeRefused}
		}
	}
	outcome := m.carryOut(r, now)
	if outcome == store.Reused {
		if !r.ReuseKeepsAlive || m.wasDisplaced(r.Generation) {
			m.ended = store.CauseReuse
		}
		return store.RotateResult{Outcome: outcome, Cause: store.CauseReuse}
	}
	if r.ScopeGiven && r.NarrowScopes {
		m.scopes = r.Scopes
	}
	c.keep(m)
	return store.RotateResult{Outcome: outcome, Generation: m.cur, ExpiresAt: m.expires, Scopes: m.scopes}
}

func (c *customer) invalid(m *model, r store.Rotation, now time.Time) store.Cause {
	switch {
	case m.ended != "":
		return m.ended
	case !m.living(now):
		return store.CauseExpired
	case m.epoch != c.epoch:
		return store.CauseEpoch
	case !r.IgnorePassword && r.Password != m.in.Password:
		return store.CausePassword
	default:
		return ""
	}
}

// carryOut finds the row of the table that fits first and does what it says.
func (m *model) carryOut(r store.Rotation, now time.Time) store.Outcome {
	g := r.Generation
	for _, row := range []struct {
		fits    func(store.Rotation, time.Time) bool
		outcome store.Outcome
		note    func()
	}{
		{m.row4, store.Rotated, func() { m.use(g, g, now); m.note(r, g+1, now) }},
		{m.row5, store.Healed, func() { m.use(m.base, g, now); m.note(r, g+1, now) }},
		{m.row6, store.Replayed, nil},
		{m.row7, store.Replayed, nil},
		{m.row8, store.Displaced, func() { m.uses = append(m.uses, use{g, now}); m.note(r, m.cur+1, now) }},
		{m.row9, store.Replayed, nil},
	} {
		if !row.fits(r, now) {
			continue
		}
		if row.note != nil {
			row.note()
		}
		return row.outcome
	}
	return store.Reused
}

func (m *model) row4(r store.Rotation, _ time.Time) bool { return r.Generation == m.cur }

func (m *model) row5(r store.Rotation, _ time.Time) bool { return r.Generation > m.cur }

func (m *model) row6(r store.Rotation, now time.Time) bool {
	return r.Generation == m.base && m.usedWithin(m.base, r.Windows.Replay, now) && r.RetryKey == m.key
}

func (m *model) row7(r store.Rotation, now time.Time) bool {
	on := r.Windows.Rejoin != 0
	return on && r.Generation <= m.base && m.usedWithin(r.Generation, r.Windows.Rejoin, now) && m.keyless() && r.Device == m.device
}

func (m *model) row8(r store.Rotation, now time.Time) bool {
	sameKey := !m.keyless() && r.RetryKey == m.key
	lateWithoutKey := m.keyless() && m.usedWithin(m.base, r.Windows.LateRetry, now)
	soonWithoutIt := !m.keyless() && r.RetryKey != m.key && m.usedWithin(m.base, r.Windows.Replay, now)
	return r.Generation == m.base && (sameKey || lateWithoutKey || soonWithoutIt)
}

func (m *model) row9(r store.Rotation, now time.Time) bool {
	return r.Generation < m.base && m.usedWithin(r.Generation, r.Windows.Replay, now) && m.usedWithin(m.base, r.Windows.Concurrency, now)
}

func (m *model) keyless() bool { return m.key == store.RetryDigest{} }

// use notes the generations from first to last as used, and last as the base.
func (m *model) use(first, last uint32, now time.Time) {
	for g := max(1, first); g <= last; g++ {
		m.uses = append(m.uses, use{g, now})
	}
	m.base = last
}

func (m *model) note(r store.Rotation, cur uint32, now time.Time) {
	m.cur, m.key, m.device, m.rotated = cur, r.RetryKey, r.Device, now
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
