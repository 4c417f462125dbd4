package server

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/glueauth/glueauth/store"
)

// why tells why a session ended.
func why(cause store.Cause, s store.Snapshot) string {
	switch r := s.Record; {
	case cause == store.CauseReuse:
		return whyReuse(s)
	case cause == store.CauseExpired && !s.ExpiresAt.Before(s.EndsAt):
		return "it had reached its longest life, after which the customer must sign in again"
	case s.EndedAt.IsZero() && r == nil:
		return "the store has no record of the customer, so all his sessions are void: it was lost"
	case swept(s):
		return whyFloor(s, *r)
	default:
		return reason(cause)
	}
}

// swept reports whether a session ended with all of its customer: then, or as far as the store knows only when it was next
// used.
func swept(s store.Snapshot) bool {
	r := s.Record
	if r == nil || r.Floor.IsZero() {
		return false
	}
	if s.EndedAt.IsZero() {
		return r.Epoch != s.Epoch
	}
	return (s.Cause == store.CauseEpoch || s.Cause == store.CauseAll) && !r.Floor.After(s.EndedAt)
}

func whyFloor(s store.Snapshot, r store.SubjectRecord) string {
	switch {
	case r.FloorCause == store.CauseOperator:
		return "an operator ended all sessions of the customer"
	case r.FloorCause != store.CauseEpoch:
		return "all sessions of the customer were ended: " + reason(r.FloorCause)
	case r.Floor.Equal(s.EndedAt):
		return "the customer signed out everywhere" + from(r.FloorFrom)
	default:
		return "the customer signed out his other sessions, or all of them," + from(r.FloorFrom)
	}
}

// whyReuse names the two who hold the session.
func whyReuse(s store.Snapshot) string {
	thief := store.Entry{}
	for _, e := range s.Timeline {
		if e.What == store.WasReused {
			thief = e
		}
	}
	if unused(s, thief.Generation) {
		return fmt.Sprintf("refresh token %d came%s although it had been replaced unused, and refresh token %d had been given to %s: "+
			"two devices hold this sign-in", thief.Generation, from(thief.Address), s.Cur, whom(s.Last.Address))
	}
	return fmt.Sprintf("refresh token %d was used again%s although refresh token %d had been given to %s: somebody has a copy",
		thief.Generation, from(thief.Address), s.Cur, whom(s.Last.Address))
}

// unused reports whether a generation was given out and replaced before it came, as far as the record remembers.
func unused(s store.Snapshot, g uint32) bool {
	if g > s.Base {
		return g < s.Cur
	}
	return s.Base-g < store.RememberedUses && s.Uses[g%store.RememberedUses] == 0
}

// reason tells what a cause means.
func reason(cause store.Cause) string {
	text, known := map[store.Cause]string{
		store.CauseExpired:     "it was not refreshed in time",
		store.CauseEpoch:       "the customer signed out his other sessions, or all of them",
		store.CauseAll:         "the customer signed out everywhere",
		store.CauseRevoked:     "its own client signed the customer out (POST /revoke)",
		store.CauseOperator:    "an operator ended it",
		store.CausePassword:    "the customer's password is another one than at the sign-in",
		store.CauseReuse:       "a refresh token was used again by somebody who has a copy",
		store.CauseExhausted:   "it was refreshed more often than a session can be",
		store.CauseTooMany:     "the customer signed in once more than he may have sessions (refresh.max_sessions), and this one had been unused for longest",
		store.CauseGone:        "the customer was deleted or anonymised",
		store.CauseBlocked:     "the customer is blocked",
		store.CauseUnconfirmed: "the customer has not confirmed his registration",
	}[cause]
	if !known {
		return string(cause)
	}
	return text
}

// events tells what happened to a session, the oldest first.
func events(s store.Snapshot) []string {
	lines := []string{fmt.Sprintf("%s  signed in%s and was given refresh token 1", when(s.StartedAt), from(s.First.Address))}
	whole := len(s.Timeline) < store.TimelineLength || s.Timeline[0].Generation <= 1
	t := teller{session: s}
	answered := 0 // the newest entry of a call that was answered with a token
	for n, e := range s.Timeline {
		if e.What != store.WasReused && e.What != store.Ended {
			answered = n
		}
	}
	if whole {
		t.newest, t.holder = 1, s.First.Address
	} else {
		lines = append(lines, fmt.Sprintf("(what followed is not kept, but for the last %d events)", store.TimelineLength))
	}
	for n, e := range s.Timeline {
		if n == answered && s.First.Agent != s.Last.Agent {
			t.agent = "another user agent than at the sign-in"
		}
		text := t.tell(e, n == len(s.Timeline)-1)
		if e.Count > 1 {
			text += fmt.Sprintf(" (%d times, the last time then)", e.Count)
		}
		lines = append(lines, when(e.At)+"  "+text)
	}
	return lines
}

