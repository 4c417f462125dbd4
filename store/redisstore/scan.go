package redisstore

import (
	"context"
	"encoding/hex"
	"iter"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/glueauth/glueauth/store"
)

// scanPage is about how many keys one step of a scan looks at whose sessions are then read, and locatePage of one that looks
// for a single session; trip is how many calls go together, so that a busy server answers them in time.
const (
	scanPage   = 500
	locatePage = 10_000
	trip       = 100
)

// many runs calls whose script may run twice, a hundred in one round trip to each server.
func (s *Store) many(ctx context.Context, calls []call) ([][]any, error) {
	answers := make([][]any, 0, len(calls))
	for some := range slices.Chunk(calls, trip) {
		got, err := s.together(ctx, some)
		if answers = append(answers, got...); err != nil {
			return answers, err
		}
	}
	return answers, nil
}

// together runs calls in one round trip. What fails there runs once more by itself, which teaches the server the script and
// follows keys that have moved.
func (s *Store) together(ctx context.Context, calls []call) ([][]any, error) {
	sent := make([]*redis.Cmd, len(calls))
	if err := s.send(ctx, calls, sent); err != nil {
		return nil, unavailable(err)
	}
	answers := make([][]any, 0, len(calls))
	for i, c := range calls {
		value, err := sent[i].Result()
		values, list := value.([]any)
		switch {
		case err != nil:
			if values, err = s.servers.run(ctx, c); err != nil {
				return answers, err
			}
		case !list:
			values = []any{value}
		}
		answers = append(answers, values)
	}
	return answers, nil
}

// send sends the calls; each of them has its own answer or error afterwards.
func (s *Store) send(ctx context.Context, calls []call, sent []*redis.Cmd) (err error) {
	ctx, cancel := s.servers.bounded(ctx)
	defer cancel()
	pipes := map[*redis.Client]redis.Pipeliner{}
	for i, c := range calls {
		client := s.servers.single
		if s.servers.cluster != nil {
			if client, err = s.servers.cluster.MasterForKey(ctx, c.keys[0]); err != nil {
				return err //nolint:wrapcheck // many wraps it
			}
		}
		if pipes[client] == nil {
			pipes[client] = client.Pipeline()
		}
		sent[i] = pipes[client].EvalSha(ctx, c.script.sha, c.keys, c.args...)
	}
	for _, pipe := range pipes {
		_, _ = pipe.Exec(ctx) // each command has its own error
	}
	return nil
}

// pages yields the names and subjects of the sessions on all masters whose names fit. After an error it yields nothing more.
func (s *Store) pages(ctx context.Context, name string, count int64) iter.Seq2[[]store.Snapshot, error] {
	return func(yield func([]store.Snapshot, error) bool) {
		masters, err := s.masters(ctx)
		if err != nil {
			yield(nil, unavailable(err))
			return
		}
		for _, master := range masters {
			for cursor, more := uint64(0), true; more; more = cursor != 0 {
				var page []store.Snapshot
				if page, cursor, err = s.scan(ctx, master, cursor, name, count); err != nil {
					yield(nil, unavailable(err))
					return
				}
				if !yield(page, nil) {
					return
				}
			}
		}
	}
}

func (s *Store) masters(ctx context.Context) (masters []*redis.Client, err error) {
	if s.servers.cluster == nil {
		return []*redis.Client{s.servers.single}, nil
	}
	ctx, cancel := s.servers.bounded(ctx)
	defer cancel()
	var mu sync.Mutex
	err = s.servers.cluster.ForEachMaster(ctx, func(_ context.Context, master *redis.Client) error {
		mu.Lock()
		defer mu.Unlock()
		masters = append(masters, master)
		return nil
	})
	return masters, err //nolint:wrapcheck // pages wraps it
}

func (s *Store) scan(ctx context.Context, master *redis.Client, cursor uint64, name string, count int64) ([]store.Snapshot, uint64, error) {
	ctx, cancel := s.servers.bounded(ctx)
	defer cancel()
	found, cursor, err := master.Scan(ctx, cursor, "glueauth:{*}:"+name, count).Result()
	if err != nil {
		return nil, 0, err //nolint:wrapcheck // pages wraps it
	}
	page := make([]store.Snapshot, 0, len(found))
	for _, key := range found {
		if e, ok := sessionOf(key); ok {
			page = append(page, e)
		}
	}
	return page, cursor, nil
}

// sessionOf reads the key of a session, and reports whether it is one.
func sessionOf(key string) (e store.Snapshot, ok bool) {
	tag, name, _ := strings.Cut(strings.TrimPrefix(key, "glueauth:{"), "}:")
	letter, id, _ := strings.Cut(tag, ":")
	e.Subject.Kind = map[string]store.SubjectKind{"c": store.SubjectCustomer, "a": store.SubjectAgent, "g": store.SubjectGuest}[letter]
	e.Subject.ID, _ = strconv.ParseInt(id, 10, 64)
	digits, _ := hex.DecodeString(name)
	copy(e.Name[:], digits)
	return e, keys(e.Subject, e.Name)[1] == key // what could not be read makes another key
}
