package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/go-oauth2/oauth2/v4"
	"github.com/go-oauth2/oauth2/v4/models"
	gate "github.com/go-oauth2/oauth2/v4/server"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/store"
)

// issuer keeps the session and makes the tokens for what a grant has proved. It does so behind go-oauth2: the library's
// GetAccessToken decides that a grant type may issue and calls its Manager, which is ours.
//
// Nothing else of the library is used, and no handler of it is set. Its own manager rotates in three separate store
// calls, authenticates no client on refresh and checks passwords before client secrets; with ours, and with its
// refreshing handlers nil, a refresh is exactly one call of RefreshAccessToken, and our errors come back unchanged.
type issuer struct {
	config Config
	codec  codec
	marks  marks
}

// issue makes the tokens. The gate knows only its own grants: whatever proves a customer passes it as a password grant.
func (i *issuer) issue(ctx context.Context, p proof, r TokenRequest) (TokenResponse, error) {
	grantType := oauth2.PasswordCredentials
	if p.presented != nil {
		grantType = oauth2.Refreshing
	}
	guard := gate.Server{
		Config:  &gate.Config{AllowedGrantTypes: []oauth2.GrantType{oauth2.PasswordCredentials, oauth2.Refreshing}},
		Manager: issuance{issuer: i, proof: p, request: r},
	}
	info, err := guard.GetAccessToken(ctx, grantType, &oauth2.TokenGenerateRequest{ClientID: p.client.ID})
	if err != nil {
		if _, ours := errors.AsType[*Error](err); ours {
			return TokenResponse{}, err
		}
		return TokenResponse{}, refuse(Internal, err)
	}
	return TokenResponse{
		AccessToken:  secret.Text(info.GetAccess()),
		ExpiresIn:    info.GetAccessExpiresIn(),
		RefreshToken: secret.Text(info.GetRefresh()),
		Scope:        info.GetScope(),
	}, nil
}

// issuance is the library's Manager for one proven request. Only the two calls that GetAccessToken makes for our grants
// do anything.
type issuance struct {
	*issuer
	proof   proof
	request TokenRequest
}

var errBehindFence = errors.New("go-oauth2 called a part of its manager that this server does not use")

// GenerateAccessToken opens a session.
func (n issuance) GenerateAccessToken(ctx context.Context, _ oauth2.GrantType, _ *oauth2.TokenGenerateRequest) (oauth2.TokenInfo, error) {
	c, p, now := n.config, n.proof, n.config.Now()
	token := refreshToken{subject: store.Subject{Kind: store.SubjectCustomer, ID: p.customer.ID}, generation: 1}
	var epoch store.Epoch
	for _, random := range [][]byte{token.session[:], epoch[:]} {
		if _, err := io.ReadFull(c.Random, random); err != nil {
			return nil, refuse(Internal, fmt.Errorf("random source: %w", err))
		}
	}
	opened, err := c.Sessions.Open(ctx, store.SignIn{
		Name: token.name(), Subject: token.subject, Client: p.client.ID, Scopes: p.scopes,
		Password: n.marks.ofPassword(p.customer), Device: n.marks.ofDevice(n.request.Address, n.request.UserAgent),
		FreshEpoch: epoch, Lifetime: p.client.RefreshUntil(now).Sub(now), MaxLife: c.Refresh.MaxLife(now).Sub(now),
		MaxOpen: c.Refresh.MaxSessions,
	})
	if err != nil {
		return nil, unavailable(err)
	}
	token.expiresAt = opened.ExpiresAt
	c.Event(ctx, n.about(EventSignIn, token, ""))
	if opened.Ended > 0 {
		c.Event(ctx, n.about(EventSessionEnded, token, string(store.CauseTooMany)))
	}
	return n.mint(token, p.scopes)
}

