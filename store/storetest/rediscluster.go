package storetest

import (
	"slices"
	"strings"
	"testing"
)

// RedisClusterNodes is a Cluster of three masters with one replica each.
type RedisClusterNodes []*RedisServer

// RedisCluster starts a Cluster and returns when all its nodes agree on it.
func RedisCluster(t testing.TB) RedisClusterNodes {
	t.Helper()
	nodes := make(RedisClusterNodes, 6)
	create := []string{"--cluster", "create"}
	for i := range nodes {
		nodes[i] = RedisPort(t, "--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-replica-validity-factor", "0")
		create = append(create, nodes[i].Addr)
	}
	if out, err := redisCLI(append(create, "--cluster-replicas", "1", "--cluster-yes")...); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, n := range nodes {
		Eventually(t, "the cluster is complete", func() bool {
			info, err := n.Try("CLUSTER", "INFO")
			return err == nil && strings.Contains(info, "cluster_state:ok") && strings.Contains(info, "cluster_known_nodes:6") &&
				strings.Count(n.Do(t, "CLUSTER", "NODES"), "slave") == 3 && (!n.isMaster(t) || n.confirmed())
		})
	}
	return nodes
}

// URL returns the URL of the Cluster.
func (c RedisClusterNodes) URL() string {
	hosts := make([]string, len(c))
	for i, n := range c {
		hosts[i] = n.Addr
	}
	return "redis+cluster://" + strings.Join(hosts, ",")
}

// Master returns the node that is the master of a key's slot.
func (c RedisClusterNodes) Master(t testing.TB, key string) *RedisServer {
	t.Helper()
	for _, n := range c.Masters(t) {
		if _, err := n.Try("EXISTS", key); err == nil { // others say MOVED
			return n
		}
	}
	t.Fatalf("%s has no master", key)
	return nil
}

// Masters returns the nodes that are masters.
func (c RedisClusterNodes) Masters(t testing.TB) []*RedisServer {
	t.Helper()
	return slices.DeleteFunc(slices.Clone(c), func(n *RedisServer) bool { return !n.isMaster(t) })
}

func (r *RedisServer) isMaster(t testing.TB) bool {
	t.Helper()
	return strings.Contains(r.Do(t, "INFO", "replication"), "role:master")
}
