package redisstore_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/store"
	"github.com/glueauth/glueauth/store/redisstore"
	"github.com/glueauth/glueauth/store/storetest"
)

// survives refreshes session 1 until that works, and fails the test when it is refused.
func survives(t *testing.T, s *redisstore.Store, generation uint32) {
	t.Helper()
	storetest.Eventually(t, "it works again", func() bool {
		var got store.RotateResult
		err := timely(t, func() (err error) { got, err = s.Rotate(t.Context(), refresh(1, generation)); return err })
		if err != nil {
			if !errors.Is(err, store.ErrUnavailable) {
				t.Fatal(err)
			}
			return false
		}
		if !got.Outcome.Succeeded() {
			t.Fatalf("%+v", got)
		}
		return true
	})
}

func TestSentinelFailover(t *testing.T) {
	t.Parallel()
	servers := storetest.RedisSentinel(t)
	s := open(t, redisstore.Options{URL: secret.Text(servers.URL()), WaitReplicas: 1, Patience: hasty})
	opened(t, s, 1)
	servers.Master.Kill()
	survives(t, s, 1)
	survives(t, s, 2)
}

func TestSentinelsGone(t *testing.T) {
	t.Parallel()
	servers := storetest.RedisSentinel(t)
	s := open(t, redisstore.Options{URL: secret.Text(servers.URL())})
	opened(t, s, 1)
	for _, n := range servers.Sentinels {
		n.Kill()
	}
	for g := uint32(2); g < 10; g++ {
		if _, err := s.Rotate(t.Context(), refresh(1, g)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestClusterFailover(t *testing.T) {
	t.Parallel()
	nodes := storetest.RedisCluster(t)
	s := open(t, redisstore.Options{URL: secret.Text(nodes.URL()), WaitReplicas: 1, Patience: hasty})
	names := make([]byte, 9) // on all masters
	for i := range names {
		names[i] = byte(i + 1)
	}
	opened(t, s, names...)
	nodes.Master(t, customerKey).Kill()
	survives(t, s, 1)
	survives(t, s, 2)
	for _, name := range names {
		storetest.Eventually(t, fmt.Sprintf("session %d", name), func() bool {
			_, err := s.End(t.Context(), ending(name))
			return err == nil || strings.Contains(err.Error(), "unconfirmed") // it has lost its only replica
		})
	}
}

func TestClusterWithoutSlots(t *testing.T) {
	t.Parallel()
	node := storetest.RedisPort(t, "--cluster-enabled", "yes")
	do("CLUSTER ADDSLOTSRANGE 0 16383")(t, node)
	storetest.Eventually(t, "the cluster is complete", func() bool {
		return strings.Contains(node.Do(t, "CLUSTER", "INFO"), "cluster_state:ok")
	})
	s := open(t, redisstore.Options{URL: secret.Text("redis+cluster://" + node.Addr)})
	opened(t, s, 1)
	do("CLUSTER DELSLOTSRANGE 0 16383")(t, node)
	mustBe(t, timely(t, func() error { _, err := s.Rotate(t.Context(), refresh(1, 2)); return err }), "clusterdown")
	do("CLUSTER ADDSLOTSRANGE 0 16383")(t, node)
	survives(t, s, 2)
}

// TestSlotMoves : while a customer's slot moves to another node, his sessions are found wherever they are.
func TestSlotMoves(t *testing.T) {
	t.Parallel()
	for name, replicas := range map[string]int{"alone": 0, "with a replica": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nodes := storetest.RedisCluster(t)
			s := open(t, redisstore.Options{URL: secret.Text(nodes.URL()), WaitReplicas: replicas})
			opened(t, s, 1)
			from := nodes.Master(t, customerKey)
			masters := nodes.Masters(t)
			to := masters[0]
			if to == from {
				to = masters[1]
			}
			slot := from.Do(t, "CLUSTER", "KEYSLOT", customerKey)
			fromID, toID := from.Do(t, "CLUSTER", "MYID"), to.Do(t, "CLUSTER", "MYID")
			to.Do(t, "CLUSTER", "SETSLOT", slot, "IMPORTING", fromID)
			from.Do(t, "CLUSTER", "SETSLOT", slot, "MIGRATING", toID)

			survives(t, s, 2)   // both keys are still there
			second := signIn(2) // a session whose key is nowhere yet, beside a customer's that is
			second.Subject.ID = 1
			_, err := s.Open(t.Context(), second)
			mustBe(t, err, "tryagain")
			host, port, _ := strings.Cut(to.Addr, ":")
			from.Do(t, "MIGRATE", host, port, customerKey+":"+signIn(1).Name.String(), "0", "5000")
			_, err = s.Rotate(t.Context(), refresh(1, 3))
			mustBe(t, err, "tryagain")
			from.Do(t, "MIGRATE", host, port, customerKey, "0", "5000")
			survives(t, s, 3) // by ASK
			_, err = s.Open(t.Context(), second)
			mustBe(t, err, "tryagain") // a node cannot know where a key is that is nowhere
			for _, n := range []*storetest.RedisServer{to, from} {
				n.Do(t, "CLUSTER", "SETSLOT", slot, "NODE", toID)
			}
			survives(t, s, 4) // by MOVED
			survives(t, s, 5)
			if _, err := s.Open(t.Context(), second); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestTwoStores : two processes on one server are one store.
func TestTwoStores(t *testing.T) {
	t.Parallel()
	r := storetest.Redis(t)
	stores := []*redisstore.Store{
		open(t, redisstore.Options{URL: secret.Text(r.URL())}), open(t, redisstore.Options{URL: secret.Text(r.URL())}),
	}
	opened(t, stores[0], 1)
	for g := uint32(2); g < 30; g++ {
		var mu sync.Mutex
		var wg sync.WaitGroup
		outcomes := map[store.Outcome]int{}
		for i := range 32 {
			wg.Go(func() {
				got, err := stores[i%2].Rotate(t.Context(), refresh(1, g))
				mu.Lock()
				defer mu.Unlock()
				if err != nil || got.Generation != g+1 {
					t.Errorf("%+v, %v", got, err)
				}
				outcomes[got.Outcome]++
			})
		}
		wg.Wait()
		if outcomes[store.Rotated] != 1 || outcomes[store.Replayed] != 31 {
			t.Fatalf("round %d: %v", g, outcomes)
		}
	}
}

// customerKey is the key of the customer of session 1.
const customerKey = "glueauth:{c:1}"
