package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/glueauth/glueauth/store"
)

// statement names one of the statements below, which the writer keeps prepared.
type statement int

const (
	selectSession statement = iota
	selectUnused
	insertSession
	updateSession
	selectSubject
	writeSubject
	sweepSessions
	sweepSubjects
	writeRevocation
	addRevocation
	sweepRevocations
	sweepGuesses
	selectGuess
	writeGuess
	selectAddresses
	writeAddresses
	touchInstance
	statementCount
)

type statements [statementCount]*sql.Stmt

// selectSnapshot is what [snapshot] reads, and selectRecord what [record] does.
const (
	selectSnapshot = `SELECT name, subject_kind, subject_id, client, scopes, s.epoch, password_mark, base, cur, uses, retry_key, device,
			replays, shut, base_expires_at, rejoined_at, first_address, first_agent, last_address, last_agent, timeline,
			started_at, rotated_at, s.expires_at, ends_at, ended_at, cause, shop_expires_at, sub, sub_mark,
			u.epoch, coalesce(u.expires_at, 0), coalesce(u.floor, 0), coalesce(u.floor_cause, ''), u.floor_from, coalesce(u.shop_floor, 0)
		FROM sessions s LEFT JOIN subjects u ON u.kind = subject_kind AND u.id = subject_id `
	intoRevocations = `INTO revocations (subject_kind, subject_id, name, spared, epoch, not_before, noted_at)
		VALUES (?1, ?2, ?3, ?4, ?5, max(?6, coalesce((SELECT not_before FROM revocations WHERE (subject_kind, subject_id, name, spared) = (?1, ?2, ?3, ?4)), 0)), ?7)`
	selectRecord = `SELECT epoch, expires_at, floor, floor_cause, floor_from, shop_floor FROM subjects WHERE kind = ? AND id = ?`
)

