package server

import (
	"context"
	"errors"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/store"
)

// customers looks customers up and checks their passwords.
type customers struct {
	source           Customers
	pool             *pool[*attempt]
	dummies          *dummies
	guesses          *guesses
	requireConfirmed bool
	observe          bool // refresh.customer_check: observe
	event            eventFunc
}

// attempt is a password that may be right.
type attempt struct {
	hash, password secret.Text
	right          bool
}

// verifyAll is what the pool of passwords does.
func verifyAll(attempts []*attempt) {
	for _, a := range attempts {
		a.right = matches(a.hash, a.password)
	}
}

// verify returns the customer whom name and password prove. Unknown, wrong, without password, blocked, unconfirmed: all
// look the same and take the same time, for the name is always looked up and a hash is always verified.
func (c *customers) verify(ctx context.Context, client *Client, r TokenRequest) (store.Customer, error) {
	name, password := *r.Username, *r.Password
	if !possiblePassword(password) {
		return store.Customer{}, c.wrong(ctx, client, store.Customer{}, causeImpossible)
	}
	place, err := c.pool.enter(r.Address, canonical(name))
	if err != nil { // before the look-up: shedding must cost nothing
		return store.Customer{}, refuse(Unavailable, err)
	}
	defer place.leave()
	customer, known, err := c.lookUp(ctx, name)
	if err != nil {
		return store.Customer{}, err
	}
	hash, usable := customer.PasswordHash, verifiable(customer.PasswordHash)
	if !usable {
		hash = c.dummies.pick(c.source.EmailKey(name))
	}
	flaw := c.flaw(customer, known, usable)
	t := c.guesses.trial(client, r, customer, flaw == "", hash)
	right, err := c.guesses.verify(ctx, t, func() (bool, error) {
		a := &attempt{hash: hash, password: password}
		err := place.do(ctx, a, dummyLike(hash.Reveal()), func(ctx context.Context) error { return c.guesses.reserve(ctx, t) })
		return err == nil && a.right, err
	})
	switch {
	case err != nil:
		return store.Customer{}, c.undecided(ctx, t, err)
	case usable && !right:
		return store.Customer{}, c.wrong(ctx, client, customer, causeWrong)
	case flaw != "":
		return store.Customer{}, c.wrong(ctx, client, customer, flaw)
	}
	return customer, nil
}

// lookUp finds a customer by his e-mail address. One whom a database finds that takes ß for ss or é for e is none: by what the limiter
// counts and what an unknown name costs, which do not, it would tell whom it knows.
func (c *customers) lookUp(ctx context.Context, name string) (customer store.Customer, known bool, err error) {
	customer, err = c.source.ByEmail(ctx, name)
	switch {
	case errors.Is(err, store.ErrNotFound), err == nil && c.source.EmailKey(customer.Email) != c.source.EmailKey(name):
		return store.Customer{}, false, nil
	case err != nil:
		return store.Customer{}, false, unavailable(err)
	default:
		return customer, true, nil
	}
}

// flaw returns why nobody is signed in as this customer, "" if a right password is enough.
func (c *customers) flaw(customer store.Customer, known, usable bool) string {
	switch {
	case !known:
		return causeUnknown
	case !usable:
		return causeNoPassword
	default:
		return string(c.barred(customer))
	}
}

// undecided is the refusal of a trial that was not verified.
func (c *customers) undecided(ctx context.Context, t *trial, err error) error {
	refusal, ours := errors.AsType[*Error](err)
	if !ours {
		return refuse(Unavailable, err)
	}
	if refusal.Code == Limited {
		c.event(ctx, Event{Name: EventSignInLimited, Cause: refusal.Cause.Error(), Client: t.client, Subject: t.guess.Subject})
	}
	return refusal
}

func (c *customers) wrong(ctx context.Context, client *Client, customer store.Customer, cause string) error {
	e := Event{Name: EventSignInRefused, Cause: cause, Client: client.ID}
	if customer.ID != 0 {
		e.Subject = store.Subject{Kind: store.SubjectCustomer, ID: customer.ID}
	}
	c.event(ctx, e)
	return refuse(WrongCredentials, nil)
}

// current looks at a customer again for a refresh. It returns a cause when his session must end.
func (c *customers) current(ctx context.Context, id int64) (store.Customer, store.Cause, error) {
	customer, err := c.source.ByID(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return store.Customer{}, store.CauseGone, nil
	}
	if err != nil {
		return store.Customer{}, "", unavailable(err)
	}
	cause := c.barred(customer)
	if cause != "" && cause != store.CauseGone && c.observe {
		c.event(ctx, Event{Name: EventObserved, Cause: string(cause), Subject: store.Subject{Kind: store.SubjectCustomer, ID: id}})
		cause = ""
	}
	return customer, cause, nil
}

// barred returns why a customer may not have a session, "" if he may.
func (c *customers) barred(customer store.Customer) store.Cause {
	switch {
	case customer.Anonymised:
		return store.CauseGone
	case customer.Blocked:
		return store.CauseBlocked
	case c.requireConfirmed && !customer.Confirmed:
		return store.CauseUnconfirmed
	default:
		return ""
	}
}

// unavailable turns a store's own failure into a refusal that is no verdict. A time that ran out is one too.
func unavailable(err error) *Error {
	if errors.Is(err, store.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return refuse(Unavailable, err)
	}
	return refuse(Internal, err)
}
