package redisstore_test

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/store/redisstore"
	"github.com/glueauth/glueauth/store/storetest"
)

// look demands that the guardian finds exactly this.
func look(t *testing.T, g *redisstore.Guardian, want ...string) {
	t.Helper()
	found, err := g.Look(t.Context())
	if err != nil {
		t.Error(err)
	}
	var names []string
	for _, f := range found {
		names = append(names, f.Name)
		if !strings.Contains(f.Text, ": ") {
			t.Errorf("%s: no remedy in %q", f.Name, f.Text)
		}
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
}

func TestGuardianFindsNothingAtAServerThatKeepsSessions(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"appends":                  {"--appendonly", "yes"},
		"saves":                    {"--save", "900 1"},
		"appends, CONFIG is taken": {"--appendonly", "yes", "--rename-command", "CONFIG", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t, redisstore.Options{URL: secret.Text(storetest.Redis(t, args...).URL())})
			look(t, s.Guardian())
		})
	}
}

func TestGuardianFindsWhatCanCostSessions(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct {
		do   string
		want []string
	}{
		"eviction_policy":     {"CONFIG SET maxmemory-policy volatile-ttl", []string{"eviction_policy"}},
		"memory":              {"CONFIG SET maxmemory 1000000", []string{"memory"}},
		"persistence":         {"CONFIG SET appendonly no", []string{"persistence"}},
		"persistence, by RDB": {"CONFIG SET appendonly no save '900 1'", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := storetest.Redis(t, "--appendonly", "yes")
			g := open(t, redisstore.Options{URL: secret.Text(r.URL())}).Guardian()
			look(t, g)
			r.Do(t, words(x.do)...)
			look(t, g, x.want...)
		})
	}
}

// words splits a command at its spaces, but not within quotes.
func words(command string) []string {
	var all []string
	for i, part := range strings.Split(command, "'") {
		if i%2 == 1 {
			all = append(all, part)
		} else {
			all = append(all, strings.Fields(part)...)
		}
	}
	return all
}

func TestGuardianCountsEvictionsOnce(t *testing.T) {
	t.Parallel()
	r := storetest.Redis(t, "--appendonly", "yes", "--maxmemory", "3mb", "--maxmemory-policy", "allkeys-random")
	g := open(t, redisstore.Options{URL: secret.Text(r.URL())}).Guardian()
	for range 5 {
		r.Do(t, "EVAL", "for i = 1, 1000 do redis.call('SET', redis.sha1hex(i .. redis.call('TIME')[2]), string.rep('x', 1000)) end", "0")
	}
	r.Do(t, "FLUSHALL")
	look(t, g, "eviction_policy", "evicted")
	look(t, g, "eviction_policy")
}

func TestGuardianSeesAFailingDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := storetest.Redis(t, "--save", "900 1", "--dir", dir)
	g := open(t, redisstore.Options{URL: secret.Text(r.URL())}).Guardian()
	look(t, g)
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	r.Do(t, "BGSAVE")
	storetest.Eventually(t, "the save has failed", func() bool { return strings.Contains(r.Do(t, "INFO", "persistence"), "rdb_last_bgsave_status:err") })
	look(t, g, "persistence_failing")
}

func TestGuardianMissesReplicas(t *testing.T) {
	t.Parallel()
	master := storetest.RedisPort(t, "--appendonly", "yes")
	replica := storetest.RedisReplica(t, master)
	g := open(t, redisstore.Options{URL: secret.Text(master.URL()), WaitReplicas: 1}).Guardian()
	look(t, g)
	replica.Kill()
	storetest.Eventually(t, "the replica is missed", func() bool { return strings.Contains(master.Do(t, "INFO", "replication"), "connected_slaves:0") })
	look(t, g, "replicas")
}

func TestGuardianMayBeForbiddenToLook(t *testing.T) {
	t.Parallel()
	r := storetest.Redis(t)
	g := open(t, redisstore.Options{URL: secret.Text(r.URL())}).Guardian()
	r.Do(t, "ACL", "SETUSER", "default", "-info")
	look(t, g, "unknown")
}

func TestGuardianCannotReachItsServer(t *testing.T) {
	t.Parallel()
	r := storetest.Redis(t)
	g := open(t, redisstore.Options{URL: secret.Text(r.URL()), Patience: hasty}).Guardian()
	r.Stop(t)
	_, err := g.Look(t.Context())
	mustBe(t, err, "timeout")
	r.Continue(t)
}

func TestGuardianLooksAtEveryMasterOfACluster(t *testing.T) {
	t.Parallel()
	nodes := storetest.RedisCluster(t)
	g := open(t, redisstore.Options{URL: secret.Text(nodes.URL())}).Guardian()
	look(t, g, "persistence")
	nodes.Master(t, customerKey).Do(t, "CONFIG", "SET", "maxmemory-policy", "allkeys-random")
	look(t, g, "eviction_policy", "persistence")
}
