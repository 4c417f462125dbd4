package server

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/store"
)

// refreshGrant is the refresh_token grant (RFC 6749 §6). It reads the token without I/O, then looks at the customer
// again; whether the token may still be used is decided by the session store, in one step, when the issuer rotates.
type refreshGrant struct {
	customers *customers
	codec     codec
	shop      *shopReader // nil: nothing is taken over
	now       func() time.Time
	event     eventFunc
}

func (g refreshGrant) prove(ctx context.Context, client *Client, r TokenRequest) (proof, error) {
	if r.RefreshToken == nil {
		return proof{}, refuse(MissingParameter, nil)
	}
	token, err := g.genuine(ctx, client, r)
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

// genuine returns what a token says that we have made, or the shop before us, and that has not expired.
func (g refreshGrant) genuine(ctx context.Context, client *Client, r TokenRequest) (refreshToken, error) {
	token, err := g.read(ctx, client, *r.RefreshToken, r.Address)
	switch {
	case err == nil:
		return token, nil
	case !isVerdict(err):
		return refreshToken{}, refuse(Unavailable, err)
	default:
		g.event(ctx, Event{Name: EventRefreshRefused, Cause: causeOfToken(err), Client: client.ID})
		return refreshToken{}, refuse(BadRefreshToken, err)
	}
}

// read returns what a token says. Whose client one of ours belongs to is in its record, and a shop's own says it itself.
func (g refreshGrant) read(ctx context.Context, client *Client, text secret.Text, from netip.Addr) (refreshToken, error) {
	if !g.shop.reads(text) {
		return g.codec.decode(text, g.now())
	}
	token, err := g.shop.decode(ctx, text, from)
	if token.shop != nil && token.shop.client != client.ID {
		return refreshToken{}, errOtherClient
	}
	return token, err
}

// isVerdict reports whether an error says what a token is, and not that it could not be read.
func isVerdict(err error) bool {
	return errors.Is(err, errNotOurs) || errors.Is(err, errExpired) || errors.Is(err, errOtherClient)
}

func causeOfToken(err error) string {
	switch {
	case errors.Is(err, errExpired):
		return string(store.CauseExpired)
	case errors.Is(err, errOtherClient):
		return string(store.OtherClient)
	default:
		return causeNotOurs
	}
}
