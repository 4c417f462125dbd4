package storetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/glueauth/glueauth/store"
)

const (
	histories = 25
	callers   = 4
	length    = 8 // of each caller
	patience  = time.Minute
)

// testLinear records what many callers are told who refresh, revoke, sign in and sign out at the same time, and looks for an
// order of their calls that explains all of it.
func testLinear(t *testing.T, k *kit) {
	for seed := range uint64(histories) {
		operations, err := k.record(t.Context(), seed)
		if err != nil {
			t.Fatal(err)
		}
		spec := specification(k.clock.now())
		result, info := porcupine.CheckOperationsVerbose(spec, operations, patience)
		if result == porcupine.Ok {
			continue
		}
		path := filepath.Join(t.ArtifactDir(), "history.html")
		if err := porcupine.VisualizePath(spec, info, path); err != nil {
			t.Error(err)
		}
		t.Fatalf("history %d: %s, see %s", seed, result, path)
	}
}

// look is a call of Session, and missing its answer when there is none.
type (
	look struct {
		subject store.Subject
		name    store.SessionName
	}
	missing struct{}
)

// recorder is one history that is being made: four sessions of one customer, of which the third is opened in it and the
// last one taken over.
type recorder struct {
	*kit
	sessions [4]*session
	newest   [4]atomic.Uint32

	stamp atomic.Int64
	mu    sync.Mutex
	calls []porcupine.Operation
	err   error
}

// record makes a history. It ends with a look at every session, so that what the calls left behind is compared too.
func (k *kit) record(ctx context.Context, seed uint64) ([]porcupine.Operation, error) {
	r := &recorder{kit: k}
	in := k.signIn()
	for i := range r.sessions {
		r.sessions[i] = &session{kit: k, in: in}
		if i == 3 {
			r.sessions[i].shop = k.clock.whole().Add(60 * day) // so that no floor is above it
		} else {
			r.newest[i].Store(1)
		}
		in.Name, in.FreshEpoch = k.name(), k.epoch()
		if i < 2 {
			r.call(ctx, 0, r.sessions[i].in)
		}
	}
	together(callers, func(i int) {
		random := rand.New(rand.NewPCG(seed, uint64(i)))
		for n := range length {
			if i == 0 && n == length/2 {
				r.call(ctx, i, r.sessions[2].in)
			} else {
				r.call(ctx, i, r.draw(random))
			}
		}
	})
	for _, s := range r.sessions {
		r.call(ctx, 0, look{s.in.Subject, s.in.Name})
	}
	return r.calls, r.err
}

// draw returns the next call of a caller: mostly a refresh with the newest generation or one before.
func (r *recorder) draw(random *rand.Rand) any {
	i := random.IntN(len(r.sessions))
	s := r.sessions[i]
	newest := r.newest[i].Load()
	g := newest - min(max(newest, 1)-1, uint32(random.IntN(12)/8))
	options := []option{from(byte(1 + random.IntN(2)))}
	if random.IntN(4) == 0 {
		options = append(options, keyed(1))
	}
	if !s.shop.IsZero() && (newest == 0 || random.IntN(4) == 0) {
		return []any{s.request(0, options...), s.adoption(options...)}[min(1, random.IntN(3))]
	}
	switch random.IntN(24) {
	case 0:
		return store.Ending{Subject: s.in.Subject, Name: s.in.Name, Cause: store.CauseRevoked, Client: s.in.Client, From: visitor(3)}
	case 1:
		return store.EndingAll{Subject: s.in.Subject, FreshEpoch: r.epoch(), Cause: store.CauseOperator}
	case 2:
		return s.request(g, append(options, r.all())...)
	case 3, 4, 5:
		return s.request(g, append(options, r.others())...)
	case 6, 7:
		return look{s.in.Subject, s.in.Name}
	case 8:
		return s.request(newest+2, options...)
	default:
		return s.request(g, options...)
	}
}

// call makes one call and notes its answer. The stamps are counted, so that no two are alike.
func (r *recorder) call(ctx context.Context, caller int, input any) {
	o := porcupine.Operation{ClientId: caller, Input: input, Call: r.stamp.Add(1)}
	var err error
	switch in := input.(type) {
	case store.SignIn:
		o.Output, err = r.store.Open(ctx, in)
	case store.Rotation:
		var got store.RotateResult
		got, err = r.store.Rotate(ctx, in)
		r.given(in.Name, got)
		o.Output = got
	case store.Adoption:
		var got store.RotateResult
		got, err = r.store.Adopt(ctx, in)
		r.given(in.Name, got)
		o.Output = got
	case store.Ending:
		o.Output, err = r.store.End(ctx, in)
	case store.EndingAll:
		err = r.store.EndAll(ctx, in)
	case look:
		o.Output, err = r.store.Session(ctx, in.subject, in.name)
		if errors.Is(err, store.ErrNotFound) {
			o.Output, err = missing{}, nil
		}
	}
	o.Output, o.Return = plain(o.Output), r.stamp.Add(1)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, o)
	r.err = errors.Join(r.err, err)
}

