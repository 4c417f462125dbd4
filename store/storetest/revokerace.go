package storetest

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/glueauth/glueauth/store"
)

// testRevokeWins : whichever way a session is ended, nothing of it is refreshed once that call has returned, and whoever
// was answered before holds nothing that can be used.
func testRevokeWins(t *testing.T, k *kit) {
	for name, c := range map[string]struct {
		end  func(t *testing.T, s, other *session)
		want store.Cause
	}{
		"End": {func(t *testing.T, s, _ *session) { s.end(t, store.CauseRevoked) }, store.CauseRevoked},
		"others": {func(t *testing.T, _, other *session) {
			other.want(t, rotated, 2, other.refresh(t, 1, other.others()))
		}, store.CauseEpoch},
		"all": {func(t *testing.T, _, other *session) {
			same(t, "all", store.RotateResult{Outcome: rotated}, other.refresh(t, 1, other.all()))
		}, store.CauseEpoch},
		"EndAll": {func(t *testing.T, s, _ *session) { s.endAll(t, s.in.Subject, store.CauseOperator) }, store.CauseEpoch},
	} {
		t.Run(name, func(t *testing.T) {
			for range rounds / 10 {
				s := k.open(t, k.signIn())
				newest := s.refreshUntilRefused(t, c.want, func() { c.end(t, s, s.sibling(t)) })
				for g := newest - min(newest, store.RememberedUses); g <= newest+1; g++ {
					s.dead(t, g, c.want)
				}
			}
		})
	}
}

// refreshUntilRefused lets tabs refresh the newest generation all the time, carries out end beside them, and returns the
// newest generation that any of them got.
func (s *session) refreshUntilRefused(t *testing.T, want store.Cause, end func()) uint32 {
	t.Helper()
	var newest atomic.Uint32
	var ended atomic.Bool
	var started, tabs sync.WaitGroup
	newest.Store(1)
	for i := range 4 {
		started.Add(1)
		tabs.Go(func() {
			for first := true; ; first = false {
				g, late := newest.Load(), ended.Load()
				got, err := s.store.Rotate(t.Context(), s.request(g, from(byte(i)), observing))
				if first {
					started.Done()
				}
				switch {
				case err != nil || got.Outcome.Succeeded() && late:
					t.Errorf("generation %d, ended %v: %+v, %v", g, late, got, err)
					return
				case got.Outcome == store.Refused && got.Cause == want:
					return
				case got.Outcome == store.Refused:
					t.Errorf("refused for %q, want %q", got.Cause, want)
					return
				}
				for n := newest.Load(); n < got.Generation && !newest.CompareAndSwap(n, got.Generation); n = newest.Load() {
				}
			}
		})
	}
	started.Wait()
	end()
	ended.Store(true)
	tabs.Wait()
	return newest.Load()
}
