package storetest

import (
	"context"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/glueauth/glueauth/store"
)

// history is one random history of one customer, on the store and in the model.
type history struct {
	*kit
	customer
	ctx     context.Context //nolint:containedctx // one history is one test
	subject store.Subject
	touched *model // by the newest call
}

func testModel(t *testing.T, k *kit) {
	rapid.Check(t, func(rt *rapid.T) {
		h := &history{kit: k, ctx: t.Context(), subject: k.signIn().Subject}
		h.signIn(rt)
		rt.Repeat(map[string]func(*rapid.T){
			"refresh":   h.refresh,
			"again":     h.refresh, // thrice as likely as the others
			"once more": h.refresh,
			"advance":   h.advance,
			"lost":      h.lost,
			"theft":     h.theft,
			"wait":      h.wait,
			"sign in":   h.signIn,
			"take over": h.adopt,
			"end":       h.end,
			"end all":   h.endEverything,
			"":          h.look, // after each of them
		})
	})
}

func (h *history) now() time.Time { return store.Whole(h.clock.now()) }

func (h *history) signIn(t *rapid.T) {
	in := h.kit.signIn()
	in.Subject = h.subject
	in.From = visitor(rapid.ByteRange(1, 3).Draw(t, "device"))
	in.MaxLife = rapid.SampledFrom([]time.Duration{10 * day, 60 * day, 365 * day}).Draw(t, "life")
	in.MaxOpen = 3
	if h.tied() {
		in.MaxOpen = 200
	}
	got, err := h.store.Open(h.ctx, in)
	if err != nil {
		t.Fatal(err)
	}
	h.compare(t, h.customer.signIn(in, h.now()), got)
	h.touched = h.sessions[len(h.sessions)-1]
}

// tied reports whether two sessions are unused for equally long, so that the cap may end either.
func (h *history) tied() bool {
	seen := map[time.Time]bool{}
	for _, m := range h.sessions {
		if seen[m.rotated] {
			return true
		}
		seen[m.rotated] = true
	}
	return false
}

func (h *history) pick(t *rapid.T) (*model, *session) {
	m := rapid.SampledFrom(h.sessions).Draw(t, "session")
	h.touched = m
	return m, &session{kit: h.kit, in: m.in, shop: m.shop}
}

// least is the oldest generation that the session has.
func (m *model) least() uint32 {
	if m.shop.IsZero() {
		return 1
	}
	return 0
}

func (h *history) refresh(t *rapid.T) {
	m, s := h.pick(t)
	g := rapid.OneOf(
		rapid.Just(m.cur), rapid.Just(max(m.least(), m.base)),
		rapid.Uint32Range(m.least(), m.cur+2),
		rapid.SampledFrom([]uint32{m.cur - 1, m.base - 1, m.base - 15, m.base - 16, m.cur + 20}).Filter(func(g uint32) bool {
			return m.least() <= g && g <= m.cur+20
		}),
	).Draw(t, "generation")
	options := []option{
		from(rapid.ByteRange(1, 3).Draw(t, "device")),
		keyed(rapid.SampledFrom([]byte{0, 0, 0, 1, 2}).Draw(t, "key")),
		saying(rapid.SampledFrom([]time.Time{{}, m.expires, m.expires, m.lineage, h.now().Add(day)}).Draw(t, "expiry")),
		rejoin(rapid.SampledFrom([]time.Duration{0, 7 * day}).Draw(t, "rejoin")),
	}
	options = append(options, oddity(t)...)
	switch rapid.IntRange(0, 15).Draw(t, "sign out") {
	case 1, 2, 3:
		if g > 0 {
			options = append(options, h.others())
		}
	case 4:
		options = append(options, h.all())
	}
	if rapid.Bool().Draw(t, "observe") {
		options = append(options, observing)
	}
	h.rotate(t, m, s.request(g, options...))
}

// oddity is what is wrong with some requests.
func oddity(t *rapid.T) (options []option) {
	switch rapid.IntRange(0, 30).Draw(t, "oddity") {
	case 1:
		options = append(options, anotherClient)
	case 2:
		options = append(options, scope("customer", "admin"))
	case 3:
		options = append(options, scope("customer"))
	case 4:
		options = append(options, scope("customer"), narrowing)
	case 5:
		options = append(options, func(r *store.Rotation) { r.Password[1]++ })
	case 6:
		options = append(options, func(r *store.Rotation) { r.Password[1]++; r.IgnorePassword = true })
	case 7:
		options = append(options, anotherSub)
	}
	return options
}

// advance rotates several times, so that the record forgets.
func (h *history) advance(t *rapid.T) {
	m, s := h.pick(t)
	for range rapid.IntRange(1, 20).Draw(t, "rotations") {
		h.rotate(t, m, s.request(m.cur))
	}
}