// RefreshAccessToken rotates. What is presented was checked without I/O; the one store call decides everything else,
// and after it nothing but the signature can fail.
func (n issuance) RefreshAccessToken(ctx context.Context, _ *oauth2.TokenGenerateRequest) (oauth2.TokenInfo, error) {
	p, token := n.proof, *n.proof.presented
	if p.refused != "" {
		return nil, n.end(ctx, token, p.refused)
	}
	policy, now := n.config.Refresh, n.config.Now()
	result, err := n.config.Sessions.Rotate(ctx, store.Rotation{
		Name: token.name(), Subject: token.subject, Generation: token.generation, Client: p.client.ID,
		Scopes: p.scopes, ScopeGiven: p.scopeGiven, NarrowScopes: p.client.Dialect == Glue,
		Password: n.marks.ofPassword(p.customer), IgnorePassword: n.config.CustomerCheckObserved,
		Device:   n.marks.ofDevice(n.request.Address, n.request.UserAgent),
		RetryKey: n.marks.ofRetryKey(n.request.RetryKey), Lifetime: p.client.RefreshUntil(now).Sub(now),
		Windows: policy.Windows, ReuseKeepsAlive: policy.ReuseKeepsAlive,
	})
	if err != nil {
		return nil, unavailable(err)
	}
	n.config.Event(ctx, n.about(rotationEvent(result.Outcome), token, string(result.Cause)))
	switch {
	case result.Outcome == store.ScopeRefused:
		return nil, refuse(InvalidScope, nil)
	case !result.Outcome.Succeeded():
		return nil, refuse(BadRefreshToken, fmt.Errorf("%s %s", result.Outcome, result.Cause))
	}
	token.generation, token.expiresAt = result.Generation, result.ExpiresAt
	if p.scopeGiven {
		return n.mint(token, p.scopes)
	}
	return n.mint(token, p.client.allowed(result.Scopes)) // without those that the client has lost since
}

// end ends the session of a customer who may not go on.
func (n issuance) end(ctx context.Context, token refreshToken, cause store.Cause) error {
	ended, err := n.config.Sessions.End(ctx, token.subject, token.name(), cause)
	if err != nil {
		return unavailable(err)
	}
	if ended {
		n.config.Event(ctx, n.about(EventSessionEnded, token, string(cause)))
	}
	n.config.Event(ctx, n.about(EventRefreshRefused, token, string(cause)))
	return refuse(BadRefreshToken, errors.New(string(cause)))
}

func (n issuance) mint(token refreshToken, scopes []string) (oauth2.TokenInfo, error) {
	client := n.proof.client
	access := accessToken{client: client, customer: n.proof.customer, scopes: scopes, issuedAt: n.config.Now(), issuer: n.config.Issuer}
	if err := n.identify(&access.jti, token); err != nil {
		return nil, refuse(Internal, err)
	}
	claims, err := access.claims()
	if err != nil {
		return nil, refuse(Internal, err)
	}
	signed, err := n.config.Keys.Sign(client.TokenType, claims)
	if err != nil {
		return nil, refuse(Internal, fmt.Errorf("sign access token: %w", err))
	}
	info := models.NewToken()
	info.SetAccess(signed)
	info.SetAccessExpiresIn(client.AccessLifetime.Truncate(time.Second))
	info.SetRefresh(n.codec.encode(token).Reveal())
	info.SetScope(n.proof.tell)
	return info, nil
}

// identify makes a jti: subject kind and id, session name, 15 random bytes. Its first 50 hex digits name the session.
func (n issuance) identify(jti *[40]byte, token refreshToken) error {
	name := token.name()
	jti[0] = byte(token.subject.Kind)
	for at := range 8 {
		jti[1+at] = byte(token.subject.ID >> (56 - 8*at)) //nolint:gosec // big endian, as in the refresh token
	}
	copy(jti[9:], name[:])
	if _, err := io.ReadFull(n.config.Random, jti[25:]); err != nil {
		return fmt.Errorf("random source: %w", err)
	}
	return nil
}

func (n issuance) about(name EventName, token refreshToken, cause string) Event {
	return Event{
		Name: name, Cause: cause, Client: n.proof.client.ID,
		Subject: token.subject, Session: token.name(), Generation: token.generation,
	}
}

// GetClient is never called by the gate.
func (issuance) GetClient(context.Context, string) (oauth2.ClientInfo, error) {
	return nil, errBehindFence
}

// GenerateAuthToken is never called by the gate.
func (issuance) GenerateAuthToken(context.Context, oauth2.ResponseType, *oauth2.TokenGenerateRequest) (oauth2.TokenInfo, error) {
	return nil, errBehindFence
}

// RemoveAccessToken is never called by the gate.
func (issuance) RemoveAccessToken(context.Context, string) error { return errBehindFence }

// RemoveRefreshToken is never called by the gate.
func (issuance) RemoveRefreshToken(context.Context, string) error { return errBehindFence }

// LoadAccessToken is never called by the gate.
func (issuance) LoadAccessToken(context.Context, string) (oauth2.TokenInfo, error) {
	return nil, errBehindFence
}

// LoadRefreshToken is never called by the gate.
func (issuance) LoadRefreshToken(context.Context, string) (oauth2.TokenInfo, error) {
	return nil, errBehindFence
}
