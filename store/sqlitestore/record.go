package sqlitestore

import (
	"context"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/glueauth/glueauth/store"
)

// statement names one of the statements below.
type statement int

const (
	selectSession statement = iota
	insertSession
	updateSession
	endSession
	endUnused
	selectEpoch
	keepSubject
	sweepSessions
	sweepSubjects
	touchInstance
	statementCount
)

type statements [statementCount]*sql.Stmt

func (s statement) text() string {
	return [statementCount]string{
		selectSession: `SELECT client, scopes, s.epoch, password_mark, base, cur, uses, retry_key, device, replays,
				started_at, rotated_at, s.expires_at, ends_at, ended_at, cause, u.epoch
			FROM sessions s LEFT JOIN subjects u ON u.kind = subject_kind AND u.id = subject_id AND u.expires_at > ?
			WHERE name = ? AND subject_kind = ? AND subject_id = ?`,
		insertSession: `INSERT INTO sessions (name, subject_kind, subject_id, client, epoch, password_mark, started_at, ends_at,
				scopes, base, cur, uses, retry_key, device, replays, rotated_at, expires_at, ended_at, cause)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
		updateSession: `UPDATE sessions SET scopes = ?, base = ?, cur = ?, uses = ?, retry_key = ?, device = ?, replays = ?,
				rotated_at = ?, expires_at = ?, ended_at = ?, cause = ?
			WHERE name = ?`,
		endSession: `UPDATE sessions SET ended_at = ?, cause = ?
			WHERE name = ? AND subject_kind = ? AND subject_id = ? AND ended_at = 0 AND expires_at > ?`,
		endUnused: `UPDATE sessions SET ended_at = ?, cause = ? WHERE name IN (
			SELECT name FROM sessions
			WHERE subject_kind = ? AND subject_id = ? AND ended_at = 0 AND expires_at > ? AND epoch = ? AND name <> ?
			ORDER BY rotated_at DESC, started_at DESC, name LIMIT -1 OFFSET ?)`,
		selectEpoch: `SELECT epoch FROM subjects WHERE kind = ? AND id = ? AND expires_at > ?`,
		keepSubject: `INSERT INTO subjects (kind, id, epoch, expires_at) VALUES (?, ?, ?, ?)
			ON CONFLICT DO UPDATE SET epoch = excluded.epoch, expires_at = excluded.expires_at
			WHERE expires_at < excluded.expires_at`,
		sweepSessions: `DELETE FROM sessions WHERE name IN (SELECT name FROM sessions WHERE expires_at <= ? LIMIT ?)`,
		sweepSubjects: `DELETE FROM subjects WHERE (kind, id) IN (SELECT kind, id FROM subjects WHERE expires_at <= ? LIMIT ?)`,
		// It writes a row as it is, and only where the tables of sessions can be read.
		touchInstance: `UPDATE instance SET id = id WHERE NOT EXISTS (SELECT 1 FROM sessions, subjects WHERE 0)`,
	}[s]
}

// session returns the record and its subject's epoch, nil where that is gone, or [store.ErrNotFound].
func (t transaction) session(ctx context.Context, name store.SessionName, subject store.Subject) (store.Session, *store.Epoch, error) {
	s := store.Session{Name: name, Subject: subject}
	var scopes, cause string
	var epoch, password, uses, retry, device, subjectEpoch []byte
	var started, rotated, expires, ends, ended int64
	err := t.row(ctx, selectSession, t.now.Unix(), name[:], subject.Kind, subject.ID).Scan(
		&s.Client, &scopes, &epoch, &password, &s.Base, &s.Cur, &uses, &retry, &device, &s.Replays,
		&started, &rotated, &expires, &ends, &ended, &cause, &subjectEpoch)
	if errors.Is(err, sql.ErrNoRows) {
		return s, nil, store.ErrNotFound
	}
	if err != nil {
		return s, nil, fmt.Errorf("read session: %w", err)
	}
	s.StartedAt, s.RotatedAt, s.ExpiresAt, s.EndsAt, s.EndedAt = at(started), at(rotated), at(expires), at(ends), at(ended)
	s.Cause = store.Cause(cause)
	usable := json.Unmarshal([]byte(scopes), &s.Scopes) == nil && fill(s.Epoch[:], epoch) && fill(s.Password[:], password) &&
		fill(s.RetryKey[:], retry) && fill(s.Device[:], device) && fillUses(&s.Uses, uses)
	if !usable {
		return s, nil, fmt.Errorf("session %s: %w", name, errDamaged)
	}
	if subjectEpoch == nil {
		return s, nil, nil
	}
	current, err := epochOf(subjectEpoch)
	return s, current, err
}

func (t transaction) insert(ctx context.Context, s store.Session) error {
	kept, err := changing(s)
	if err != nil {
		return err
	}
	made := []any{s.Name[:], s.Subject.Kind, s.Subject.ID, s.Client, s.Epoch[:], s.Password[:], s.StartedAt.Unix(), s.EndsAt.Unix()}
	n, err := t.exec(ctx, insertSession, append(made, kept...)...)
	if err == nil && n == 0 {
		return errTaken
	}
	return err
}

func (t transaction) update(ctx context.Context, s store.Session) error {
	kept, err := changing(s)
	if err != nil {
		return err
	}
	_, err = t.exec(ctx, updateSession, append(kept, s.Name[:])...)
	return err
}

// changing returns the columns that a rotation may change, in the order of insertSession and updateSession.
func changing(s store.Session) ([]any, error) {
	scopes, err := json.Marshal(s.Scopes)
	if err != nil {
		return nil, fmt.Errorf("write scopes: %w", err)
	}
	uses := make([]byte, 0, 4*len(s.Uses))
	for _, use := range s.Uses {
		uses = binary.BigEndian.AppendUint32(uses, use)
	}
	ended := int64(0)
	if !s.EndedAt.IsZero() {
		ended = s.EndedAt.Unix()
	}
	return []any{
		string(scopes), s.Base, s.Cur, uses, s.RetryKey[:], s.Device[:], s.Replays,
		s.RotatedAt.Unix(), s.ExpiresAt.Unix(), ended, string(s.Cause),
	}, nil
}

// epoch returns the epoch that a subject's sessions must carry, or nil when there is no record of it.
func (t transaction) epoch(ctx context.Context, subject store.Subject) (*store.Epoch, error) {
	var epoch []byte
	err := t.row(ctx, selectEpoch, subject.Kind, subject.ID, t.now.Unix()).Scan(&epoch)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil //nolint:nilnil // nil is the answer
	}
	if err != nil {
		return nil, fmt.Errorf("read subject: %w", err)
	}
	return epochOf(epoch)
}

func epochOf(value []byte) (*store.Epoch, error) {
	e := new(store.Epoch)
	if !fill(e[:], value) {
		return nil, fmt.Errorf("subject: %w", errDamaged)
	}
	return e, nil
}

// keepSubject makes the record of a subject where there is none or an expired one, and has it last as long as its session.
func (t transaction) keepSubject(ctx context.Context, subject store.Subject, epoch store.Epoch, until time.Time) error {
	_, err := t.exec(ctx, keepSubject, subject.Kind, subject.ID, epoch[:], until.Unix())
	return err
}

// fill copies a column into a field and reports whether it fits.
func fill(field, value []byte) bool {
	return copy(field, value) == len(field) && len(value) == len(field)
}

func fillUses(uses *[store.RememberedUses]uint32, value []byte) bool {
	if len(value) != 4*len(uses) {
		return false
	}
	for i := range uses {
		uses[i] = binary.BigEndian.Uint32(value[4*i:])
	}
	return true
}

func at(seconds int64) time.Time {
	if seconds == 0 {
		return time.Time{}
	}
	return time.Unix(seconds, 0).UTC()
}
