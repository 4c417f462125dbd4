package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/glueauth/glueauth/store"
)

// shown is how many sessions of each kind of dead ones [Store.SessionsOf] returns.
const shown = 8

// selectShown is a subject's living sessions, and the newest of those that were ended, that expired, and that a sign-out
// everywhere ended. The numbered parameters are kind, id, the time, and the epoch of his record.
const selectShown = selectSnapshot + `WHERE name IN (
		SELECT * FROM (SELECT name FROM sessions
			WHERE subject_kind = ?1 AND subject_id = ?2 AND ended_at = 0 AND expires_at > ?3 AND epoch = ?4)
		UNION ALL SELECT * FROM (SELECT name FROM sessions
			WHERE subject_kind = ?1 AND subject_id = ?2 AND ended_at > 0 ORDER BY ended_at DESC LIMIT ?5)
		UNION ALL SELECT * FROM (SELECT name FROM sessions
			WHERE subject_kind = ?1 AND subject_id = ?2 AND ended_at = 0 AND expires_at <= ?3 ORDER BY expires_at DESC LIMIT ?5)
		UNION ALL SELECT * FROM (SELECT name FROM sessions
			WHERE subject_kind = ?1 AND subject_id = ?2 AND ended_at = 0 AND expires_at > ?3 AND epoch IS NOT ?4 ORDER BY rotated_at DESC LIMIT ?5))
	ORDER BY started_at DESC, name`

// Session returns a session as it stands, or [store.ErrNotFound]. Its record may have expired, like the session itself.
func (s *Store) Session(ctx context.Context, subject store.Subject, name store.SessionName) (store.Snapshot, error) {
	if err := s.usable(); err != nil {
		return store.Snapshot{}, err
	}
	e, err := snapshot(s.file.Read.QueryRowContext(ctx, selectSession.text(), name[:], subject.Kind, subject.ID))
	if err != nil {
		return store.Snapshot{}, absent(err)
	}
	return e, nil
}

// SessionsOf returns the sessions of a subject, the newest sign-in first, and his record, nil when there is none: those
// that live, and of the others at least the last eight that ended.
func (s *Store) SessionsOf(ctx context.Context, subject store.Subject) (all []store.Snapshot, r *store.SubjectRecord, err error) {
	if err := s.usable(); err != nil {
		return nil, nil, err
	}
	tx, err := s.file.Read.BeginTx(ctx, nil)
	if err != nil {
		return nil, nil, unavailable(err)
	}
	defer func() {
		if undo := tx.Rollback(); undo != nil && err == nil {
			err = unavailable(undo)
		}
	}()
	var epoch []byte
	switch r, err = record(tx.QueryRowContext(ctx, selectRecord, subject.Kind, subject.ID)); {
	case err == nil:
		epoch = r.Epoch[:]
	case !errors.Is(err, sql.ErrNoRows):
		return nil, nil, unavailable(err)
	}
	rows, err := tx.QueryContext(ctx, selectShown, subject.Kind, subject.ID, store.Whole(s.now()).Unix(), epoch, shown)
	if err != nil {
		return nil, nil, unavailable(fmt.Errorf("list sessions: %w", err))
	}
	if all, err = snapshots(rows); err != nil {
		return nil, nil, unavailable(err)
	}
	return all, r, nil
}

// Record returns the record of a subject as it stands, nil when there is none.
func (s *Store) Record(ctx context.Context, subject store.Subject) (*store.SubjectRecord, error) {
	if err := s.usable(); err != nil {
		return nil, err
	}
	r, err := record(s.file.Read.QueryRowContext(ctx, selectRecord, subject.Kind, subject.ID))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil //nolint:nilnil // nil is the answer
	}
	if err != nil {
		return nil, unavailable(err)
	}
	return r, nil
}

// Locate returns whose session this is, or [store.ErrNotFound].
func (s *Store) Locate(ctx context.Context, name store.SessionName) (store.Subject, error) {
	if err := s.usable(); err != nil {
		return store.Subject{}, err
	}
	var subject store.Subject
	row := s.file.Read.QueryRowContext(ctx, `SELECT subject_kind, subject_id FROM sessions WHERE name = ?`, name[:])
	if err := row.Scan(&subject.Kind, &subject.ID); err != nil {
		return store.Subject{}, absent(fmt.Errorf("locate session: %w", err))
	}
	return subject, nil
}

func (s *Store) usable() error {
	select {
	case <-s.stop:
		return unavailable(errClosed)
	default:
		return nil
	}
}

func absent(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return store.ErrNotFound
	}
	return unavailable(err)
}
