package server

import "context"

// passwordGrant is the resource owner password credentials grant (RFC 6749 §4.3). Its order of checks is the
// reference's (spec 1.5): scope, username, password, credentials.
type passwordGrant struct{ customers *customers }

func (g passwordGrant) prove(ctx context.Context, client *Client, r TokenRequest) (proof, error) {
	scopes, tell, err := client.signInScopes(r.Scope)
	if err != nil {
		return proof{}, err
	}
	if r.Username == nil || r.Password == nil {
		return proof{}, refuse(MissingParameter, nil)
	}
	customer, err := g.customers.verify(ctx, client, r)
	if err != nil {
		return proof{}, err
	}
	return proof{client: client, customer: customer, scopes: scopes, tell: tell}, nil
}
