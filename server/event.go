package server

import (
	"net/netip"

	"github.com/glueauth/glueauth/store"
)

// EventName names an outcome. It is a metric label, so the set is closed and small.
type EventName string

// The events. Those of a refresh are named after the rows of the rotation table in package store.
const (
	EventSignIn         EventName = "sign_in"
	EventSignInRefused  EventName = "sign_in_refused"
	EventSignInLimited  EventName = "sign_in_limited" // not even tried
	EventGuessLocal     EventName = "guess_local"     // counted by this replica alone, for the store was gone
	EventRotated        EventName = "refresh_rotated"
	EventHealed         EventName = "refresh_healed" // the store had lost writes
	EventReplayed       EventName = "refresh_replayed"
	EventDisplaced      EventName = "refresh_displaced"
	EventReuse          EventName = "refresh_reuse"
	EventRefreshRefused EventName = "refresh_refused"
	EventSessionEnded   EventName = "session_ended"
	EventSignedOut      EventName = "signed_out"     // of all sessions, or of all others
	EventRevokeIgnored  EventName = "revoke_ignored" // there was nothing to end
	EventObserved       EventName = "observed"       // what a guard would have refused, had it been enforced
	// EventTakenOver : a session that the shop began was taken over.
	EventTakenOver EventName = "taken_over"
	// EventShopUnmarked : the shop's own table could not be told that a token was taken over.
	EventShopUnmarked EventName = "shop_unmarked"
	// EventOperatorEnded : an operator ended one session, or all of a customer.
	EventOperatorEnded EventName = "operator_ended"
	// EventManagementRefused : somebody asked the management API without its secret.
	EventManagementRefused EventName = "management_refused"
)

// The causes of events that are no causes of package store, nor outcomes of it.
const (
	causeNotOurs     = "not_ours"     // garbage, forged, or another's token
	causeOtherClient = "other_client" // a genuine token of another client
	causeEnded       = "ended"        // before, or it is another client's
	causeImpossible  = "impossible_password"
	causeUnknown     = "unknown_customer"
	causeNoPassword  = "no_password"
	causeWrong       = "wrong_password"
	causeShopUnknown = store.Cause("shop_unknown")   // the shop does not know the token
	causeShopRevoked = store.Cause("shop_revoked")   // it has revoked it
	causeShopClient  = store.Cause("shop_client")    // its table says another client,
	causeShopExpiry  = store.Cause("shop_expiry")    // another expiry,
	causeShopOwner   = store.Cause("shop_owner")     // or another customer than the token
	causeOver        = store.Cause("take_over_over") // legacy.until has passed
	endedOne         = "one"
	endedAll         = "all"
)

// EventCauses returns every event with the causes that it comes with, for counters that start at zero. The empty cause
// stands for an event whose name says it all.
func EventCauses() map[EventName][]string {
	none := []string{""}
	barred := []string{string(store.CauseGone), string(store.CauseBlocked), string(store.CauseUnconfirmed)}
	return map[EventName][]string{
		EventSignIn:        none,
		EventSignInRefused: append([]string{causeImpossible, causeUnknown, causeNoPassword, causeWrong}, barred...),
		EventSignInLimited: guessCauses(),
		EventGuessLocal:    none,
		EventRotated:       none,
		EventHealed:        none,
		EventReplayed:      none,
		EventDisplaced:     none,
		EventReuse:         {string(store.CauseReuse)},
		EventRefreshRefused: append([]string{
			causeNotOurs, string(causeShopUnknown), string(causeShopRevoked), string(causeShopClient), string(causeShopExpiry), string(causeShopOwner), string(causeOver), string(store.OtherClient), string(store.ScopeRefused), string(store.CauseMissing),
			string(store.CauseExpired), string(store.CauseEpoch), string(store.CauseAll), string(store.CauseRevoked), string(store.CauseOperator),
			string(store.CausePassword), string(store.CauseReuse), string(store.CauseExhausted), string(store.CauseTooMany),
		}, barred...),
		EventSessionEnded:  append([]string{string(store.CauseTooMany), string(store.CauseRevoked)}, barred...),
		EventSignedOut:     {string(store.SignOutOthers), string(store.SignOutAll)},
		EventRevokeIgnored: {causeNotOurs, string(store.CauseExpired), causeOtherClient, causeEnded},
		EventObserved:      append([]string{string(store.CauseBlocked), string(store.CauseUnconfirmed)}, guessCauses()...),

		EventTakenOver:         none,
		EventShopUnmarked:      none,
		EventOperatorEnded:     {endedOne, endedAll},
		EventManagementRefused: none,
	}
}

// Event is one outcome, for counters and the log. It never holds a secret.
type Event struct {
	Name       EventName
	Cause      string // why, from a closed set; empty where the name says it all
	Client     string
	Subject    store.Subject     // zero when unknown
	Session    store.SessionName // zero when there is none
	Generation uint32
	Other      netip.Addr // of a reuse: where the session's newest token had gone; else the zero address
}

func rotationEvent(o store.Outcome) EventName {
	switch o {
	case store.Rotated:
		return EventRotated
	case store.Healed:
		return EventHealed
	case store.Replayed:
		return EventReplayed
	case store.Displaced:
		return EventDisplaced
	case store.Reused:
		return EventReuse
	default: // refused, other client, scope
		return EventRefreshRefused
	}
}
