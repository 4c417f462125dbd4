package storetest

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/glueauth/glueauth/store"
)

// history is one random history of one customer, on the store and in the model.
type history struct {
	*kit
	customer
	ctx     context.Context //nolint:containedctx // one history is one test
	subject store.Subject
}

func testModel(t *testing.T, k *kit) {
	rapid.Check(t, func(rt *rapid.T) {
		h := &history{kit: k, ctx: t.Context(), subject: k.signIn().Subject}
		h.signIn(rt)
		rt.Repeat(map[string]func(*rapid.T){
			"refresh": h.refresh,
			"again":   h.refresh, // twice as likely as the others
			"advance": h.advance,
			"wait":    h.wait,
			"sign in": h.signIn,
			"end":     h.end,
		})
	})
}

func (h *history) now() time.Time { return store.Whole(h.clock.now()) }

func (h *history) signIn(t *rapid.T) {
	in := h.kit.signIn()
	in.Subject = h.subject
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
	return m, &session{kit: h.kit, in: m.in}
}

func (h *history) refresh(t *rapid.T) {
	m, s := h.pick(t)
	g := rapid.OneOf(
		rapid.Just(m.cur), rapid.Just(max(1, m.base)),
		rapid.Uint32Range(1, m.cur+2),
		rapid.SampledFrom([]uint32{m.cur - 1, m.base - 1, m.base - 15, m.base - 16, m.cur + 20}).Filter(func(g uint32) bool {
			return 0 < g && g <= m.cur+20
		}),
	).Draw(t, "generation")
	options := []option{
		from(rapid.ByteRange(1, 3).Draw(t, "device")),
		keyed(rapid.SampledFrom([]byte{0, 0, 0, 1, 2}).Draw(t, "key")),
		rejoin(rapid.SampledFrom([]time.Duration{0, 7 * day}).Draw(t, "rejoin")),
	}
	switch rapid.IntRange(0, 30).Draw(t, "oddity") {
	case 1:
		options = append(options, client("app"))
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
	}
	if rapid.Bool().Draw(t, "observe") {
		options = append(options, observing)
	}
	h.rotate(t, m, s.request(g, options...))
}

// advance rotates several times, so that the record forgets.
func (h *history) advance(t *rapid.T) {
	m, s := h.pick(t)
	for range rapid.IntRange(1, 20).Draw(t, "rotations") {
		h.rotate(t, m, s.request(m.cur))
	}
}

func (h *history) rotate(t *rapid.T, m *model, r store.Rotation) {
	got, err := h.store.Rotate(h.ctx, r)
	if err != nil {
		t.Fatal(err)
	}
	h.compare(t, h.customer.refresh(m, r, h.now()), got)
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
	got, err := h.store.End(h.ctx, s.in.Subject, s.in.Name, store.CauseBlocked)
	if err != nil {
		t.Fatal(err)
	}
	h.compare(t, h.customer.end(m, store.CauseBlocked, h.now()), got)
}

func (h *history) compare(t *rapid.T, want, got any) {
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("the store differs from the model (-model +store): %s", diff)
	}
}
