// Package sqlitestore keeps sessions in the embedded database; package store holds the contract.
//
// One goroutine writes (writer.go). It takes all calls that wait, carries them out in one immediate transaction and
// answers them after the commit, so that however many ask at the same time, one commit is paid for. What a call does to a
// session is decided by package store, on the records read in that transaction (record.go): another process on the same
// file cannot come in between. Looking at sessions (read.go) goes past the writer.
package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/glueauth/glueauth/store"
	"github.com/glueauth/glueauth/store/sqlitefile"
)

// sweepBatch is how many records one transaction of [Store.Sweep] deletes, so that nobody waits long for it.
const sweepBatch = 500

// ErrSync says that the disk failed to keep a commit. From then on a later success would prove nothing (the system may
// have dropped what it could not write), so the store changes nothing any more until its file is opened anew.
var ErrSync = errors.New("the disk failed to keep a commit: look after the disk, then start again")

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
	lost error      // wraps ErrSync once that has happened; the writer's own

	wait time.Duration // for the connection

	queue chan call
	stop  chan struct{} // closed by Close
	ended chan struct{} // closed when the writer has returned
	close sync.Once
}

// New returns a store in f, whose clock is now. It stays usable until [Store.Close]; f must stay open until then.
func New(f *sqlitefile.File, now func() time.Time) *Store { return newStore(f, now, patience) }

// newStore has a transaction wait so long for the connection.
func newStore(f *sqlitefile.File, now func() time.Time, wait time.Duration) *Store {
	s := &Store{
		file:  f,
		now:   now,
		wait:  wait,
		queue: make(chan call, queueSize),
		stop:  make(chan struct{}),
		ended: make(chan struct{}),
	}
	go s.write(context.Background())
	return s
}

// Close carries out what was asked before it and returns when the writer has let go of the file. Whoever asks later is told
// [store.ErrUnavailable].
func (s *Store) Close() {
	s.close.Do(func() { close(s.stop) })
	<-s.ended
}

// Open makes a session, and the record of its subject where there is none.
func (s *Store) Open(ctx context.Context, in store.SignIn) (store.SignedIn, error) {
	return ask(ctx, s, func(ctx context.Context, t transaction) (store.SignedIn, error) { return t.open(ctx, in) })
}

// Adopt takes a session over that a shop began, and makes the record of its subject where there is none.
func (s *Store) Adopt(ctx context.Context, a store.Adoption) (store.RotateResult, error) {
	return ask(ctx, s, func(ctx context.Context, t transaction) (store.RotateResult, error) {
		result, err := t.adopt(ctx, a)
		return t.greeting(ctx, a.Rotation, result, err)
	})
}

// Rotate decides and carries out the exchange of one generation of a session, and the sign-out that goes with it.
func (s *Store) Rotate(ctx context.Context, r store.Rotation) (store.RotateResult, error) {
	return ask(ctx, s, func(ctx context.Context, t transaction) (store.RotateResult, error) {
		result, err := t.rotate(ctx, r)
		return t.greeting(ctx, r, result, err)
	})
}

// End ends a session if it lives, and reports whether it did.
func (s *Store) End(ctx context.Context, e store.Ending) (bool, error) {
	return ask(ctx, s, func(ctx context.Context, t transaction) (bool, error) { return t.end(ctx, e) })
}

// EndAll ends all sessions of a subject. It changes his record and nothing else.
func (s *Store) EndAll(ctx context.Context, e store.EndingAll) error {
	_, err := ask(ctx, s, func(ctx context.Context, t transaction) (none struct{}, err error) {
		record, err := t.subject(ctx, e.Subject)
		if err != nil {
			return none, err
		}
		var ended store.SubjectRecord
		if record != nil {
			ended = *record
		}
		ended.EndAll(e, t.now)
		if err := t.keep(ctx, e.Subject, ended); err != nil {
			return none, err
		}
		return none, t.revoke(ctx, []store.Revocation{ended.Revocation(e.Subject)})
	})
	return err
}

