package storetest_test

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/glueauth/glueauth/store"
	"github.com/glueauth/glueauth/store/storetest"
)

// memory keeps sessions as the rules leave them, in one map under one lock. It shows that the suite holds for the rules by
// themselves, and it can be broken.
type memory struct {
	now func() time.Time

	mu       sync.Mutex
	sessions map[store.SessionName]store.Session
	records  map[store.Subject]store.SubjectRecord
	revoked  []store.Revocation
}

// note writes down what a change of a session has ended.
func (m *memory) note(s, before store.Session, had, record *store.SubjectRecord) {
	for _, r := range s.Revocations(before, had, record, m.now()) {
		m.write(r)
	}
}

func (m *memory) write(r store.Revocation) {
	r.At = store.Whole(m.now())
	m.revoked = append(m.revoked, r)
}

func (m *memory) Revoked(ctx context.Context, after int64) ([]store.Revocation, int64, error) {
	_, leave, err := m.enter(ctx, store.Subject{})
	if err != nil {
		return nil, after, err
	}
	defer leave()
	return slices.Clone(m.revoked), 1, nil
}

func (m *memory) ForgetRevoked(_ context.Context, age time.Duration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.revoked = slices.DeleteFunc(m.revoked, func(r store.Revocation) bool { return !m.now().Before(r.At.Add(age)) })
	return nil
}

func copied(r *store.SubjectRecord) *store.SubjectRecord {
	if r == nil {
		return nil
	}
	c := *r
	return &c
}

func newMemory(now func() time.Time) *memory {
	return &memory{now: now, sessions: map[store.SessionName]store.Session{}, records: map[store.Subject]store.SubjectRecord{}}
}

// enter takes the lock, unless nobody waits any more, and returns the record of a subject, nil when there is none or an
// expired one.
func (m *memory) enter(ctx context.Context, s store.Subject) (*store.SubjectRecord, func(), error) {
	if ctx.Err() != nil {
		return nil, nil, store.ErrUnavailable
	}
	m.mu.Lock()
	if r, ok := m.records[s]; ok && m.now().Before(r.ExpiresAt) {
		return &r, m.mu.Unlock, nil
	}
	return nil, m.mu.Unlock, nil
}

func (m *memory) Open(ctx context.Context, in store.SignIn) (store.SignedIn, error) {
	record, leave, err := m.enter(ctx, in.Subject)
	if err != nil {
		return store.SignedIn{}, err
	}
	defer leave()
	if _, taken := m.sessions[in.Name]; taken {
		return store.SignedIn{}, store.ErrNotFound // any but ErrUnavailable
	}
	if record == nil {
		record = &store.SubjectRecord{Epoch: in.FreshEpoch}
	}
	surplus := m.endSurplus(in.Subject, record, in.MaxOpen, in.From)
	s := store.Session{
		Name: in.Name, Subject: in.Subject, Client: in.Client, Scopes: in.Scopes, Epoch: record.Epoch, Password: in.Password,
		Cur: 1, Device: in.Device, First: in.From, Last: in.From, StartedAt: store.Whole(m.now()), RotatedAt: store.Whole(m.now()),
		ExpiresAt: store.Whole(m.now().Add(min(in.Lifetime, in.MaxLife))), EndsAt: store.Whole(m.now().Add(in.MaxLife)),
	}
	m.sessions[in.Name] = s
	m.note(s, store.Session{}, record, record)
	if s.ExpiresAt.After(record.ExpiresAt) {
		record.ExpiresAt = s.ExpiresAt
	}
	m.records[in.Subject] = *record
	return store.SignedIn{ExpiresAt: s.ExpiresAt, Ended: surplus}, nil
}

func (m *memory) Adopt(ctx context.Context, a store.Adoption) (store.RotateResult, error) {
	record, leave, err := m.enter(ctx, a.Subject)
	if err != nil {
		return store.RotateResult{}, err
	}
	defer leave()
	s, there := m.sessions[a.Name]
	if there && a.End != "" {
		return store.RotateResult{Outcome: store.Refused}, nil
	}
	if !there {
		begun, kept, void := a.Begin(record, m.now())
		switch {
		case void != "":
			return store.RotateResult{Outcome: store.Refused, Cause: void}, nil
		case a.End != "":
			m.sessions[a.Name] = begun
			return store.RotateResult{Outcome: store.Discarded, Cause: a.End}, nil
		}
		m.endSurplus(a.Subject, &kept, a.MaxOpen, a.From)
		s, record = begun, &kept
	}
	before, had := m.sessions[a.Name], copied(record)
	result, _ := s.Rotate(a.Rotation, record, m.now())
	m.note(s, before, had, record)
	m.sessions[a.Name] = s
	if record != nil {
		m.records[a.Subject] = *record
	}
	return result, nil
}

