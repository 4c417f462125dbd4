package redisstore_test

import (
	"errors"
	"maps"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/store"
	"github.com/glueauth/glueauth/store/redisstore"
	"github.com/glueauth/glueauth/store/storetest"
)

// populated gives the customer of session 1 as many living sessions as asked for: that one and copies of it.
func populated(tb testing.TB, r *storetest.RedisServer, s *redisstore.Store, sessions int) {
	tb.Helper()
	in := signIn(1)
	if _, err := s.Open(tb.Context(), in); err != nil {
		tb.Fatal(err)
	}
	r.Do(tb, "EVAL", `local record, entry = redis.call('GET', KEYS[2]), redis.call('HGET', KEYS[1], '\1' .. string.rep('\0', 15))
		for n = 1, ARGV[1] - 1 do
			local name = struct.pack('>BI3', 1, n) .. string.rep('\0', 12)
			local digits = string.gsub(name, '.', function(c) return string.format('%02x', string.byte(c)) end)
			redis.call('HSET', KEYS[1], name, entry)
			redis.call('SET', KEYS[1] .. ':' .. digits, record, 'EX', 3600)
		end`, "2", customerKey, customerKey+":"+in.Name.String(), strconv.Itoa(sessions))
}

// commands returns how many commands of each kind a server has carried out since the last call, but for those that ask.
func commands(t *testing.T, r *storetest.RedisServer) map[string]string {
	t.Helper()
	ran := map[string]string{}
	for line := range strings.Lines(r.Do(t, "INFO", "commandstats")) {
		if name, stats, ok := strings.Cut(strings.TrimPrefix(line, "cmdstat_"), ":calls="); ok {
			ran[name], _, _ = strings.Cut(stats, ",")
		}
	}
	r.Do(t, "CONFIG", "RESETSTAT")
	maps.DeleteFunc(ran, func(name, _ string) bool { return name == "info" || strings.HasPrefix(name, "config") })
	return ran
}

// signOuts are the ways to sign out everywhere.
func signOuts() map[string]func(tb testing.TB, s *redisstore.Store) {
	by := func(r store.Rotation) func(tb testing.TB, s *redisstore.Store) {
		return func(tb testing.TB, s *redisstore.Store) {
			tb.Helper()
			if got, err := s.Rotate(tb.Context(), r); err != nil || got.Outcome != store.Rotated {
				tb.Fatalf("%+v, %v", got, err)
			}
		}
	}
	return map[string]func(tb testing.TB, s *redisstore.Store){
		"others": by(signOut(1, 1, store.SignOutOthers)),
		"all":    by(signOut(1, 1, store.SignOutAll)),
		"endall": func(tb testing.TB, s *redisstore.Store) {
			tb.Helper()
			if err := s.EndAll(tb.Context(), endAll(1)); err != nil {
				tb.Fatal(err)
			}
		},
	}
}

func TestSigningOutOfEverythingCostsTheSameForOneSessionAndForTenThousand(t *testing.T) {
	t.Parallel()
	for name, out := range signOuts() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var costs []map[string]string
			for _, sessions := range []int{1, 10_000} {
				r := storetest.Redis(t)
				s := open(t, redisstore.Options{URL: secret.Text(r.URL())})
				populated(t, r, s, sessions)
				if n := r.Do(t, "HLEN", customerKey); n != strconv.Itoa(sessions+1) { // with the epoch
					t.Fatalf("%s in the index", n)
				}
				commands(t, r)
				out(t, s)
				if sessions > 1 {
					storetest.Eventually(t, "the index is freed in the background", func() bool {
						return strings.Contains(r.Do(t, "INFO", "memory"), "lazyfreed_objects:1")
					})
				}
				costs = append(costs, commands(t, r))
				other := refresh(1, 1)
				other.Name[3] = 1
				if got, err := s.Rotate(t.Context(), other); err != nil || (got.Cause == store.CauseEpoch) != (sessions > 1) {
					t.Errorf("another session: %+v, %v", got, err)
				}
			}
			if diff := different(costs[0], costs[1]); diff != "" || costs[0]["evalsha"] != "2" { // the second one tells the gateways
				t.Errorf("%v: %s", costs[0], diff)
			}
		})
	}
}

