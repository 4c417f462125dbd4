package storetest

import (
	"net/netip"
	"slices"
	"time"

	"github.com/glueauth/glueauth/store"
)

// model is the rotation table, written down a second time and without regard to cost: it
// keeps every use that ever was, and asks them all each time. So it does with what is told about the session.
type model struct {
	in        store.SignIn
	epoch     store.Epoch
	scopes    []string
	cur, base uint32
	uses      []use
	parting   parting
	key       store.RetryDigest
	device    store.DeviceMark
	started   time.Time
	rotated   time.Time
	lineage   time.Time // expiry of the token that the base was
	rejoined  time.Time // when the base was last taken for a copy
	expires   time.Time
	ends      time.Time
	ended     store.Cause
	endedAt   time.Time
	shop      time.Time // expiry of the shop's token, zero for a session of our own
	sub       string
	last      store.Visitor
	told      []store.Entry // each thing that happened, counted once
}

// use is one call that gave generation g a newer successor.
type use struct {
	g  uint32
	at time.Time
}

// parting is the newest sign-out of others from this session.
type parting struct {
	shut uint32 // the base then
	use         // its generation, and when it was first carried out
	key  store.RetryDigest
}

// customer is the model of one subject.
type customer struct {
	record   store.SubjectRecord
	sessions []*model
}

func (c *customer) signIn(in store.SignIn, now time.Time) store.SignedIn {
	m := &model{
		in: in, scopes: in.Scopes, cur: 1, device: in.Device, started: now, rotated: now, last: in.From,
		expires: now.Add(in.Lifetime), ends: now.Add(in.MaxLife),
	}
	if m.expires.After(m.ends) {
		m.expires = m.ends
	}
	if !c.record.ExpiresAt.After(now) {
		c.record = store.SubjectRecord{Epoch: in.FreshEpoch}
	}
	m.epoch = c.record.Epoch
	surplus := c.endSurplus(in.MaxOpen, in.From, now)
	c.sessions = append(c.sessions, m)
	c.keep(m.expires)
	return store.SignedIn{ExpiresAt: m.expires, Ended: surplus}
}

func (c *customer) keep(until time.Time) {
	if c.record.ExpiresAt.Before(until) {
		c.record.ExpiresAt = until
	}
}

func (c *customer) usable(m *model, now time.Time) bool {
	return m.ended == "" && m.expires.After(now) && m.epoch == c.record.Epoch
}

func (c *customer) end(m *model, e store.Ending, now time.Time) bool {
	if !c.usable(m, now) || e.Client != "" && e.Client != m.in.Client {
		return false
	}
	m.end(e.Cause, e.From, now)
	c.voidShop(e.Cause, now)
	return true
}

func (c *customer) endAll(fresh store.Epoch, cause store.Cause, from netip.Addr, now time.Time) {
	until, shop := now.Add(31*day), time.Time{}
	if c.record.ExpiresAt.After(now) {
		until, shop = later(until, c.record.ExpiresAt), c.record.ShopFloor
	}
	c.record = store.SubjectRecord{Epoch: fresh, ExpiresAt: until, Floor: now, FloorCause: cause, FloorFrom: from, ShopFloor: shop}
}

func (m *model) end(cause store.Cause, from store.Visitor, now time.Time) {
	m.ended, m.endedAt, m.sub = cause, now, ""
	m.tell(store.Ended, 0, from, now)
}

func (m *model) tell(what store.Happening, g uint32, from store.Visitor, now time.Time) {
	m.told = append(m.told, store.Entry{At: now, What: what, Generation: g, Address: from.Address, Count: 1})
}

// timeline is the newest lines of all that was told, with what was told several times in a row in one.
func (m *model) timeline() []store.Entry {
	var lines []store.Entry
	for _, e := range m.told {
		if n := len(lines); n > 0 {
			before := lines[n-1]
			before.At, before.Count = e.At, 1
			if before == e {
				lines[n-1].At = e.At
				lines[n-1].Count++
				continue
			}
		}
		lines = append(lines, e)
	}
	return lines[max(0, len(lines)-store.TimelineLength):]
}

