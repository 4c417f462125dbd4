package storm_test

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/glueauth/glueauth/server"
	"github.com/glueauth/glueauth/store"
)

var (
	flagStore   = flag.String("store", "both", "sqlite, redis or both")
	flagClients = flag.Int("clients", 30, "honest clients of the normal population")
	flagDays    = flag.Int("days", 5, "simulated days")
	flagSeed    = flag.Uint64("seed", 1, "seed of all decisions")
)

// settings are the size of a storm.
type settings struct {
	clients, days int
	seed          uint64
	few           int // clients of each known limit
	policy        server.RefreshPolicy
	tell          func(format string, args ...any) // of surprises; nil: nobody wants to know
}

func defaults() server.RefreshPolicy {
	return server.RefreshPolicy{
		Windows: windows(), MaxSessions: 200, MACKey: 1,
	}
}

// storm runs one and reports.
func storm(t *testing.T, kind string, s settings) *report {
	t.Helper()
	begun, c := time.Now(), &clock{}
	horizon := int64(s.days) * day
	stall := horizon * 6 / 10 / grid * grid
	// The failover loses what a hundred wake-ups of clients lead to.
	span := min(2*hour, max(3*grid, 100*9*hour/int64(s.clients)/grid*grid))
	late := int64(0)
	if kind == "redis" {
		late = stall + grid
	}
	all := append(normal(s.clients), limits(s.few, late)...)
	w := newWorld(t, c, len(all), s.policy)
	w.tell = s.tell
	if kind == "redis" {
		w.store = newRedis(t, w)
	} else {
		w.store = &sqlite{w: w}
	}
	w.open()
	t.Cleanup(w.close)

	faults := slices.Concat(w.interruptions(horizon), w.rotations(horizon), w.store.faults(t, stall, span))
	slices.SortStableFunc(faults, func(a, b fault) int { return cmp.Compare(a.at, b.at) })
	plan := &schedule{clock: c, faults: faults, daily: func() { w.store.sweep(t); w.keepKeys() }}
	for i, traits := range all {
		plan.clients = append(plan.clients, newClient(w, i, s.seed, horizon, traits))
	}
	plan.run()
	if len(plan.faults) > 0 {
		t.Errorf("%d faults did not happen", len(plan.faults))
	}
	var names []string
	for _, f := range faults {
		names = append(names, f.name)
	}
	return newReport(kind, s, w, names, time.Since(begun), all)
}

// interruptions are the faults that every store has.
func (w *world) interruptions(horizon int64) []fault {
	restart, outage := horizon*2/10/grid*grid, horizon*4/10/grid*grid
	heal := func() {}
	return []fault{
		{restart, "restart of everything", w.close},
		{restart + 2*grid, "its end, the servers' clocks the other way round, and a new master key", func() {
			w.skew = -w.skew
			w.rotateMaster()
			w.open()
		}},
		{outage, "the store is unavailable", func() { heal = w.store.outage(w.t) }},
		{outage + 6*grid, "it is back", func() { heal() }},
	}
}

func TestStorm(t *testing.T) {
	t.Parallel()
	reports := make([]*report, 2)
	t.Cleanup(func() { _, _ = fmt.Fprintln(os.Stdout, "\n"+table(reports...)) })
	for i, kind := range []string{"sqlite", "redis"} {
		if *flagStore != "both" && *flagStore != kind {
			continue
		}
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			r := storm(t, kind, settings{
				clients: *flagClients, days: *flagDays, seed: *flagSeed, few: max(1, *flagClients/100), policy: defaults(),
				tell: func(format string, args ...any) {
					_, _ = fmt.Fprintf(os.Stderr, format+"\n", args...) // at once: a storm takes minutes
				},
			})
			reports[i] = r
			r.judge(t)
		})
	}
}

// judge demands the two numbers, and that they could have been others.
func (r *report) judge(t *testing.T) {
	t.Helper()
	if r.falseSignOuts != 0 || r.uncaughtThefts != 0 {
		t.Errorf("%d false sign-outs and %d uncaught thefts, want 0 and 0", r.falseSignOuts, r.uncaughtThefts)
	}
	events := []string{"refresh_rotated", "refresh_replayed", "refresh_displaced", "refresh_reuse reuse", "refresh_refused reuse"}
	if r.store == "redis" {
		events = append(events, "refresh_healed")
	}
	for _, name := range events {
		if r.tally.get(name) == 0 {
			t.Errorf("no event %q: the storm is too weak to prove anything", name)
		}
	}
	if g := r.gateway; g.failed != 0 || g.checked == 0 || len(g.signed) < 4 {
		t.Errorf("%d of %d access tokens failed at the gateway, signed by %d keys; want 0 of many by 4 or more", g.failed, g.checked, len(g.signed))
	}
	for _, what := range []string{"not served", "late answers", "thefts", "sign-outs after a theft"} {
		if r.sum(what) == 0 {
			t.Errorf("%s: 0, so the storm is too weak to prove anything", what)
		}
	}
}

// TestStormFindsWhatIsBroken : with a rule switched off, the numbers are not 0.
func TestStormFindsWhatIsBroken(t *testing.T) {
	t.Parallel()
	for name, broken := range map[string]struct {
		clients, days int
		change        func(*server.RefreshPolicy)
		found         func(*report) int
	}{
		"no windows, so that honest clients are signed out": {
			15, 2,
			func(p *server.RefreshPolicy) { p.Windows = store.Windows{} },
			func(r *report) int { return r.falseSignOuts },
		},
		"nothing beyond the replay window, so that lost answers and second copies are reuse": {
			15, 3,
			func(p *server.RefreshPolicy) { p.Windows.LateRetry, p.Windows.Rejoin = 0, 0 },
			func(r *report) int { return r.falseSignOuts },
		},
		"reuse keeps sessions alive, so that thieves stay": {
			30, 4,
			func(p *server.RefreshPolicy) { p.ReuseKeepsAlive = true },
			func(r *report) int { return r.uncaughtThefts },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			policy := defaults()
			broken.change(&policy)
			if r := storm(t, "sqlite", settings{clients: broken.clients, days: broken.days, seed: 1, policy: policy}); broken.found(r) == 0 {
				t.Errorf("nothing was found:\n%s", table(r))
			}
		})
	}
}
