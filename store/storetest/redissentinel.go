package storetest

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// RedisSentinels is a master with a replica and the three Sentinels that watch them.
type RedisSentinels struct {
	Master, Replica *RedisServer // as they were at the start
	Sentinels       []*RedisServer
}

// RedisSentinel starts a master, a replica and three Sentinels, and returns when they could fail over.
func RedisSentinel(t testing.TB) *RedisSentinels {
	t.Helper()
	s := &RedisSentinels{Master: RedisPort(t)}
	s.Replica = RedisReplica(t, s.Master)
	_, masterPort, _ := net.SplitHostPort(s.Master.Addr)
	for range 3 {
		port, dir := freePort(t), shortDir(t)
		file := filepath.Join(dir, "sentinel.conf")
		if err := os.WriteFile(file, fmt.Appendf(nil, "bind 127.0.0.1\nport %s\ndir %s\n"+
			"sentinel monitor main 127.0.0.1 %s 2\nsentinel down-after-milliseconds main 1000\n"+
			"sentinel failover-timeout main 5000\n", port, dir, masterPort), 0o600); err != nil {
			t.Fatal(err)
		}
		n := &RedisServer{Addr: net.JoinHostPort("127.0.0.1", port), args: []string{file, "--sentinel"}}
		n.Start(t)
		s.Sentinels = append(s.Sentinels, n)
	}
	for _, n := range s.Sentinels {
		Eventually(t, "the sentinels know each other and the replica", func() bool {
			info, err := n.Try("SENTINEL", "MASTER", "main")
			return err == nil && strings.Contains(info, "num-slaves\n1\n") && strings.Contains(info, "num-other-sentinels\n2\n") &&
				n.Do(t, "SENTINEL", "CKQUORUM", "main") != ""
		})
	}
	return s
}

// URL returns the URL by which the Sentinels are asked for the master.
func (s *RedisSentinels) URL() string {
	hosts := make([]string, len(s.Sentinels))
	for i, n := range s.Sentinels {
		hosts[i] = n.Addr
	}
	return "redis+sentinel://" + strings.Join(hosts, ",") + "/0?master=main"
}

// RedisReplica starts a server that follows an empty master, and returns when it is up to date.
func RedisReplica(t testing.TB, master *RedisServer) *RedisServer {
	t.Helper()
	host, port, _ := net.SplitHostPort(master.Addr)
	r := RedisPort(t, "--replicaof", host+" "+port)
	Eventually(t, "the replica follows", func() bool {
		info, err := r.Try("INFO", "replication")
		return err == nil && strings.Contains(info, "master_link_status:up") && master.confirmed()
	})
	return r
}
