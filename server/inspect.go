package server

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/keys"
	"github.com/glueauth/glueauth/store"
)

// Inspector tells operators about sessions, and ends them. It is safe for concurrent use.
//
// Whoever or whatever is asked about is a who: a refresh token or an access token of this server, expired ones too, the name
// of a session (32 hex digits), the jti of an access token or its first 50 digits, the e-mail address of a customer, or his
// reference. It is typed as a secret since it may be a token; no answer, error or [Event] holds any of it that is one.
//
// Each method returns an [*Error]: [NothingFound] and [Malformed] with a cause that says what can be asked, or
// [Unavailable].
type Inspector struct {
	customers InspectedCustomers
	sessions  InspectedSessions
	config    Config
	codec     codec
	marks     marks
	barred    func(store.Customer) store.Cause
}

// InspectedCustomers finds customers for an [Inspector].
type InspectedCustomers interface {
	ByEmail(ctx context.Context, email string) (store.Customer, error)
	ByID(ctx context.Context, id int64) (store.Customer, error)
	ByReference(ctx context.Context, reference string) (store.Customer, error)
}

// InspectedSessions is what an [Inspector] needs of a store of sessions. Package store holds the contract.
type InspectedSessions interface {
	// Session returns a session as it stands. It changes nothing.
	Session(ctx context.Context, subject store.Subject, name store.SessionName) (store.Snapshot, error)
	// SessionsOf returns the subject's sessions, the newest sign-in first, and his record, nil when there is none. Those that
	// have ended may be missing. It changes nothing.
	SessionsOf(ctx context.Context, subject store.Subject) ([]store.Snapshot, *store.SubjectRecord, error)
	// Locate returns whose session this is. It may read through the whole store.
	Locate(ctx context.Context, name store.SessionName) (store.Subject, error)
	// End ends a session if it lives, and reports whether it did.
	End(ctx context.Context, e store.Ending) (bool, error)
	// EndAll ends all sessions of a subject.
	EndAll(ctx context.Context, e store.EndingAll) error
}

// NewInspector returns an inspector of the sessions of a server with that config. Its Customers, Sessions and Clients may be
// missing.
func NewInspector(c Config, people InspectedCustomers, sessions InspectedSessions) (*Inspector, error) {
	if people == nil || sessions == nil || c.Keys == nil || c.Master == nil || c.Now == nil || c.Random == nil || c.Event == nil {
		return nil, errors.New("server: incomplete config of an inspector")
	}
	tokens, err1 := newCodec(c.Master, c.Refresh.MACKey)
	marks, err2 := newMarks(c.Master)
	if err := errors.Join(err1, err2); err != nil {
		return nil, fmt.Errorf("server: derive keys: %w", err)
	}
	rules := &customers{requireConfirmed: c.RequireConfirmed}
	return &Inspector{customers: people, sessions: sessions, config: c, codec: tokens, marks: marks, barred: rules.barred}, nil
}

// List returns the sessions of the customer whom who names, or of him whose session or token it is: those that live, and
// some of those that have ended.
func (i *Inspector) List(ctx context.Context, who secret.Text) (Listing, error) {
	f, err := i.find(ctx, who)
	if err != nil {
		return Listing{}, err
	}
	return i.list(ctx, f)
}

func (i *Inspector) list(ctx context.Context, f found) (Listing, error) {
	snapshots, _, err := i.sessions.SessionsOf(ctx, f.subject)
	if err != nil {
		return Listing{}, unavailable(err)
	}
	listing := Listing{Sessions: []SessionView{}}
	if listing.Customer, err = i.customer(ctx, f); err != nil {
		return Listing{}, err
	}
	for _, s := range snapshots {
		listing.Sessions = append(listing.Sessions, viewOf(s, i.config.Now()))
	}
	return listing, nil
}

// Show returns one session with its timeline. who must name a session.
func (i *Inspector) Show(ctx context.Context, who secret.Text) (SessionView, error) {
	f, err := i.find(ctx, who)
	if err != nil {
		return SessionView{}, err
	}
	if f.session == nil {
		return SessionView{}, refuse(Malformed, errSeveral)
	}
	s, err := i.snapshot(ctx, f)
	if err != nil {
		return SessionView{}, err
	}
	customer, err := i.customer(ctx, f)
	if err != nil {
		return SessionView{}, err
	}
	view := viewOf(s, i.config.Now())
	view.Customer = &customer
	view.Timeline = timelineOf(s.Timeline)
	return view, nil
}

// Revoke ends the session that who names, or all sessions of the customer whom it names.
func (i *Inspector) Revoke(ctx context.Context, who secret.Text) (Revocation, error) {
	f, err := i.find(ctx, who)
	if err != nil {
		return Revocation{}, err
	}
	customer, err := i.customer(ctx, f)
	if err != nil {
		return Revocation{}, err
	}
	r := Revocation{Ended: true, Customer: customer}
	e := Event{Name: EventOperatorEnded, Cause: endedAll, Subject: f.subject}
	if f.session == nil {
		err = i.endAll(ctx, f.subject)
	} else {
		e.Cause, e.Session, r.Session = endedOne, *f.session, f.session.String()
		r.Ended, err = i.endOne(ctx, f)
	}
	if err != nil {
		return Revocation{}, err
	}
	if r.Ended {
		i.config.Event(ctx, e)
	}
	return r, nil
}

