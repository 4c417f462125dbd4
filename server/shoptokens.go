package server

import (
	"context"
	"time"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/store"
)

// ShopTokens is the shop's own table of refresh tokens (spec 4.4).
type ShopTokens interface {
	// ShopToken returns the row of a refresh_token_id (80 hex digits) or [store.ErrNotFound]; other failures wrap [store.ErrUnavailable].
	ShopToken(ctx context.Context, id string) (store.ShopToken, error)
	// RevokeShopToken sets revoked_at; a source that may not write returns [store.ErrReadOnly].
	RevokeShopToken(ctx context.Context, id string, at time.Time) error
}

// Legacy says how sessions that a shop began are taken over: with the refresh tokens that it gave out (spec 4.3).
type Legacy struct {
	Key secret.Text // the shop's encryption key; empty: nothing is taken over
	// Tokens is asked whether a token is good, and told that it was taken over. Nil: whoever has the key can make a token for
	// any customer, and one that the shop has revoked is taken over.
	Tokens ShopTokens
	Until  time.Time // from then on nothing more is taken over; zero: for ever
}
