// Package redisstore keeps sessions in Redis or Valkey: one server, one behind Sentinel, or a Cluster. Package store holds
// the contract.
//
// # Keys
//
// Customer 21 has the key glueauth:{c:21}, a hash with his epoch, floor and an index of his sessions, and each of his sessions has
// a key glueauth:{c:21}:NAME, one packed string (record.lua). What a shop said of him in a session that was taken over stands
// under glueauth:{c:21}:NAME:sub, for as long. Failed guesses are counted under glueauth:{n:ACCOUNT}, glueauth:{n:ACCOUNT}:ADDRESS and
// glueauth:{i:ADDRESS}, where both are keyed hashes. The part in braces chooses the slot of a Cluster, so that
// whatever belongs to one customer changes in one step. Agents and guests have a and g in place of c. What has ended is listed
// under glueauth:{revoked} and glueauth:{revoked}:about, written by a call of its own after the ending. Every key expires,
// but for the records of a [Keyring].
//
// # Calls
//
// Each operation is one Lua script and so one atomic step. A refresh is one command and one round trip. Nothing is sent
// twice by itself: the script of a call whose answer was lost may have run, and whoever asks again is answered by the
// table as a replay. Only what a server has refused to begin is sent again, at once: a script that it does not know yet,
// a key that has moved to another node.
//
// Ages are measured by the clock of the server. Whatever fails is an error that wraps [store.ErrUnavailable].
package redisstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9/logging"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/store"
)

// patience is how long a call may take; see [Options].
const patience = 1500 * time.Millisecond

// Options say where the sessions are.
type Options struct {
	// URL is one of
	//
	//	redis://user:password@host:6379/0
	//	unix://user:password@/run/redis.sock?db=0
	//	redis+sentinel://user:password@host1:26379,host2:26379/0?master=NAME
	//	redis+cluster://user:password@host1:6379,host2:6379
	//
	// where user, password, ports and database may be left out, and rediss in place of redis means TLS. In the query of a
	// Sentinel URL, sentinel_user and sentinel_password are for the Sentinels themselves.
	URL secret.Text
	// WaitReplicas is by how many replicas a sign-in, an ending and a sign-out must be confirmed; 0 asks none.
	WaitReplicas int
	// Patience bounds each call as a whole, and two thirds of it each wait within it: for a connection, to send, for an
	// answer. Zero is 1.5 s, which is for customers who wait.
	Patience time.Duration
	// Clock is what a test has in place of the server's clock; where it returns zero, that is asked. It is nil in production.
	Clock func() time.Time
}

// Store keeps sessions. It is safe for concurrent use.
type Store struct {
	servers servers
	scripts scripts
	confirm int              // replicas
	clock   func() time.Time // zero is the server's
}

// Open connects to the server and proves that the store can work there: that it is Redis 6.2 or newer, or Valkey, that it
// runs scripts and takes writes, that the keys of a customer share a slot, and that there are enough replicas. Its error is
// one line with the remedy and without the password.
func Open(ctx context.Context, o Options) (*Store, error) {
	s, a, err := connect(o)
	if err != nil {
		return nil, err
	}
	err = s.servers.teach(ctx, s.scripts)
	if err == nil {
		err = s.probe(ctx, s.confirm)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open the session store at %s: %w", a, err), s.Close())
	}
	return s, nil
}

// connect makes the store; the first call opens the first connection.
func connect(o Options) (*Store, address, error) {
	a, err := parse(o.URL.Reveal())
	if err != nil {
		return nil, address{}, err
	}
	a.patience = cmp.Or(o.Patience, patience)
	all, err := readScripts()
	if err != nil {
		return nil, address{}, err
	}
	logging.Disable() // the library would write to stderr by itself; whatever it has to say comes back as an error
	s := &Store{servers: a.connect(), scripts: all, confirm: o.WaitReplicas, clock: o.Clock}
	if s.clock == nil {
		s.clock = func() time.Time { return time.Time{} }
	}
	return s, a, nil
}

