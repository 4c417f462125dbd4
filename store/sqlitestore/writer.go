package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/glueauth/glueauth/store"
)

const (
	// queueSize bounds the calls that wait; beyond it a call is refused at once. It is a fraction of a second's work.
	queueSize = 1024
	// gather is for how long a transaction takes in further calls, so that the first of them does not wait long.
	gather = 10 * time.Millisecond
	// patience is how long a transaction waits for the one writing connection; SQLite then waits for other processes as
	// long again.
	patience = 2 * time.Second
)

// call is one call that waits for the writer.
type call struct {
	gone  func() bool // nobody waits for the answer any more
	run   func(context.Context, transaction) error
	reply chan<- error // has room for the one answer
}

// answer is one that waits for the commit; its err is the call's own, which does not stop the others.
type answer struct {
	reply chan<- error
	err   error
}

// transaction is what one call sees of the transaction it runs in. Its now is in whole seconds.
type transaction struct {
	conn *sql.Conn
	tx   *sql.Tx
	sql  *statements
	now  time.Time
}

// ask has the writer run a call, and returns its result after the commit. Every error but errTaken wraps
// [store.ErrUnavailable]; then the call was carried out as a whole or not at all.
func ask[T any](ctx context.Context, s *Store, run func(context.Context, transaction) (T, error)) (T, error) {
	var result, none T
	reply := make(chan error, 1)
	c := call{
		gone:  func() bool { return ctx.Err() != nil },
		reply: reply,
		run: func(ctx context.Context, t transaction) (err error) {
			result, err = run(ctx, t)
			return err
		},
	}
	err := s.enqueue(c)
	if err == nil {
		err = s.await(ctx, reply)
	}
	if err != nil {
		return none, err // result may still be written to
	}
	return result, nil
}

func (s *Store) enqueue(c call) error {
	select {
	case <-s.stop:
		return unavailable(errClosed)
	default:
	}
	select {
	case s.queue <- c:
		return nil
	default:
		return unavailable(errFull)
	}
}

func (s *Store) await(ctx context.Context, reply <-chan error) error {
	select {
	case err := <-reply:
		return err
	case <-ctx.Done():
		return unavailable(ctx.Err())
	case <-s.ended:
	}
	select {
	case err := <-reply:
		return err
	default: // queued after the writer looked for the last time
		return unavailable(errClosed)
	}
}

// write is the one goroutine that writes. A transaction that fails is over; the next one starts afresh, so nothing has to
// be restarted when the database can write again.
func (s *Store) write(ctx context.Context) {
	defer close(s.ended)
	defer s.forget()
	for {
		select {
		case c := <-s.queue:
			s.transact(ctx, c)
			continue
		case <-s.stop:
		}
		select {
		case c := <-s.queue:
			s.transact(ctx, c)
		default:
			return
		}
	}
}

// transact carries out one call and those that queue up behind it, commits, and answers them all.
func (s *Store) transact(ctx context.Context, c call) {
	t, err := s.begin(ctx)
	if err != nil {
		s.refuse(c, err)
		return
	}
	enough := time.After(gather)
	var answers []answer
	for more := true; more; {
		var own error
		if own, err = s.carryOut(ctx, t, c); err != nil {
			err = errors.Join(err, t.tx.Rollback())
			answers = append(answers, answer{reply: c.reply})
			break
		}
		answers = append(answers, answer{reply: c.reply, err: own})
		c, more = s.next(enough)
	}
	if err == nil {
		err = t.tx.Commit()
	}
	if unsynced(err) {
		s.lost = fmt.Errorf("%w: %w", ErrSync, err)
		err = s.lost
	}
	err = errors.Join(err, t.conn.Close())
	for _, a := range answers {
		if err != nil {
			a.err = unavailable(err)
		}
		a.reply <- a.err
	}
}

// carryOut runs a call unless nobody waits for it. Its second error ends the transaction, the first one is the call's own:
// it came before the call wrote anything.
func (s *Store) carryOut(ctx context.Context, t transaction, c call) (own, fatal error) {
	if c.gone() {
		return unavailable(context.Canceled), nil // he may still look at both, the answer and his context
	}
	t.now = store.Whole(s.now())
	switch err := c.run(ctx, t); {
	case errors.Is(err, errTaken):
		return err, nil
	case errors.Is(err, errDamaged):
		return unavailable(err), nil
	default:
		return nil, err
	}
}

func (s *Store) next(enough <-chan time.Time) (call, bool) {
	select {
	case <-enough:
		return call{}, false
	default:
	}
	select {
	case c := <-s.queue:
		return c, true
	default:
		return call{}, false
	}
}

// refuse answers a call for which no transaction could begin, and those that wait behind it: they have waited enough.
func (s *Store) refuse(c call, err error) {
	err = unavailable(err)
	waiting := len(s.queue) // before anybody hears of it: who asks then has not waited
	c.reply <- err
	for range waiting {
		(<-s.queue).reply <- err
	}
}

func (s *Store) begin(ctx context.Context) (transaction, error) {
	if s.lost != nil {
		return transaction{}, s.lost
	}
	bounded, cancel := context.WithTimeout(ctx, s.wait)
	defer cancel()
	if err := s.prepare(bounded); err != nil {
		return transaction{}, err
	}
	conn, err := s.file.Write.Conn(bounded)
	if err != nil {
		return transaction{}, fmt.Errorf("wait for the connection: %w", err)
	}
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return transaction{}, errors.Join(fmt.Errorf("begin: %w", err), conn.Close())
	}
	return transaction{conn: conn, tx: tx, sql: &s.sql}, nil
}

func (s *Store) prepare(ctx context.Context) (err error) {
	for i := range s.sql {
		if s.sql[i] == nil {
			if s.sql[i], err = s.file.Write.PrepareContext(ctx, statement(i).text()); err != nil {
				return fmt.Errorf("prepare: %w", err)
			}
		}
	}
	return nil
}

func (s *Store) forget() {
	for _, prepared := range s.sql {
		if prepared != nil {
			_ = prepared.Close() // nothing is lost with it
		}
	}
}

func (t transaction) row(ctx context.Context, name statement, args ...any) *sql.Row {
	return t.tx.StmtContext(ctx, t.sql[name]).QueryRowContext(ctx, args...)
}

func (t transaction) exec(ctx context.Context, name statement, args ...any) (int, error) {
	result, err := t.tx.StmtContext(ctx, t.sql[name]).ExecContext(ctx, args...)
	if err != nil {
		return 0, fmt.Errorf("write: %w", err)
	}
	n, err := result.RowsAffected()
	if err != nil {
		return 0, fmt.Errorf("count: %w", err)
	}
	return int(n), nil
}

// unsynced reports whether SQLite could not bring to disk what it had written. It asks the disk at each commit of a
// power-loss-safe store; elsewhere a failure shows at a checkpoint only, which SQLite repeats as a whole.
func unsynced(err error) bool {
	e, ok := errors.AsType[*sqlite.Error](err)
	return ok && (e.Code() == sqlite3.SQLITE_IOERR_FSYNC || e.Code() == sqlite3.SQLITE_IOERR_DIR_FSYNC)
}

func unavailable(err error) error { return fmt.Errorf("%w: %w", store.ErrUnavailable, err) }
