package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/glueauth/glueauth/store"
)

// exportPage is how many sessions one transaction of [Store.Export] reads.
const exportPage = 500

const (
	countSessions = `SELECT count(*) FROM sessions WHERE expires_at > ?`
	selectPage    = `SELECT name, subject_kind, subject_id, u.epoch, u.expires_at
		FROM sessions s LEFT JOIN subjects u ON u.kind = subject_kind AND u.id = subject_id AND u.expires_at > ?1
		WHERE name > ?2 AND s.expires_at > ?1 ORDER BY name LIMIT ?3`
	selectSubject = `SELECT epoch, expires_at FROM subjects WHERE kind = ? AND id = ? AND expires_at > ?`
	writeSubject  = `INSERT INTO subjects (kind, id, epoch, expires_at) VALUES (?, ?, ?, ?)
		ON CONFLICT DO UPDATE SET epoch = excluded.epoch, expires_at = excluded.expires_at`
	deleteSession = `DELETE FROM sessions WHERE name = ? AND subject_kind = ? AND subject_id = ?`
)

// Count returns how many sessions [Store.Export] would yield.
func (s *Store) Count(ctx context.Context) (int, error) {
	return ask(ctx, s, func(ctx context.Context, t transaction) (n int, err error) {
		if err = t.tx.QueryRowContext(ctx, countSessions, t.now.Unix()).Scan(&n); err != nil {
			err = fmt.Errorf("count sessions: %w", err)
		}
		return n, err
	})
}

// Export yields each session that has not expired, once. After an error it yields nothing more.
func (s *Store) Export(ctx context.Context) iter.Seq2[store.Exported, error] {
	return func(yield func(store.Exported, error) bool) {
		after := []byte{}
		for {
			page, err := ask(ctx, s, func(ctx context.Context, t transaction) ([]store.Exported, error) { return t.page(ctx, after) })
			if err != nil {
				yield(store.Exported{}, err)
				return
			}
			for _, e := range page {
				if !yield(e, nil) {
					return
				}
			}
			if len(page) < exportPage {
				return
			}
			after = page[len(page)-1].Name[:]
		}
	}
}

// Import takes sessions of another store in and says what became of them. After an error some of them may be in.
func (s *Store) Import(ctx context.Context, batch []store.Exported) (store.ImportResult, error) {
	return ask(ctx, s, func(ctx context.Context, t transaction) (result store.ImportResult, err error) {
		for _, e := range batch {
			if err := t.merge(ctx, e, &result); err != nil {
				return result, err
			}
		}
		return result, nil
	})
}

// page reads the sessions whose names come next.
func (t transaction) page(ctx context.Context, after []byte) ([]store.Exported, error) {
	page, err := t.names(ctx, after)
	if err != nil {
		return nil, err
	}
	for i := range page {
		if page[i].Session, _, err = t.session(ctx, page[i].Name, page[i].Subject); err != nil {
			return nil, err
		}
	}
	return page, nil
}

// names reads what a page needs to know beside the sessions themselves.
func (t transaction) names(ctx context.Context, after []byte) (page []store.Exported, err error) {
	rows, err := t.tx.QueryContext(ctx, selectPage, t.now.Unix(), after, exportPage)
	if err != nil {
		return nil, fmt.Errorf("list sessions: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var e store.Exported
		var name, epoch []byte
		var expires sql.NullInt64
		if err := rows.Scan(&name, &e.Subject.Kind, &e.Subject.ID, &epoch, &expires); err != nil {
			return nil, fmt.Errorf("list sessions: %w", err)
		}
		if !fill(e.Name[:], name) {
			return nil, fmt.Errorf("session %x: %w", name, errDamaged)
		}
		if expires.Valid {
			if e.Record, err = recordOf(epoch, expires.Int64); err != nil {
				return nil, err
			}
		}
		page = append(page, e)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list sessions: %w", err)
	}
	return page, nil
}

// merge carries out what [store.Exported.Merge] decides.
func (t transaction) merge(ctx context.Context, e store.Exported, result *store.ImportResult) error {
	var there *store.Session
	switch s, _, err := t.session(ctx, e.Name, e.Subject); {
	case err == nil:
		there = &s
	case !errors.Is(err, store.ErrNotFound):
		return err
	}
	subject, err := t.subject(ctx, e.Subject)
	if err != nil {
		return err
	}
	write, record := e.Merge(there, subject, t.now)
	if write {
		if err := t.replace(ctx, e.Session, there != nil); err != nil {
			return err
		}
	}
	if record != nil {
		if _, err := t.tx.ExecContext(ctx, writeSubject, e.Subject.Kind, e.Subject.ID, record.Epoch[:], record.ExpiresAt.Unix()); err != nil {
			return fmt.Errorf("write subject: %w", err)
		}
	}
	switch {
	case !write:
		result.Kept++
	case there != nil:
		result.Updated++
	default:
		result.Added++
	}
	return nil
}

func (t transaction) replace(ctx context.Context, s store.Session, there bool) error {
	if there {
		if _, err := t.tx.ExecContext(ctx, deleteSession, s.Name[:], s.Subject.Kind, s.Subject.ID); err != nil {
			return fmt.Errorf("replace session: %w", err)
		}
	}
	return t.insert(ctx, s)
}

// subject returns the record of a subject, or nil when there is none.
func (t transaction) subject(ctx context.Context, subject store.Subject) (*store.SubjectRecord, error) {
	var epoch []byte
	var expires int64
	err := t.tx.QueryRowContext(ctx, selectSubject, subject.Kind, subject.ID, t.now.Unix()).Scan(&epoch, &expires)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil //nolint:nilnil // nil is the answer
	}
	if err != nil {
		return nil, fmt.Errorf("read subject: %w", err)
	}
	return recordOf(epoch, expires)
}

func recordOf(epoch []byte, expires int64) (*store.SubjectRecord, error) {
	r := &store.SubjectRecord{ExpiresAt: time.Unix(expires, 0).UTC()}
	if !fill(r.Epoch[:], epoch) {
		return nil, fmt.Errorf("subject: %w", errDamaged)
	}
	return r, nil
}
