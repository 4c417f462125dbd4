package store_test

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/glueauth/glueauth/store"
)

// The rows of the table and everything over several calls are tested in storetest, against every store. Here stands what
// no store can be brought to within reasonable time.

func noon() time.Time { return time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC) }

func diff(want, got any) string {
	return cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{}))
}

// at returns a session that stands at the given generations, its base just used.
func at(base, cur uint32) store.Session {
	s := store.Session{
		Client: "frontend", Scopes: []string{"customer"}, Epoch: store.Epoch{1}, Base: base, Cur: cur,
		Device: store.DeviceMark{1}, StartedAt: noon(), RotatedAt: noon(),
		ExpiresAt: noon().Add(24 * time.Hour), EndsAt: noon().Add(48 * time.Hour),
	}
	for i := range s.Uses {
		s.Uses[i] = uint32(noon().Unix())
	}
	return s
}

func refresh(generation uint32) store.Rotation {
	return store.Rotation{
		Generation: generation, Client: "frontend", Device: store.DeviceMark{2}, Lifetime: time.Hour,
		Windows: store.Windows{Replay: time.Minute, LateRetry: time.Hour, Concurrency: 10 * time.Second},
	}
}

func TestTheNewestGenerationThereCanBe(t *testing.T) {
	t.Parallel()
	const last = store.MaxGeneration
	exhausted := store.RotateResult{Outcome: store.Refused, Cause: store.CauseExhausted}
	given := func(outcome store.Outcome, expires time.Time) store.RotateResult {
		return store.RotateResult{Outcome: outcome, Generation: last, ExpiresAt: expires, Scopes: []string{"customer"}}
	}
	keep, soon := noon().Add(24*time.Hour), noon().Add(time.Hour)
	late := func(s store.Session) store.Session {
		s.Uses[s.Base%store.RememberedUses] -= 600
		return s
	}
	for name, c := range map[string]struct {
		session store.Session
		g       uint32
		want    store.RotateResult
		ends    store.Cause
	}{
		"it is given out":                        {at(last-2, last-1), last - 1, given(store.Rotated, soon), ""},
		"it is given out to heal":                {at(7, 8), last - 1, given(store.Healed, soon), ""},
		"it is given out in place of one":        {late(at(last-2, last-1)), last - 2, given(store.Displaced, soon), ""},
		"it has no successor":                    {at(last-1, last), last, exhausted, store.CauseExhausted},
		"it heals nothing":                       {at(7, 8), last, exhausted, store.CauseExhausted},
		"it cannot be displaced":                 {late(at(last-1, last)), last - 1, exhausted, store.CauseExhausted},
		"it is handed out again":                 {at(last-1, last), last - 1, given(store.Replayed, keep), ""},
		"a tab is one refresh behind it":         {at(last-1, last), last - 2, given(store.Replayed, keep), ""},
		"beyond it is nothing":                   {at(7, 8), last + 1, exhausted, store.CauseExhausted},
		"its ancestors are reuse as ever":        {at(last-1, last), 5, store.RotateResult{Outcome: store.Reused, Cause: store.CauseReuse}, store.CauseReuse},
		"generation nought is none of a session": {at(7, 8), 0, store.RotateResult{Outcome: store.Reused, Cause: store.CauseReuse}, store.CauseReuse},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := c.session
			got, changed := s.Rotate(refresh(c.g), &store.SubjectRecord{Epoch: s.Epoch}, noon())
			if diff := diff(c.want, got); diff != "" || !changed {
				t.Errorf("changed %v, result %s", changed, diff)
			}
			if s.Cause != c.ends || s.EndedAt.IsZero() != (c.ends == "") {
				t.Errorf("ended %v for %q, want %q", s.EndedAt, s.Cause, c.ends)
			}
		})
	}
}

func TestARecordPastItsExpiryIsAsGoodAsGoneAndUntouched(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		now  time.Time
		want store.Cause
	}{
		"a second before": {noon().Add(24*time.Hour - time.Second), ""},
		"at the second":   {noon().Add(24 * time.Hour), store.CauseExpired},
		"after":           {noon().Add(40 * time.Hour), store.CauseExpired},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := at(3, 4)
			before := s
			got, changed := s.Rotate(refresh(4), &store.SubjectRecord{Epoch: s.Epoch}, c.now)
			if got.Cause != c.want || changed != (c.want == "") {
				t.Errorf("%+v, changed %v", got, changed)
			}
			if diff := diff(before, s); c.want != "" && diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAnEndedRecordKeepsItsCauseAndTime(t *testing.T) {
	t.Parallel()
	s := at(3, 4)
	s.EndedAt, s.Cause = noon(), store.CauseBlocked
	before := s
	got, changed := s.Rotate(refresh(4), nil, noon().Add(time.Minute))
	want := store.RotateResult{Outcome: store.Refused, Cause: store.CauseBlocked}
	if diff := diff(want, got) + diff(before, s); diff != "" || changed {
		t.Errorf("changed %v: %s", changed, diff)
	}
}

func TestWhatHappensToACopyStaysThere(t *testing.T) {
	t.Parallel()
	s := at(3, 4)
	record := &store.SubjectRecord{Epoch: s.Epoch}
	for range 2 { // the second one counts the first one's entry up
		s.Rotate(refresh(3), record, noon())
		before, again := s, s
		entries := slices.Clone(s.Timeline)
		again.Rotate(refresh(3), record, noon())
		if diff := diff(entries, before.Timeline); diff != "" {
			t.Error(diff)
		}
	}
}

func TestAnEntryThatIsFullIsFollowedByAnother(t *testing.T) {
	t.Parallel()
	s := at(3, 4)
	s.Timeline = []store.Entry{{At: noon(), What: store.WasReplayed, Generation: 3, Count: 1<<16 - 2}}
	for range 2 {
		s.Rotate(refresh(3), &store.SubjectRecord{Epoch: s.Epoch}, noon().Add(time.Second))
	}
	later := noon().Add(time.Second)
	want := []store.Entry{
		{At: later, What: store.WasReplayed, Generation: 3, Count: 1<<16 - 1},
		{At: later, What: store.WasReplayed, Generation: 3, Count: 1},
	}
	if diff := diff(want, s.Timeline); diff != "" {
		t.Error(diff)
	}
}

func TestGenerationNoughtIsNotShutByASignOutThatNeverWas(t *testing.T) {
	t.Parallel()
	s := at(0, 0)
	if got, _ := s.Rotate(refresh(0), &store.SubjectRecord{Epoch: s.Epoch}, noon()); got.Outcome != store.Rotated {
		t.Errorf("%+v", got)
	}
}

// TestATokenFromBeforeLostWritesIsJudgedByWholeSeconds : as every other one, whatever part of a second a store's clock shows.
func TestATokenFromBeforeLostWritesIsJudgedByWholeSeconds(t *testing.T) {
	t.Parallel()
	for after, want := range map[time.Duration]store.Outcome{time.Minute + 999*time.Millisecond: store.Replayed, time.Minute + time.Second: store.Reused} {
		s, r := at(7, 8), refresh(8)
		r.Expires = s.ExpiresAt.Add(time.Hour)
		if got, _ := s.Rotate(r, &store.SubjectRecord{Epoch: s.Epoch}, noon().Add(after)); got.Outcome != want {
			t.Errorf("after %s: %s, want %s", after, got.Outcome, want)
		}
	}
}
