package redisstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/glueauth/glueauth/store"
)

// OpenSource connects to a server whose sessions are to be exported. Unlike [Open] it writes nothing there, so the server
// may be a replica, or full.
func OpenSource(ctx context.Context, o Options) (*Store, error) {
	s, a, err := connect(o)
	if err != nil {
		return nil, err
	}
	if _, err := s.Running(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open the session store at %s: %w", a, err), s.Close())
	}
	return s, nil
}

// Count returns about how many sessions [Store.Export] would yield.
func (s *Store) Count(ctx context.Context) (int, error) {
	n := 0
	for page, err := range s.pages(ctx) {
		if err != nil {
			return 0, err
		}
		n += len(page)
	}
	return n, nil
}

// Export yields each session that has not expired, some of them twice. After an error it yields nothing more.
func (s *Store) Export(ctx context.Context) iter.Seq2[store.Exported, error] {
	return func(yield func(store.Exported, error) bool) {
		export, err := operation("export.lua")
		if err != nil {
			yield(store.Exported{}, err)
			return
		}
		for page, err := range s.pages(ctx) {
			if err == nil {
				page, err = s.read(ctx, export, page)
			}
			if err != nil {
				yield(store.Exported{}, err)
				return
			}
			for _, e := range page {
				if !yield(e, nil) {
					return
				}
			}
		}
	}
}

// Import takes sessions of another store in and says what became of them. After an error some of them may be in.
func (s *Store) Import(ctx context.Context, batch []store.Exported) (result store.ImportResult, err error) {
	take, err := operation("import.lua")
	if err != nil {
		return result, err
	}
	calls := make([]call, len(batch))
	for i, e := range batch {
		if calls[i], err = s.importing(take, e); err != nil {
			return result, err
		}
	}
	answers, err := s.many(ctx, calls)
	for _, values := range answers {
		r := reader{values: values}
		switch r.text(0) {
		case "added":
			result.Added++
		case "updated":
			result.Updated++
		case "kept":
			result.Kept++
		default:
			return result, unavailable(errAnswer)
		}
	}
	return result, err
}

// importing returns the call that imports a session.
func (s *Store) importing(take script, e store.Exported) (call, error) {
	scopes, err := joined(e.Scopes)
	if err != nil {
		return call{}, fmt.Errorf("import session %s: %w", e.Name, err)
	}
	uses := make([]byte, 0, 4*len(e.Uses))
	for _, use := range e.Uses {
		uses = binary.BigEndian.AppendUint32(uses, use)
	}
	retry, ended := e.RetryKey[:], int64(0)
	if e.RetryKey == (store.RetryDigest{}) {
		retry = nil
	}
	if !e.EndedAt.IsZero() {
		ended = e.EndedAt.Unix()
	}
	args := []any{
		s.offset().Microseconds(), e.Name[:], e.Client, scopes, e.Epoch[:], e.Password[:], e.Base, e.Cur, uses, retry, e.Device[:],
		e.Replays, e.StartedAt.Unix(), e.RotatedAt.Unix(), e.ExpiresAt.Unix(), e.EndsAt.Unix(), ended, string(e.Cause),
	}
	if e.Record != nil {
		args = append(args, e.Record.Epoch[:], e.Record.ExpiresAt.Unix())
	} else {
		args = append(args, "", 0)
	}
	return call{script: take, keys: keys(e.Subject, e.Name), args: args}, nil
}

// read reads the sessions of a page. Those that have gone meanwhile are left out.
func (s *Store) read(ctx context.Context, export script, page []store.Exported) ([]store.Exported, error) {
	calls := make([]call, len(page))
	for i, e := range page {
		calls[i] = call{script: export, keys: keys(e.Subject, e.Name), args: []any{s.offset().Microseconds(), e.Name[:]}}
	}
	answers, err := s.many(ctx, calls)
	if err != nil {
		return nil, err
	}
	var found []store.Exported
	for i, values := range answers {
		if len(values) == 0 {
			continue
		}
		if err := exported(values, &page[i]); err != nil {
			return nil, fmt.Errorf("export session %s: %w", page[i].Name, err)
		}
		found = append(found, page[i])
	}
	return found, nil
}

// exported reads the answer of export.lua.
func exported(values []any, e *store.Exported) error {
	r := &exportReader{reader: reader{values: values}}
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
	e.StartedAt, e.RotatedAt, e.ExpiresAt, e.EndsAt = r.time(10), r.time(11), r.time(12), r.time(13)
	if r.number(14) != 0 {
		e.EndedAt = r.time(14)
	}
	e.Cause = store.Cause(r.text(15))
	if r.text(16) != "" {
		e.Record = &store.SubjectRecord{ExpiresAt: r.time(17)}
		r.fill(e.Record.Epoch[:], 16)
	}
	if r.bad {
		return unavailable(errAnswer)
	}
	return nil
}

type exportReader struct{ reader }

func (r *exportReader) fill(field []byte, i int) {
	if text := r.text(i); len(text) != len(field) || copy(field, text) != len(field) {
		r.bad = true
	}
}

func (r *exportReader) uint32(i int) uint32 {
	n := r.number(i)
	if n < 0 || n > 1<<32-1 {
		r.bad = true
	}
	return uint32(n) //nolint:gosec // checked above
}

func (r *exportReader) time(i int) time.Time { return time.Unix(r.number(i), 0).UTC() }
