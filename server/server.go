// Package server is the authorization core: it turns a token request into tokens or a refusal, and knows no HTTP.
//
// A request goes down one pipeline, [Server.Token]: the grant is known, the client proves itself, the grant proves who is
// asking, the issuer keeps the session and signs. Signing out, [Server.Revoke], goes through the same proofs and records. A grant (grant_password.go, grant_refresh.go) only proves; it never
// authenticates a client, makes a token or writes a session, so it cannot forget to. Between the proof and the issuer
// stands go-oauth2's gate, used for nothing else (issuer.go says why).
//
// What can go wrong is one of the closed set of codes in errors.go. Whatever is worth counting or logging leaves as an
// [Event].
package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/keys"
	"github.com/glueauth/glueauth/store"
)

// Customers finds customers and never writes. Package store says what its errors mean.
type Customers interface {
	// ByEmail finds a customer by e-mail address without regard to case, and without trimming.
	ByEmail(ctx context.Context, email string) (store.Customer, error)
	// ByID finds a customer by id.
	ByID(ctx context.Context, id int64) (store.Customer, error)
	// EmailKey returns what all e-mail addresses by which ByEmail is meant to find the same customer have in common.
	EmailKey(email string) string
	// SampleHashes returns password hashes of up to n customers, the newest among them.
	SampleHashes(ctx context.Context, n int) ([]secret.Text, error)
}

// Sessions keeps sessions. Each call is one atomic step; package store holds the contract.
type Sessions interface {
	// Open makes the session, and the record of its subject where there is none.
	Open(ctx context.Context, in store.SignIn) (store.SignedIn, error)
	// Adopt is Rotate for a shop's token, whose session it makes where there is none.
	Adopt(ctx context.Context, a store.Adoption) (store.RotateResult, error)
	// Rotate decides and carries out the exchange of one generation. Its error is always the store's own failure.
	Rotate(ctx context.Context, r store.Rotation) (store.RotateResult, error)
	// End ends the session if it lives, and reports whether it did.
	End(ctx context.Context, e store.Ending) (bool, error)
	// EndAll ends all sessions of a subject, however many, at one cost.
	EndAll(ctx context.Context, e store.EndingAll) error
}

// Config is what a [Server] is made of. Everything is required unless it says otherwise.
type Config struct {
	Clients   []Client // the first one is the default client
	Customers Customers
	Sessions  Sessions
	Keys      *keys.Ring
	Master    *keys.Master

	Issuer           string // the iss claim; empty for none
	RequireConfirmed bool   // refuse customers whose double opt-in is not finished
	// CustomerCheckObserved is refresh.customer_check: observe. A blocked, unconfirmed or re-passworded customer is
	// refreshed; one gone or anonymised never is.
	CustomerCheckObserved bool
	Refresh               RefreshPolicy
	Guesses               Guesses
	Guessing              Guessing
	Legacy                Legacy // zero: no sessions of a shop are taken over
	PasswordWorkers       int    // passwords verified at the same time
	// Revocations is what Verify knows of ended sessions without asking the store; nil for nothing.
	Revocations *Revocations

	Now    func() time.Time
	Random io.Reader
	Event  func(context.Context, Event) // called once for each outcome; must not block
}

// RefreshPolicy is the part of the refresh settings that is the same for all clients.
type RefreshPolicy struct {
	Windows         store.Windows
	MaxSessions     int
	ReuseKeepsAlive bool // refresh.reuse: observe
	// MACKey is the number of the key that refresh tokens are made with, 1 to 255. Those of smaller numbers are good too.
	MACKey byte
}

// Server is the authorization core. It is safe for concurrent use.
type Server struct {
	clients   clients
	customers *customers
	issuer    *issuer
	refresh   refreshGrant
	grants    map[string]grant
}

type eventFunc = func(context.Context, Event)

// TokenRequest is a token request, decoded. A nil parameter was not sent; an empty one was sent empty.
type TokenRequest struct {
	GrantType    string
	Client       Credentials
	Username     *string
	Password     *secret.Text
	RefreshToken *secret.Text
	Scope        *string
	RetryKey     secret.Text // empty: none

	Address   netip.Addr // of the customer's device
	UserAgent string
}

// Credentials is how a client presented itself. An empty ID means the default client.
type Credentials struct {
	ID     string
	Secret *secret.Text
}

// TokenResponse is a successful answer (RFC 6749 §5.1).
type TokenResponse struct {
	AccessToken      secret.Text
	ExpiresIn        time.Duration // whole seconds
	RefreshToken     secret.Text
	Scope            string        // only when the client must be told (RFC 6749 §5.1); else empty
	RefreshExpiresIn time.Duration // whole seconds, only where the client wants to know; else 0
}

// New returns a server, or an error that names what is wrong with the config.
func New(c Config) (*Server, error) {
	registry, err := newClients(c.Clients)
	if err != nil {
		return nil, err
	}
	if !c.complete() {
		return nil, errors.New("server: incomplete config")
	}
	tokens, err1 := newCodec(c.Master, c.Refresh.MACKey)
	marks, err2 := newMarks(c.Master)
	dummies, err3 := newDummies(c.Master)
	shop, err4 := newShopReader(c.Legacy.Key, c.Now)
	guesses, err5 := newGuesses(c)
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		return nil, fmt.Errorf("server: derive keys: %w", err)
	}
	people := &customers{
		source: c.Customers, pool: newPool(c.PasswordWorkers, 1, verifyAll, c.Now), dummies: dummies, guesses: guesses,
		requireConfirmed: c.RequireConfirmed, observe: c.CustomerCheckObserved, event: c.Event,
	}
	refresh := refreshGrant{customers: people, codec: tokens, shop: shop, now: c.Now, event: c.Event}
	return &Server{
		clients:   registry,
		customers: people,
		issuer:    &issuer{config: c, codec: tokens, marks: marks, guesses: guesses},
		refresh:   refresh,
		grants:    map[string]grant{grantPassword: passwordGrant{customers: people}, grantRefresh: refresh},
	}, nil
}

// complete reports whether everything is there that a server needs.
func (c Config) complete() bool {
	rooms := c.Customers != nil && c.Sessions != nil && c.Guesses != nil && c.Keys != nil && c.Master != nil
	world := c.Now != nil && c.Random != nil && c.Event != nil
	return rooms && world && c.Refresh.MACKey >= 1 && c.Refresh.MaxSessions >= 1 && c.PasswordWorkers >= 1
}

// Dialect returns the dialect in which a client that presents this id is answered: its own if there is such a client,
// else the default client's.
func (s *Server) Dialect(clientID string) Dialect { return s.clients.find(clientID).Dialect }

// SampleCosts reads which password hashes customers have, so that a sign-in with an unknown name takes the
// time of one with a known name. Call it at start and from time to time.
func (s *Server) SampleCosts(ctx context.Context) error {
	return s.customers.dummies.refresh(ctx, s.customers.source)
}

// Token is the one pipeline. Its error is always an [*Error].
func (s *Server) Token(ctx context.Context, r TokenRequest) (TokenResponse, error) {
	grant, ok := s.grants[r.GrantType]
	switch {
	case r.GrantType == "":
		return TokenResponse{}, refuse(MissingGrant, nil)
	case !ok:
		return TokenResponse{}, refuse(UnsupportedGrant, nil)
	}
	client, err := s.clients.authenticate(r.Client)
	if err != nil {
		return TokenResponse{}, err
	}
	proven, err := grant.prove(ctx, client, r)
	if err != nil {
		return TokenResponse{}, err
	}
	return s.issuer.issue(ctx, proven, r)
}
