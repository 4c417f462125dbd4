package redisstore_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/store"
	"github.com/glueauth/glueauth/store/redisstore"
	"github.com/glueauth/glueauth/store/storetest"
)

func (a apart) Revoked(ctx context.Context, after int64) ([]store.Revocation, int64, error) {
	all, next, err := a.Store.Revoked(ctx, after)
	for i := range all {
		all[i].Subject.ID -= a.offset
	}
	return all, next, err
}

func TestTheListForgets(t *testing.T) {
	t.Parallel()
	storetest.Forgets(t, func(t *testing.T, now func() time.Time) storetest.Sessions {
		t.Helper()
		return open(t, redisstore.Options{URL: secret.Text(storetest.Redis(t).URL()), Clock: now})
	})
}

// ended returns the sessions that the list names.
func ended(t *testing.T, s *redisstore.Store) (names []store.SessionName) {
	t.Helper()
	all, _, err := s.Revoked(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range all {
		if !r.Spared {
			names = append(names, r.Session)
		}
	}
	return names
}

// TestAnEndThatCannotBeWrittenDownIsNoSuccess : the call fails although the session has ended, and its repetition writes it down.
func TestAnEndThatCannotBeWrittenDownIsNoSuccess(t *testing.T) {
	t.Parallel()
	r := storetest.Redis(t)
	s := open(t, redisstore.Options{URL: secret.Text(r.URL())})
	in := signIn(1)
	all := func() error { return s.EndAll(t.Context(), endAll(1)) }
	one := func() error {
		_, err := s.End(t.Context(), store.Ending{Subject: in.Subject, Name: in.Name, Cause: store.CauseRevoked})
		return err
	}
	out := func(which store.SignOut) func() error {
		return func() error {
			request := refresh(1, 1)
			request.SignOut, request.FreshEpoch = which, store.Epoch{7}
			_, err := s.Rotate(t.Context(), request)
			return err
		}
	}
	reused := func() error {
		request := refresh(1, 1)
		request.Password[0]++
		_, err := s.Rotate(t.Context(), request)
		return err
	}
	capped := func() error {
		more := signIn(2)
		more.Subject, more.MaxOpen = in.Subject, 1
		_, err := s.Open(t.Context(), more)
		return err
	}
	for name, c := range map[string]struct {
		end, again func() error
		want       store.SessionName
	}{
		"one session":      {one, one, in.Name},
		"all, by us":       {all, all, store.SessionName{}},
		"all":              {out(store.SignOutAll), out(store.SignOutAll), store.SessionName{}},
		"others":           {out(store.SignOutOthers), out(store.SignOutOthers), store.SessionName{}},
		"another password": {reused, reused, in.Name},
		"too many":         {capped, reused, in.Name},
	} {
		r.Do(t, "FLUSHALL")
		if _, err := s.Open(t.Context(), in); err != nil {
			t.Fatal(err)
		}
		r.Do(t, "SET", "glueauth:{revoked}", "a key of another kind")
		mustBe(t, c.end(), "wrongtype")
		r.Do(t, "DEL", "glueauth:{revoked}")
		if got := ended(t, s); len(got) != 0 {
			t.Fatalf("%s: %v", name, got)
		}
		if err := c.again(); err != nil {
			t.Errorf("%s, again: %v", name, err)
		}
		if got := ended(t, s); !slices.Contains(got, c.want) {
			t.Errorf("%s, again: %v is listed, want %v", name, got, c.want)
		}
	}
}

// TestWhatEndedLongAgoIsNotListedAgain : a browser that keeps coming with the token of a dead session does not fill the list.
func TestWhatEndedLongAgoIsNotListedAgain(t *testing.T) {
	t.Parallel()
	r := storetest.Redis(t)
	var ahead time.Duration
	s := open(t, redisstore.Options{URL: secret.Text(r.URL()), Clock: func() time.Time { return time.Now().Add(ahead) }})
	in := signIn(1)
	if _, err := s.Open(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	e := store.Ending{Subject: in.Subject, Name: in.Name, Cause: store.CauseRevoked}
	if done, err := s.End(t.Context(), e); err != nil || !done {
		t.Fatal(done, err)
	}
	ahead = 2 * time.Hour
	if err := s.ForgetRevoked(t.Context(), time.Hour); err != nil {
		t.Fatal(err)
	}
	if _, err := s.End(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Rotate(t.Context(), refresh(1, 1)); err != nil || got.Cause != store.CauseRevoked {
		t.Fatal(got, err)
	}
	if got := ended(t, s); len(got) != 0 {
		t.Errorf("%v is listed", got)
	}
}

// TestAClockThatIsBehindHidesNothing : the server that takes over after a failover may have an older time.
func TestAClockThatIsBehindHidesNothing(t *testing.T) {
	t.Parallel()
	var ahead time.Duration
	s := open(t, redisstore.Options{URL: secret.Text(storetest.Redis(t).URL()), Clock: func() time.Time { return time.Now().Add(ahead) }})
	if err := s.EndAll(t.Context(), endAll(1)); err != nil {
		t.Fatal(err)
	}
	_, next, err := s.Revoked(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	ahead = -2 * time.Hour
	for name := byte(2); name < 4; name++ {
		if err := s.EndAll(t.Context(), endAll(name)); err != nil {
			t.Fatal(err)
		}
		var got []store.Revocation
		got, next, err = s.Revoked(t.Context(), next)
		if err != nil || !slices.ContainsFunc(got, func(r store.Revocation) bool { return r.Subject == endAll(name).Subject }) {
			t.Errorf("%d: %+v %v", name, got, err)
		}
	}
	ahead = time.Hour
	got, _, err := s.Revoked(t.Context(), next)
	if err != nil || len(got) != 3 {
		t.Errorf("forward again: %+v %v", got, err)
	}
	if got, _, err = s.Revoked(t.Context(), time.Now().Add(ahead).Unix()); err != nil || len(got) != 0 {
		t.Errorf("long ago: %+v %v", got, err)
	}
}

// TestMemoryThatIsFullStopsNoEnd : nor what tells the gateways of it.
func TestMemoryThatIsFullStopsNoEnd(t *testing.T) {
	t.Parallel()
	r := storetest.Redis(t)
	s := open(t, redisstore.Options{URL: secret.Text(r.URL())})
	in := signIn(1)
	if _, err := s.Open(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	do("CONFIG SET maxmemory 1")(t, r)
	done, err := s.End(t.Context(), store.Ending{Subject: in.Subject, Name: in.Name, Cause: store.CauseRevoked})
	if err != nil || !done || !slices.Contains(ended(t, s), in.Name) {
		t.Errorf("%v %v, %v is listed", done, err, ended(t, s))
	}
}
