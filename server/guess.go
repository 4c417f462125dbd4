package server

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/store"
)

// Guesses counts failed sign-ins. Package store holds the rules; a store that is gone is an error that wraps
// [store.ErrUnavailable].
type Guesses interface {
	// ReserveGuess takes the places that one more password needs, in one step.
	ReserveGuess(ctx context.Context, g store.Guess) (store.GuessVerdict, error)
	// RefundGuess gives them back: the password was right.
	RefundGuess(ctx context.Context, g store.Guess, taken store.GuessPlaces) error
}

// Guessing is how guessing at passwords is limited. The zero value limits nothing.
type Guessing struct {
	Limits  store.GuessLimits
	Observe bool // guessing.mode: observe. What would be refused is told, and verified.
	// Uncounted tells addresses that customers share, like those of the proxies in front. Only the account is counted for them,
	// and nobody is known by them. nil: there are none.
	Uncounted func(netip.Addr) bool
}

// guesses limits how many passwords are tried. A place is taken when a worker is free and given back when the customer is signed
// in, so that whatever else comes out of it counts, and looks, the same.
type guesses struct {
	Guessing
	shared  Guesses
	local   *localGuesses // while the shared ones are gone
	key     []byte
	event   eventFunc
	flights flights
	now     func() time.Time
	gone    atomic.Int64 // when the shared ones were last gone, in Unix nanoseconds
}

func newGuesses(c Config) (*guesses, error) {
	key, err := c.Master.Derive("guess", markKeyNumber, derivedKeyBytes)
	if err != nil {
		return nil, err
	}
	return &guesses{
		Guessing: c.Guessing, shared: c.Guesses, local: newLocalGuesses(c.Now), key: key, event: c.Event,
		flights: flights{now: c.Now}, now: c.Now,
	}, nil
}

// trial is one password for one name, from one address.
type trial struct {
	guess   store.Guess
	client  string
	digest  flightKey // of all that decides about it
	welcome bool      // if the password is right, he is signed in

	keeper Guesses
	taken  store.GuessPlaces
}

// trial returns what is to be verified: whether the password of r belongs to that hash. customer is the zero value where there is
// none of that name.
func (g *guesses) trial(client *Client, r TokenRequest, customer store.Customer, welcome bool, hash secret.Text) *trial {
	name := *r.Username
	if customer.Email != "" { // however he was found: one counter
		name = customer.Email
	}
	t := &trial{client: client.ID, welcome: welcome, guess: store.Guess{
		Account: store.GuessKey(g.keyed("account", canonical(name))), Limits: g.Limits, Observe: g.Observe,
	}}
	if !g.uncounted(r.Address) {
		t.guess.Address = store.GuessKey(g.keyed("address", network(r.Address)))
	}
	if customer.ID != 0 {
		t.guess.Subject = store.Subject{Kind: store.SubjectCustomer, ID: customer.ID}
	}
	t.guess.Mark = g.mark(t.guess.Subject, r.Address)
	state := "barred"
	if welcome {
		state = "welcome"
	}
	// The name is as it was sent: spellings are told apart here whether there is such a customer or not.
	t.digest = flightKey(keyed(g.key, []byte(strings.Join([]string{
		"trial", *r.Username, network(r.Address), state, hash.Reveal(), r.Password.Reveal(),
	}, "\x00"))))
	return t
}

func (g *guesses) off() bool { return g.Limits == store.GuessLimits{} }

// keyed is a hash that nobody else can make.
func (g *guesses) keyed(what, text string) []byte { return keyed(g.key, []byte(what+"\x00"+text))[:16] }

func (g *guesses) uncounted(a netip.Addr) bool { return g.Uncounted != nil && g.Uncounted(a) }

// mark is by which a subject knows an address, zero where nobody can be known by it.
func (g *guesses) mark(s store.Subject, a netip.Addr) store.AddressMark {
	if !a.IsValid() || g.uncounted(a) {
		return store.AddressMark{}
	}
	return store.AddressMark(g.keyed("known", string(ofSubject(s))+network(a))[:8])
}

// reserve takes the places that a trial needs. Without the store that counts for all replicas, this one counts for itself, and
// allows less. Its error is a refusal.
func (g *guesses) reserve(ctx context.Context, t *trial) error {
	if g.off() {
		return nil
	}
	t.keeper = g.shared
	hurried, done := g.hurry(ctx)
	defer done()
	v, err := g.shared.ReserveGuess(hurried, t.guess)
	if err != nil && ctx.Err() == nil {
		g.gone.Store(g.now().UnixNano())
		g.event(ctx, Event{Name: EventGuessLocal, Client: t.client})
		t.keeper = g.local
		v, err = g.local.ReserveGuess(ctx, t.guess)
	}
	if err != nil {
		return refuse(Unavailable, err)
	}
	t.taken = v.Places
	if v.Full == "" {
		return nil
	}
	if g.Observe {
		g.event(ctx, Event{Name: EventObserved, Cause: causeOfLimit(v.Full), Client: t.client, Subject: t.guess.Subject})
		return nil
	}
	return &Error{Code: Limited, Cause: errors.New(causeOfLimit(v.Full)), RetryAfter: v.Wait}
}

// hurry bounds what a sign-in asks of a store that had no answer a moment ago: workers and customers are not to wait for it in vain.
func (g *guesses) hurry(ctx context.Context) (context.Context, context.CancelFunc) {
	const waited, atMost = 5 * time.Second, 500 * time.Millisecond
	if g.now().Sub(time.Unix(0, g.gone.Load())) > waited {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, atMost)
}

// refund gives the places back, also when nobody waits any more. Where that fails, they count as failures until their windows
// end.
func (g *guesses) refund(ctx context.Context, t *trial) {
	if t.taken != (store.GuessPlaces{}) {
		_ = t.keeper.RefundGuess(context.WithoutCancel(ctx), t.guess, t.taken)
	}
}

// verify reports whether the password of a trial is right. run has a worker verify it, who calls reserve first. Those who
// come with the same one meanwhile, or within two seconds after it failed, share its answer.
func (g *guesses) verify(ctx context.Context, t *trial, run func() (right bool, err error)) (bool, error) {
	if g.off() {
		return run()
	}
	return g.flights.share(ctx, t.digest, func() (right, keep bool, err error) {
		right, err = run()
		if err == nil && right && t.welcome {
			g.refund(ctx, t)
			return right, false, nil
		}
		return right, err == nil, err
	})
}

// longestAccount is how many bytes of a name are looked at; no address is as long.
const longestAccount = 1024

// canonical is what all spellings of a name have in common that a database might take for the same: letters without regard to
// case, width, accents and composition, and no spaces or invisible characters. Two names that only look alike share a counter,
// which costs them nothing; a name that is spelled in another way must not get a counter of its own.
func canonical(name string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || !unicode.IsGraphic(r) || unicode.Is(unicode.M, r) {
			return -1
		}
		return unicode.ToUpper(unicode.ToLower(r))
	}, norm.NFKD.String(name[:min(len(name), longestAccount)]))
}

func causeOfLimit(b store.GuessBucket) string { return string(b) + "_limit" }

func guessCauses() []string {
	return []string{causeOfLimit(store.GuessPair), causeOfLimit(store.GuessAccount), causeOfLimit(store.GuessAddress)}
}
