package redisstore

import (
	"context"
	"encoding/binary"
	"slices"
	"strings"
	"time"

	"github.com/glueauth/glueauth/store"
)

// revokedKeys are the list of what has ended, and what is known of each. On a Cluster they have a slot of their own.
func revokedKeys() []string { return []string{"glueauth:{revoked}", "glueauth:{revoked}:about"} }

// Revoked returns what has ended since the call that returned after, and what to ask with the next time: the server's time, which
// may be earlier than after. It changes nothing.
func (s *Store) Revoked(ctx context.Context, after int64) (list []store.Revocation, next int64, err error) {
	got, err := s.run(ctx, s.scripts.revoked, revokedKeys(), 0, after)
	if err != nil {
		return nil, after, err
	}
	r := reader{values: got}
	next = r.number(0)
	for i := 1; i < len(got) && !r.bad; i += 2 {
		one, ok := revocation(r.text(i), r.text(i+1))
		r.bad = r.bad || !ok
		list = append(list, one)
	}
	if r.bad {
		return nil, after, unavailable(errAnswer)
	}
	return list, next, nil
}

// ForgetRevoked deletes what was written down that long ago.
func (s *Store) ForgetRevoked(ctx context.Context, age time.Duration) error {
	for more := int64(1); more == 1; {
		got, err := s.run(ctx, s.scripts.forget, revokedKeys(), 0, seconds(age))
		if err != nil {
			return err
		}
		r := reader{values: got}
		if more = r.number(0); r.bad {
			return unavailable(errAnswer)
		}
	}
	return nil
}

// note writes down what has ended, also for a caller who has gone: a thief could see to that. Of two entries with an epoch that
// of the later NotBefore stays, also of a session that is spared.
func (s *Store) note(ctx context.Context, list ...store.Revocation) error {
	if len(list) == 0 {
		return nil
	}
	var args []any
	for _, r := range list {
		epoch, from := r.Epoch[:], int64(0)
		if r.Session != (store.SessionName{}) && !r.Spared {
			epoch = nil
		}
		if !r.NotBefore.IsZero() {
			from = r.NotBefore.UnixMicro()
		}
		args = append(args, field(r), epoch, from)
	}
	_, err := s.run(context.WithoutCancel(ctx), s.scripts.note, revokedKeys(), s.confirm, args...)
	return err
}

// noteMoved writes down what has ended of late of sessions that come from another store.
func (s *Store) noteMoved(ctx context.Context, batch []store.Snapshot) error {
	if !slices.ContainsFunc(batch, func(e store.Snapshot) bool { return !e.EndedAt.IsZero() || e.Record != nil && !e.Record.Floor.IsZero() }) {
		return nil
	}
	now, err := s.now(ctx)
	if err != nil {
		return unavailable(err)
	}
	var ended []store.Revocation
	for _, e := range batch {
		ended = append(ended, e.Moved(now)...)
	}
	return s.note(ctx, ended...)
}

func (s *Store) now(ctx context.Context) (time.Time, error) {
	if now := s.clock(); !now.IsZero() {
		return now, nil
	}
	servers, err := s.masters(ctx)
	if err != nil {
		return time.Time{}, err
	}
	ctx, cancel := s.servers.bounded(ctx)
	defer cancel()
	return servers[0].Time(ctx).Result() //nolint:wrapcheck // noteMoved wraps it
}

const (
	subjectSize = 1 + 8
	timesSize   = 5 + 5
)

// field is how an entry is found.
func field(r store.Revocation) []byte {
	var b []byte
	if r.Spared {
		b = append(b, '+')
	}
	b = append(b, byte(r.Subject.Kind))
	b = binary.BigEndian.AppendUint64(b, uint64(r.Subject.ID)) //nolint:gosec // the same 64 bits back and forth
	if r.Session != (store.SessionName{}) {
		b = append(b, r.Session[:]...)
	}
	return b
}

// revocation undoes field, and reads the value that note.lua has written. It reports whether they are what they must be.
func revocation(field, value string) (r store.Revocation, ok bool) {
	name := len(r.Session)
	if len(field) == 1+subjectSize+name {
		r.Spared = field[0] == '+'
		field = field[1:]
	}
	if len(field) != subjectSize && len(field) != subjectSize+name || len(value) != timesSize && len(value) != timesSize+len(r.Epoch) {
		return r, false
	}
	r.Subject.Kind = store.SubjectKind(field[0])
	r.Subject.ID = int64(binary.BigEndian.Uint64([]byte(field[1:subjectSize]))) //nolint:gosec // as above
	copy(r.Session[:], field[subjectSize:])
	r.At = second(value[:5])
	if r.Session == (store.SessionName{}) {
		r.NotBefore = second(value[5:timesSize])
	}
	copy(r.Epoch[:], value[timesSize:])
	return r, true
}

// second reads a time of five bytes, zero for none.
func second(text string) time.Time {
	n := int64(binary.BigEndian.Uint64([]byte(strings.Repeat("\x00", 3) + text))) //nolint:gosec // five bytes
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(n, 0).UTC()
}

// noteRotation writes down what a rotation has ended: its session, or the others of the subject, or all.
func (s *Store) noteRotation(ctx context.Context, in store.Rotation, out result) error {
	session := store.Revocation{Subject: in.Subject, Session: in.Name}
	switch {
	case out.Outcome.Succeeded():
		return s.noteSignOut(ctx, in, out.at)
	case !out.again || out.Outcome == store.Discarded: // that one never was ours
		return nil
	case out.Cause != store.CauseAll:
		return s.note(ctx, session)
	}
	e, err := s.Session(ctx, in.Subject, in.Name) // a repetition; the sessions begun since are not concerned
	if err != nil {
		return err
	}
	if e.Record == nil || !e.Record.Floor.Equal(e.EndedAt) { // all was ended once more since
		return s.note(ctx, session)
	}
	return s.note(ctx, e.Record.Revocation(in.Subject), session)
}

// signedOut is the entry of a subject whose sessions all ended then.
func signedOut(subject store.Subject, fresh store.Epoch, at time.Time) store.Revocation {
	return store.SubjectRecord{Epoch: fresh, Floor: at}.Revocation(subject)
}

// noteSignOut writes down what a rotation has ended then that handed out a token, or ended all.
func (s *Store) noteSignOut(ctx context.Context, in store.Rotation, at time.Time) error {
	all := signedOut(in.Subject, in.FreshEpoch, at)
	switch in.SignOut {
	case store.SignOutAll:
		return s.note(ctx, all)
	case store.SignOutOthers:
		spared := all
		spared.Session, spared.Spared = in.Name, true
		return s.note(ctx, all, spared)
	default:
		return nil
	}
}