// Sweep deletes the records that expired [store.Remembered] ago, and the buckets of guesses that are empty again, and returns how many they were. It works in small steps,
// between which other calls are carried out.
func (s *Store) Sweep(ctx context.Context) (int, error) {
	swept := 0
	for _, what := range []struct {
		name statement
		kept time.Duration
	}{{sweepSessions, store.Remembered}, {sweepSubjects, store.Remembered}, {sweepGuesses, 0}} {
		for n := sweepBatch; n == sweepBatch; {
			var err error
			n, err = ask(ctx, s, func(ctx context.Context, t transaction) (int, error) {
				return t.exec(ctx, what.name, t.now.Add(-what.kept).Unix(), sweepBatch)
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
	record, err := t.subject(ctx, in.Subject)
	if err != nil {
		return store.SignedIn{}, err
	}
	kept := store.SubjectRecord{Epoch: in.FreshEpoch}
	if record != nil {
		kept = *record
	}
	session := store.Session{
		Name: in.Name, Subject: in.Subject, Client: in.Client, Scopes: in.Scopes,
		Epoch: kept.Epoch, Password: in.Password, Device: in.Device, Cur: 1, First: in.From, Last: in.From,
		StartedAt: t.now, RotatedAt: t.now,
		ExpiresAt: store.Whole(t.now.Add(min(in.Lifetime, in.MaxLife))),
		EndsAt:    store.Whole(t.now.Add(in.MaxLife)),
	}
	surplus, err := t.unused(ctx, in.Subject, kept.Epoch, in.MaxOpen)
	if err != nil {
		return store.SignedIn{}, err
	}
	if err := t.insert(ctx, session); err != nil {
		return store.SignedIn{}, err
	}
	if err := t.revoke(ctx, session.Revocations(store.Session{}, record, &kept, t.now)); err != nil {
		return store.SignedIn{}, err
	}
	if session.ExpiresAt.After(kept.ExpiresAt) {
		kept.ExpiresAt = session.ExpiresAt
		if err := t.keep(ctx, in.Subject, kept); err != nil {
			return store.SignedIn{}, err
		}
	}
	if err := t.greet(ctx, in.Subject, in.Address); err != nil {
		return store.SignedIn{}, err
	}
	return store.SignedIn{ExpiresAt: session.ExpiresAt, Ended: len(surplus)}, t.endSurplus(ctx, surplus, kept, in.From)
}

// endSurplus ends the sessions that are too many.
func (t transaction) endSurplus(ctx context.Context, surplus []store.Snapshot, subject store.SubjectRecord, from store.Visitor) error {
	for _, e := range surplus {
		before := e.Session
		e.End(store.Ending{Cause: store.CauseTooMany, From: from}, &subject, t.now)
		if err := t.update(ctx, e.Session); err != nil {
			return err
		}
		if err := t.revoke(ctx, e.Revocations(before, &subject, &subject, t.now)); err != nil {
			return err
		}
	}
	return nil
}

// unused returns the living sessions of a subject that are too many beside one that is to be opened.
func (t transaction) unused(ctx context.Context, subject store.Subject, epoch store.Epoch, most int) ([]store.Snapshot, error) {
	rows, err := t.tx.StmtContext(ctx, t.sql[selectUnused]).QueryContext(ctx,
		subject.Kind, subject.ID, t.now.Unix(), epoch[:], max(0, most-1))
	if err != nil {
		return nil, fmt.Errorf("list sessions: %w", err)
	}
	return snapshots(rows)
}

func (t transaction) rotate(ctx context.Context, r store.Rotation) (store.RotateResult, error) {
	e, err := t.session(ctx, r.Name, r.Subject)
	if errors.Is(err, sql.ErrNoRows) {
		return store.RotateResult{Outcome: store.Refused, Cause: store.CauseMissing}, nil
	}
	if err != nil {
		return store.RotateResult{}, err
	}
	return t.exchange(ctx, e, r)
}

// exchange carries a rotation of a session out that was found.
func (t transaction) exchange(ctx context.Context, e store.Snapshot, r store.Rotation) (store.RotateResult, error) {
	session, record := e.Session, copied(e.Record)
	result, changed := e.Rotate(r, e.Record, t.now)
	if !changed {
		return result, nil
	}
	return result, t.write(ctx, e, session, record)
}

// write writes a session that was changed, its subject's record if that was too, and what has ended by it.
func (t transaction) write(ctx context.Context, e store.Snapshot, before store.Session, record *store.SubjectRecord) error {
	if err := t.update(ctx, e.Session); err != nil {
		return err
	}
	if e.Record != nil && *e.Record != *record {
		if err := t.keep(ctx, e.Subject, *e.Record); err != nil {
			return err
		}
	}
	return t.revoke(ctx, e.Revocations(before, record, e.Record, t.now))
}

func copied(r *store.SubjectRecord) *store.SubjectRecord {
	if r == nil {
		return nil
	}
	c := *r
	return &c
}

func (t transaction) end(ctx context.Context, ending store.Ending) (bool, error) {
	e, err := t.session(ctx, ending.Name, ending.Subject)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	session, record := e.Session, copied(e.Record)
	if err != nil || !e.End(ending, e.Record, t.now) {
		return false, err
	}
	return true, t.write(ctx, e, session, record)
}
