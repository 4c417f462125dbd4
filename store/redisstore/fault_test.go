package redisstore_test

import (
	"cmp"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/store"
	"github.com/glueauth/glueauth/store/redisstore"
	"github.com/glueauth/glueauth/store/storetest"
)

const password = "correct-horse"

// fault is something that happens to a server, and how it passes.
type fault struct {
	args     []string // of the server
	user     string   // in the url, as user:password@
	strike   func(t *testing.T, r *storetest.RedisServer)
	mend     func(t *testing.T, r *storetest.RedisServer)
	class    string        // of the errors meanwhile; alternatives stand apart by |
	ends     bool          // ending works nevertheless
	patience time.Duration // of the store, when not patient
}

func do(commands ...string) func(*testing.T, *storetest.RedisServer) {
	return func(t *testing.T, r *storetest.RedisServer) {
		t.Helper()
		for _, command := range commands {
			r.Do(t, strings.Fields(command)...)
		}
	}
}

func faults() map[string]fault {
	durable := []string{"--appendonly", "yes", "--appendfsync", "always"}
	acl := strings.Fields("--user default on nopass ~* &* +@all --user glue on >" + password + " ~* +@all")
	return map[string]fault{
		"hangs": {
			strike: func(t *testing.T, r *storetest.RedisServer) { t.Helper(); r.Stop(t) },
			mend:   func(t *testing.T, r *storetest.RedisServer) { t.Helper(); r.Continue(t) },
			class:  "timeout", patience: hasty,
		},
		"is killed and comes back with its data": {
			args:   durable,
			strike: func(_ *testing.T, r *storetest.RedisServer) { r.Kill() },
			mend:   func(t *testing.T, r *storetest.RedisServer) { t.Helper(); r.Start(t) },
			class:  "dial",
		},
		"loads its data": {
			args: append([]string{"--enable-debug-command", "yes"}, durable...),
			strike: func(t *testing.T, r *storetest.RedisServer) {
				t.Helper()
				r.Do(t, "DEBUG", "POPULATE", "3000", "filling", "1000")
				r.Do(t, "BGREWRITEAOF")
				storetest.Eventually(t, "the rewrite", func() bool {
					return strings.Contains(r.Do(t, "INFO", "persistence"), "aof_rewrite_in_progress:0")
				})
				r.Kill()
				r.Launch(t, "--key-load-delay", "2000", "--loading-process-events-interval-bytes", "1024")
				storetest.Eventually(t, "it loads", func() bool {
					_, err := r.Try("GET", "x")
					return err != nil && strings.Contains(err.Error(), "LOADING")
				})
			},
			mend:  func(*testing.T, *storetest.RedisServer) {},
			class: "loading",
		},
		"becomes a replica": {strike: do("REPLICAOF 127.0.0.1 1"), mend: do("REPLICAOF NO ONE"), class: "readonly"},
		"becomes a replica that is cut": {
			strike: do("CONFIG SET replica-serve-stale-data no", "REPLICAOF 127.0.0.1 1"),
			mend:   do("REPLICAOF NO ONE"), class: "masterdown",
		},
		"is out of memory":     {strike: do("CONFIG SET maxmemory 1"), mend: do("CONFIG SET maxmemory 0"), class: "oom", ends: true},
		"has too few replicas": {strike: do("CONFIG SET min-replicas-to-write 1"), mend: do("CONFIG SET min-replicas-to-write 0"), class: "noreplicas"},
		"cannot save": {
			args: []string{"--enable-protected-configs", "yes"},
			strike: func(t *testing.T, r *storetest.RedisServer) {
				t.Helper()
				gone := filepath.Join(t.TempDir(), "gone")
				if err := os.Mkdir(gone, 0o700); err != nil {
					t.Fatal(err)
				}
				r.Do(t, "CONFIG", "SET", "save", "3600 1")
				r.Do(t, "CONFIG", "SET", "dir", gone)
				if err := os.Remove(gone); err != nil {
					t.Fatal(err)
				}
				r.Do(t, "BGSAVE")
				storetest.Eventually(t, "saving fails", func() bool {
					return strings.Contains(r.Do(t, "INFO", "persistence"), "rdb_last_bgsave_status:err")
				})
			},
			mend: do("CONFIG SET stop-writes-on-bgsave-error no"), class: "misconf",
		},
		"is busy": {
			strike: func(t *testing.T, r *storetest.RedisServer) {
				t.Helper()
				r.Do(t, "CONFIG", "SET", "lua-time-limit", "1")
				loop := exec.Command("redis-cli", "-s", r.Socket, "EVAL", "while true do end", "0")
				if err := loop.Start(); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = loop.Wait() })
				storetest.Eventually(t, "it is busy", func() bool {
					_, err := r.Try("GET", "x")
					return err != nil && strings.Contains(err.Error(), "BUSY")
				})
			},
			mend: do("SCRIPT KILL"), class: "busy",
		},
		"has another password": {
			args: acl, user: "glue:" + password + "@",
			strike: do("ACL SETUSER glue resetpass >battery-staple", "CLIENT KILL USER glue"),
			mend:   do("ACL SETUSER glue resetpass >" + password), class: "wrongpass",
		},
		"wants a password": {
			args: acl, strike: do("CLIENT KILL TYPE normal SKIPME yes", "ACL SETUSER default resetpass >"+password),
			mend: func(t *testing.T, r *storetest.RedisServer) {
				t.Helper()
				r.Do(t, "--user", "glue", "-a", password, "ACL", "SETUSER", "default", "nopass")
			}, class: "noauth|connection", // it closes the connection, and its reason may be lost
		},
		"forbids scripts": {
			args: acl, user: "glue:" + password + "@",
			strike: do("ACL SETUSER glue -evalsha"), mend: do("ACL SETUSER glue +evalsha"), class: "noperm",
		},
		"has too many clients": {
			strike: func(t *testing.T, r *storetest.RedisServer) {
				t.Helper()
				do("CLIENT KILL TYPE normal", "CONFIG SET maxclients 1")(t, r)
				c, err := net.Dial("unix", r.Socket)
				if err != nil {
					t.Fatal(err)
				}
				time.AfterFunc(3*time.Second, func() { _ = c.Close() })
			},
			mend: func(*testing.T, *storetest.RedisServer) {}, class: "connection", // the library reads nothing more than the greeting
		},
	}
}

