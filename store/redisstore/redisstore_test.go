package redisstore_test

import (
	"cmp"
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/store"
	"github.com/glueauth/glueauth/store/redisstore"
	"github.com/glueauth/glueauth/store/storetest"
)

// patient is for tests in which a machine that stands still for a while is no fault, and hasty, what a store has by itself, for
// those in which a server does.
const (
	patient = 30 * time.Second
	hasty   = 1500 * time.Millisecond
)

// open opens a store, patient unless the options say otherwise.
func open(t *testing.T, o redisstore.Options) (s *redisstore.Store) {
	t.Helper()
	o.Patience = cmp.Or(o.Patience, patient)
	storetest.Eventually(t, "the store opens", func() bool {
		var err error
		if s, err = redisstore.Open(t.Context(), o); err != nil && !errors.Is(err, store.ErrUnavailable) {
			t.Fatal(err)
		}
		return err == nil
	})
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// apart gives each test customers of its own on a server that all share.
type apart struct {
	*redisstore.Store
	offset int64
}

func (a apart) Open(ctx context.Context, in store.SignIn) (store.SignedIn, error) {
	in.Subject.ID += a.offset
	return a.Store.Open(ctx, in)
}

func (a apart) Adopt(ctx context.Context, in store.Adoption) (store.RotateResult, error) {
	in.Subject.ID += a.offset
	return a.Store.Adopt(ctx, in)
}

func (a apart) Rotate(ctx context.Context, in store.Rotation) (store.RotateResult, error) {
	in.Subject.ID += a.offset
	return a.Store.Rotate(ctx, in)
}

func (a apart) End(ctx context.Context, e store.Ending) (bool, error) {
	e.Subject.ID += a.offset
	return a.Store.End(ctx, e)
}

func (a apart) EndAll(ctx context.Context, e store.EndingAll) error {
	e.Subject.ID += a.offset
	return a.Store.EndAll(ctx, e)
}

func (a apart) Session(ctx context.Context, subject store.Subject, name store.SessionName) (store.Snapshot, error) {
	subject.ID += a.offset
	e, err := a.Store.Session(ctx, subject, name)
	e.Subject.ID -= a.offset
	return e, err
}

func (a apart) SessionsOf(ctx context.Context, subject store.Subject) ([]store.Snapshot, *store.SubjectRecord, error) {
	subject.ID += a.offset
	all, record, err := a.Store.SessionsOf(ctx, subject)
	for i := range all {
		all[i].Subject.ID -= a.offset
	}
	return all, record, err
}

func (a apart) Record(ctx context.Context, subject store.Subject) (*store.SubjectRecord, error) {
	subject.ID += a.offset
	return a.Store.Record(ctx, subject)
}

func (a apart) Locate(ctx context.Context, name store.SessionName) (store.Subject, error) {
	subject, err := a.Store.Locate(ctx, name)
	subject.ID -= a.offset
	return subject, err
}

func TestContract(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(t *testing.T) (string, []*storetest.RedisServer){
		"one server": func(t *testing.T) (string, []*storetest.RedisServer) {
			t.Helper()
			r := storetest.Redis(t)
			return r.URL(), []*storetest.RedisServer{r}
		},
		"sentinel": func(t *testing.T) (string, []*storetest.RedisServer) {
			t.Helper()
			r := storetest.RedisSentinel(t)
			return r.URL(), []*storetest.RedisServer{r.Master}
		},
		"cluster": func(t *testing.T) (string, []*storetest.RedisServer) {
			t.Helper()
			r := storetest.RedisCluster(t)
			return r.URL(), r.Masters(t)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, servers := start(t)
			t.Cleanup(func() { // when all of the suite has run
				keys := 0
				for _, r := range servers {
					keys += len(everyTTL(t, r))
				}
				if keys < 100 {
					t.Errorf("%d keys", keys)
				}
			})
			var runs atomic.Int64
			storetest.Run(t, func(t *testing.T, now func() time.Time) storetest.Sessions {
				t.Helper()
				s := open(t, redisstore.Options{URL: secret.Text(url), Clock: now})
				return apart{s, runs.Add(1) << 48}
			})
			storetest.RunGuesses(t, func(t *testing.T, now func() time.Time) storetest.Guesses {
				t.Helper()
				return open(t, redisstore.Options{URL: secret.Text(url), Clock: now})
			})
		})
	}
}