// Close closes the connections. Calls that are still under way fail.
func (s *Store) Close() error {
	if err := s.servers.close(); err != nil {
		return fmt.Errorf("close redis: %w", err)
	}
	return nil
}

// Ping reports whether the store can write. It asks no replica, because a refresh needs none.
func (s *Store) Ping(ctx context.Context) error { return s.probe(ctx, 0) }

// probe writes the records of a customer that there is not.
func (s *Store) probe(ctx context.Context, replicas int) error {
	_, err := s.run(ctx, s.scripts.probe, keysOf("p", 0, store.SessionName{}), replicas)
	return err
}

// Open makes a session, and the record of its subject where there is none.
func (s *Store) Open(ctx context.Context, in store.SignIn) (store.SignedIn, error) {
	scopes, err := joined(in.Scopes)
	if err != nil {
		return store.SignedIn{}, fmt.Errorf("open session: %w", err)
	}
	got, err := s.run(ctx, s.scripts.open, keys(in.Subject, in.Name), s.confirm,
		in.Name[:], in.Client, scopes, in.Password[:], in.Device[:], in.FreshEpoch[:],
		seconds(in.Lifetime), seconds(in.MaxLife), in.MaxOpen, packed(in.From), greeting(in.Address))
	if len(got) == 0 {
		return store.SignedIn{}, first(err, errTaken)
	}
	r := reader{values: got}
	out := store.SignedIn{ExpiresAt: time.Unix(r.number(0), 0).UTC(), Ended: len(got) - openFields}
	if err := first(err, s.begun(ctx, &r, openFields-1, in.Subject, in.Name, in.From)); err != nil {
		return store.SignedIn{}, err
	}
	return out, nil
}

// openFields is how many values the answer of open.lua has before the names of sessions that the cap ended.
const openFields = 2

// begun does what is left after a session was made: at i stand the epoch by which it is spared and then what the cap ended.
func (s *Store) begun(ctx context.Context, r *reader, i int, subject store.Subject, name store.SessionName, from store.Visitor) error {
	var ended []store.Revocation
	if epoch := r.text(i); epoch != "" {
		spared := store.Revocation{Subject: subject, Session: name, Spared: true}
		copy(spared.Epoch[:], epoch)
		ended = append(ended, spared)
	}
	for i++; i < len(r.values); i++ {
		capped := store.Revocation{Subject: subject}
		copy(capped.Session[:], r.text(i))
		ended = append(ended, capped)
	}
	if r.bad {
		return unavailable(errAnswer)
	}
	if err := s.note(ctx, ended...); err != nil {
		return err
	}
	s.endSurplus(ctx, ended, from)
	return nil
}

// endSurplus ends the sessions that the cap has ended. They are dead already; what is missing is the cause in their records,
// which their next use would write too.
func (s *Store) endSurplus(ctx context.Context, ended []store.Revocation, from store.Visitor) {
	for _, r := range ended {
		if r.Spared {
			continue
		}
		if _, err := s.end(ctx, store.Ending{Subject: r.Subject, Name: r.Session, Cause: store.CauseTooMany, From: from}); err != nil {
			break
		}
	}
}

// Rotate decides and carries out the exchange of one generation of a session, and signs out other sessions with it if asked.
func (s *Store) Rotate(ctx context.Context, in store.Rotation) (store.RotateResult, error) {
	args, err := rotation(in)
	if err != nil {
		return store.RotateResult{}, fmt.Errorf("refresh session: %w", err)
	}
	replicas := 0 // a refresh waits for none
	if in.SignOut != store.SignOutNone {
		replicas = s.confirm
	}
	got, err := s.run(ctx, s.scripts.rotate, keys(in.Subject, in.Name), replicas, append(args, greeting(in.Address))...)
	return s.rotated(ctx, got, in, err)
}