// TestARecordIsOneCommand : whoever asks about a shop's access token must not pay for all sessions of its customer.
func TestARecordIsOneCommand(t *testing.T) {
	t.Parallel()
	r := storetest.Redis(t)
	s := open(t, redisstore.Options{URL: secret.Text(r.URL())})
	populated(t, r, s, 200)
	commands(t, r)
	record, err := s.Record(t.Context(), signIn(1).Subject)
	if err != nil || record == nil {
		t.Fatal(record, err)
	}
	if ran := commands(t, r); ran["evalsha"] != "1" || ran["get"]+ran["hkeys"] != "" {
		t.Errorf("%v", ran)
	}
}

func BenchmarkSignOutOfEverything(b *testing.B) {
	for name, sessions := range map[string]int{"1": 1, "200": 200, "10000": 10_000} {
		b.Run(name, func(b *testing.B) {
			r := storetest.Redis(b)
			s, err := redisstore.Open(b.Context(), redisstore.Options{URL: secret.Text(r.URL())})
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { _ = s.Close() })
			for b.Loop() {
				b.StopTimer()
				r.Do(b, "FLUSHALL")
				populated(b, r, s, sessions)
				if err := s.Ping(b.Context()); err != nil { // what filling it left to do is done
					b.Fatal(err)
				}
				b.StartTimer()
				signOuts()["endall"](b, s)
			}
		})
	}
}

