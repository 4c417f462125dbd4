package server

import "github.com/glueauth/glueauth/store"

// EventName names an outcome. It is a metric label, so the set is closed and small.
type EventName string

// The events. Those of a refresh are named after the rows of the rotation table in package store.
const (
	EventSignIn         EventName = "sign_in"
	EventSignInRefused  EventName = "sign_in_refused"
	EventRotated        EventName = "refresh_rotated"
	EventHealed         EventName = "refresh_healed" // the store had lost writes
	EventReplayed       EventName = "refresh_replayed"
	EventDisplaced      EventName = "refresh_displaced"
	EventReuse          EventName = "refresh_reuse"
	EventRefreshRefused EventName = "refresh_refused"
	EventSessionEnded   EventName = "session_ended"
	EventObserved       EventName = "observed" // what a guard would have refused, had it been enforced
)

// EventNames returns every event name, for counters that start at zero.
func EventNames() []EventName {
	return []EventName{
		EventSignIn, EventSignInRefused, EventRotated, EventHealed, EventReplayed, EventDisplaced,
		EventReuse, EventRefreshRefused, EventSessionEnded, EventObserved,
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
