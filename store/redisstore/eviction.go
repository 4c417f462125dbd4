package redisstore

import (
	"bufio"
	"context"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
)

// Eviction returns the maxmemory-policy of a server that may delete sessions to make room, and nothing when none may. A
// deleted session is a customer signed out, so an operator should hear of it.
func (s *Store) Eviction(ctx context.Context) (policy string, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var mu sync.Mutex
	ask := func(ctx context.Context, client *redis.Client) error {
		info, err := client.Info(ctx, "memory").Result()
		for lines := bufio.NewScanner(strings.NewReader(info)); lines.Scan(); {
			name, value, _ := strings.Cut(lines.Text(), ":")
			if name == "maxmemory_policy" && value != "noeviction" {
				mu.Lock()
				policy = value
				mu.Unlock()
			}
		}
		return err //nolint:wrapcheck // wrapped below
	}
	if s.servers.cluster != nil {
		err = s.servers.cluster.ForEachMaster(ctx, ask)
	} else {
		err = ask(ctx, s.servers.single)
	}
	if err != nil {
		return "", unavailable(err)
	}
	return policy, nil
}