// TestSigningOutWithoutMemory : a server that cannot keep a sign-out refuses it as a whole, and still tells what there is.
func TestSigningOutWithoutMemory(t *testing.T) {
	t.Parallel()
	r := storetest.Redis(t)
	s := open(t, redisstore.Options{URL: secret.Text(r.URL())})
	opened(t, s, 1)
	second := signIn(2)
	second.Subject = signIn(1).Subject
	if _, err := s.Open(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	look := func() ([]store.Snapshot, *store.SubjectRecord) {
		all, record, err := s.SessionsOf(t.Context(), second.Subject)
		if err != nil || len(all) != 2 {
			t.Fatalf("%+v, %v", all, err)
		}
		return all, record
	}
	sessions, record := look()
	do("CONFIG SET maxmemory 1")(t, r)
	mustBe(t, s.EndAll(t.Context(), endAll(1)), "oom")
	mustBe(t, s.EndAll(t.Context(), endAll(3)), "oom")
	for _, how := range []store.SignOut{store.SignOutOthers, store.SignOutAll} {
		_, err := s.Rotate(t.Context(), signOut(1, 2, how))
		mustBe(t, err, "oom")
	}
	after, recordAfter := look()
	if diff := different(sessions, after) + different(record, recordAfter); diff != "" {
		t.Error(diff)
	}
	do("CONFIG SET maxmemory 0")(t, r)
	if got, err := s.Rotate(t.Context(), refresh(1, 2)); err != nil || got.Outcome != store.Rotated {
		t.Errorf("%+v, %v", got, err)
	}
	if keys := r.Do(t, "KEYS", "glueauth:{c:3}*"); keys != "" {
		t.Errorf("left behind: %s", keys)
	}
}

// TestLostAnswersToSignOuts : a sign-out whose answer is lost was sent once, and who asks again is told the same.
func TestLostAnswersToSignOuts(t *testing.T) {
	t.Parallel()
	relay := storetest.Relay(t, storetest.Redis(t))
	s := open(t, redisstore.Options{URL: secret.Text(relay.URL())})
	opened(t, s, 1, 2, 3)
	lost := func(call func() error) {
		t.Helper()
		before := relay.Scripts()
		relay.Cut()
		mustBe(t, timely(t, call), "connection")
		if sent := relay.Scripts() - before; sent != 1 {
			t.Errorf("sent %d times", sent)
		}
	}
	told := func(r store.Rotation, outcome store.Outcome, cause store.Cause, generation uint32) {
		t.Helper()
		got, err := s.Rotate(t.Context(), r)
		if err != nil || got.Outcome != outcome || got.Cause != cause || got.Generation != generation {
			t.Errorf("%+v, %v", got, err)
		}
	}
	others, all := signOut(1, 2, store.SignOutOthers), signOut(2, 2, store.SignOutAll)
	lost(func() error { _, err := s.Rotate(t.Context(), others); return err })
	told(others, store.Replayed, "", 3)
	told(refresh(1, 3), store.Rotated, "", 4)
	lost(func() error { _, err := s.Rotate(t.Context(), all); return err })
	told(all, store.Refused, store.CauseAll, 0)
	lost(func() error { return s.EndAll(t.Context(), endAll(3)) })
	told(refresh(3, 2), store.Refused, store.CauseEpoch, 0)
	if err := s.EndAll(t.Context(), endAll(3)); err != nil {
		t.Error(err)
	}
}

// TestTheEndedOnesStayKnown : whoever asks after the sessions of a customer is told of the last that have ended, also when
// his record has been made anew meanwhile.
func TestTheEndedOnesStayKnown(t *testing.T) {
	t.Parallel()
	now := time.Now()
	s := at(t, storetest.Redis(t).URL(), func() time.Time { return now })
	in := signIn(1)
	in.MaxOpen = 20
	open := func(n byte) {
		t.Helper()
		in.Name = store.SessionName{n}
		if _, err := s.Open(t.Context(), in); err != nil {
			t.Fatal(err)
		}
	}
	for n := range byte(10) {
		open(n)
		now = now.Add(time.Second)
		if ended, err := s.End(t.Context(), store.Ending{Subject: in.Subject, Name: in.Name, Cause: store.CauseRevoked}); err != nil || !ended {
			t.Fatal(ended, err)
		}
	}
	open(10)
	open(11)
	known := func(want ...byte) {
		t.Helper()
		all, _, err := s.SessionsOf(t.Context(), in.Subject)
		var got []byte
		for _, e := range all {
			got = append(got, e.Name[0])
		}
		if diff := different(want, got); diff != "" || err != nil {
			t.Error(diff, err)
		}
	}
	known(10, 11, 9, 8, 7, 6, 5, 4, 3, 2)
	now = now.Add(2 * time.Hour) // all have expired
	known(10, 11, 9, 8, 7, 6, 5, 4, 3, 2)
	open(12)
	known(12, 10, 11, 9, 8, 7, 6, 5, 4)
	if err := s.EndAll(t.Context(), store.EndingAll{Subject: in.Subject, FreshEpoch: store.Epoch{1}, Cause: store.CauseOperator}); err != nil {
		t.Fatal(err)
	}
	known(10, 11, 9, 8, 7, 6, 5, 4)
	e, err := s.Session(t.Context(), in.Subject, in.Name)
	if cause, since := e.State(now); err != nil || cause != store.CauseOperator || !since.Equal(store.Whole(now)) {
		t.Errorf("%v since %v, %v", cause, since, err)
	}
}

// TestLocateHeedsItsContext : it may look through many keys, but not when nobody waits for it.
func TestLocateHeedsItsContext(t *testing.T) {
	t.Parallel()
	r := storetest.Redis(t)
	s := open(t, redisstore.Options{URL: secret.Text(r.URL()), Patience: hasty})
	opened(t, s, 1, 2)
	if got, err := s.Locate(t.Context(), signIn(2).Name); err != nil || got != signIn(2).Subject {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := s.Locate(t.Context(), signIn(3).Name); !errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrUnavailable) {
		t.Error(err)
	}
	r.Stop(t)
	mustBe(t, timely(t, func() error { _, err := s.Locate(t.Context(), signIn(2).Name); return err }), "timeout")
	r.Continue(t)
}

// TestReplicasConfirmSignOuts : with WaitReplicas, a sign-out is confirmed by a replica or answered as unavailable.
func TestReplicasConfirmSignOuts(t *testing.T) {
	t.Parallel()
	master := storetest.RedisPort(t)
	replica := storetest.RedisReplica(t, master)
	s := open(t, redisstore.Options{URL: secret.Text(master.URL()), WaitReplicas: 1})
	opened(t, s, 1, 2, 3)
	replica.Stop(t)
	others := func() error { _, err := s.Rotate(t.Context(), signOut(1, 2, store.SignOutOthers)); return err }
	all := func() error { _, err := s.Rotate(t.Context(), signOut(2, 2, store.SignOutAll)); return err }
	everything := func() error { return s.EndAll(t.Context(), endAll(3)) }
	for range 2 { // although it is signed out already
		mustBe(t, timely(t, others), "unconfirmed")
		mustBe(t, timely(t, all), "unconfirmed")
		mustBe(t, timely(t, everything), "unconfirmed")
	}
	replica.Continue(t)
	storetest.Eventually(t, "the replica confirms", func() bool { return others() == nil && all() == nil && everything() == nil })
	// A copy that was signed out with the rest ends nothing, although the refusal of what has ended waits too.
	if got, err := s.Rotate(t.Context(), refresh(1, 1)); err != nil || got.Cause != store.CauseEpoch {
		t.Errorf("%+v, %v", got, err)
	}
	survives(t, s, 3)
}
