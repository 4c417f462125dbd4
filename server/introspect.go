package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/store"
)

// Introspector tells gateways and resource servers what a token is worth. It changes nothing, and is safe for concurrent
// use. Its errors are always an [*Error], and never the word on a token that could not be looked at.
type Introspector struct {
	config   Config
	clients  clients
	codec    codec
	sessions SessionReader
}

// SessionReader is what an [Introspector] needs of a store of sessions. Its calls change nothing, and cost the same however many
// sessions a subject has.
type SessionReader interface {
	// Session returns a session as it stands.
	Session(ctx context.Context, subject store.Subject, name store.SessionName) (store.Snapshot, error)
	// Record returns the subject's record as it stands, nil when there is none.
	Record(ctx context.Context, subject store.Subject) (*store.SubjectRecord, error)
}

// NewIntrospector returns an introspector of the tokens of a server with that config. Its Customers and Sessions may be missing.
func NewIntrospector(c Config, sessions SessionReader) (*Introspector, error) {
	registry, err := newClients(c.Clients)
	if err != nil {
		return nil, err
	}
	if sessions == nil || c.Keys == nil || c.Master == nil || c.Now == nil {
		return nil, errors.New("server: incomplete config of an introspector")
	}
	tokens, err := newCodec(c.Master, c.Refresh.MACKey)
	if err != nil {
		return nil, fmt.Errorf("server: derive keys: %w", err)
	}
	return &Introspector{config: c, clients: registry, codec: tokens, sessions: sessions}, nil
}

// IntrospectRequest asks about a token (RFC 7662 §2.1). A nil token was not sent.
type IntrospectRequest struct {
	Client Credentials
	Token  *secret.Text
}

// Introspection is what a client is told (RFC 7662 §2.2). Of a token that is not active it is told nothing else.
type Introspection struct {
	Active    bool   `json:"active"`
	Scope     string `json:"scope,omitempty"`
	Client    string `json:"client_id,omitempty"`
	Type      string `json:"token_type,omitempty"` // Bearer; empty for a refresh token
	ExpiresAt int64  `json:"exp,omitempty"`        // seconds since 1970, as the next two
	IssuedAt  int64  `json:"iat,omitempty"`
	NotBefore int64  `json:"nbf,omitempty"`
	Subject   string `json:"sub,omitempty"`
	Audience  string `json:"aud,omitempty"`
	Issuer    string `json:"iss,omitempty"`
	ID        string `json:"jti,omitempty"`
}

// Introspect tells a client that may ask what a token is worth: any access token, and its own refresh tokens. An access token
// is active while it and its session live; a refresh token while its session lives, if it is the newest one or was used last.
func (i *Introspector) Introspect(ctx context.Context, r IntrospectRequest) (Introspection, error) {
	client, err := i.clients.authenticate(r.Client)
	switch {
	case err != nil:
		return Introspection{}, err
	case r.Client.ID == "" || client.Secret == "":
		return Introspection{}, refuse(InvalidClient, errors.New("introspection takes a client that names itself and has a secret"))
	case !client.Introspect:
		return Introspection{}, refuse(NotAllowed, fmt.Errorf("client %q: set introspect to let it ask about tokens", client.ID))
	case r.Token == nil:
		return Introspection{}, refuse(MissingParameter, nil)
	case strings.HasPrefix(r.Token.Reveal(), refreshPrefix):
		return i.refreshToken(ctx, client, *r.Token)
	}
	token, err := i.read(*r.Token)
	if err != nil {
		return Introspection{}, nil //nolint:nilerr // whatever is wrong with it, it is not active
	}
	if lives, err := i.lives(ctx, token); err != nil || !lives {
		return Introspection{}, err
	}
	return Introspection{
		Active: true, Scope: strings.Join(token.Scopes, " "), Client: token.Audience, Type: "Bearer",
		ExpiresAt: token.ExpiresAt.Unix(), IssuedAt: seconds(token.IssuedAt), NotBefore: int64(token.NotBefore),
		Subject: token.Subject, Audience: token.Audience, Issuer: token.Issuer, ID: token.ID,
	}, nil
}

func (i *Introspector) refreshToken(ctx context.Context, client *Client, text secret.Text) (Introspection, error) {
	token, err := i.codec.decode(text, i.config.Now())
	switch {
	case errors.Is(err, errNewerKey):
		return Introspection{}, refuse(Unavailable, err)
	case err != nil:
		return Introspection{}, nil //nolint:nilerr // garbage and expired ones are not active
	}
	s, lives, err := i.session(ctx, token.subject, token.name())
	// The answer to the newest one that was used may have been lost: then it is the one that its owner has.
	replaced := token.generation < s.Cur && token.generation != s.Base
	if err != nil || !lives || s.Client != client.ID || replaced {
		return Introspection{}, err
	}
	return Introspection{
		Active: true, Scope: strings.Join(client.allowed(s.Scopes), " "), Client: client.ID,
		ExpiresAt: token.expiresAt.Unix(), Issuer: i.config.Issuer,
	}, nil
}

// Bearer is the customer whom an access token stands for.
type Bearer struct {
	Reference string // empty where the token does not tell it
	ID        int64  // 0 where the token does not tell it
	Scopes    []string
}

var errEnded = errors.New("an access token whose session has ended")

// Verify returns whose access token this is; whoever's client may have got it. What the revocations know to have ended is refused.
// With live the store is asked for the session too, and also for a token so young that the revocations may not have heard yet that
// it was made after all of its customer's sessions had ended. It returns [BadAccessToken] for whatever is no token, has expired,
// has ended, or stands for no customer, and [Unavailable] where the store is asked and does not answer.
func (i *Introspector) Verify(ctx context.Context, text secret.Text, live bool) (Bearer, error) {
	token, err := i.read(text)
	if err != nil {
		return Bearer{}, refuse(BadAccessToken, err)
	}
	bearer := i.bearer(token)
	if bearer.ID == 0 && bearer.Reference == "" {
		return Bearer{}, refuse(BadAccessToken, errors.New("an access token of nobody who is a customer"))
	}
	switch known := i.known(token, bearer); {
	case known == hasEnded, known == allEnded && (!live || !token.ours):
		return Bearer{}, refuse(BadAccessToken, errEnded)
	case known == noWord && !live:
		return bearer, nil
	}
	lives, err := i.lives(ctx, token)
	switch {
	case err != nil:
		return Bearer{}, err
	case !lives:
		return Bearer{}, refuse(BadAccessToken, errEnded)
	default:
		return bearer, nil
	}
}

// bearer returns as much of the customer as a token tells. A reference is the word of the claim of that name, before the sub's.
func (i *Introspector) bearer(token presented) Bearer {
	told := token.customer()
	bearer := Bearer{Reference: cmp.Or(token.Reference, told.Reference), ID: told.ID, Scopes: token.Scopes}
	if !token.ours {
		return bearer
	}
	bearer.ID = 0
	if subject, _, known := identified(token.ID); known {
		bearer.ID = subject.ID
	}
	if client := i.clients.find(token.Audience); bearer.Reference == "" && client.ID == token.Audience && client.Subject == SubjectReference {
		bearer.Reference = token.Subject
	}
	return bearer
}
