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

// listOf returns what the list says of the customer of session 1: of him, and of that session where it is spared.
func listOf(t *testing.T, s *redisstore.Store) (all, spared store.Revocation) {
	t.Helper()
	list, _, err := s.Revoked(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range list {
		switch {
		case r.Subject != signIn(1).Subject:
		case r.Spared:
			spared = r
		case r.Session == store.SessionName{}:
			all = r
		}
	}
	return all, spared
}

// TestTokensAreVoidByTheClockOfTheSignOut : the node of a Cluster that has the list may have another time than the customer's.
func TestTokensAreVoidByTheClockOfTheSignOut(t *testing.T) {
	t.Parallel()
	for name, out := range signOuts() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var clocks []time.Duration // of the next calls
			s := open(t, redisstore.Options{URL: secret.Text(storetest.Redis(t).URL()), Clock: func() time.Time {
				var ahead time.Duration
				if len(clocks) > 0 {
					ahead, clocks = clocks[0], clocks[1:]
				}
				return time.Now().Add(ahead)
			}})
			in := signIn(1)
			if _, err := s.Open(t.Context(), in); err != nil {
				t.Fatal(err)
			}
			clocks = []time.Duration{0, 30 * time.Second}
			out(t, s)
			e, err := s.Session(t.Context(), in.Subject, in.Name)
			if err != nil || e.Record == nil {
				t.Fatal(e, err)
			}
			all, _ := listOf(t, s)
			if want := e.Record.Floor.Add(store.ClockAllowance); !all.NotBefore.Equal(want) || len(clocks) != 0 {
				t.Errorf("void up to %v, want %v", all.NotBefore, want)
			}
		})
	}
}

// TestTheLaterOfTwoSignOutsIsListed : in the same second too, whichever of them is written down first.
func TestTheLaterOfTwoSignOutsIsListed(t *testing.T) {
	t.Parallel()
	end := func(t *testing.T, s *redisstore.Store, fresh store.Epoch) error {
		t.Helper()
		e := endAll(1)
		e.FreshEpoch = fresh
		return s.EndAll(t.Context(), e)
	}
	others := func(t *testing.T, s *redisstore.Store, fresh store.Epoch) error {
		t.Helper()
		r := signOut(1, 1, store.SignOutOthers)
		r.FreshEpoch = fresh
		_, err := s.Rotate(t.Context(), r)
		return err
	}
	for name, out := range map[string]func(t *testing.T, s *redisstore.Store, fresh store.Epoch) error{"endall": end, "others": others} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := storetest.Redis(t)
			relay := storetest.Relay(t, server)
			slow := open(t, redisstore.Options{URL: secret.Text(relay.URL())})
			s := open(t, redisstore.Options{URL: secret.Text(server.URL())})
			in := signIn(1)
			if _, err := s.Open(t.Context(), in); err != nil {
				t.Fatal(err)
			}
			release, done := make(chan struct{}), make(chan error, 1)
			relay.Hold(release)
			go func() { done <- out(t, slow, store.Epoch{1}) }()
			storetest.Eventually(t, "the first one is carried out", func() bool {
				e, err := s.Session(t.Context(), in.Subject, in.Name)
				return err == nil && e.Record != nil && e.Record.Epoch == store.Epoch{1}
			})
			err := out(t, s, store.Epoch{2})
			close(release)
			if first := <-done; err != nil || first != nil {
				t.Fatal(first, err)
			}
			all, spared := listOf(t, s)
			if all.Epoch != (store.Epoch{2}) || name == "others" && spared.Epoch != all.Epoch {
				t.Errorf("%+v %+v", all, spared)
			}
		})
	}
}

// TestWhatIsUnconfirmedIsListed : what has ended on the master is written down although no replica confirms it.
func TestWhatIsUnconfirmedIsListed(t *testing.T) {
	t.Parallel()
	master := storetest.RedisPort(t)
	replica := storetest.RedisReplica(t, master)
	s := open(t, redisstore.Options{URL: secret.Text(master.URL()), WaitReplicas: 1})
	reuse := refresh(2, 1)
	reuse.Password[0]++
	capped := signIn(13)
	capped.Subject, capped.MaxOpen = signIn(3).Subject, 1
	all := func(name byte) store.Revocation { return store.Revocation{Subject: signIn(name).Subject} }
	one := func(name byte) store.Revocation {
		return store.Revocation{Subject: signIn(name).Subject, Session: signIn(name).Name}
	}
	cases := map[string]struct {
		end  func(t *testing.T) error
		want store.Revocation
	}{
		"one":              {func(t *testing.T) error { t.Helper(); _, err := s.End(t.Context(), ending(1)); return err }, one(1)},
		"another password": {func(t *testing.T) error { t.Helper(); _, err := s.Rotate(t.Context(), reuse); return err }, one(2)},
		"too many":         {func(t *testing.T) error { t.Helper(); _, err := s.Open(t.Context(), capped); return err }, one(3)},
		"endall":           {func(t *testing.T) error { t.Helper(); return s.EndAll(t.Context(), endAll(4)) }, all(4)},
		"others": {func(t *testing.T) error {
			t.Helper()
			_, err := s.Rotate(t.Context(), signOut(5, 1, store.SignOutOthers))
			return err
		}, all(5)},
		"all": {func(t *testing.T) error {
			t.Helper()
			_, err := s.Rotate(t.Context(), signOut(6, 1, store.SignOutAll))
			return err
		}, all(6)},
	}
	opened(t, s, 1, 2, 3, 4, 5, 6)
	replica.Stop(t)
	t.Cleanup(func() { replica.Continue(t) })
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mustBe(t, timely(t, func() error { return c.end(t) }), "unconfirmed")
			list, _, err := s.Revoked(t.Context(), 0)
			if err != nil || !slices.ContainsFunc(list, func(r store.Revocation) bool {
				return r.Subject == c.want.Subject && r.Session == c.want.Session && !r.Spared
			}) {
				t.Errorf("%+v is not listed: %v", c.want, err)
			}
		})
	}
}

// TestAThiefWhoHangsUpIsListed : as soon as the session has ended on the master, before a replica has confirmed it.
func TestAThiefWhoHangsUpIsListed(t *testing.T) {
	t.Parallel()
	master := storetest.RedisPort(t)
	storetest.RedisReplica(t, master)
	calls := 2 // until it is set back
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s := open(t, redisstore.Options{URL: secret.Text(master.URL()), WaitReplicas: 1, Clock: func() time.Time {
		if calls++; calls == 2 {
			cancel()
		}
		return time.Time{}
	}})
	in := signIn(1)
	if _, err := s.Open(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	theft := refresh(1, 1)
	theft.Password[0]++
	calls = 0
	if got, err := s.Rotate(ctx, theft); err != nil || got.Cause != store.CausePassword || ctx.Err() == nil {
		t.Errorf("%+v %v", got, err)
	}
	if got := ended(t, s); !slices.Contains(got, in.Name) {
		t.Errorf("%v is listed", got)
	}
}