func signIn(name byte) store.SignIn {
	return store.SignIn{
		Name: store.SessionName{name}, Subject: store.Subject{Kind: store.SubjectCustomer, ID: int64(name)},
		Client: "frontend", Scopes: []string{"customer"}, Password: store.PasswordMark{7}, Device: store.DeviceMark{1},
		FreshEpoch: store.Epoch{9}, Lifetime: time.Hour, MaxLife: 2 * time.Hour, MaxOpen: 5,
	}
}

func refresh(name byte, generation uint32) store.Rotation {
	in := signIn(name)
	return store.Rotation{
		Name: in.Name, Subject: in.Subject, Generation: generation, Client: in.Client, Password: in.Password,
		Device: store.DeviceMark{byte(generation)}, Lifetime: time.Hour,
		Windows: store.Windows{Replay: time.Minute, LateRetry: time.Hour, Concurrency: 10 * time.Second},
	}
}

func ending(name byte) store.Ending {
	in := signIn(name)
	return store.Ending{Subject: in.Subject, Name: in.Name, Cause: store.CauseGone}
}

// endAll signs the customer of session name out everywhere.
func endAll(name byte) store.EndingAll {
	return store.EndingAll{Subject: signIn(name).Subject, FreshEpoch: store.Epoch{0xee, name}, Cause: store.CauseOperator}
}

// signOut is a refresh that signs out as well.
func signOut(name byte, generation uint32, how store.SignOut) store.Rotation {
	r := refresh(name, generation)
	r.SignOut, r.FreshEpoch = how, store.Epoch{0xdd, name, byte(generation)}
	return r
}

