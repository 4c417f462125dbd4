package redisstore

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/glueauth/glueauth/store"
)

// Session returns a session as it stands, also one that has ended or expired, or [store.ErrNotFound]. It changes nothing, so
// a server that takes no writes answers too.
func (s *Store) Session(ctx context.Context, subject store.Subject, name store.SessionName) (store.Snapshot, error) {
	got, err := s.run(ctx, s.scripts.export, keys(subject, name), 0, name[:], true)
	if err != nil {
		return store.Snapshot{}, err
	}
	if len(got) == 0 {
		return store.Snapshot{}, fmt.Errorf("session %s: %w", name, store.ErrNotFound)
	}
	e := store.Snapshot{Session: store.Session{Name: name, Subject: subject}}
	if err := snapshot(got, &e); err != nil {
		return store.Snapshot{}, fmt.Errorf("read session %s: %w", name, err)
	}
	return e, nil
}

// SessionsOf returns the sessions of a subject, the newest sign-in first, and his record, nil when there is none: those that
// live, those that have just expired, and the last eight that have ended one by one. It changes nothing.
func (s *Store) SessionsOf(ctx context.Context, subject store.Subject) ([]store.Snapshot, *store.SubjectRecord, error) {
	named, record, err := s.listed(ctx, subject, true)
	if err != nil || record == nil {
		return nil, nil, err
	}
	var all []store.Snapshot
	for page := range slices.Chunk(named, scanPage) {
		found, err := s.read(ctx, page, true)
		if err != nil {
			return nil, nil, err
		}
		all = append(all, found...)
	}
	slices.SortFunc(all, func(a, b store.Snapshot) int {
		return cmp.Or(b.StartedAt.Compare(a.StartedAt), bytes.Compare(a.Name[:], b.Name[:]))
	})
	return all, record, nil
}

// Record returns the record of a subject as it stands, nil when there is none. It changes nothing.
func (s *Store) Record(ctx context.Context, subject store.Subject) (*store.SubjectRecord, error) {
	_, record, err := s.listed(ctx, subject, false)
	return record, err
}

// listed returns a subject's record, nil when there is none, and if asked of the sessions in it their names.
func (s *Store) listed(ctx context.Context, subject store.Subject, sessions bool) (named []store.Snapshot, record *store.SubjectRecord, err error) {
	got, err := s.run(ctx, s.scripts.list, keys(subject, store.SessionName{}), 0, sessions)
	if err != nil || len(got) == 0 {
		return nil, nil, err
	}
	r := &snapshotReader{reader: reader{values: got}}
	record = r.record(0)
	named = make([]store.Snapshot, max(0, len(got)-recordFields))
	for i := range named {
		named[i].Subject = subject
		r.fill(named[i].Name[:], recordFields+i)
	}
	if r.bad {
		return nil, nil, unavailable(errAnswer)
	}
	return named, record, nil
}

// Locate returns whose session this is, or [store.ErrNotFound]. It looks through the keys of all masters, which takes as long
// as ctx allows.
func (s *Store) Locate(ctx context.Context, name store.SessionName) (store.Subject, error) {
	for page, err := range s.pages(ctx, name.String(), locatePage) {
		if err != nil {
			return store.Subject{}, err
		}
		if len(page) > 0 {
			return page[0].Subject, nil
		}
	}
	return store.Subject{}, fmt.Errorf("session %s: %w", name, store.ErrNotFound)
}

// read reads the sessions of a page, those that have expired too if they are wanted as they stand. Those that have gone
// meanwhile are left out.
func (s *Store) read(ctx context.Context, page []store.Snapshot, asTheyStand bool) ([]store.Snapshot, error) {
	calls := make([]call, len(page))
	for i, e := range page {
		calls[i] = call{script: s.scripts.export, keys: keys(e.Subject, e.Name), args: []any{s.time(), e.Name[:], asTheyStand}}
	}
	answers, err := s.many(ctx, calls)
	if err != nil {
		return nil, err
	}
	var found []store.Snapshot
	for i, values := range answers {
		if len(values) == 0 {
			continue
		}
		if err := snapshot(values, &page[i]); err != nil {
			return nil, fmt.Errorf("read session %s: %w", page[i].Name, err)
		}
		found = append(found, page[i])
	}
	return found, nil
}