// endSurplus ends the sessions that are too many beside one that is made.
func (m *memory) endSurplus(subject store.Subject, record *store.SubjectRecord, most int, from store.Visitor) int {
	living := slices.DeleteFunc(m.of(subject, record), func(e store.Snapshot) bool { cause, _ := e.State(m.now()); return cause != "" })
	slices.SortStableFunc(living, func(a, b store.Snapshot) int {
		return cmp.Or(b.RotatedAt.Compare(a.RotatedAt), b.StartedAt.Compare(a.StartedAt))
	})
	surplus := living[min(len(living), max(0, most-1)):]
	for _, e := range surplus {
		e.End(store.Ending{Cause: store.CauseTooMany, From: from}, record, m.now())
		m.note(e.Session, m.sessions[e.Name], record, record)
		m.sessions[e.Name] = e.Session
	}
	return len(surplus)
}

func (m *memory) of(subject store.Subject, record *store.SubjectRecord) (all []store.Snapshot) {
	for s := range maps.Values(m.sessions) {
		if s.Subject == subject {
			all = append(all, store.Snapshot{Session: s, Record: record})
		}
	}
	slices.SortFunc(all, func(a, b store.Snapshot) int {
		return cmp.Or(b.StartedAt.Compare(a.StartedAt), slices.Compare(a.Name[:], b.Name[:]))
	})
	return all
}

func (m *memory) Rotate(ctx context.Context, r store.Rotation) (store.RotateResult, error) {
	record, leave, err := m.enter(ctx, r.Subject)
	if err != nil {
		return store.RotateResult{}, err
	}
	defer leave()
	s, ok := m.sessions[r.Name]
	if !ok || s.Subject != r.Subject {
		return store.RotateResult{Outcome: store.Refused, Cause: store.CauseMissing}, nil
	}
	had := copied(record)
	result, _ := s.Rotate(r, record, m.now())
	m.note(s, m.sessions[r.Name], had, record)
	m.sessions[r.Name] = s
	if record != nil {
		m.records[r.Subject] = *record
	}
	return result, nil
}

func (m *memory) End(ctx context.Context, e store.Ending) (bool, error) {
	record, leave, err := m.enter(ctx, e.Subject)
	if err != nil {
		return false, err
	}
	defer leave()
	s, ok := m.sessions[e.Name]
	if !ok || s.Subject != e.Subject || !s.End(e, record, m.now()) {
		return false, nil
	}
	m.note(s, m.sessions[e.Name], record, record)
	m.sessions[e.Name] = s
	m.records[e.Subject] = *record
	return true, nil
}

func (m *memory) EndAll(ctx context.Context, e store.EndingAll) error {
	record, leave, err := m.enter(ctx, e.Subject)
	if err != nil {
		return err
	}
	defer leave()
	if record == nil {
		record = new(store.SubjectRecord)
	}
	record.EndAll(e, m.now())
	m.records[e.Subject] = *record
	m.write(record.Revocation(e.Subject))
	return nil
}

func (m *memory) Session(ctx context.Context, subject store.Subject, name store.SessionName) (store.Snapshot, error) {
	_, leave, err := m.enter(ctx, subject)
	if err != nil {
		return store.Snapshot{}, err
	}
	defer leave()
	s, ok := m.sessions[name]
	if !ok || s.Subject != subject {
		return store.Snapshot{}, store.ErrNotFound
	}
	if record, ok := m.records[subject]; ok {
		return store.Snapshot{Session: s, Record: &record}, nil
	}
	return store.Snapshot{Session: s}, nil
}

func (m *memory) SessionsOf(ctx context.Context, subject store.Subject) ([]store.Snapshot, *store.SubjectRecord, error) {
	_, leave, err := m.enter(ctx, subject)
	if err != nil {
		return nil, nil, err
	}
	defer leave()
	record, ok := m.records[subject]
	if !ok {
		return nil, nil, nil
	}
	return m.of(subject, &record), &record, nil
}

func (m *memory) Record(ctx context.Context, subject store.Subject) (*store.SubjectRecord, error) {
	_, record, err := m.SessionsOf(ctx, subject)
	return record, err
}

func (m *memory) Locate(ctx context.Context, name store.SessionName) (store.Subject, error) {
	_, leave, err := m.enter(ctx, store.Subject{})
	if err != nil {
		return store.Subject{}, err
	}
	defer leave()
	if s, ok := m.sessions[name]; ok {
		return s.Subject, nil
	}
	return store.Subject{}, store.ErrNotFound
}

func (m *memory) Sweep(context.Context) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := len(m.sessions)
	maps.DeleteFunc(m.sessions, func(_ store.SessionName, s store.Session) bool {
		return !m.now().Before(s.Until().Add(store.Remembered))
	})
	return before - len(m.sessions), nil
}

func TestContract(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(_ *testing.T, now func() time.Time) storetest.Sessions { return newMemory(now) })
}
