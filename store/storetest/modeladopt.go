package storetest

import (
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/glueauth/glueauth/store"
)

// adopt takes a session over that the model does not have. It returns nil when there is nothing to take over.
func (c *customer) adopt(a store.Adoption, now time.Time) (store.RotateResult, *model) {
	known := c.record.ExpiresAt.After(now)
	switch {
	case !a.Expires.After(now):
		return store.RotateResult{Outcome: store.Refused, Cause: store.CauseExpired}, nil
	case known && !c.record.Floor.IsZero() && !a.Expires.Add(-31*day).After(c.record.Floor):
		return store.RotateResult{Outcome: store.Refused, Cause: store.CauseEpoch}, nil
	case known && !c.record.ShopFloor.IsZero() && !a.Expires.Add(-31*day).After(c.record.ShopFloor):
		return store.RotateResult{Outcome: store.Refused, Cause: store.CauseEpoch}, nil
	}
	m := &model{
		in: store.SignIn{
			Name: a.Name, Subject: a.Subject, Client: a.Client, Scopes: a.Granted, Password: a.Password, Device: a.Device,
			From: a.From, Lifetime: a.Lifetime, MaxLife: a.MaxLife, MaxOpen: a.MaxOpen,
		},
		scopes: a.Granted, device: a.Device, started: now, rotated: now, last: a.From, epoch: a.FreshEpoch,
		expires: a.Expires, ends: now.Add(a.MaxLife), shop: a.Expires, sub: a.Sub,
	}
	if m.expires.After(m.ends) {
		m.expires = m.ends
	}
	if known {
		m.epoch = c.record.Epoch
	}
	if a.End != "" {
		m.end(a.End, a.From, now)
		return store.RotateResult{Outcome: store.Discarded, Cause: a.End}, m
	}
	if !known {
		c.record = store.SubjectRecord{Epoch: a.FreshEpoch}
	}
	c.endSurplus(a.MaxOpen, a.From, now)
	c.keep(m.expires)
	return c.refresh(m, a.Rotation, now), m
}

// endSurplus ends the sessions that are too many beside one that is made.
func (c *customer) endSurplus(most int, from store.Visitor, now time.Time) int {
	others := slices.DeleteFunc(slices.Clone(c.sessions), func(o *model) bool { return !c.usable(o, now) })
	slices.SortFunc(others, func(a, b *model) int { return a.rotated.Compare(b.rotated) })
	surplus := max(0, len(others)+1-most)
	for _, o := range others[:surplus] {
		o.end(store.CauseTooMany, from, now)
	}
	return surplus
}

// voidShop is what the end of a session for a cause that lies with its customer does to what the shop gave out to him.
func (c *customer) voidShop(cause store.Cause, now time.Time) {
	if slices.Contains([]store.Cause{store.CausePassword, store.CauseBlocked, store.CauseGone}, cause) {
		c.record.ShopFloor = now
		c.keep(now.Add(31 * day))
	}
}

func (m *model) subMark() store.SubMark {
	if m.sub == "" {
		return store.SubMark{}
	}
	return store.SubMark{5}
}

func (c *customerState) adopt(a store.Adoption, now time.Time) store.RotateResult {
	s, there := c.sessions[a.Name]
	if !there {
		begun, record, void := a.Begin(c.record, now)
		if void != "" {
			return store.RotateResult{Outcome: store.Refused, Cause: void}
		}
		s, c.record = begun, &record
	}
	result, _ := s.Rotate(a.Rotation, c.record, now)
	if c.sessions == nil {
		c.sessions = map[store.SessionName]store.Session{}
	}
	c.sessions[a.Name] = s
	return result
}

// adopt takes over a session that the store does not know, or asks for one that it knows as if it did not.
func (h *history) adopt(t *rapid.T) {
	known := slices.DeleteFunc(slices.Clone(h.sessions), func(m *model) bool { return m.shop.IsZero() })
	if len(known) > 0 && rapid.Bool().Draw(t, "again") {
		m := rapid.SampledFrom(known).Draw(t, "session")
		s := &session{kit: h.kit, in: m.in, shop: m.shop}
		a := s.adoption(from(rapid.ByteRange(1, 3).Draw(t, "device")))
		got, err := h.store.Adopt(h.ctx, a)
		if err != nil {
			t.Fatal(err)
		}
		h.touched = m
		h.compare(t, h.customer.refresh(m, a.Rotation, h.now()), got)
		return
	}
	s := h.taken()
	s.in.Subject = h.subject
	s.in.MaxOpen = 3
	if h.tied() {
		s.in.MaxOpen = 200
	}
	s.in.MaxLife = rapid.SampledFrom([]time.Duration{10 * day, 365 * day}).Draw(t, "life")
	s.shop = h.now().Add(rapid.SampledFrom([]time.Duration{0, second, day, 31 * day}).Draw(t, "left"))
	a := s.adoption()
	switch rapid.IntRange(0, 5).Draw(t, "oddity") {
	case 1:
		a.End = store.CauseRevoked
	case 2:
		a.ScopeGiven, a.Scopes = true, []string{"admin"}
	case 3:
		a.Sub = ""
	}
	want, m := h.customer.adopt(a, h.now())
	got, err := h.store.Adopt(h.ctx, a)
	if err != nil {
		t.Fatal(err)
	}
	if m != nil {
		h.sessions = append(h.sessions, m)
		h.touched = m
	}
	h.compare(t, want, got)
}
