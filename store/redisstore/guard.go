package redisstore

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
)

// Finding is something about a Redis that can cost sessions, and so sign customers out, although it works now.
type Finding struct {
	Name string // one of [FindingNames]
	Text string // what was found and what to do about it, in one sentence
}

// FindingNames returns the closed set of names, for metrics that start at zero.
func FindingNames() []string {
	return []string{findEviction, findEvicted, findMemory, findPersistence, findWriting, findReplicas, findUnknown}
}

const (
	findEviction    = "eviction_policy"
	findEvicted     = "evicted"
	findMemory      = "memory"
	findPersistence = "persistence"
	findWriting     = "persistence_failing"
	findReplicas    = "replicas"
	findUnknown     = "unknown"

	memoryLimit = 90 // percent of maxmemory
)

// Guardian looks at the servers of a [Store] again and again.
type Guardian struct {
	store   *Store
	mu      sync.Mutex
	evicted map[string]int64 // keys that a server had deleted for want of memory when it was last looked at
}

// Guardian returns a guardian that has not looked yet.
func (s *Store) Guardian() *Guardian { return &Guardian{store: s, evicted: map[string]int64{}} }

// Look asks every server that takes writes, and returns what it found in the order of [FindingNames]. A server that does
// not let itself be asked is a finding as well, but one that cannot be reached is an error.
func (g *Guardian) Look(ctx context.Context) ([]Finding, error) {
	servers, err := g.store.masters(ctx)
	if err != nil {
		return nil, unavailable(err)
	}
	found := map[string]Finding{}
	for _, server := range servers {
		findings, err := g.ask(ctx, server)
		if err != nil {
			return nil, unavailable(err)
		}
		for _, f := range findings {
			found[f.Name] = f
		}
	}
	var all []Finding
	for _, name := range FindingNames() {
		if f, ok := found[name]; ok {
			all = append(all, f)
		}
	}
	return all, nil
}

// ask looks at one server.
func (g *Guardian) ask(ctx context.Context, server *redis.Client) ([]Finding, error) {
	ctx, cancel := g.store.servers.bounded(ctx)
	defer cancel()
	address := server.Options().Addr
	text, err := server.Info(ctx, "everything").Result()
	if redis.HasErrorPrefix(err, "NOPERM") {
		return []Finding{{findUnknown, address + " does not let its state be read: allow the user of redis.url the command INFO"}}, nil
	}
	if err != nil {
		return nil, err //nolint:wrapcheck // Look wraps it
	}
	about := parseInfo(text)
	saves := true // CONFIG is often forbidden; then nothing is said about it
	if points, err := server.ConfigGet(ctx, "save").Result(); err == nil {
		saves = points["save"] != ""
	}
	found := append(g.memory(address, about), persistence(address, about, saves)...)
	if have := about.number("connected_slaves"); have < int64(g.store.confirm) {
		found = append(found, Finding{findReplicas, fmt.Sprintf("%s has %d replicas and redis.wait_replicas asks for %d: sign-ins fail until they are back", address, have, g.store.confirm)})
	}
	return found, nil
}

// memory looks at what happens when there is no room.
func (g *Guardian) memory(address string, about info) (found []Finding) {
	if policy := about["maxmemory_policy"]; policy != "noeviction" {
		found = append(found, Finding{findEviction, fmt.Sprintf("%s may delete sessions when its memory is full (%s), which signs customers out: set maxmemory-policy noeviction", address, policy)})
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	evicted := about.number("evicted_keys")
	if before := g.evicted[address]; evicted > before {
		found = append(found, Finding{findEvicted, fmt.Sprintf("%s has deleted %d keys for want of memory, sessions among them: give it more memory and set maxmemory-policy noeviction", address, evicted-before)})
	}
	g.evicted[address] = evicted
	used, limit := about.number("used_memory"), about.number("maxmemory")
	if limit > 0 && used > limit/100*memoryLimit {
		found = append(found, Finding{findMemory, fmt.Sprintf("%s has used %d of its %d bytes: raise maxmemory before it refuses sign-ins", address, used, limit)})
	}
	return found
}

// persistence looks at what is left after a restart.
func persistence(address string, about info, saves bool) (found []Finding) {
	appends := about["aof_enabled"] == "1"
	if !appends && !saves {
		found = append(found, Finding{findPersistence, address + " keeps nothing on disk, so that its restart signs everybody out: set appendonly yes"})
	}
	failing := cmp.Or(
		appends && about["aof_last_write_status"] == "err",
		appends && about["aof_last_bgrewrite_status"] == "err",
		saves && about["rdb_last_bgsave_status"] == "err",
	)
	if failing {
		found = append(found, Finding{findWriting, address + " fails to write to its disk, see its log: what it cannot keep is lost with its restart"})
	}
	return found
}

// info is what INFO says.
type info map[string]string

func parseInfo(text string) info {
	about := info{}
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		if name, value, ok := strings.Cut(lines.Text(), ":"); ok {
			about[name] = value
		}
	}
	return about
}

// number returns 0 for what is not there.
func (i info) number(name string) int64 {
	n, _ := strconv.ParseInt(i[name], 10, 64)
	return n
}
