package server

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/glueauth/glueauth/config/secret"
)

// Dialect is the way a client is spoken to where Spryker's Glue API and RFC 6749 differ.
type Dialect string

// The dialects.
const (
	Glue    Dialect = "glue"
	RFC6749 Dialect = "rfc6749"
)

// SubjectForm is what the sub claim of a client's access tokens holds.
type SubjectForm string

// The subject forms.
const (
	SubjectGlue      SubjectForm = "glue"      // the reference's JSON object in a string
	SubjectReference SubjectForm = "reference" // the customer reference
	SubjectUUID      SubjectForm = "uuid"      // the customer's UUID
)

// Client is one OAuth client. Its id is the aud of its access tokens.
type Client struct {
	ID             string
	Secret         secret.Text // empty: a public client
	Dialect        Dialect
	Scopes         []string // what it may ask for
	AccessLifetime time.Duration
	RefreshUntil   func(time.Time) time.Time // expiry of a refresh token that is made then
	MaxLife        func(time.Time) time.Time // absolute end of a session that starts then
	TokenType      string                    // the JWT's typ: JWT or at+jwt
	Algorithm      string                    // the JWT's alg, out of keys.Algorithms; empty: the first of them
	Subject        SubjectForm
	Claims         []string // extra flat claims, out of ExtraClaims
	// RefreshExpiry has answers say for how long their refresh token is good.
	RefreshExpiry bool
	Introspect    bool // may ask about tokens (RFC 7662); never a public client
}

// clients is the registry; the first one is the default client.
type clients []Client

func newClients(list []Client) (clients, error) {
	if len(list) == 0 {
		return nil, errors.New("server: no client is configured")
	}
	seen := map[string]bool{}
	for _, c := range list {
		if seen[c.ID] || !c.complete() {
			return nil, fmt.Errorf("server: client %q is incomplete or defined twice", c.ID)
		}
		seen[c.ID] = true
	}
	return slices.Clone(list), nil
}

func (c Client) complete() bool {
	lives := c.AccessLifetime >= time.Second && c.RefreshUntil != nil && c.MaxLife != nil
	return c.ID != "" && len(c.Scopes) > 0 && lives && (!c.Introspect || c.Secret != "")
}

// find returns the client with this id, the default client for an empty or unknown one.
func (l clients) find(id string) *Client {
	if i := slices.IndexFunc(l, func(c Client) bool { return c.ID == id }); i >= 0 {
		return &l[i]
	}
	return &l[0]
}

// authenticate returns the client that the credentials prove. Without an id that is the default client, which then needs
// no secret in the glue dialect (spec 1.1, "empty client_id").
func (l clients) authenticate(c Credentials) (*Client, error) {
	client := l.find(c.ID)
	if c.ID == "" && client.Dialect == Glue {
		return client, nil
	}
	if c.ID != "" && client.ID != c.ID {
		return nil, refuse(InvalidClient, errors.New("unknown client"))
	}
	if client.Secret == "" {
		return client, nil
	}
	if c.Secret == nil || !equalSecrets(*c.Secret, client.Secret) {
		return nil, refuse(InvalidClient, fmt.Errorf("client %q: wrong or missing secret", client.ID))
	}
	return client, nil
}

// equalSecrets compares in a time that tells neither length nor content.
func equalSecrets(a, b secret.Text) bool {
	x, y := sha256.Sum256([]byte(a.Reveal())), sha256.Sum256([]byte(b.Reveal()))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// usualScope is what the reference grants at every sign-in (spec 1.6).
const usualScope = "customer"

// usual returns the scope that a sign-in gets which does not choose: the reference's, or the first one of the list for a
// client that may not have it.
func (c *Client) usual() string {
	if slices.Contains(c.Scopes, usualScope) {
		return usualScope
	}
	return c.Scopes[0]
}

// signInScopes returns what a sign-in is granted for the scope parameter. The reference drops unknown scopes and always
// grants its own one; RFC 6749 §3.3 refuses unknown ones, and wants the client told when it gets other than it asked for.
func (c *Client) signInScopes(scope *string) (granted []string, tell string, err error) {
	if c.Dialect == RFC6749 {
		return c.chosenScopes(scope)
	}
	if scope != nil {
		granted = c.allowed(parseScope(*scope))
	}
	if usual := c.usual(); !slices.Contains(granted, usual) {
		granted = append(granted, usual)
	}
	return granted, "", nil
}

func (c *Client) chosenScopes(scope *string) (granted []string, tell string, err error) {
	var asked []string
	if scope != nil {
		asked = parseScope(*scope)
	}
	switch {
	case len(asked) == 0:
		return []string{c.usual()}, c.usual(), nil
	case len(c.allowed(asked)) < len(asked):
		return nil, "", refuse(InvalidScope, nil)
	default:
		return asked, "", nil
	}
}

// allowed returns those of the scopes that are in the client's list.
func (c *Client) allowed(scopes []string) []string {
	list := []string{}
	for _, s := range scopes {
		if slices.Contains(c.Scopes, s) {
			list = append(list, s)
		}
	}
	return list
}

// unknownScope stands for all scopes that are not in the client's list. No list and so no session has it (RFC 6749 A.4), so
// the store refuses it at its place in the table, after a token that is bad for another reason.
const unknownScope = `"`

// refreshScopes returns what a refresh asks the store for.
func (c *Client) refreshScopes(scope string) []string {
	asked := parseScope(scope)
	if len(c.allowed(asked)) < len(asked) {
		return []string{unknownScope}
	}
	return asked
}

// parseScope splits a scope parameter (RFC 6749 §3.3) and drops what is said twice; it never returns nil.
func parseScope(scope string) []string {
	list, seen := []string{}, map[string]bool{"": true}
	for s := range strings.SplitSeq(scope, " ") {
		if !seen[s] {
			seen[s] = true
			list = append(list, s)
		}
	}
	return list
}
