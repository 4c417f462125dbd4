package sqlitestore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/glueauth/glueauth/store"
)

const selectRevocations = `SELECT seq, subject_kind, subject_id, name, spared, epoch, not_before, noted_at FROM revocations WHERE seq > ? ORDER BY seq`

// Revoked returns what has ended since the call that returned after, and what to ask with the next time.
func (s *Store) Revoked(ctx context.Context, after int64) (list []store.Revocation, next int64, err error) {
	if err := s.usable(); err != nil {
		return nil, after, err
	}
	rows, err := s.file.Read.QueryContext(ctx, selectRevocations, after)
	if err != nil {
		return nil, after, unavailable(fmt.Errorf("list revocations: %w", err))
	}
	next = after
	for rows.Next() {
		var r store.Revocation
		if r, next, err = revocation(rows); err != nil {
			break
		}
		list = append(list, r)
	}
	if err := errors.Join(err, rows.Err(), rows.Close()); err != nil {
		return nil, after, unavailable(fmt.Errorf("list revocations: %w", err))
	}
	return list, next, nil
}

// revocation reads a row of selectRevocations.
func revocation(row scanner) (r store.Revocation, seq int64, err error) {
	var name, epoch []byte
	var notBefore, noted int64
	if err := row.Scan(&seq, &r.Subject.Kind, &r.Subject.ID, &name, &r.Spared, &epoch, &notBefore, &noted); err != nil {
		return r, seq, err
	}
	r.NotBefore, r.At = at(notBefore), at(noted)
	if !fill(r.Epoch[:], epoch) || len(name) > 0 && !fill(r.Session[:], name) {
		return r, seq, errDamaged
	}
	return r, seq, nil
}

// ForgetRevoked deletes what was written down that long ago, in small steps.
func (s *Store) ForgetRevoked(ctx context.Context, age time.Duration) error {
	for n := sweepBatch; n == sweepBatch; {
		var err error
		n, err = ask(ctx, s, func(ctx context.Context, t transaction) (int, error) {
			return t.exec(ctx, sweepRevocations, t.now.Add(-age).Unix(), sweepBatch)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// revoke writes down what has ended.
func (t transaction) revoke(ctx context.Context, list []store.Revocation) error {
	for _, r := range list {
		write, name := writeRevocation, r.Session[:]
		switch {
		case r.Session == store.SessionName{}:
			name = []byte{}
		case !r.Spared: // it has ended once and for all
			write = addRevocation
		}
		if _, err := t.exec(ctx, write, r.Subject.Kind, r.Subject.ID, name, r.Spared, r.Epoch[:], unix(r.NotBefore), t.now.Unix()); err != nil {
			return err
		}
	}
	return nil
}
