package redisstore_test

import (
	"errors"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/store"
	"github.com/glueauth/glueauth/store/redisstore"
	"github.com/glueauth/glueauth/store/sqlitefile"
	"github.com/glueauth/glueauth/store/sqlitestore"
	"github.com/glueauth/glueauth/store/storetest"
)

type opener = func(t *testing.T, now func() time.Time) storetest.Movable

// onRedis returns what opens stores on servers of their own.
func onRedis(t *testing.T, now func() time.Time) storetest.Movable {
	t.Helper()
	return at(t, storetest.Redis(t).URL(), now)
}

func at(t *testing.T, url string, now func() time.Time) *redisstore.Store {
	t.Helper()
	return open(t, redisstore.Options{URL: secret.Text(url), Clock: now})
}

func embedded(t *testing.T, now func() time.Time) storetest.Movable {
	t.Helper()
	f, err := sqlitefile.Open(t.Context(), filepath.Join(t.TempDir(), "glueauth.db"), sqlitefile.Options{Create: true})
	if err != nil {
		t.Fatal(err)
	}
	s := sqlitestore.New(f, now)
	t.Cleanup(func() {
		s.Close()
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestMove(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ from, to opener }{
		"into Redis":     {embedded, onRedis},
		"out of Redis":   {onRedis, embedded},
		"Redis to Redis": {onRedis, onRedis},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			storetest.Move(t, c.from, c.to)
		})
	}
}

// sessionIn returns a sign-in that is good for a day of the real clock.
func sessionIn(id int64) store.SignIn {
	return store.SignIn{
		Name: store.SessionName{byte(id)}, Subject: store.Subject{Kind: store.SubjectCustomer, ID: id}, Client: "frontend",
		Scopes: []string{"customer"}, FreshEpoch: store.Epoch{byte(id)}, Lifetime: time.Hour, MaxLife: 24 * time.Hour, MaxOpen: 200,
	}
}

func fill(t *testing.T, s storetest.Movable, n int64) {
	t.Helper()
	for id := range n {
		if _, err := s.Open(t.Context(), sessionIn(id)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.End(t.Context(), store.Ending{Subject: sessionIn(0).Subject, Name: sessionIn(0).Name, Cause: store.CauseRevoked}); err != nil {
		t.Fatal(err)
	}
}

func exported(t *testing.T, s storetest.Movable) map[store.SessionName]store.Snapshot {
	t.Helper()
	all := map[store.SessionName]store.Snapshot{}
	for e, err := range s.Export(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		all[e.Name] = e
	}
	return all
}

func TestMoveOverAllMastersOfACluster(t *testing.T) {
	t.Parallel()
	nodes := storetest.RedisCluster(t)
	cluster, source, back := at(t, nodes.URL(), time.Now), embedded(t, time.Now), embedded(t, time.Now)
	fill(t, source, 100)
	want := exported(t, source)
	for _, hop := range []struct{ from, to storetest.Movable }{{source, cluster}, {cluster, back}} {
		got, err := hop.to.Import(t.Context(), slices.Collect(maps.Values(exported(t, hop.from))))
		if err != nil || got != (store.ImportResult{Added: 100}) {
			t.Fatalf("%+v, %v", got, err)
		}
		if diff := different(want, exported(t, hop.to)); diff != "" {
			t.Error(diff)
		}
	}
	for _, n := range nodes {
		if n.Do(t, "DBSIZE") == "0" {
			t.Errorf("%s has nothing", n.Addr)
		}
	}
}

func TestMoveFromAReplicaThatTakesNoWrites(t *testing.T) {
	t.Parallel()
	master, replica := storetest.RedisPort(t), storetest.RedisPort(t)
	fill(t, at(t, master.URL(), time.Now), 3)
	host, port, _ := net.SplitHostPort(master.Addr)
	replica.Do(t, "REPLICAOF", host, port)
	storetest.Eventually(t, "the replica has the sessions", func() bool { return replica.Do(t, "DBSIZE") == master.Do(t, "DBSIZE") })

	o := redisstore.Options{URL: secret.Text(replica.URL())}
	if s, err := redisstore.Open(t.Context(), o); err == nil {
		t.Error("opened for writing", s.Close())
	}
	source, err := redisstore.OpenSource(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = source.Close() })
	all := exported(t, source)
	if len(all) != 3 {
		t.Errorf("exported %d sessions, want 3", len(all))
	}
	other := all[sessionIn(1).Name]
	other.Name = store.SessionName{0xff}
	if _, err := source.Import(t.Context(), []store.Snapshot{other}); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("import into a replica: %v", err)
	}
}

func TestMoveHeedsItsOwnKeysOnlyAndEachOfThemExpires(t *testing.T) {
	t.Parallel()
	server := storetest.Redis(t)
	target, source := at(t, server.URL(), time.Now), embedded(t, time.Now)
	fill(t, source, 20)
	want := exported(t, source)
	if _, err := target.Import(t.Context(), slices.Collect(maps.Values(want))); err != nil {
		t.Fatal(err)
	}
	own := strings.Fields(server.Do(t, "KEYS", "*"))
	for _, key := range own {
		most := 3_600_000 + 86_400_000
		if strings.HasPrefix(key, "glueauth:{revoked}") { // its entries leave one by one
			most = 367 * 86_400_000
		}
		if ttl, err := strconv.Atoi(server.Do(t, "PTTL", key)); err != nil || ttl < 0 || ttl > most {
			t.Errorf("%s lives for %d ms, %v", key, ttl, err)
		}
	}
	for _, foreign := range []string{
		"glueauth:{c:1}:x", "glueauth:{x:1}:" + strings.Repeat("0", 32), "glueauth:{c:01}:" + strings.Repeat("0", 32),
		"glueauth:{c:1}:" + strings.Repeat("A", 32), "glueauth:{c:1}:" + strings.Repeat("0", 32) + ":more", "shop:{c:1}:" + strings.Repeat("0", 32),
	} {
		server.Do(t, "SET", foreign, "anything")
	}
	if n, err := target.Count(t.Context()); err != nil || n != 20 {
		t.Errorf("counted %d, %v", n, err)
	}
	if diff := different(want, exported(t, target)); diff != "" {
		t.Error(diff)
	}
}

// A sign-in above the cap ends a session by taking it out of the index, and only then tells its record.
func TestMoveOfASessionThatTheCapHasJustEnded(t *testing.T) {
	t.Parallel()
	server := storetest.Redis(t)
	source, target := at(t, server.URL(), time.Now), embedded(t, time.Now)
	in := sessionIn(1)
	copy(in.Name[:], "sixteen letters.")
	if _, err := source.Open(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	if n := server.Do(t, "HDEL", "glueauth:{c:1}", "sixteen letters."); n != "1" {
		t.Fatalf("took %s sessions out of the index", n)
	}
	all := exported(t, source)
	if _, err := target.Import(t.Context(), slices.Collect(maps.Values(all))); err != nil {
		t.Fatal(err)
	}
	want := store.RotateResult{Outcome: store.Refused, Cause: store.CauseTooMany}
	got, err := target.Rotate(t.Context(), store.Rotation{Name: in.Name, Subject: in.Subject, Generation: 1, Client: in.Client, Lifetime: time.Hour})
	if diff := different(want, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
}
