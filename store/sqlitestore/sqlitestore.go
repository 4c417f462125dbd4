// Package sqlitestore keeps sessions in the embedded database; package store holds the contract.
//
// One goroutine writes (writer.go). It takes all calls that wait, carries them out in one immediate transaction and
// answers them after the commit, so that however many ask at the same time, one commit is paid for. What a rotation does
// is decided by [store.Session.Rotate], on the record read in that transaction (record.go): another process on the same
// file cannot come in between.
package sqlitestore

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/glueauth/glueauth/store"
	"github.com/glueauth/glueauth/store/sqlitefile"
)

// sweepBatch is how many records one transaction of [Store.Sweep] deletes, so that nobody waits long for it.
const sweepBatch = 500

var (
	errTaken   = errors.New("open session: its name is taken, so the random source repeats itself")
	errDamaged = errors.New("record is damaged")
	errClosed  = errors.New("it is closed")
	errFull    = errors.New("too many calls wait for it")
)

// Store keeps sessions. It is safe for concurrent use.
type Store struct {
	file *sqlitefile.File
	now  func() time.Time
	sql  statements // the writer's own

	queue chan call
	stop  chan struct{} // closed by Close
	ended chan struct{} // closed when the writer has returned
	close sync.Once
}

// New returns a store in f, whose clock is now. It stays usable until [Store.Close]; f must stay open until then.
func New(f *sqlitefile.File, now func() time.Time) *Store {
	s := &Store{
		file:  f,
		now:   now,
		queue: make(chan call, queueSize),
		stop:  make(chan struct{}),
		ended: make(chan struct{}),
	}
	go s.write(context.Background())
	return s
}

// Close carries out what was asked before it and returns when the store has let go of its file. Whoever asks later is told
// [store.ErrUnavailable].
func (s *Store) Close() {
	s.close.Do(func() { close(s.stop) })
	<-s.ended
}

// Open makes a session, and the record of its subject where there is none.
func (s *Store) Open(ctx context.Context, in store.SignIn) (store.SignedIn, error) {
	return ask(ctx, s, func(ctx context.Context, t transaction) (store.SignedIn, error) { return t.open(ctx, in) })
}

// Rotate decides and carries out the exchange of one generation of a session.
func (s *Store) Rotate(ctx context.Context, r store.Rotation) (store.RotateResult, error) {
	return ask(ctx, s, func(ctx context.Context, t transaction) (store.RotateResult, error) { return t.rotate(ctx, r) })
}

// End ends a session if it lives, and reports whether it did.
func (s *Store) End(ctx context.Context, subject store.Subject, name store.SessionName, cause store.Cause) (bool, error) {
	return ask(ctx, s, func(ctx context.Context, t transaction) (bool, error) {
		n, err := t.exec(ctx, endSession, t.now.Unix(), string(cause), name[:], subject.Kind, subject.ID, t.now.Unix())
		return n > 0, err
	})
}

// Sweep deletes the records that have expired and returns how many they were. It works in small steps, between which other
// calls are carried out.
func (s *Store) Sweep(ctx context.Context) (int, error) {
	swept := 0
	for _, name := range []statement{sweepSessions, sweepSubjects} {
		for n := sweepBatch; n == sweepBatch; {
			var err error
			n, err = ask(ctx, s, func(ctx context.Context, t transaction) (int, error) {
				return t.exec(ctx, name, t.now.Unix(), sweepBatch)
			})
			if err != nil {
				return swept, err
			}
			swept += n
		}
	}
	return swept, nil
}

// Ping reports whether the store can work: whether it can write, and its tables are there.
func (s *Store) Ping(ctx context.Context) error {
	_, err := ask(ctx, s, func(ctx context.Context, t transaction) (int, error) { return t.exec(ctx, touchInstance) })
	return err
}

func (t transaction) open(ctx context.Context, in store.SignIn) (store.SignedIn, error) {
	epoch, err := t.epoch(ctx, in.Subject)
	if err != nil {
		return store.SignedIn{}, err
	}
	if epoch == nil {
		epoch = &in.FreshEpoch
	}
	session := store.Session{
		Name: in.Name, Subject: in.Subject, Client: in.Client, Scopes: in.Scopes,
		Epoch: *epoch, Password: in.Password, Device: in.Device, Cur: 1,
		StartedAt: t.now, RotatedAt: t.now,
		ExpiresAt: store.Whole(t.now.Add(min(in.Lifetime, in.MaxLife))),
		EndsAt:    store.Whole(t.now.Add(in.MaxLife)),
	}
	if err := t.insert(ctx, session); err != nil {
		return store.SignedIn{}, err
	}
	if err := t.keepSubject(ctx, in.Subject, *epoch, session.ExpiresAt); err != nil {
		return store.SignedIn{}, err
	}
	ended, err := t.exec(ctx, endUnused, t.now.Unix(), string(store.CauseTooMany),
		in.Subject.Kind, in.Subject.ID, t.now.Unix(), epoch[:], in.Name[:], max(0, in.MaxOpen-1))
	return store.SignedIn{ExpiresAt: session.ExpiresAt, Ended: ended}, err
}

func (t transaction) rotate(ctx context.Context, r store.Rotation) (store.RotateResult, error) {
	session, epoch, err := t.session(ctx, r.Name, r.Subject)
	if errors.Is(err, store.ErrNotFound) {
		return store.RotateResult{Outcome: store.Refused, Cause: store.CauseMissing}, nil
	}
	if err != nil {
		return store.RotateResult{}, err
	}
	result, changed := session.Rotate(r, epoch, t.now)
	if !changed {
		return result, nil
	}
	if err := t.update(ctx, session); err != nil {
		return store.RotateResult{}, err
	}
	if result.Outcome.Succeeded() {
		err = t.keepSubject(ctx, r.Subject, session.Epoch, session.ExpiresAt)
	}
	return result, err
}
