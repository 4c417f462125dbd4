package store

import (
	"net/netip"
	"slices"
	"time"
)

// TimelineLength is how many entries a session's timeline keeps. Each takes 27 bytes at most, so that a record stays small
// however long its session lives.
const TimelineLength = 12

// Entry is one line of a session's timeline. The sign-in has none: [Session.StartedAt] and [Session.First] tell it.
type Entry struct {
	At         time.Time // whole seconds; of the last one, when it happened several times in a row
	What       Happening
	Generation uint32     // the presented one, 0 where none was
	Address    netip.Addr // the zero address for an operator, or when it is not known
	Count      uint16     // how many times in a row, from the same address and with the same generation
}

// Happening is what an [Entry] tells. The values are part of the records.
type Happening uint8

// The happenings: those that a [Rotation] ends in, and the two ways to end sessions.
const (
	WasRotated   Happening = 1
	WasHealed    Happening = 2
	WasReplayed  Happening = 3
	WasDisplaced Happening = 4
	WasReused    Happening = 5 // also where reuse is only observed
	SignedOthers Happening = 6 // the customer signed out everywhere else
	Ended        Happening = 7 // why is in [Session.Cause]
)

// happened adds an entry to the timeline, or counts the newest one up when it says the same.
func (s *Session) happened(what Happening, generation uint32, from Visitor, now time.Time) {
	s.Timeline = slices.Clone(s.Timeline) // a copy of the session may share it
	if n := len(s.Timeline); n > 0 {
		newest := &s.Timeline[n-1]
		if newest.What == what && newest.Generation == generation && newest.Address == from.Address && newest.Count < 1<<16-1 {
			newest.Count++
			newest.At = Whole(now)
			return
		}
	}
	s.Timeline = append(s.Timeline, Entry{At: Whole(now), What: what, Generation: generation, Address: from.Address, Count: 1})
	if n := len(s.Timeline); n > TimelineLength {
		s.Timeline = s.Timeline[n-TimelineLength:]
	}
}

func happening(o Outcome) Happening {
	switch o {
	case Rotated:
		return WasRotated
	case Healed:
		return WasHealed
	case Displaced:
		return WasDisplaced
	case Reused:
		return WasReused
	default:
		return WasReplayed
	}
}
