package redisstore_test

import (
	"strings"
	"testing"
	"time"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/store"
	"github.com/glueauth/glueauth/store/redisstore"
	"github.com/glueauth/glueauth/store/storetest"
)

// TestBadAnswers : no answer that a server may give is taken for a verdict, and the next good one is believed.
func TestBadAnswers(t *testing.T) {
	t.Parallel()
	relay := storetest.Relay(t, storetest.Redis(t))
	patiently, hastily := open(t, redisstore.Options{URL: secret.Text(relay.URL())}), open(t, redisstore.Options{URL: secret.Text(relay.URL()), Patience: hasty})
	opened(t, patiently, 1, 2)
	const inScript = "-ERR Error running script (call to f_0): @user_script:9: @user_script: 9: "
	for answer, class := range map[string]string{
		"-LOADING Redis is loading the dataset in memory\r\n":                              "loading",
		"-READONLY You can't write against a read only replica.\r\n":                       "readonly",
		inScript + "-READONLY You can't write against a read only replica.\r\n":            "readonly",
		"-OOM command not allowed when used memory > 'maxmemory'.\r\n":                     "oom",
		inScript + "-OOM command not allowed when used memory > 'maxmemory'.\r\n":          "oom",
		"-MISCONF Redis is configured to save RDB snapshots\r\n":                           "misconf",
		"-NOREPLICAS Not enough good replicas to write.\r\n":                               "noreplicas",
		"-CLUSTERDOWN The cluster is down\r\n":                                             "clusterdown",
		"-TRYAGAIN Multiple keys request during rehashing of slot\r\n":                     "tryagain",
		"-MASTERDOWN Link with MASTER is down\r\n":                                         "masterdown",
		"-BUSY Redis is busy running a script.\r\n":                                        "busy",
		"-NOAUTH Authentication required.\r\n":                                             "noauth",
		"-WRONGPASS invalid username-password pair or user is disabled.\r\n":               "wrongpass",
		"-NOPERM this user has no permissions to run the 'evalsha' command\r\n":            "noperm",
		"-ERR ACL failure in script: User glue has no permissions\r\n":                     "noperm",
		"-NOSCRIPT No matching script.\r\n":                                                "noscript",
		"-MOVED 1 127.0.0.1:1\r\n":                                                         "moved",
		"-ASK 1 127.0.0.1:1\r\n":                                                           "ask",
		"-CROSSSLOT Keys in request don't hash to the same slot\r\n":                       "crossslot",
		"-WRONGTYPE Operation against a key\r\n":                                           "wrongtype",
		inScript + "ERR syntax error\r\n":                                                  "version",
		"-ERR max number of clients reached\r\n":                                           "maxclients",
		"-ERR unknown command 'EVALSHA', with args beginning with: '" + password + "'\r\n": "error",
		"-\r\n":                            "error",
		"HTTP/1.1 400 Bad Request\r\n\r\n": "protocol",
		"*2\r\n$7\r\nrotated\r\n:1\r\n":    "protocol", // of another version of the script
		"*1\r\n$-1\r\n":                    "protocol",
		"$-1\r\n":                          "protocol",
		"+OK\r\n":                          "protocol",
		"$1000000\r\nx":                    "timeout",
		"*2\r\n$7\r\nrota":                 "timeout",
		"$999999999999999999999\r\n":       "protocol",
	} {
		s := patiently
		if class == "timeout" {
			s = hastily
		}
		relay.Answer(answer)
		for call, run := range map[string]func() error{
			"rotate": func() error { _, err := s.Rotate(t.Context(), refresh(1, 2)); return err },
			"open":   func() error { _, err := s.Open(t.Context(), signIn(3)); return err },
			"end": func() error {
				_, err := s.End(t.Context(), ending(2))
				return err
			},
			"end all": func() error { return s.EndAll(t.Context(), endAll(2)) },
			"session": func() error { _, err := s.Session(t.Context(), signIn(2).Subject, signIn(2).Name); return err },
		} {
			if err := timely(t, run); err == nil {
				t.Errorf("%s believed %q", call, answer)
			} else {
				mustBe(t, err, class)
			}
		}
	}
	relay.Answer("")
	if got, err := patiently.Rotate(t.Context(), refresh(1, 2)); err != nil || got.Outcome != store.Rotated {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestLostAnswers : a refresh whose answer is lost was sent once, and who asks again gets the same successor.
func TestLostAnswers(t *testing.T) {
	t.Parallel()
	for name, harm := range map[string]func(relay *storetest.RedisRelay, release <-chan struct{}){
		"cut":  func(relay *storetest.RedisRelay, _ <-chan struct{}) { relay.Cut() },
		"late": func(relay *storetest.RedisRelay, release <-chan struct{}) { relay.Hold(release) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			relay := storetest.Relay(t, storetest.Redis(t))
			s := open(t, redisstore.Options{URL: secret.Text(relay.URL()), Patience: map[string]time.Duration{"late": hasty}[name]})
			opened(t, s, 1)
			before, release := relay.Scripts(), make(chan struct{})
			harm(relay, release)
			err := timely(t, func() error { _, err := s.Rotate(t.Context(), refresh(1, 2)); return err })
			mustBe(t, err, map[string]string{"cut": "connection", "late": "timeout"}[name])
			close(release)
			if sent := relay.Scripts() - before; sent != 1 {
				t.Errorf("sent %d times", sent)
			}
			got, err := s.Rotate(t.Context(), refresh(1, 2))
			if err != nil || got.Outcome != store.Replayed || got.Generation != 3 {
				t.Errorf("%+v, %v", got, err)
			}
			if got, err := s.Rotate(t.Context(), refresh(1, 3)); err != nil || got.Outcome != store.Rotated {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
}

// TestForgottenScripts : a server that has forgotten the scripts is taught them again within the call.
func TestForgottenScripts(t *testing.T) {
	t.Parallel()
	r := storetest.Redis(t)
	s := open(t, redisstore.Options{URL: secret.Text(r.URL())})
	opened(t, s, 1)
	for g := uint32(2); g < 5; g++ {
		r.Do(t, "SCRIPT", "FLUSH")
		if got, err := s.Rotate(t.Context(), refresh(1, g)); err != nil || got.Outcome != store.Rotated {
			t.Fatalf("%+v, %v", got, err)
		}
	}
	r.Do(t, "SCRIPT", "FLUSH")
	if ended, err := s.End(t.Context(), ending(1)); err != nil || !ended {
		t.Errorf("%v, %v", ended, err)
	}
	r.Do(t, "SCRIPT", "FLUSH")
	if got, err := s.Session(t.Context(), signIn(1).Subject, signIn(1).Name); err != nil || got.Cause != store.CauseGone {
		t.Errorf("%+v, %v", got, err)
	}
	r.Do(t, "SCRIPT", "FLUSH")
	if got, _, err := s.SessionsOf(t.Context(), signIn(1).Subject); err != nil || len(got) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	r.Do(t, "SCRIPT", "FLUSH")
	if err := s.EndAll(t.Context(), endAll(1)); err != nil {
		t.Error(err)
	}
}

// TestKilledConnections : a server may close connections at any time.
func TestKilledConnections(t *testing.T) {
	t.Parallel()
	r := storetest.Redis(t)
	s := open(t, redisstore.Options{URL: secret.Text(r.URL())})
	opened(t, s, 1)
	g := uint32(2)
	for range 30 {
		r.Do(t, "CLIENT", "KILL", "TYPE", "normal")
		got, err := s.Rotate(t.Context(), refresh(1, g))
		if err != nil {
			mustBe(t, err, "connection")
			continue
		}
		if !got.Outcome.Succeeded() {
			t.Fatalf("%+v", got)
		}
		g = got.Generation
	}
	if g < 3 {
		t.Error("no call came through")
	}
}

// TestOneCommand : a refresh is one command of a client, and connecting makes no noise.
func TestOneCommand(t *testing.T) {
	t.Parallel()
	r := storetest.Redis(t)
	s := open(t, redisstore.Options{URL: secret.Text(r.URL())})
	opened(t, s, 1)
	lines := r.Monitor(t)
	for g := uint32(2); g < 7; g++ {
		if _, err := s.Rotate(t.Context(), refresh(1, g)); err != nil {
			t.Fatal(err)
		}
	}
	var sent []string
	for _, line := range lines() {
		if !strings.Contains(line, " lua]") {
			sent = append(sent, line)
		}
	}
	if len(sent) != 5 {
		t.Errorf("%d commands: %q", len(sent), sent)
	}
	for _, line := range sent {
		if !strings.Contains(strings.ToLower(line), `"evalsha"`) {
			t.Error(line)
		}
	}
}

// TestEndingWithoutMemory : a record for whose ending there is no memory is deleted.
func TestEndingWithoutMemory(t *testing.T) {
	t.Parallel()
	r := storetest.Redis(t)
	s := open(t, redisstore.Options{URL: secret.Text(r.URL())})
	opened(t, s, 1, 2)
	if _, err := s.Rotate(t.Context(), refresh(2, 2)); err != nil {
		t.Fatal(err)
	}
	do("CONFIG SET maxmemory 1")(t, r)
	if ended, err := s.End(t.Context(), ending(1)); err != nil || !ended {
		t.Errorf("%v, %v", ended, err)
	}
	theft := refresh(2, 1)
	theft.Windows = store.Windows{Replay: -time.Second}
	if got, err := s.Rotate(t.Context(), theft); err != nil || got.Outcome != store.Reused {
		t.Errorf("%+v, %v", got, err)
	}
	do("CONFIG SET maxmemory 0")(t, r)
	for name, g := range map[byte]uint32{1: 2, 2: 3} {
		got, err := s.Rotate(t.Context(), refresh(name, g))
		if err != nil || got.Outcome != store.Refused || got.Cause != store.CauseMissing {
			t.Errorf("session %d: %+v, %v", name, got, err)
		}
	}
}

// TestReplicasConfirm : with WaitReplicas, what must not be lost is confirmed by a replica or answered as unavailable.
func TestReplicasConfirm(t *testing.T) {
	t.Parallel()
	master := storetest.RedisPort(t)
	replica := storetest.RedisReplica(t, master)
	s := open(t, redisstore.Options{URL: secret.Text(master.URL()), WaitReplicas: 1})
	opened(t, s, 1, 2)
	replica.Stop(t)
	// Other connections of the pool, whose last write is confirmed, must not speak for this one.
	mustBe(t, timely(t, func() error { _, err := s.Open(t.Context(), signIn(3)); return err }), "unconfirmed")
	end := func() error {
		_, err := s.End(t.Context(), ending(1))
		return err
	}
	mustBe(t, timely(t, end), "unconfirmed")
	mustBe(t, timely(t, end), "unconfirmed") // although it is ended already
	if got, err := s.Rotate(t.Context(), refresh(2, 2)); err != nil || got.Outcome != store.Rotated {
		t.Errorf("a refresh waits for no replica: %+v, %v", got, err)
	}
	ending := refresh(2, 3)
	ending.Password[0]++
	rotate := func() error { _, err := s.Rotate(t.Context(), ending); return err }
	mustBe(t, timely(t, rotate), "unconfirmed") // for it ends the session
	mustBe(t, timely(t, rotate), "unconfirmed") // although it is ended already
	replica.Continue(t)
	storetest.Eventually(t, "the replica confirms", func() bool { return end() == nil && rotate() == nil })
	if got, err := s.Rotate(t.Context(), refresh(1, 2)); err != nil || got.Cause != store.CauseGone {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestNothingStays : every key expires, and none of them is missing while it is needed.
func TestNothingStays(t *testing.T) {
	t.Parallel()
	r := storetest.Redis(t)
	s := open(t, redisstore.Options{URL: secret.Text(r.URL())})
	opened(t, s, 1, 2, 3)
	end := ending(2)
	end.Cause = store.CauseRevoked // one that lies with the customer has his record kept for a shop's tokens
	if _, err := s.End(t.Context(), end); err != nil {
		t.Fatal(err)
	}
	short := signIn(4)
	short.Subject = signIn(1).Subject
	short.Lifetime = time.Minute
	if _, err := s.Open(t.Context(), short); err != nil {
		t.Fatal(err)
	}
	lives := everyTTL(t, r)
	if len(lives) < 7 {
		t.Errorf("%v", lives)
	}
	for key, seconds := range lives {
		const kept = 3600 + 86400 // the hour of a session, and the day for which it is remembered
		if strings.HasPrefix(key, "glueauth:{c:") && !strings.HasSuffix(key, short.Name.String()) && (seconds < kept-60 || seconds > kept) {
			t.Errorf("%s expires in %d s", key, seconds)
		}
	}
}
