package redisstore

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// redirects is for how many times one call follows a key to another node.
	redirects = 3
	// waitLimit is for how many milliseconds a server waits for its replicas; the answer must come within two thirds of patience.
	waitLimit = 700
)

// servers are where scripts run: one client, or those of a Cluster.
type servers struct {
	single   *redis.Client
	cluster  *redis.ClusterClient
	node     func(host string) *redis.Options // of a node that a key has moved to
	patience time.Duration                    // of a call
}

func (s servers) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, s.patience)
}

// call is one run of a script.
type call struct {
	script   script
	keys     []string
	args     []any
	replicas int // that must confirm what it wrote
}

// run carries out a call within its time. Whatever fails is an error that wraps [store.ErrUnavailable]; then the call was
// carried out as a whole or not at all. With values it was, on the master, and what failed is only to have it confirmed.
func (s servers) run(ctx context.Context, c call) ([]any, error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	value, err := s.follow(ctx, c)
	values, ok := value.([]any)
	if !ok && (err == nil || value != nil) {
		values = []any{value}
	}
	if err != nil {
		err = unavailable(err)
	}
	return values, err
}

// teach loads the scripts where keys may be, so that no customer waits for it. A server that comes later, or forgets them,
// is taught by the first call that needs one.
func (s servers) teach(ctx context.Context, all scripts) error {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	load := func(ctx context.Context, client *redis.Client) error {
		for _, each := range []script{all.probe, all.open, all.rotate, all.end, all.endAll, all.export, all.list, all.take, all.note, all.revoked, all.forget, all.known, all.guess, all.refund} {
			if err := client.ScriptLoad(ctx, each.text).Err(); err != nil {
				return err //nolint:wrapcheck // wrapped below
			}
		}
		return nil
	}
	var err error
	if s.cluster != nil {
		err = s.cluster.ForEachMaster(ctx, load)
	} else {
		err = load(ctx, s.single)
	}
	if err != nil {
		return unavailable(err)
	}
	return nil
}

// follow runs a call where its keys are. A node of a Cluster that sends it elsewhere has not begun it.
func (s servers) follow(ctx context.Context, c call) (any, error) {
	if s.cluster == nil {
		return c.on(ctx, s.single, false)
	}
	client, err := s.cluster.MasterForKey(ctx, c.keys[0])
	if err != nil {
		return nil, err //nolint:wrapcheck // run wraps it
	}
	value, err := c.on(ctx, client, false)
	for range redirects {
		host, ask, elsewhere := redirected(err, client.Options().Addr)
		if !elsewhere {
			break
		}
		if !ask {
			s.cluster.ReloadState(ctx)
		}
		other := redis.NewClient(s.node(host))
		value, err = c.on(ctx, other, ask)
		err = errors.Join(err, other.Close())
	}
	if lost(err) {
		s.cluster.ReloadState(ctx) // its replica may have taken over
	}
	return value, err
}

// redirected returns where a node sends a call, and whether only this once. A node that leaves out the host means itself.
func redirected(err error, from string) (host string, ask, elsewhere bool) {
	host, elsewhere = redis.IsMovedError(err)
	if !elsewhere {
		host, ask = redis.IsAskError(err)
		elsewhere = ask
	}
	if name, port, splitErr := net.SplitHostPort(host); splitErr == nil && name == "" {
		name, _, _ = net.SplitHostPort(from)
		host = net.JoinHostPort(name, port)
	}
	return host, ask, elsewhere
}

// lost reports whether a node is gone or no longer the master.
func lost(err error) bool {
	var answer redis.Error
	return err != nil && (!errors.As(err, &answer) || redis.IsReadOnlyError(err))
}

// on runs a call on one server, which is taught the script if it does not know it.
func (c call) on(ctx context.Context, client *redis.Client, ask bool) (any, error) {
	value, err := c.once(ctx, client, ask)
	if !redis.HasErrorPrefix(err, "NOSCRIPT") {
		return value, err
	}
	if err := client.ScriptLoad(ctx, c.script.text).Err(); err != nil {
		return nil, err //nolint:wrapcheck // run wraps it
	}
	return c.once(ctx, client, ask)
}

// once sends a call once. WAIT covers what was written by its own connection only, so it travels with the script.
func (c call) once(ctx context.Context, client *redis.Client, ask bool) (any, error) {
	if !ask && c.replicas == 0 {
		return client.EvalSha(ctx, c.script.sha, c.keys, c.args...).Result() //nolint:wrapcheck // run wraps it
	}
	pipe := client.Pipeline()
	if ask {
		pipe.Do(ctx, "ASKING")
	}
	eval := pipe.EvalSha(ctx, c.script.sha, c.keys, c.args...)
	wait := redis.NewIntResult(0, nil)
	if c.replicas > 0 {
		wait = redis.NewIntCmd(ctx, "WAIT", c.replicas, waitLimit)
		_ = pipe.Process(ctx, wait) // it only queues it
	}
	_, _ = pipe.Exec(ctx) // each command has its own error
	value, err := eval.Result()
	if err == nil {
		err = wait.Err()
	}
	if err == nil && wait.Val() < int64(c.replicas) {
		err = errUnconfirmed
	}
	return value, err
}

func (s servers) close() error {
	if s.cluster != nil {
		return s.cluster.Close() //nolint:wrapcheck // Store.Close wraps it
	}
	return s.single.Close() //nolint:wrapcheck // as above
}
