package store

import "time"

// ClockAllowance is by how much the clocks of servers and stores may differ before an access token is judged by the wrong
// side of a sign-out everywhere. It is as short as that allows: whoever signs in within that time is spared by an entry of his
// own, of which the gateways hear a moment later.
const ClockAllowance = 2 * time.Second

// renoted is for how long after a session's end whoever comes with its tokens has it written down again. The call that
// ended it may have failed to; whoever made that call was told so and repeats it soon.
const renoted = time.Hour

// Revocation is one entry of the list: a session that has ended, a subject whose sessions have all ended at once, or a session
// of his that this does not concern.
type Revocation struct {
	Subject Subject
	Session SessionName // zero: the subject himself
	// Spared says that the session goes on although all of its subject's ended, as one that was begun right then or that signed
	// out the others. It holds as long as Epoch is also that of the subject's own entry.
	Spared bool
	// Epoch is what the subject was given when his sessions ended; zero for a session that has ended.
	Epoch Epoch
	// NotBefore is of a subject: his access tokens are void if they were made then or earlier, to the second.
	NotBefore time.Time
	At        time.Time // when the entry was written
}

// revoked is the entry of a session that has ended.
func revoked(s Session) Revocation { return Revocation{Subject: s.Subject, Session: s.Name} }

// Revocation returns the entry of a subject whose sessions have all ended at his floor.
func (r SubjectRecord) Revocation(subject Subject) Revocation {
	return Revocation{Subject: subject, Epoch: r.Epoch, NotBefore: r.Floor.Add(ClockAllowance)}
}

// Spares reports whether a session that begins now needs an entry to be spared: its first access token may look older
// than the floor.
func (r SubjectRecord) Spares(now time.Time) bool {
	return !r.Floor.IsZero() && !now.After(r.Floor.Add(2*ClockAllowance))
}

// Revocations returns what is to be written down after a session was changed, or was begun, at the store's time now. before
// is the session as it was, zero where there was none, and had its subject's record then; record is that now, nil for none.
func (s Session) Revocations(before Session, had, record *SubjectRecord, now time.Time) (list []Revocation) {
	all := record != nil && (had == nil || had.Epoch != record.Epoch) && record.Floor.Equal(Whole(now))
	switch {
	case all:
		list = append(list, record.Revocation(s.Subject))
	case !s.EndedAt.IsZero() && now.Sub(s.EndedAt) <= renoted:
		return append(list, revoked(s))
	}
	began := before.StartedAt.IsZero() && record != nil && record.Spares(now)
	if s.EndedAt.IsZero() && (all || began) {
		list = append(list, Revocation{Subject: s.Subject, Session: s.Name, Spared: true, Epoch: record.Epoch})
	}
	return list
}

// Moved returns what is to be written down of a session that comes from another store.
func (e Snapshot) Moved(now time.Time) (list []Revocation) {
	if !e.EndedAt.IsZero() && now.Sub(e.EndedAt) <= Remembered {
		list = append(list, revoked(e.Session))
	}
	if e.Record != nil && !e.Record.Floor.IsZero() && now.Sub(e.Record.Floor) <= Remembered {
		list = append(list, e.Record.Revocation(e.Subject))
	}
	return list
}
