package store

import (
	"cmp"
	"time"
)

// Snapshot is one session as it stands in a store, living or ended, and the record of its subject there.
//
// Sessions move in two calls of a store. Export yields each session that is kept ([Session.Until]), in no order and possibly twice.
// Import takes some of them in, each in one atomic step, so a move that was broken off can be repeated. What an import may
// change is decided by [Snapshot.Merge]: it never revives what has ended in either store, and never puts a session back
// that is further on in the target. The source must stand still meanwhile; the target may be in use.
//
// A customer who has signed in at the target before his sessions arrive keeps only the one side's: sessions of two epochs
// cannot both live.
type Snapshot struct {
	Session
	Record *SubjectRecord // nil when there is none, so that the session is dead
}

// ImportResult counts what became of the sessions of an import.
type ImportResult struct {
	Added   int // the target did not have them
	Updated int // the target had them in an earlier state
	Kept    int // the target had them in the same state or in a later one, or they have expired
}

// Merge decides what becomes of e in a store that has that session as there and its subject's record as subject, at the
// store's time now; nil stands for absent and, for the subject, also for expired. It reports whether e.Session is to be
// written in the place of there, and returns the record to write for the subject, nil when that stays as it is.
func (e Snapshot) Merge(there *Session, subject *SubjectRecord, now time.Time) (write bool, record *SubjectRecord) {
	if !now.Before(e.Until()) {
		return false, nil
	}
	write = there == nil || e.FurtherThan(*there)
	var merged SubjectRecord
	switch {
	case subject != nil:
		merged = *subject
		if e.replaced(merged, there) {
			merged.Epoch = e.Record.Epoch
		}
	case write && e.Record != nil: // never beside a session that stayed without: its record was lost
		merged = *e.Record
	default:
		return write, nil
	}
	e.raise(&merged, write)
	if subject != nil && *subject == merged {
		return write, nil
	}
	return write, &merged
}

// FurtherThan reports whether s is a later state of a session than o. Ended is the last one; of two that live, the one that
// has come to the newer generation is later.
func (s Session) FurtherThan(o Session) bool {
	if !s.EndedAt.IsZero() || !o.EndedAt.IsZero() {
		return o.EndedAt.IsZero()
	}
	return cmp.Or(cmp.Compare(s.Cur, o.Cur), cmp.Compare(s.Base, o.Base), s.RotatedAt.Compare(o.RotatedAt), cmp.Compare(s.Replays, o.Replays)) > 0
}

// replaced reports whether the subject's epoch at the source came after the one in the target. Epochs have no order, but a
// store in which the session carries the other's current epoch, and another one is current, has replaced it. Without
// such a trace the record that was raised further is the later one, for nothing lowers it.
func (e Snapshot) replaced(subject SubjectRecord, there *Session) bool {
	switch {
	case e.Record == nil || e.Record.Epoch == subject.Epoch:
		return false
	case there != nil && there.Epoch == e.Record.Epoch:
		return false
	case e.Epoch == subject.Epoch:
		return true
	case !e.Record.Floor.Equal(subject.Floor):
		return e.Record.Floor.After(subject.Floor)
	default:
		return e.Record.ExpiresAt.After(subject.ExpiresAt)
	}
}

// raise has the subject's record last as long as the session that is written, and as its own epoch lasted at the source.
func (e Snapshot) raise(r *SubjectRecord, write bool) {
	if write && e.ExpiresAt.After(r.ExpiresAt) {
		r.ExpiresAt = e.ExpiresAt
	}
	if e.Record != nil && e.Record.Floor.After(r.Floor) {
		r.Floor, r.FloorCause, r.FloorFrom = e.Record.Floor, e.Record.FloorCause, e.Record.FloorFrom
	}
	if e.Record != nil {
		r.ShopFloor = later(r.ShopFloor, e.Record.ShopFloor)
	}
	if e.Record != nil && e.Record.Epoch == r.Epoch && e.Record.ExpiresAt.After(r.ExpiresAt) {
		r.ExpiresAt = e.Record.ExpiresAt
	}
}

// State returns why the session of the snapshot may not be used any more, and since when as far as that is known, at the
// store's time now. It returns the empty cause for one that lives.
func (e Snapshot) State(now time.Time) (Cause, time.Time) {
	expired := !now.Before(e.ExpiresAt)
	switch {
	case !e.EndedAt.IsZero():
		return e.Cause, e.EndedAt
	case expired && (e.Record == nil || e.Record.Floor.IsZero() || !e.Record.Floor.Before(e.ExpiresAt)):
		return CauseExpired, e.ExpiresAt // whatever came later
	case e.Record == nil || e.Record.Epoch != e.Epoch && e.Record.FloorCause == "":
		return CauseEpoch, time.Time{}
	case e.Record.Epoch != e.Epoch:
		return e.Record.FloorCause, e.Record.Floor
	case expired:
		return CauseExpired, e.ExpiresAt
	default:
		return "", time.Time{}
	}
}