// snapshot reads the answer of export.lua.
func snapshot(values []any, e *store.Snapshot) error {
	r := &snapshotReader{reader: reader{values: values}}
	e.Client, e.Scopes = r.text(0), strings.Fields(r.text(1))
	r.fill(e.Epoch[:], 2)
	r.fill(e.Password[:], 3)
	e.Base, e.Cur = r.uint32(4), r.uint32(5)
	uses := make([]byte, 4*len(e.Uses))
	r.fill(uses, 6)
	for i := range e.Uses {
		e.Uses[i] = binary.BigEndian.Uint32(uses[4*i:])
	}
	if r.text(7) != "" {
		r.fill(e.RetryKey[:], 7)
	}
	r.fill(e.Device[:], 8)
	e.Replays = r.uint32(9)
	e.StartedAt, e.RotatedAt, e.ExpiresAt, e.EndsAt, e.EndedAt = r.time(10), r.time(11), r.time(12), r.time(13), r.time(14)
	e.Cause = store.Cause(r.text(15))
	e.Shut = r.uint32(16)
	e.BaseExpiresAt, e.RejoinedAt = r.time(17), r.time(18)
	e.First, e.Last = r.visitor(19), r.visitor(20)
	e.Timeline = r.timeline(21)
	e.ShopExpiresAt = r.time(22)
	if sub := r.text(23); len(sub) > len(e.SubMark) {
		e.Sub = sub[copy(e.SubMark[:], sub):]
	}
	if r.text(24) != "" {
		e.Record = r.record(24)
	}
	if r.bad {
		return unavailable(errAnswer)
	}
	return nil
}

// snapshotReader reads what only the answers about whole records hold.
type snapshotReader struct{ reader }

func (r *snapshotReader) fill(field []byte, i int) {
	if text := r.text(i); len(text) != len(field) || copy(field, text) != len(field) {
		r.bad = true
	}
}

func (r *snapshotReader) uint32(i int) uint32 {
	n := r.number(i)
	if n < 0 || n > 1<<32-1 {
		r.bad = true
	}
	return uint32(n) //nolint:gosec // checked above
}

// time reads Unix seconds, of which 0 is never.
func (r *snapshotReader) time(i int) time.Time {
	if n := r.number(i); n != 0 {
		return time.Unix(n, 0).UTC()
	}
	return time.Time{}
}

// unix undoes time.
func unix(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

// recordFields is how many values a subject's record takes in an answer.
const recordFields = 6

func (r *snapshotReader) record(i int) *store.SubjectRecord {
	record := &store.SubjectRecord{
		ExpiresAt: r.time(i + 1), Floor: r.time(i + 2), FloorFrom: r.visitor(i + 3).Address, FloorCause: store.Cause(r.text(i + 4)),
		ShopFloor: r.time(i + 5),
	}
	r.fill(record.Epoch[:], i)
	return record
}

// entrySize is how many bytes an entry of a timeline takes: what, how many times, when, generation, address.
const entrySize = 1 + 2 + 4 + 4 + addressSize

func (r *snapshotReader) timeline(i int) (entries []store.Entry) {
	text := r.text(i)
	r.bad = r.bad || len(text)%entrySize != 0
	for entry := range slices.Chunk([]byte(text), entrySize) {
		if r.bad {
			return nil
		}
		entries = append(entries, store.Entry{
			What: store.Happening(entry[0]), Count: binary.BigEndian.Uint16(entry[1:]),
			At: time.Unix(int64(binary.BigEndian.Uint32(entry[3:])), 0).UTC(), Generation: binary.BigEndian.Uint32(entry[7:]),
			Address: addressIn(string(entry[11:])),
		})
	}
	return entries
}

// packedTimeline undoes timeline.
func packedTimeline(entries []store.Entry) []byte {
	out := make([]byte, 0, entrySize*len(entries))
	for _, e := range entries {
		out = append(out, byte(e.What))
		out = binary.BigEndian.AppendUint16(out, e.Count)
		out = binary.BigEndian.AppendUint32(out, uint32(e.At.Unix())) //nolint:gosec // as the scripts count
		out = binary.BigEndian.AppendUint32(out, e.Generation)
		out = append(out, packed(store.Visitor{Address: e.Address})...)
	}
	return out
}