// rotation is a rotation as rotate.lua takes it.
func rotation(in store.Rotation) ([]any, error) {
	scopes, err := joined(in.Scopes)
	if err != nil { // a record cannot have such a scope
		return nil, err
	}
	password, retry := in.Password[:], in.RetryKey[:]
	if in.IgnorePassword {
		password = nil
	}
	if in.RetryKey == (store.RetryDigest{}) {
		retry = nil
	}
	rejoin := int64(-1)
	if in.Windows.Rejoin > 0 {
		rejoin = seconds(in.Windows.Rejoin)
	}
	return []any{
		in.Name[:], in.Generation, in.Client, scopes, in.ScopeGiven, in.NarrowScopes, password, in.Device[:], retry,
		seconds(in.Lifetime), seconds(in.Windows.Replay), rejoin, seconds(in.Windows.LateRetry),
		seconds(in.Windows.Concurrency), in.ReuseKeepsAlive, packed(in.From), string(in.SignOut), in.FreshEpoch[:], unix(in.Expires),
		in.SubMark[:],
	}, nil
}

// rotated reads the answer to a rotation, and writes down what that has ended also where err says that it was not confirmed.
func (s *Store) rotated(ctx context.Context, got []any, in store.Rotation, err error) (store.RotateResult, error) {
	if got == nil {
		return store.RotateResult{}, err
	}
	out, usable := answered(got, in)
	if !usable {
		return store.RotateResult{}, first(err, unavailable(errAnswer))
	}
	ctx = context.WithoutCancel(ctx) // a thief could hang up
	if s.confirm > 0 && out.ended && err == nil {
		// An ending does wait: end.lua writes an ended record again, for WAIT to cover it.
		_, err = s.end(ctx, store.Ending{Subject: in.Subject, Name: in.Name, Cause: out.Cause})
	}
	if err := first(err, s.noteRotation(ctx, in, out)); err != nil {
		return store.RotateResult{}, err
	}
	return out.RotateResult, nil
}

// first returns the first error that is one.
func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// End ends a session if it lives and is the client's, and reports whether it did.
func (s *Store) End(ctx context.Context, e store.Ending) (bool, error) {
	ended, err := s.end(ctx, e)
	if ended > 0 {
		err = first(err, s.note(ctx, store.Revocation{Subject: e.Subject, Session: e.Name}))
	}
	return ended == 1 && err == nil, err
}

// end is End without a note of it. It returns what end.lua does, also with an error where that was not confirmed.
func (s *Store) end(ctx context.Context, e store.Ending) (int64, error) {
	got, err := s.run(ctx, s.scripts.end, keys(e.Subject, e.Name), s.confirm, e.Name[:], string(e.Cause), e.Client, packed(e.From))
	if got == nil {
		return 0, err
	}
	r := reader{values: got}
	ended := r.number(0)
	if r.bad {
		return 0, first(err, unavailable(errAnswer))
	}
	return ended, err
}

// EndAll ends all sessions of a subject.
func (s *Store) EndAll(ctx context.Context, e store.EndingAll) error {
	got, err := s.run(ctx, s.scripts.endAll, keys(e.Subject, store.SessionName{}), s.confirm, e.FreshEpoch[:], string(e.Cause), packed(e.From))
	if got == nil {
		return err
	}
	r := reader{values: got}
	at := time.UnixMicro(r.number(0))
	if r.bad {
		return first(err, unavailable(errAnswer))
	}
	return first(err, s.note(ctx, signedOut(e.Subject, e.FreshEpoch, at)))
}

func (s *Store) run(ctx context.Context, script script, keys []string, replicas int, args ...any) ([]any, error) {
	args = append([]any{s.time()}, args...)
	return s.servers.run(ctx, call{script: script, keys: keys, args: args, replicas: replicas})
}

// time is the first argument of a script (time.lua).
func (s *Store) time() int64 {
	now := s.clock()
	if now.IsZero() {
		return 0
	}
	return now.UnixMicro()
}