func (r *recorder) given(name store.SessionName, got store.RotateResult) {
	for i, s := range r.sessions {
		if s.in.Name == name && got.Generation > 0 {
			r.newest[i].Store(got.Generation)
		}
	}
}

// customerState is all that a store knows of a customer.
type customerState struct {
	record   *store.SubjectRecord
	sessions map[store.SessionName]store.Session
}

// specification is what a store does with one call after the other while its clock stands at now: the rules of package
// store, applied to the records as they are.
func specification(now time.Time) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return customerState{} },
		Step: func(state, input, output any) (bool, any) {
			after, want := state.(customerState).step(input, now)
			return reflect.DeepEqual(plain(want), output), after
		},
		Equal: func(a, b any) bool { return reflect.DeepEqual(a, b) },
		Hash:  func(state any) uint64 { return state.(customerState).hash() },
		DescribeOperation: func(input, output any) string {
			return fmt.Sprintf("%T %+v -> %+v", input, input, output)
		},
	}
}

// plain returns an answer with nothing in the place of what is empty, so that equal ones are the same.
func plain(output any) any {
	switch o := output.(type) {
	case store.RotateResult:
		if len(o.Scopes) == 0 {
			o.Scopes = nil
		}
		return o
	case store.Snapshot:
		if len(o.Timeline) == 0 {
			o.Timeline = nil
		}
		return o
	default:
		return output
	}
}

func (c customerState) hash() (sum uint64) {
	for name, s := range c.sessions {
		sum += uint64(name[15]) * (uint64(s.Cur)<<32 + uint64(s.Base)<<16 + uint64(s.Replays)<<8 + uint64(s.Epoch[7]) + uint64(len(s.Timeline))<<48)
	}
	return sum
}

// step returns the state after a call, and its answer. The state before stays as it is.
func (c customerState) step(input any, now time.Time) (after customerState, output any) {
	after = customerState{sessions: maps.Clone(c.sessions)}
	if c.record != nil {
		record := *c.record
		after.record = &record
	}
	switch in := input.(type) {
	case store.SignIn:
		return after, after.open(in, now)
	case store.Rotation:
		s, ok := after.sessions[in.Name]
		if !ok {
			return after, store.RotateResult{Outcome: store.Refused, Cause: store.CauseMissing}
		}
		result, _ := s.Rotate(in, after.record, now)
		after.sessions[in.Name] = s
		return after, result
	case store.Adoption:
		return after, after.adopt(in, now)
	case store.Ending:
		return after, after.end(in, now)
	case store.EndingAll:
		after.endAll(in, now)
		return after, nil
	case look:
		if s, ok := after.sessions[in.name]; ok {
			return after, store.Snapshot{Session: s, Record: after.record}
		}
		return after, missing{}
	default:
		return after, fmt.Errorf("%T is no call", input)
	}
}

func (c *customerState) end(e store.Ending, now time.Time) bool {
	s, ok := c.sessions[e.Name]
	if !ok || !s.End(e, c.record, now) {
		return false
	}
	c.sessions[e.Name] = s
	return true
}

func (c *customerState) endAll(e store.EndingAll, now time.Time) {
	if c.record == nil {
		c.record = new(store.SubjectRecord)
	}
	c.record.EndAll(e, now)
}

func (c *customerState) open(in store.SignIn, now time.Time) store.SignedIn {
	if c.record == nil {
		c.record = &store.SubjectRecord{Epoch: in.FreshEpoch}
	}
	if c.sessions == nil {
		c.sessions = map[store.SessionName]store.Session{}
	}
	s := store.Session{
		Name: in.Name, Subject: in.Subject, Client: in.Client, Scopes: in.Scopes, Epoch: c.record.Epoch, Password: in.Password,
		Cur: 1, Device: in.Device, First: in.From, Last: in.From, StartedAt: store.Whole(now), RotatedAt: store.Whole(now),
		ExpiresAt: store.Whole(now.Add(min(in.Lifetime, in.MaxLife))), EndsAt: store.Whole(now.Add(in.MaxLife)),
	}
	c.sessions[in.Name] = s
	if s.ExpiresAt.After(c.record.ExpiresAt) {
		c.record.ExpiresAt = s.ExpiresAt
	}
	return store.SignedIn{ExpiresAt: s.ExpiresAt}
}