// opened fails the test unless session name was opened, and refreshed once.
func opened(t *testing.T, s *redisstore.Store, names ...byte) {
	t.Helper()
	for _, name := range names {
		storetest.Eventually(t, "the session is there", func() bool {
			_, err := s.Open(t.Context(), signIn(name))
			return err == nil || strings.Contains(err.Error(), "is taken") // by the call before
		})
		storetest.Eventually(t, "the session is in use", func() bool {
			got, err := s.Rotate(t.Context(), refresh(name, 1))
			if err != nil && !errors.Is(err, store.ErrUnavailable) || err == nil && got.Generation != 2 {
				t.Fatalf("%+v, %v", got, err)
			}
			return err == nil
		})
	}
}

// timely runs a call, which must be over within two seconds (and as many more on a busy machine), and returns its error.
func timely(t *testing.T, call func() error) error {
	t.Helper()
	start := time.Now()
	err := call()
	if took := time.Since(start); took > 4*time.Second {
		t.Errorf("it took %v", took)
	}
	return err
}

func mustBe(t *testing.T, err error, class string) {
	t.Helper()
	if !errors.Is(err, store.ErrUnavailable) {
		t.Fatalf("not unavailable: %v", err)
	}
	named := slices.ContainsFunc(strings.Split(class, "|"), func(c string) bool { return strings.Contains(err.Error(), "redis: "+c+":") })
	if !named || strings.Contains(err.Error(), password) {
		t.Errorf("%q is not about %s", err, class)
	}
}

// worksAgain refreshes session 1 until it is answered.
func worksAgain(t *testing.T, s *redisstore.Store) (got store.RotateResult) {
	t.Helper()
	storetest.Eventually(t, "it works again", func() bool {
		var err error
		got, err = s.Rotate(t.Context(), refresh(1, 2))
		if err != nil && !errors.Is(err, store.ErrUnavailable) {
			t.Fatal(err)
		}
		return err == nil
	})
	return got
}

// disconnected returns when a server has no connection but that which asks.
func disconnected(t *testing.T, r *storetest.RedisServer) {
	t.Helper()
	storetest.Eventually(t, "no connection is left", func() bool {
		clients, err := r.Try("CLIENT", "LIST")
		return err == nil && !strings.Contains(clients, "\n")
	})
}

// TestFaults : whatever happens to a server, every call is answered in time that the store is unavailable, what was
// presented stays good, and no restart is needed.
func TestFaults(t *testing.T) {
	t.Parallel()
	for name, f := range faults() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := storetest.Redis(t, f.args...)
			url := secret.Text("unix://" + f.user + r.Socket)
			s, err := redisstore.Open(t.Context(), redisstore.Options{URL: url, Patience: cmp.Or(f.patience, patient)})
			if err != nil {
				t.Fatal(err)
			}
			opened(t, s, 1, 2)
			f.strike(t, r)
			calls := map[string]func() error{
				"ping":   func() error { return s.Ping(t.Context()) },
				"rotate": func() error { _, err := s.Rotate(t.Context(), refresh(1, 2)); return err },
				"open":   func() error { _, err := s.Open(t.Context(), signIn(3)); return err },
				"others": func() error { _, err := s.Rotate(t.Context(), signOut(2, 2, store.SignOutOthers)); return err },
				"all":    func() error { _, err := s.Rotate(t.Context(), signOut(2, 2, store.SignOutAll)); return err },
				"endall": func() error { return s.EndAll(t.Context(), endAll(2)) },
			}
			if !f.ends {
				calls["end"] = func() error {
					_, err := s.End(t.Context(), ending(2))
					return err
				}
			}
			for call, run := range calls {
				if err := timely(t, run); err == nil {
					t.Errorf("%s worked", call)
				} else {
					mustBe(t, err, f.class)
				}
			}
			f.mend(t, r)
			got := worksAgain(t, s)
			// A server that hung carries out what it was sent.
			if got.Outcome != store.Rotated && (name != "hangs" || got.Outcome != store.Replayed) || got.Generation != 3 {
				t.Errorf("%+v", got)
			}
			if err := s.Ping(t.Context()); err != nil {
				t.Error(err)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			disconnected(t, r)
		})
	}
}
