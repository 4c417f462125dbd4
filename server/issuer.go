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
	config  Config
	codec   codec
	marks   marks
	guesses *guesses
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

		RefreshExpiresIn: info.GetRefreshExpiresIn(),
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
	if err := n.randomise(token.session[:], epoch[:]); err != nil {
		return nil, err
	}
	hurried, done := n.guesses.hurry(ctx)
	defer done()
	opened, err := c.Sessions.Open(hurried, store.SignIn{
		Name: token.name(), Subject: token.subject, Client: p.client.ID, Scopes: p.scopes,
		Password: n.marks.ofPassword(p.customer), Device: n.marks.ofDevice(n.request.Address, n.request.UserAgent),
		Address: n.guesses.mark(token.subject, n.request.Address), From: visitor(n.request.Address, n.request.UserAgent),
		FreshEpoch: epoch, Lifetime: p.client.RefreshUntil(now).Sub(now), MaxLife: p.client.MaxLife(now).Sub(now),
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
	return n.mint(token, p.scopes, "")
}

// RefreshAccessToken rotates. What is presented was checked without I/O; the one store call decides everything else,
// and after it nothing but the signature can fail.
func (n issuance) RefreshAccessToken(ctx context.Context, _ *oauth2.TokenGenerateRequest) (oauth2.TokenInfo, error) {
	p, token := n.proof, *n.proof.presented
	if p.refused != "" {
		return nil, n.end(ctx, token, p.refused)
	}
	rotation, err := n.rotation(p.client, token, n.request, p.signOut)
	if err != nil {
		return nil, err
	}
	rotation.Scopes, rotation.ScopeGiven, rotation.NarrowScopes = p.scopes, p.scopeGiven, p.client.Dialect == Glue
	rotation.Password, rotation.IgnorePassword = n.marks.ofPassword(p.customer), n.config.CustomerCheckObserved
	rotation.SubMark = subMark(p.customer.Reference, p.customer.CompanyUser)
	result, err := n.rotate(ctx, rotation, &p)
	switch {
	case err != nil:
		return nil, err
	case result.Outcome == store.ScopeRefused:
		return nil, refuse(InvalidScope, nil)
	case !result.Outcome.Succeeded():
		return nil, refuse(BadRefreshToken, fmt.Errorf("%s %s", result.Outcome, result.Cause))
	}
	token.generation, token.expiresAt = result.Generation, result.ExpiresAt
	if p.scopeGiven {
		return n.mint(token, p.scopes, result.Sub)
	}
	return n.mint(token, p.client.allowed(result.Scopes), result.Sub) // without those that the client has lost since
}

// rotation is what a store is asked for with a genuine token.
func (i *issuer) rotation(client *Client, token refreshToken, r TokenRequest, out store.SignOut) (store.Rotation, error) {
	var epoch store.Epoch
	if out != store.SignOutNone {
		if err := i.randomise(epoch[:]); err != nil {
			return store.Rotation{}, err
		}
	}
	policy, now := i.config.Refresh, i.config.Now()
	return store.Rotation{
		Name: token.name(), Subject: token.subject, Generation: token.generation, Expires: token.expiresAt, Client: client.ID,
		Device: i.marks.ofDevice(r.Address, r.UserAgent), Address: i.guesses.mark(token.subject, r.Address), From: visitor(r.Address, r.UserAgent),
		RetryKey: i.marks.ofRetryKey(r.RetryKey), Lifetime: client.RefreshUntil(now).Sub(now),
		Windows: policy.Windows, ReuseKeepsAlive: policy.ReuseKeepsAlive, SignOut: out, FreshEpoch: epoch,
	}, nil
}

// rotate has the store decide, and tells what it decided. p is what was proved, nil where nothing is to be taken over.
func (i *issuer) rotate(ctx context.Context, r store.Rotation, p *proof) (store.RotateResult, error) {
	result, err := i.config.Sessions.Rotate(ctx, r)
	if err == nil && result.Cause == store.CauseMissing && p != nil && p.presented.shop != nil {
		result, err = i.takeOver(ctx, r, *p)
	}
	if err != nil {
		return store.RotateResult{}, unavailable(err)
	}
	e := Event{
		Name: rotationEvent(result.Outcome), Cause: string(result.Cause), Client: r.Client,
		Subject: r.Subject, Session: r.Name, Generation: r.Generation, Other: result.Other.Address,
	}
	if e.Cause == "" && !result.Outcome.Succeeded() {
		e.Cause = string(result.Outcome)
	}
	out := result.Outcome.Succeeded() && r.SignOut != store.SignOutNone
	if !out || r.SignOut == store.SignOutOthers {
		i.config.Event(ctx, e)
	}
	if out {
		e.Name, e.Cause = EventSignedOut, string(r.SignOut)
		i.config.Event(ctx, e)
	}
	return result, nil
}

func (i *issuer) randomise(all ...[]byte) error {
	for _, random := range all {
		if _, err := io.ReadFull(i.config.Random, random); err != nil {
			return refuse(Internal, fmt.Errorf("random source: %w", err))
		}
	}
	return nil
}

// end ends the session of a customer who may not go on.
func (n issuance) end(ctx context.Context, token refreshToken, cause store.Cause) error {
	ended, err := n.finish(ctx, n.proof.client, token, store.Ending{
		Subject: token.subject, Name: token.name(), Cause: cause, From: visitor(n.request.Address, n.request.UserAgent),
	})
	if err != nil {
		return err
	}
	if ended {
		n.config.Event(ctx, n.about(EventSessionEnded, token, string(cause)))
	}
	n.config.Event(ctx, n.about(EventRefreshRefused, token, string(cause)))
	return refuse(BadRefreshToken, errors.New(string(cause)))
}

// mint makes the tokens. sub is what the shop said of the customer, empty to make it from his row.
func (n issuance) mint(token refreshToken, scopes []string, sub string) (oauth2.TokenInfo, error) {
	client := n.proof.client
	access := accessToken{client: client, customer: n.proof.customer, scopes: scopes, issuedAt: n.config.Now(), issuer: n.config.Issuer, sub: sub}
	if err := n.randomise(access.jti[copy(access.jti[:], identify(token)):]); err != nil {
		return nil, err
	}
	claims, err := access.claims()
	if err != nil {
		return nil, refuse(Internal, err)
	}
	signed, err := n.config.Keys.SignAs(client.Algorithm, client.TokenType, claims)
	if err != nil {
		return nil, refuse(Internal, fmt.Errorf("sign access token: %w", err))
	}
	info := models.NewToken()
	info.SetAccess(signed)
	info.SetAccessExpiresIn(client.AccessLifetime.Truncate(time.Second))
	info.SetRefresh(n.codec.encode(token).Reveal())
	info.SetScope(n.proof.tell)
	if client.RefreshExpiry {
		info.SetRefreshExpiresIn(max(token.expiresAt.Sub(access.issuedAt).Truncate(time.Second), time.Second))
	}
	return info, nil
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
