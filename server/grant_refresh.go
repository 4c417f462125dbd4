package server

import (
	"context"
	"errors"
	"time"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/store"
)

// refreshGrant is the refresh_token grant (RFC 6749 §6). It reads the token without I/O, then looks at the customer
// again; whether the token may still be used is decided by the session store, in one step, when the issuer rotates.
type refreshGrant struct {
	customers *customers
	codec     codec
	now       func() time.Time
	event     eventFunc
}

func (g refreshGrant) prove(ctx context.Context, client *Client, r TokenRequest) (proof, error) {
	if r.RefreshToken == nil {
		return proof{}, refuse(MissingParameter, nil)
	}
	token, err := g.genuine(ctx, client, *r.RefreshToken)
	if err != nil {
		return proof{}, err
	}
	customer, refused, err := g.customers.current(ctx, token.subject.ID)
	if err != nil {
		return proof{}, err
	}
	p := proof{client: client, customer: customer, presented: &token, refused: refused}
	if r.Scope != nil {
		p.scopes, p.scopeGiven = client.refreshScopes(*r.Scope), true
	}
	return p, nil
}

// genuine returns what a token says that we have made and that has not expired.
func (g refreshGrant) genuine(ctx context.Context, client *Client, text secret.Text) (refreshToken, error) {
	token, err := g.codec.decode(text, g.now())
	if errors.Is(err, errNewerKey) {
		return refreshToken{}, refuse(Unavailable, err)
	}
	if err != nil {
		g.event(ctx, Event{Name: EventRefreshRefused, Cause: causeOfToken(err), Client: client.ID})
		return refreshToken{}, refuse(BadRefreshToken, err)
	}
	return token, nil
}

func causeOfToken(err error) string {
	if errors.Is(err, errExpired) {
		return string(store.CauseExpired)
	}
	return causeNotOurs
}
