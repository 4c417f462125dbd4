package server

import (
	"context"

	"github.com/glueauth/glueauth/store"
)

// The grant types (RFC 6749 §4.3.2, §6). A further grant is one file and one line in grantTable.
const (
	grantPassword = "password"
	grantRefresh  = "refresh_token"
)

// grant proves who is asking: no more. The client is authenticated already; tokens and sessions are made later.
type grant interface {
	prove(ctx context.Context, client *Client, r TokenRequest) (proof, error)
}

// proof is what a grant proved, and all that the issuer works from.
type proof struct {
	client   *Client
	customer store.Customer
	scopes   []string
	tell     string // scope to name in the answer, empty for none

	// Of a refresh only.
	presented  *refreshToken // nil: a sign-in
	scopeGiven bool          // scopes were asked for
	refused    store.Cause   // the token is genuine, but its customer may not go on: the session must end
	signOut    store.SignOut // which of the customer's sessions end with it; never SignOutAll, which hands out no token
}