// lost asks for the same answer several times, as who did not get it does; meanwhile time passes, and the network or the
// way to ask may have changed.
func (h *history) lost(t *rapid.T) {
	m, s := h.pick(t)
	r := s.request(rapid.SampledFrom([]uint32{max(1, m.cur), max(1, m.base)}).Draw(t, "generation"),
		keyed(rapid.SampledFrom([]byte{0, 1}).Draw(t, "key")),
		h.signOut(rapid.SampledFrom([]store.SignOut{"", "", store.SignOutOthers, store.SignOutAll}).Draw(t, "sign out")))
	for range rapid.IntRange(2, 4).Draw(t, "times") {
		r.FreshEpoch = h.epoch()
		h.rotate(t, m, r)
		h.wait(t)
		if rapid.IntRange(0, 3).Draw(t, "elsewhere") == 0 {
			from(rapid.ByteRange(1, 3).Draw(t, "device"))(&r)
		}
		if rapid.IntRange(0, 3).Draw(t, "only refresh") == 0 {
			r.SignOut = store.SignOutNone
		}
	}
}

// theft has two use the same token one after the other, each of whom then goes on with what he was given.
func (h *history) theft(t *rapid.T) {
	m, s := h.pick(t)
	owner, thief := m.cur, m.cur
	for range rapid.IntRange(1, 3).Draw(t, "rounds") {
		if got := h.rotate(t, m, s.request(thief, from(3))); got.Generation > 0 {
			thief = got.Generation
		}
		h.wait(t)
		if got := h.rotate(t, m, s.request(owner)); got.Generation > 0 {
			owner = got.Generation
		}
		h.wait(t)
	}
}

func (h *history) rotate(t *rapid.T, m *model, r store.Rotation) store.RotateResult {
	got, err := h.store.Rotate(h.ctx, r)
	if err != nil {
		t.Fatal(err)
	}
	h.compare(t, h.customer.refresh(m, r, h.now()), got)
	return got
}

func (h *history) wait(t *rapid.T) {
	h.clock.advance(rapid.SampledFrom([]time.Duration{
		300 * time.Millisecond, second, 10 * second, 11 * second, 50 * second, minute, minute + second, hour,
		6 * day, week, week + second, 20 * day, 31 * day, -5 * second, -hour,
	}).Draw(t, "time"))
}

func (h *history) end(t *rapid.T) {
	m, s := h.pick(t)
	if rapid.IntRange(0, 3).Draw(t, "really") > 0 {
		return
	}
	e := store.Ending{
		Subject: s.in.Subject, Name: s.in.Name, Cause: store.CauseBlocked,
		Client: rapid.SampledFrom([]string{"", s.in.Client, "app"}).Draw(t, "client"),
		From:   visitor(rapid.ByteRange(1, 3).Draw(t, "device")),
	}
	got, err := h.store.End(h.ctx, e)
	if err != nil {
		t.Fatal(err)
	}
	h.compare(t, h.customer.end(m, e, h.now()), got)
}

func (h *history) endEverything(t *rapid.T) {
	if rapid.IntRange(0, 2).Draw(t, "really") > 0 {
		return
	}
	e := store.EndingAll{Subject: h.subject, FreshEpoch: h.epoch(), Cause: store.CauseOperator}
	if rapid.Bool().Draw(t, "shop") {
		e.Cause, e.From = store.CausePassword, visitor(4)
	}
	if err := h.store.EndAll(h.ctx, e); err != nil {
		t.Fatal(err)
	}
	h.customer.endAll(e.FreshEpoch, e.Cause, e.From.Address, h.now())
}

// look compares the session that the newest call was about, and the customer's record, with what the model knows of them.
func (h *history) look(t *rapid.T) {
	m := h.touched
	if m == nil {
		return
	}
	got, err := h.store.Session(h.ctx, h.subject, m.in.Name)
	if err != nil {
		t.Fatal(err)
	}
	replays := slices.DeleteFunc(slices.Clone(m.told), func(e store.Entry) bool { return e.What != store.WasReplayed })
	h.compare(t, store.Session{
		Name: m.in.Name, Subject: m.in.Subject, Client: m.in.Client, Scopes: m.scopes, Epoch: m.epoch, Password: m.in.Password,
		Base: m.base, Cur: m.cur, Uses: got.Uses, RetryKey: m.key, Device: m.device, Replays: uint32(len(replays)),
		ShopExpiresAt: m.shop, Sub: m.sub, SubMark: m.subMark(), Shut: m.parting.shut, BaseExpiresAt: m.lineage, RejoinedAt: m.rejoined, First: m.in.From, Last: m.last, Timeline: m.timeline(),
		StartedAt: m.started, RotatedAt: m.rotated, ExpiresAt: m.expires, EndsAt: m.ends, EndedAt: m.endedAt, Cause: m.ended,
	}, got.Session)
	if h.customer.record.ExpiresAt.After(h.now()) {
		h.compare(t, &h.customer.record, got.Record)
		cause, _ := got.State(h.now())
		h.compare(t, h.state(m, h.now()), cause)
	}
}

func (h *history) compare(t *rapid.T, want, got any) {
	if diff := diff(want, got); diff != "" {
		t.Fatalf("the store differs from the model (-model +store): %s", diff)
	}
}
