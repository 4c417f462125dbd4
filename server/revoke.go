package server

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/keys"
	"github.com/glueauth/glueauth/store"
)

// RevokeRequest asks to sign out (RFC 7009 §2.1). A nil token was not sent.
type RevokeRequest struct {
	Client   Credentials
	Token    *secret.Text
	Sessions string      // whose end: "this" or empty, "others" or "all"; the latter two only with a refresh token
	RetryKey secret.Text // empty: none

	Address   netip.Addr // of the customer's device
	UserAgent string
}

// refresh is the request as one to refresh with the same token.
func (r RevokeRequest) refresh() TokenRequest {
	return TokenRequest{RefreshToken: r.Token, RetryKey: r.RetryKey, Address: r.Address, UserAgent: r.UserAgent}
}

const sessionsThis = "this"

// Revoke ends the session of the presented token, all the customer's others, or all of them. It returns the tokens with
// which this session goes on where it does, and nil otherwise. Its error is always an [*Error].
//
// One session is ended for any genuine token of its client, however old; whatever else is presented is no error, for there
// is nothing to end (RFC 7009 §2.2). To sign out others takes a refresh token that could be exchanged.
func (s *Server) Revoke(ctx context.Context, r RevokeRequest) (*TokenResponse, error) {
	client, err := s.clients.authenticate(r.Client)
	if err != nil {
		return nil, err
	}
	out := store.SignOut(r.Sessions)
	switch {
	case r.Token == nil:
		return nil, refuse(MissingParameter, nil)
	case r.Sessions == "" || r.Sessions == sessionsThis:
		return nil, s.signOut(ctx, client, r)
	case out != store.SignOutOthers && out != store.SignOutAll:
		return nil, refuse(Malformed, errors.New("sessions is none of this, others, all"))
	case s.refresh.shop.reads(*r.Token):
		return nil, refuse(Malformed, errors.New("a shop's own refresh token signs out only its own session: exchange it first"))
	case s.isAccessToken(*r.Token):
		return nil, refuse(Malformed, errors.New("an access token signs out only its own session"))
	case out == store.SignOutAll:
		return nil, s.signOutAll(ctx, client, r)
	default:
		return s.signOutOthers(ctx, client, r)
	}
}

// signOut ends one session. Everything that is no token of this client is ignored.
func (s *Server) signOut(ctx context.Context, client *Client, r RevokeRequest) error {
	e, token, err := s.named(ctx, client, r)
	if err != nil {
		return err
	}
	if e.Cause == "" {
		ended, err := s.endSession(ctx, client, token, e, r)
		if err != nil || ended {
			return err
		}
		e.Cause = causeEnded
	}
	e.Name = EventRevokeIgnored
	s.issuer.config.Event(ctx, e)
	return nil
}

// endSession ends the session of an event, if it lives and is that client's, and tells so.
func (s *Server) endSession(ctx context.Context, client *Client, token refreshToken, e Event, r RevokeRequest) (bool, error) {
	ended, err := s.issuer.finish(ctx, client, token, store.Ending{
		Subject: e.Subject, Name: e.Session, Client: e.Client, Cause: store.CauseRevoked, From: visitor(r.Address, r.UserAgent),
	})
	if err != nil {
		return false, err
	}
	if ended {
		e.Name, e.Cause = EventSessionEnded, string(store.CauseRevoked)
		s.issuer.config.Event(ctx, e)
	}
	return ended, nil
}

// named finds out which session a token names, without I/O: what is returned has its cause set when there is none. Of a
// refresh token it returns what that says, too.
func (s *Server) named(ctx context.Context, client *Client, r RevokeRequest) (Event, refreshToken, error) {
	text := *r.Token
	if strings.HasPrefix(text.Reveal(), refreshPrefix) || s.refresh.shop.reads(text) {
		return s.namedByRefreshToken(ctx, client, text, r.Address)
	}
	e := Event{Client: client.ID}
	claims, err := s.issuer.config.Keys.Verify(text, s.issuer.config.Now())
	subject, session, known := identified(claims.ID)
	switch {
	case errors.Is(err, keys.ErrExpired):
		e.Cause = string(store.CauseExpired)
	case err != nil || !known:
		e.Cause = causeNotOurs
	case claims.Audience != client.ID:
		e.Cause = causeOtherClient
	default:
		e.Subject, e.Session = subject, session
	}
	return e, refreshToken{}, nil
}

func (s *Server) namedByRefreshToken(ctx context.Context, client *Client, text secret.Text, from netip.Addr) (Event, refreshToken, error) {
	e := Event{Client: client.ID}
	token, err := s.refresh.read(ctx, client, text, from)
	switch {
	case err != nil && !isVerdict(err):
		return e, token, refuse(Unavailable, err)
	case errors.Is(err, errNotOurs):
		e.Cause = causeNotOurs
	case errors.Is(err, errOtherClient):
		e.Cause = causeOtherClient
	default: // an expired one names a session that may live: its successors have not expired
		e.Subject, e.Session, e.Generation = token.subject, token.name(), token.generation
	}
	return e, token, nil
}

// signOutOthers is a refresh that ends all other sessions of the customer.
func (s *Server) signOutOthers(ctx context.Context, client *Client, r RevokeRequest) (*TokenResponse, error) {
	request := r.refresh()
	proven, err := s.refresh.prove(ctx, client, request)
	if err != nil {
		return nil, err
	}
	proven.signOut = store.SignOutOthers
	answer, err := s.issuer.issue(ctx, proven, request)
	if err != nil {
		return nil, err
	}
	return &answer, nil
}

// signOutAll ends all sessions of the customer. Nobody looks at him again: whoever may not go on may leave.
func (s *Server) signOutAll(ctx context.Context, client *Client, r RevokeRequest) error {
	token, err := s.refresh.genuine(ctx, client, r.refresh())
	if err != nil {
		return err
	}
	rotation, err := s.issuer.rotation(client, token, r.refresh(), store.SignOutAll)
	if err != nil {
		return err
	}
	rotation.IgnorePassword = true
	result, err := s.issuer.rotate(ctx, rotation, nil)
	if err != nil || result.Outcome.Succeeded() {
		return err
	}
	switch result.Cause {
	case store.CauseAll: // the retry of a lost answer
		return nil
	case store.CauseEpoch:
		// A token that was signed out while its own session went on may end that one, as any token of it. The rest it
		// may not, and must not say that it had.
		e := Event{Client: client.ID, Subject: token.subject, Session: token.name(), Generation: token.generation}
		if _, err := s.endSession(ctx, client, token, e, r); err != nil {
			return err
		}
	default:
	}
	return refuse(BadRefreshToken, fmt.Errorf("%s %s", result.Outcome, result.Cause))
}

// isAccessToken reports whether a token is a genuine access token, expired or not.
func (s *Server) isAccessToken(text secret.Text) bool {
	_, err := s.issuer.config.Keys.Verify(text, s.issuer.config.Now())
	return err == nil || errors.Is(err, keys.ErrExpired)
}
