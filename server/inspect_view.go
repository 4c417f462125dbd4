package server

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/glueauth/glueauth/store"
)

// Listing is the sessions of one customer as operators see them.
type Listing struct {
	Customer CustomerView  `json:"customer"`
	Sessions []SessionView `json:"sessions"` // the newest sign-in first
}

// Revocation is what an operator has ended.
type Revocation struct {
	Ended    bool         `json:"ended"` // false: it had ended before
	Customer CustomerView `json:"customer"`
	Session  string       `json:"session,omitempty"` // empty: all of the customer's
}

// Story tells in plain words what became of sessions, a line each.
type Story struct {
	Lines []string `json:"story"`
}

// CustomerView is a customer as operators see him. Only the id is known of one who is not in the database any more.
type CustomerView struct {
	ID        int64  `json:"id"`
	Reference string `json:"reference,omitempty"`
	Email     string `json:"email,omitempty"`
}

// SessionView is a session as operators see it. Nothing in it is a credential. Times are in UTC.
type SessionView struct {
	Session    string        `json:"session"` // its name
	Customer   *CustomerView `json:"customer,omitempty"`
	Client     string        `json:"client"`
	Scopes     []string      `json:"scopes"`
	Alive      bool          `json:"alive"`
	Cause      store.Cause   `json:"cause,omitempty"` // why it may not be used any more
	Since      time.Time     `json:"since,omitzero"`  // zero where that is not known
	Started    time.Time     `json:"started"`
	Refreshed  time.Time     `json:"refreshed,omitzero"` // zero for never
	Generation uint32        `json:"generation"`         // of the newest refresh token
	Replays    uint32        `json:"replays"`            // answers given twice
	Expires    time.Time     `json:"expires"`            // unless it is refreshed before
	Ends       time.Time     `json:"ends"`               // however often it is refreshed
	First      VisitorView   `json:"first_seen"`
	Last       VisitorView   `json:"last_seen"`
	Timeline   []EntryView   `json:"timeline,omitempty"`
}

// VisitorView is where a call came from.
type VisitorView struct {
	Address netip.Addr `json:"address,omitzero"`
	Agent   string     `json:"user_agent,omitempty"` // cut to [store.AgentLength] bytes
}

// EntryView is one line of a session's timeline.
type EntryView struct {
	At         time.Time  `json:"at"` // of the last one, when it happened several times in a row
	What       string     `json:"what"`
	Generation uint32     `json:"generation,omitempty"` // of the refresh token that came
	Address    netip.Addr `json:"address,omitzero"`
	Count      int        `json:"count"`
}

func viewOf(s store.Snapshot, now time.Time) SessionView {
	v := SessionView{
		Session: s.Name.String(), Client: s.Client, Scopes: s.Scopes,
		Started: s.StartedAt, Generation: s.Cur, Replays: s.Replays, Expires: s.ExpiresAt, Ends: s.EndsAt,
		First: VisitorView(s.First), Last: VisitorView(s.Last),
	}
	if s.Base > 0 {
		v.Refreshed = s.RotatedAt
	}
	v.Cause, v.Since = s.State(now)
	v.Alive = v.Cause == ""
	return v
}

func timelineOf(entries []store.Entry) []EntryView {
	var views []EntryView
	for _, e := range entries {
		views = append(views, EntryView{At: e.At, What: happeningName(e.What), Generation: e.Generation, Address: e.Address, Count: int(e.Count)})
	}
	return views
}

func happeningName(h store.Happening) string {
	switch h {
	case store.WasRotated:
		return string(store.Rotated)
	case store.WasHealed:
		return string(store.Healed)
	case store.WasReplayed:
		return string(store.Replayed)
	case store.WasDisplaced:
		return string(store.Displaced)
	case store.WasReused:
		return string(store.Reused)
	case store.SignedOthers:
		return "signed_out_others"
	case store.Ended:
		return "ended"
	default:
		return "unknown"
	}
}

// look has f.known set when the customer is in the database.
func (i *Inspector) look(ctx context.Context, f *found) error {
	if f.known != nil {
		return nil
	}
	customer, err := i.customers.ByID(ctx, f.subject.ID)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return unavailable(err)
	}
	f.known = &customer
	return nil
}

// customer returns whose session it is.
func (i *Inspector) customer(ctx context.Context, f found) (CustomerView, error) {
	if err := i.look(ctx, &f); err != nil {
		return CustomerView{}, err
	}
	if f.known == nil {
		return CustomerView{ID: f.subject.ID}, nil
	}
	return CustomerView{ID: f.known.ID, Reference: f.known.Reference, Email: f.known.Email}, nil
}