func (i *Inspector) endAll(ctx context.Context, subject store.Subject) error {
	e := store.EndingAll{Subject: subject, Cause: store.CauseOperator}
	if _, err := io.ReadFull(i.config.Random, e.FreshEpoch[:]); err != nil {
		return refuse(Internal, fmt.Errorf("random source: %w", err))
	}
	if err := i.sessions.EndAll(ctx, e); err != nil {
		return unavailable(err)
	}
	return nil
}

// endOne reports whether the session lived. One that is not there is an error.
func (i *Inspector) endOne(ctx context.Context, f found) (bool, error) {
	ended, err := i.sessions.End(ctx, store.Ending{Subject: f.subject, Name: *f.session, Cause: store.CauseOperator})
	if err != nil {
		return false, unavailable(err)
	}
	if !ended {
		_, err = i.snapshot(ctx, f)
	}
	return ended, err
}

// found is what a who leads to.
type found struct {
	subject store.Subject
	session *store.SessionName // nil: the customer himself
	known   *store.Customer    // nil: not looked up yet

	kind       string    // of a pasted token, else empty
	generation uint32    // of a refresh token
	expiresAt  time.Time // of a token, by itself
}

// In hex digits. What stands between them, [idLength], is the part of a jti that names a session.
const (
	nameLength = 2 * len(store.SessionName{})
	jtiLength  = 80
)

// longestName is how many characters an e-mail address or a reference can have.
const longestName = 255

const askFor = "give an e-mail address or a customer reference as it is in the database, the name of a session, or a token or jti of this server"

var (
	errNobody   = errors.New("no customer and no session of this server is known by that: " + askFor)
	errForeign  = errors.New("that is no token of this server")
	errNoRecord = errors.New("the store has no record of that session: there never was one, it was cleaned up a day after its expiry, or it was lost")
	errSeveral  = errors.New("that is a customer, who may have several sessions: list them, and ask for one by its name")
)

// find returns whom or what who names. A pasted token is only ever looked at here.
func (i *Inspector) find(ctx context.Context, who secret.Text) (found, error) {
	text := strings.TrimSpace(who.Reveal())
	switch {
	case text == "":
		return found{}, refuse(Malformed, errors.New("nobody is named: "+askFor))
	case strings.HasPrefix(text, refreshPrefix):
		return i.findRefreshToken(secret.Text(text))
	case strings.HasPrefix(text, "ey") && strings.Count(text, ".") == 2 && !strings.Contains(text, "@"):
		return i.findAccessToken(secret.Text(text))
	case utf8.RuneCountInString(text) > longestName: // a shop's own refresh token
		return found{}, refuse(NothingFound, errForeign)
	}
	if b, err := hex.DecodeString(text); err == nil {
		switch len(text) {
		case nameLength:
			return i.findName(ctx, store.SessionName(b))
		case idLength, jtiLength:
			return findJTI(text)
		}
	}
	return i.findCustomer(ctx, text)
}

func (i *Inspector) findRefreshToken(text secret.Text) (found, error) {
	token, err := i.codec.decode(text, i.config.Now())
	switch {
	case errors.Is(err, errNewerKey):
		return found{}, refuse(Unavailable, err)
	case err != nil && !errors.Is(err, errExpired):
		return found{}, refuse(NothingFound, errForeign)
	}
	name := token.name()
	return found{subject: token.subject, session: &name, kind: "refresh token", generation: token.generation, expiresAt: token.expiresAt}, nil
}

func (i *Inspector) findAccessToken(text secret.Text) (found, error) {
	claims, err := i.config.Keys.Verify(text, i.config.Now())
	if err != nil && !errors.Is(err, keys.ErrExpired) {
		return found{}, refuse(NothingFound, errForeign)
	}
	f, err := findJTI(claims.ID)
	if err != nil {
		return found{}, refuse(NothingFound, shopTokenError{claims})
	}
	f.kind, f.expiresAt = "access token", claims.ExpiresAt
	return f, nil
}

// findJTI returns the session that the jti of an access token names, or as much of it as names one.
func findJTI(jti string) (found, error) {
	subject, name, known := identified(jti)
	if !known {
		return found{}, refuse(NothingFound, errNobody)
	}
	return found{subject: subject, session: &name}, nil
}

func (i *Inspector) findName(ctx context.Context, name store.SessionName) (found, error) {
	subject, err := i.sessions.Locate(ctx, name)
	if errors.Is(err, store.ErrNotFound) {
		return found{}, refuse(NothingFound, errNoRecord)
	}
	if err != nil {
		return found{}, unavailable(err)
	}
	return found{subject: subject, session: &name}, nil
}

func (i *Inspector) findCustomer(ctx context.Context, text string) (found, error) {
	look := i.customers.ByReference
	if strings.Contains(text, "@") {
		look = i.customers.ByEmail
	}
	customer, err := look(ctx, text)
	if errors.Is(err, store.ErrNotFound) {
		return found{}, refuse(NothingFound, errNobody)
	}
	if err != nil {
		return found{}, unavailable(err)
	}
	return found{subject: store.Subject{Kind: store.SubjectCustomer, ID: customer.ID}, known: &customer}, nil
}

func (i *Inspector) snapshot(ctx context.Context, f found) (store.Snapshot, error) {
	s, err := i.sessions.Session(ctx, f.subject, *f.session)
	if errors.Is(err, store.ErrNotFound) {
		return s, refuse(NothingFound, errNoRecord)
	}
	if err != nil {
		return s, unavailable(err)
	}
	return s, nil
}
