package server

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/keys"
	"github.com/glueauth/glueauth/store"
)

// presented is an access token that one of our keys has signed and that has not expired.
type presented struct {
	keys.Claims
	tokenClaims
	ours bool // it names its key, as all of ours do and none of a shop's
}

// tokenClaims are those claims that package keys has no use for.
type tokenClaims struct {
	Subject   string   `json:"sub"`
	Scopes    []string `json:"scopes"`
	NotBefore float64  `json:"nbf"` // shops write fractions of seconds
	Issuer    string   `json:"iss"`
	Reference string   `json:"customer_reference"`
}

// read returns what an access token says. Its error means that it is not one that we accept.
func (i *Introspector) read(text secret.Text) (presented, error) {
	var p presented
	var err error
	if p.Claims, err = i.config.Keys.Verify(text, i.config.Now()); err != nil {
		return p, err //nolint:wrapcheck // it says it all
	}
	part := strings.Split(text.Reveal(), ".") // three of them, or it would not have been verified
	var header struct {
		Key string `json:"kid"`
	}
	if err := errors.Join(decodeJSON(part[0], &header), decodeJSON(part[1], &p.tokenClaims)); err != nil {
		return p, errors.New("an access token whose claims have other types than ours")
	}
	p.ours = header.Key != ""
	return p, nil
}

func decodeJSON(part string, to any) error {
	b, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		return err //nolint:wrapcheck // the caller says what it means
	}
	return json.Unmarshal(b, to) //nolint:wrapcheck // likewise
}

// namedCustomer is as much of a [SubjectGlue] as names a customer.
type namedCustomer struct {
	Reference string `json:"customer_reference"`
	ID        int64  `json:"id_customer"`
}

// customer returns whom the sub names in the form of the reference; zero where it has another form, or names nobody.
func (p presented) customer() namedCustomer {
	var c namedCustomer
	if json.Unmarshal([]byte(p.Subject), &c) != nil {
		return namedCustomer{}
	}
	return c
}

// lives reports whether the session of an access token lives.
func (i *Introspector) lives(ctx context.Context, p presented) (bool, error) {
	if !p.ours {
		return i.shopLives(ctx, p)
	}
	subject, name, known := identified(p.ID)
	if !known {
		return false, nil
	}
	_, lives, err := i.session(ctx, subject, name)
	return lives, err
}

// known tells what is known without a look-up of the session of an access token, and of all of its customer's.
func (i *Introspector) known(p presented, b Bearer) word {
	subject, name := store.Subject{Kind: store.SubjectCustomer, ID: b.ID}, store.SessionName{}
	if p.ours {
		subject, name, _ = identified(p.ID)
	}
	return i.config.Revocations.word(subject, name, p.IssuedAt)
}

// shopLives judges an access token that the shop has made. It has no session here; what is known is whether its customer
// has signed out everywhere since, or changed his password, as far as that has shown.
func (i *Introspector) shopLives(ctx context.Context, p presented) (bool, error) {
	id := p.customer().ID
	if id <= 0 {
		return true, nil
	}
	record, err := i.sessions.Record(ctx, store.Subject{Kind: store.SubjectCustomer, ID: id})
	if err != nil {
		return false, unavailable(err)
	}
	return record == nil || p.IssuedAt.After(record.Floor) && p.IssuedAt.After(record.ShopFloor), nil
}

// session returns a session and whether it lives. One that the store does not have does not live.
func (i *Introspector) session(ctx context.Context, subject store.Subject, name store.SessionName) (store.Snapshot, bool, error) {
	s, err := i.sessions.Session(ctx, subject, name)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return s, false, nil
	case err != nil:
		return s, false, unavailable(err)
	}
	cause, _ := s.State(i.config.Now())
	return s, cause == "", nil
}

// seconds is a time as a NumericDate, 0 for none.
func seconds(t time.Time) int64 { return max(t.Unix(), 0) }