func (s statement) text() string {
	return [statementCount]string{
		selectSession: selectSnapshot + `WHERE name = ? AND subject_kind = ? AND subject_id = ?`,
		selectUnused: selectSnapshot + `WHERE subject_kind = ? AND subject_id = ? AND ended_at = 0 AND s.expires_at > ? AND s.epoch = ?
			ORDER BY rotated_at DESC, started_at DESC, name LIMIT -1 OFFSET ?`,
		insertSession: `INSERT INTO sessions (name, subject_kind, subject_id, client, password_mark, first_address, first_agent, started_at, ends_at, shop_expires_at,
				scopes, epoch, base, cur, uses, retry_key, device, replays, shut, base_expires_at, rejoined_at, last_address, last_agent, timeline,
				rotated_at, expires_at, ended_at, cause, sub, sub_mark)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
		updateSession: `UPDATE sessions SET scopes = ?, epoch = ?, base = ?, cur = ?, uses = ?, retry_key = ?, device = ?, replays = ?,
				shut = ?, base_expires_at = ?, rejoined_at = ?, last_address = ?, last_agent = ?, timeline = ?, rotated_at = ?, expires_at = ?, ended_at = ?, cause = ?, sub = ?, sub_mark = ?
			WHERE name = ?`,
		selectSubject: selectRecord,
		writeSubject: `INSERT INTO subjects (kind, id, epoch, expires_at, floor, floor_cause, floor_from, shop_floor) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT DO UPDATE SET epoch = excluded.epoch, expires_at = excluded.expires_at,
				floor = excluded.floor, floor_cause = excluded.floor_cause, floor_from = excluded.floor_from,
				shop_floor = excluded.shop_floor`,
		sweepSessions:    `DELETE FROM sessions WHERE name IN (SELECT name FROM sessions WHERE expires_at <= ?1 AND shop_expires_at <= ?1 LIMIT ?2)`,
		sweepSubjects:    `DELETE FROM subjects WHERE (kind, id) IN (SELECT kind, id FROM subjects WHERE expires_at <= ? LIMIT ?)`,
		writeRevocation:  `INSERT OR REPLACE ` + intoRevocations,
		addRevocation:    `INSERT OR IGNORE ` + intoRevocations,
		sweepRevocations: `DELETE FROM revocations WHERE seq IN (SELECT seq FROM revocations WHERE noted_at <= ? LIMIT ?)`,
		sweepGuesses:     `DELETE FROM guesses WHERE name IN (SELECT name FROM guesses WHERE until <= ? LIMIT ?)`,
		selectGuess:      `SELECT taken, ends_at, locked_until FROM guesses WHERE name = ?`,
		writeGuess: `INSERT INTO guesses (name, taken, ends_at, locked_until, until) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT DO UPDATE SET taken = excluded.taken, ends_at = excluded.ends_at, locked_until = excluded.locked_until, until = excluded.until`,
		selectAddresses: `SELECT addresses FROM subjects WHERE kind = ? AND id = ?`,
		writeAddresses:  `UPDATE subjects SET addresses = ? WHERE kind = ? AND id = ?`,
		// It writes a row as it is, and only where the tables of sessions can be read.
		touchInstance: `UPDATE instance SET id = id WHERE NOT EXISTS (SELECT 1 FROM sessions, subjects WHERE 0)`,
	}[s]
}

// session returns a session for the rules, to which an expired record of its subject is none, or [sql.ErrNoRows].
func (t transaction) session(ctx context.Context, name store.SessionName, subject store.Subject) (store.Snapshot, error) {
	e, err := snapshot(t.row(ctx, selectSession, name[:], subject.Kind, subject.ID))
	if e.Record != nil && !t.now.Before(e.Record.ExpiresAt) {
		e.Record = nil
	}
	return e, err
}

// subject returns the record of a subject, or nil when there is none or an expired one.
func (t transaction) subject(ctx context.Context, subject store.Subject) (*store.SubjectRecord, error) {
	r, err := record(t.row(ctx, selectSubject, subject.Kind, subject.ID))
	if errors.Is(err, sql.ErrNoRows) || err == nil && !t.now.Before(r.ExpiresAt) {
		return nil, nil //nolint:nilnil // nil is the answer
	}
	return r, err
}

// keep writes the record of a subject.
func (t transaction) keep(ctx context.Context, subject store.Subject, r store.SubjectRecord) error {
	_, err := t.exec(ctx, writeSubject, subject.Kind, subject.ID, r.Epoch[:], r.ExpiresAt.Unix(),
		unix(r.Floor), string(r.FloorCause), address(r.FloorFrom), unix(r.ShopFloor))
	return err
}

func (t transaction) insert(ctx context.Context, s store.Session) error {
	kept, err := changing(s)
	if err != nil {
		return err
	}
	made := []any{
		s.Name[:], s.Subject.Kind, s.Subject.ID, s.Client, s.Password[:], address(s.First.Address), s.First.Agent,
		s.StartedAt.Unix(), s.EndsAt.Unix(), unix(s.ShopExpiresAt),
	}
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

// scanner is one row.
type scanner interface{ Scan(into ...any) error }

// snapshots reads all rows and closes them.
func snapshots(rows *sql.Rows) (all []store.Snapshot, err error) {
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		e, err := snapshot(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list sessions: %w", err)
	}
	return all, nil
}

// snapshot reads a row of selectSnapshot.
func snapshot(row scanner) (e store.Snapshot, err error) {
	var c columns
	var epoch, from []byte
	var expires, floor, shop int64
	var cause store.Cause
	err = row.Scan(&c.name, &e.Subject.Kind, &e.Subject.ID, &e.Client, &c.scopes, &c.epoch, &c.password, &e.Base, &e.Cur, &c.uses,
		&c.retry, &c.device, &e.Replays, &e.Shut, &c.base, &c.rejoined, &c.first, &e.First.Agent, &c.last, &e.Last.Agent, &c.timeline,
		&c.started, &c.rotated, &c.expires, &c.ends, &c.ended, &e.Cause, &c.shop, &e.Sub, &c.subMark,
		&epoch, &expires, &floor, &cause, &from, &shop)
	if err != nil {
		return e, fmt.Errorf("read session: %w", err)
	}
	if !c.fill(&e.Session) {
		return e, fmt.Errorf("session %x: %w", c.name, errDamaged)
	}
	if epoch != nil {
		e.Record, err = recordOf(epoch, expires, floor, shop, cause, from)
	}
	return e, err
}

// record reads a row of selectRecord.
func record(row scanner) (*store.SubjectRecord, error) {
	var epoch, from []byte
	var expires, floor, shop int64
	var cause store.Cause
	if err := row.Scan(&epoch, &expires, &floor, &cause, &from, &shop); err != nil {
		return nil, fmt.Errorf("read subject: %w", err)
	}
	return recordOf(epoch, expires, floor, shop, cause, from)
}

func recordOf(epoch []byte, expires, floor, shop int64, cause store.Cause, from []byte) (*store.SubjectRecord, error) {
	r := &store.SubjectRecord{ExpiresAt: time.Unix(expires, 0).UTC(), Floor: at(floor), FloorCause: cause, ShopFloor: at(shop)}
	if !fill(r.Epoch[:], epoch) || !fillAddress(&r.FloorFrom, from) {
		return nil, fmt.Errorf("subject: %w", errDamaged)
	}
	return r, nil
}
