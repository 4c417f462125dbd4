package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	"github.com/glueauth/glueauth/store"
)

// KeepsTokens reports whether the shop's own refresh tokens can be looked up: its table was there when it was opened, and
// the account may read it.
func (s *Shop) KeepsTokens() bool { return s.tokens }

// ShopToken returns the row of a refresh token of the shop's own, by its refresh_token_id. Identifiers are not unique: one
// row that is revoked is enough. No such row is [store.ErrNotFound].
func (s *Shop) ShopToken(ctx context.Context, id string) (store.ShopToken, error) {
	const what = "find refresh token of the shop"
	ctx, cancel := context.WithTimeout(ctx, s.patience)
	defer cancel()
	var t store.ShopToken
	var reference, client sql.NullString
	var expires sql.NullTime
	err := s.db.QueryRowContext(ctx, `SELECT customer_reference, fk_oauth_client, expires_at, revoked_at IS NOT NULL FROM `+tokenTable+
		` WHERE identifier = `+s.kind.parameter(1)+` ORDER BY revoked_at IS NULL, expires_at LIMIT 1`, id).Scan(&reference, &client, &expires, &t.Revoked)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	} else if err == nil {
		t.CustomerReference, t.Client, t.ExpiresAt = reference.String, client.String, expires.Time.UTC()
		return t, nil
	}
	return store.ShopToken{}, notThere(what, id, err)
}

// RevokeShopToken marks the rows of a refresh token of the shop's own as revoked, those that are not yet. An account that may
// only read gets [store.ErrReadOnly].
func (s *Shop) RevokeShopToken(ctx context.Context, id string, at time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, s.patience)
	defer cancel()
	err := s.write(ctx, `UPDATE `+tokenTable+` SET revoked_at = `+s.kind.parameter(1)+` WHERE identifier = `+s.kind.parameter(2)+` AND revoked_at IS NULL`,
		at.UTC().Truncate(time.Second), id)
	const what = "revoke refresh token of the shop"
	switch t := troubleOf(err); {
	case err == nil:
		return nil
	case t == noPrivilege || t == noWriting:
		return fmt.Errorf("%s: %w: %w", what, store.ErrReadOnly, err)
	default:
		return unavailable(what, err)
	}
}

// write carries out one statement in a transaction that may write, which those of our connections otherwise may not.
func (s *Shop) write(ctx context.Context, statement string, args ...any) error {
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // it goes back to the pool, or is gone
	err = run(ctx, conn, "START TRANSACTION READ WRITE")
	if err == nil {
		err = run(ctx, conn, statement, args...)
	}
	if err == nil {
		err = run(ctx, conn, "COMMIT")
	}
	if err != nil {
		_ = conn.Raw(func(any) error { return driver.ErrBadConn }) // so that the transaction ends with its connection
	}
	return err
}

func run(ctx context.Context, conn *sql.Conn, statement string, args ...any) error {
	_, err := conn.ExecContext(ctx, statement, args...)
	return err
}
