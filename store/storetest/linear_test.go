package storetest_test

import (
	"context"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/glueauth/glueauth/store"
	"github.com/glueauth/glueauth/store/storetest"
)

// hasty answers that a session is ended before that is carried out.
type hasty struct {
	*memory
	endings sync.WaitGroup
}

func (h *hasty) End(ctx context.Context, e store.Ending) (bool, error) {
	s, err := h.Session(ctx, e.Subject, e.Name)
	if err != nil || !s.End(e, s.Record, h.now()) {
		return false, nil //nolint:nilerr // there is no session
	}
	h.endings.Go(func() {
		dawdle()
		_, _ = h.memory.End(context.WithoutCancel(ctx), e)
	})
	return true, nil
}

// torn reads, decides and writes in three steps.
type torn struct{ *memory }

func (m *torn) Rotate(ctx context.Context, r store.Rotation) (store.RotateResult, error) {
	e, err := m.Session(ctx, r.Subject, r.Name)
	if err != nil {
		return store.RotateResult{Outcome: store.Refused, Cause: store.CauseMissing}, nil
	}
	dawdle()
	result, _ := e.Rotate(r, e.Record, m.now())
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sessions[r.Name], m.records[r.Subject] = e.Session, *e.Record
	return result, nil
}

// blind looks at the customer's record in one step and at the session in the next, so that a sign-out everywhere comes
// between them.
type blind struct{ *memory }

func (m *blind) Rotate(ctx context.Context, r store.Rotation) (store.RotateResult, error) {
	m.mu.Lock()
	before, known := m.records[r.Subject]
	m.mu.Unlock()
	dawdle()
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.sessions[r.Name]
	if !ok || !known {
		return store.RotateResult{Outcome: store.Refused, Cause: store.CauseMissing}, ctx.Err()
	}
	result, _ := s.Rotate(r, &before, m.now())
	m.sessions[r.Name] = s
	if r.SignOut != store.SignOutNone {
		m.records[r.Subject] = before
	}
	return result, ctx.Err()
}

// forgetful keeps everything of a refused call but what it tells about it.
type forgetful struct{ *memory }

func (m *forgetful) EndAll(ctx context.Context, e store.EndingAll) error {
	record, leave, err := m.enter(ctx, e.Subject)
	if err != nil {
		return err
	}
	defer leave()
	record.EndAll(e, m.now())
	record.FloorCause = ""
	m.records[e.Subject] = *record
	return nil
}

func dawdle() {
	for range 50 {
		runtime.Gosched()
	}
}

// TestHistoriesOfABrokenStoreHaveNoExplanation : the check can say no, and says yes to the same histories of a whole one.
func TestHistoriesOfABrokenStoreHaveNoExplanation(t *testing.T) {
	t.Parallel()
	noon := func() time.Time { return time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC) }
	for name, broken := range map[string]func() storetest.Sessions{
		"answers before it ends":    func() storetest.Sessions { return &hasty{memory: newMemory(noon)} },
		"reads, then writes":        func() storetest.Sessions { return &torn{newMemory(noon)} },
		"does not see the sign-out": func() storetest.Sessions { return &blind{newMemory(noon)} },
		"does not say why":          func() storetest.Sessions { return &forgetful{newMemory(noon)} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const most = 500
			for seed := range uint64(most) {
				whole, err := storetest.Explained(t.Context(), newMemory(noon), noon, seed)
				if err != nil || !whole {
					t.Fatalf("history %d of a whole store: %v, %v", seed, whole, err)
				}
				s := broken()
				explained, err := storetest.Explained(t.Context(), s, noon, seed)
				if h, ok := s.(*hasty); ok {
					h.endings.Wait()
				}
				if err != nil {
					t.Fatal(err)
				}
				if !explained {
					t.Logf("found by history %d", seed)
					return
				}
			}
			t.Errorf("%d histories of it were explained", most)
		})
	}
}