// teller goes through a timeline and keeps in mind who was given what.
type teller struct {
	session store.Snapshot
	newest  uint32     // refresh token given out, 0 while that is not known
	holder  netip.Addr // whom it was given to
	used    time.Time  // when it was given out in exchange for another one, zero while that is not known
	agent   string     // what is strange about the user agent of the next entry, empty for nothing
}

func (t *teller) tell(e store.Entry, last bool) string {
	before := *t
	t.keep(e)
	g, by := e.Generation, from(e.Address)
	switch e.What {
	case store.WasRotated:
		return fmt.Sprintf("refresh token %d was used%s and exchanged for refresh token %d", g, by, g+1)
	case store.WasHealed:
		return fmt.Sprintf("refresh token %d was used%s and exchanged, although the store did not know of it yet: it had lost its last writes", g, by)
	case store.WasReplayed:
		return fmt.Sprintf("refresh token %d was used again%s%s, and the same token was given again: %s", g, by, before.strange(e), before.guess(e))
	case store.WasDisplaced:
		return fmt.Sprintf("refresh token %d was used again%s%s%s: %s, so a new token took the place of the one that had been given for it",
			g, by, before.strange(e), before.later(e), before.guess(e))
	case store.WasReused:
		return t.reused(e, last)
	case store.SignedOthers:
		return "the customer signed out everywhere else" + by + ", and this session went on"
	case store.Ended:
		return t.ended(by)
	default:
		return "something happened that this version does not know" + by
	}
}

// strange tells what tells the caller of an entry apart from whoever was answered before.
func (t *teller) strange(e store.Entry) string {
	var all []string
	if t.holder.IsValid() && e.Address.IsValid() && networkOf(t.holder) != networkOf(e.Address) {
		all = append(all, "another network")
	}
	if t.agent != "" {
		all = append(all, t.agent)
	}
	if len(all) == 0 {
		return ""
	}
	return " (" + strings.Join(all, ", ") + ")"
}

// later tells how long after the exchange the same token came again.
func (t *teller) later(e store.Entry) string {
	if t.used.IsZero() {
		return ""
	}
	return fmt.Sprintf(", %s after its exchange", max(0, e.At.Sub(t.used)))
}

// guess tells why a token was probably used again.
func (t *teller) guess(e store.Entry) string {
	switch {
	case t.strange(e) != "":
		return "the answer was lost, or somebody has a copy"
	case e.What == store.WasReplayed, e.At.Sub(t.used) <= time.Minute:
		return "the answer was probably lost, or two tabs asked at once"
	default:
		return "the answer was probably lost"
	}
}

// keep keeps in mind who was given what.
func (t *teller) keep(e store.Entry) {
	switch e.What {
	case store.WasReused, store.Ended:
		return
	case store.WasRotated, store.WasHealed:
		t.newest, t.used = e.Generation+1, e.At
	case store.WasDisplaced:
		t.used = e.At
		if t.newest > 0 {
			t.newest += uint32(e.Count)
		}
	default: // the same token again
	}
	t.holder = e.Address
}

func (t *teller) ended(by string) string {
	if by != "" {
		by = " (by a call" + by + ")"
	}
	if swept(t.session) && t.session.EndedAt.After(t.session.Record.Floor) {
		return "the session was used again" + by + " and refused, for all had been ended"
	}
	return "the session was ended" + by + ": " + why(t.session.Cause, t.session)
}

func (t *teller) reused(e store.Entry, last bool) string {
	if last && t.session.Cause == store.CauseReuse {
		return whyReuse(t.session) + ", so the session was ended"
	}
	given := "a newer one"
	if t.newest > 0 {
		given = fmt.Sprintf("refresh token %d", t.newest)
	}
	return fmt.Sprintf("refresh token %d was used again%s although %s had been given to %s: it was refused, and the session went on",
		e.Generation, from(e.Address), given, whom(t.holder))
}

// from tells where a call came from, where that is known.
func from(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return " from " + a.String()
}

func whom(a netip.Addr) string {
	if !a.IsValid() {
		return "another device"
	}
	return strings.TrimPrefix(from(a), " from ")
}
