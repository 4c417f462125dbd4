package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/glueauth/glueauth/config"
	"github.com/glueauth/glueauth/store/redisstore"
	"github.com/glueauth/glueauth/store/sqlitefile"
)

const (
	sessionsCheck = "sessions"

	riskySkew  = 2 * time.Second
	brokenSkew = 5 * time.Second
)

func (d *doctor) checkSessions(ctx context.Context) []finding {
	switch {
	case d.cfg.Redis.URL != "":
		return d.checkRedis(ctx)
	case d.cfg.Redis.WaitReplicas > 0:
		return []finding{broken(sessionsCheck, "give the URL, or take it away", "redis.wait_replicas is set without redis.url")}
	default:
		return []finding{d.checkSessionFile(ctx)}
	}
}

func (d *doctor) checkRedis(ctx context.Context) []finding {
	s, err := redisstore.Open(ctx, redisstore.Options{URL: d.cfg.Redis.URL, WaitReplicas: d.cfg.Redis.WaitReplicas})
	if err != nil {
		if why := redisstore.Reach(ctx, d.cfg.Redis.URL); why != nil {
			err = why // it says more
		}
		return []finding{failed(sessionsCheck, err)}
	}
	defer s.Close() //nolint:errcheck // all was said
	found := []finding{fine(sessionsCheck, "Redis takes them")}
	if left := leftHere(ctx, d.cfg); left != "" {
		found[0] = failed(sessionsCheck, errors.New(left))
		found[0].Result = isRisky
	}
	skew, err := s.Skew(ctx, time.Now)
	return append(append(found, redisPolicy(ctx, s)...), clock("clock of Redis", skew, err))
}

// redisPolicy looks at what can cost sessions at a Redis that works.
func redisPolicy(ctx context.Context, s *redisstore.Store) (found []finding) {
	const check = "policy of Redis"
	seen, err := s.Guardian().Look(ctx)
	if err != nil {
		return []finding{failed(check, err)}
	}
	costly := map[string]bool{"eviction_policy": true, "persistence_failing": true, "replicas": true} // of redisstore.FindingNames
	for _, f := range seen {
		what := failed(check, errors.New(f.Text))
		if !costly[f.Name] {
			what.Result = isRisky
		}
		found = append(found, what)
	}
	if len(found) == 0 {
		found = append(found, fine(check, "it deletes nothing, and keeps sessions over a restart"))
	}
	return found
}

// clock judges by how much another clock is ahead of ours.
func clock(check string, ahead time.Duration, err error) finding {
	const remedy = "let NTP set the clocks of both machines: tokens expire early or late by that much, and fresh ones may be refused as not valid yet"
	where := "ahead of"
	if ahead < 0 {
		where = "behind"
	}
	seen := "it is " + ahead.Abs().Round(10*time.Millisecond).String() + " " + where + " this machine's"
	switch {
	case err != nil:
		return failed(check, err)
	case ahead.Abs() >= brokenSkew:
		return broken(check, remedy, "%s", seen)
	case ahead.Abs() > riskySkew:
		return risky(check, remedy, "%s", seen)
	default:
		return fine(check, "%s", seen)
	}
}

// checkSessionFile looks at the embedded store, and whether its sessions were made with our master key.
func (d *doctor) checkSessionFile(ctx context.Context) finding {
	path := filepath.Join(d.cfg.Data, databaseName)
	if toBeMade(d.cfg, path) {
		return fine(sessionsCheck, "the first start makes %s", path)
	}
	file, err := sqlitefile.Open(ctx, path, sqlitefile.Options{Look: true})
	if err != nil {
		return failed(sessionsCheck, err)
	}
	defer file.Close() //nolint:errcheck // it was only read
	if err := stillHere(ctx, file, path); err != nil {
		return failed(sessionsCheck, err)
	}
	if d.master != nil {
		mark, err := masterMark(d.master, 1)
		if err == nil {
			err = file.Fits(ctx, mark)
		}
		if errors.Is(err, sqlitefile.ErrOtherMaster) {
			return failed(sessionsCheck, err)
		}
	}
	return fine(sessionsCheck, "they are in %s", path)
}

// toBeMade reports whether a file is missing that the first start makes.
func toBeMade(cfg *config.Config, path string) bool {
	_, err := os.Lstat(path)
	return errors.Is(err, fs.ErrNotExist) && inData(cfg, path)
}
