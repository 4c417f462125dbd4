package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"

	"github.com/glueauth/glueauth/store"
)

// exportPage is how many sessions one transaction of [Store.Export] reads.
const exportPage = 500

const (
	countSessions = `SELECT count(*) FROM sessions WHERE max(expires_at, shop_expires_at) > ?`
	selectPage    = selectSnapshot + `WHERE name > ? AND max(s.expires_at, shop_expires_at) > ? ORDER BY name LIMIT ?`
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

// Export yields each session that is kept, once. After an error it yields nothing more.
func (s *Store) Export(ctx context.Context) iter.Seq2[store.Snapshot, error] {
	return func(yield func(store.Snapshot, error) bool) {
		after := []byte{}
		for {
			page, err := ask(ctx, s, func(ctx context.Context, t transaction) ([]store.Snapshot, error) { return t.page(ctx, after) })
			if err != nil {
				yield(store.Snapshot{}, err)
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
func (s *Store) Import(ctx context.Context, batch []store.Snapshot) (store.ImportResult, error) {
	return ask(ctx, s, func(ctx context.Context, t transaction) (result store.ImportResult, err error) {
		for _, e := range batch {
			if err := t.merge(ctx, e, &result); err != nil {
				return result, err
			}
		}
		return result, nil
	})
}

// page reads the sessions whose names come next. An expired record is none.
func (t transaction) page(ctx context.Context, after []byte) ([]store.Snapshot, error) {
	rows, err := t.tx.QueryContext(ctx, selectPage, after, t.now.Unix(), exportPage)
	if err != nil {
		return nil, fmt.Errorf("list sessions: %w", err)
	}
	page, err := snapshots(rows)
	for i := range page {
		if r := page[i].Record; r != nil && !t.now.Before(r.ExpiresAt) {
			page[i].Record = nil
		}
	}
	return page, err
}

// merge carries out what [store.Snapshot.Merge] decides.
func (t transaction) merge(ctx context.Context, e store.Snapshot, result *store.ImportResult) error {
	var there *store.Session
	switch found, err := t.session(ctx, e.Name, e.Subject); {
	case err == nil:
		there = &found.Session
	case !errors.Is(err, sql.ErrNoRows):
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
		if err := t.keep(ctx, e.Subject, *record); err != nil {
			return err
		}
	}
	if err := t.revoke(ctx, e.Moved(t.now)); err != nil {
		return err
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