func (c *customer) refresh(m *model, r store.Rotation, now time.Time) store.RotateResult {
	if cause := c.invalid(m, r, now); cause != "" {
		if m.ended == "" && cause != store.CauseExpired {
			m.end(cause, r.From, now)
			c.voidShop(cause, now)
		}
		return store.RotateResult{Outcome: store.Refused, Cause: cause}
	}
	if r.Client != m.in.Client {
		return store.RotateResult{Outcome: store.OtherClient}
	}
	if r.ScopeGiven && slices.ContainsFunc(r.Scopes, func(scope string) bool { return !slices.Contains(m.scopes, scope) }) {
		return store.RotateResult{Outcome: store.ScopeRefused}
	}
	return c.carryOut(m, r, now)
}

func (c *customer) carryOut(m *model, r store.Rotation, now time.Time) store.RotateResult {
	if m.parting.shut > 0 && r.Generation <= m.parting.shut && !m.parts(r, now) {
		return store.RotateResult{Outcome: store.Refused, Cause: store.CauseEpoch}
	}
	row := m.row(r, now)
	switch {
	case row.outcome == store.Reused:
		m.tell(store.WasReused, r.Generation, r.From, now)
		if !r.ReuseKeepsAlive || m.wasDisplaced(r.Generation) {
			m.ended, m.endedAt, m.sub = store.CauseReuse, now, ""
		}
		return store.RotateResult{Outcome: store.Reused, Cause: store.CauseReuse, Other: m.last}
	case r.SignOut == store.SignOutAll:
		c.endAll(r.FreshEpoch, store.CauseEpoch, r.From.Address, now)
		m.end(store.CauseAll, r.From, now)
		return store.RotateResult{Outcome: row.outcome}
	}
	again := m.parts(r, now)
	row.note()
	if r.SubMark != (store.SubMark{5}) { // that of all take-overs
		m.sub = ""
	}
	m.last = r.From
	m.tell(row.told, r.Generation, r.From, now)
	if r.ScopeGiven && r.NarrowScopes {
		m.scopes = r.Scopes
	}
	if r.SignOut == store.SignOutOthers {
		c.signOutOthers(m, r, again, now)
	}
	c.keep(m.expires)
	return store.RotateResult{Outcome: row.outcome, Generation: m.cur, ExpiresAt: m.expires, Scopes: m.scopes, Sub: m.sub}
}

func (c *customer) signOutOthers(m *model, r store.Rotation, again bool, now time.Time) {
	if !again {
		m.parting = parting{shut: m.base, use: use{r.Generation, now}, key: r.RetryKey}
	}
	m.key = r.RetryKey
	m.epoch = r.FreshEpoch
	c.endAll(r.FreshEpoch, store.CauseEpoch, r.From.Address, now)
	m.tell(store.SignedOthers, r.Generation, r.From, now)
}

func (c *customer) invalid(m *model, r store.Rotation, now time.Time) store.Cause {
	switch {
	case m.ended != "":
		return m.ended
	case !m.expires.After(now):
		return store.CauseExpired
	case m.epoch != c.record.Epoch:
		return store.CauseEpoch
	case !r.IgnorePassword && r.Password != m.in.Password:
		return store.CausePassword
	default:
		return ""
	}
}

// state is why the session cannot be used, as an operator is told: what came first.
func (c *customer) state(m *model, now time.Time) store.Cause {
	expired := !m.expires.After(now)
	switch {
	case m.ended != "":
		return m.ended
	case m.epoch != c.record.Epoch && c.record.Floor.Before(m.expires) && !c.record.Floor.IsZero():
		return c.record.FloorCause
	case expired:
		return store.CauseExpired
	case m.epoch != c.record.Epoch && c.record.Floor.IsZero():
		return store.CauseEpoch
	case m.epoch != c.record.Epoch:
		return c.record.FloorCause
	default:
		return ""
	}
}
