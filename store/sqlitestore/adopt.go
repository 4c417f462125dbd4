package sqlitestore

import (
	"context"
	"database/sql"
	"errors"

	"github.com/glueauth/glueauth/store"
)

func (t transaction) adopt(ctx context.Context, a store.Adoption) (store.RotateResult, error) {
	switch e, err := t.session(ctx, a.Name, a.Subject); {
	case err == nil && a.End != "":
		return store.RotateResult{Outcome: store.Refused}, nil
	case err == nil:
		return t.exchange(ctx, e, a.Rotation)
	case !errors.Is(err, sql.ErrNoRows):
		return store.RotateResult{}, err
	}
	record, err := t.subject(ctx, a.Subject)
	if err != nil {
		return store.RotateResult{}, err
	}
	session, kept, void := a.Begin(record, t.now)
	switch {
	case void != "":
		return store.RotateResult{Outcome: store.Refused, Cause: void}, nil
	case a.End != "":
		return store.RotateResult{Outcome: store.Discarded, Cause: a.End}, t.insert(ctx, session)
	}
	surplus, err := t.unused(ctx, a.Subject, kept.Epoch, a.MaxOpen)
	if err != nil {
		return store.RotateResult{}, err
	}
	before := kept
	result, _ := session.Rotate(a.Rotation, &kept, t.now)
	switch err := t.insert(ctx, session); {
	case errors.Is(err, errTaken): // another customer's: only who has the shop's key can forge such a token
		return store.RotateResult{Outcome: store.Refused, Cause: store.CauseMissing}, nil
	case err != nil:
		return store.RotateResult{}, err
	}
	if err := t.begun(ctx, session, record, kept); err != nil {
		return store.RotateResult{}, err
	}
	return result, t.endSurplus(ctx, surplus, before, a.From)
}

// begun writes the record of the subject of a session that was just made, and what the list says of them. had is the record as
// it was, nil for none.
func (t transaction) begun(ctx context.Context, s store.Session, had *store.SubjectRecord, record store.SubjectRecord) error {
	if err := t.keep(ctx, s.Subject, record); err != nil {
		return err
	}
	return t.revoke(ctx, s.Revocations(store.Session{}, had, &record, t.now))
}
