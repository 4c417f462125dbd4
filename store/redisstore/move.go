package redisstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"

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
	for page, err := range s.pages(ctx, "*", scanPage) {
		if err != nil {
			return 0, err
		}
		n += len(page)
	}
	return n, nil
}

// Export yields each session that is kept, some of them twice. After an error it yields nothing more.
func (s *Store) Export(ctx context.Context) iter.Seq2[store.Snapshot, error] {
	return func(yield func(store.Snapshot, error) bool) {
		for page, err := range s.pages(ctx, "*", scanPage) {
			if err == nil {
				page, err = s.read(ctx, page, false)
			}
			if err != nil {
				yield(store.Snapshot{}, err)
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
func (s *Store) Import(ctx context.Context, batch []store.Snapshot) (result store.ImportResult, err error) {
	calls := make([]call, len(batch))
	for i, e := range batch {
		if calls[i], err = s.importing(e); err != nil {
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
	if err != nil {
		return result, err
	}
	return result, s.noteMoved(ctx, batch)
}

// importing returns the call that imports a session.
func (s *Store) importing(e store.Snapshot) (call, error) {
	scopes, err := joined(e.Scopes)
	if err != nil {
		return call{}, fmt.Errorf("import session %s: %w", e.Name, err)
	}
	uses := make([]byte, 0, 4*len(e.Uses))
	for _, use := range e.Uses {
		uses = binary.BigEndian.AppendUint32(uses, use)
	}
	retry := e.RetryKey[:]
	if e.RetryKey == (store.RetryDigest{}) {
		retry = nil
	}
	args := []any{
		s.time(), e.Name[:], e.Client, scopes, e.Epoch[:], e.Password[:], e.Base, e.Cur, uses, retry, e.Device[:],
		e.Replays, e.StartedAt.Unix(), e.RotatedAt.Unix(), e.ExpiresAt.Unix(), e.EndsAt.Unix(), unix(e.EndedAt), string(e.Cause),
		e.Shut, unix(e.BaseExpiresAt), unix(e.RejoinedAt), packed(e.First), packed(e.Last), packedTimeline(e.Timeline),
		unix(e.ShopExpiresAt), marked(e.SubMark, e.Sub),
	}
	if r := e.Record; r != nil {
		args = append(args, r.Epoch[:], r.ExpiresAt.Unix(), unix(r.Floor), packed(store.Visitor{Address: r.FloorFrom}), string(r.FloorCause), unix(r.ShopFloor))
	} else {
		args = append(args, "", 0, 0, "", "", 0)
	}
	return call{script: s.scripts.take, keys: keys(e.Subject, e.Name), args: args}, nil
}
