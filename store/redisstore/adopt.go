package redisstore

import (
	"context"
	"fmt"

	"github.com/glueauth/glueauth/store"
)

// replyLength is how many values an answer of adopt.lua that made a session has before the names of sessions that the cap ended.
const replyLength = 8

// Adopt takes a session over that a shop began, and makes the record of its subject where there is none. Like a sign-in it
// is confirmed by replicas.
func (s *Store) Adopt(ctx context.Context, a store.Adoption) (store.RotateResult, error) {
	args, err := rotation(a.Rotation)
	if err != nil {
		return store.RotateResult{}, fmt.Errorf("take session over: %w", err)
	}
	granted, err := joined(a.Granted)
	if err != nil {
		return store.RotateResult{}, fmt.Errorf("take session over: %w", err)
	}
	args = append(args, granted, seconds(a.MaxLife), a.MaxOpen, string(a.End), a.Sub, a.Password[:], greeting(a.Address))
	got, err := s.run(ctx, s.scripts.adopt, keys(a.Subject, a.Name), s.confirm, args...)
	if len(got) >= replyLength {
		err = first(err, s.begun(ctx, &reader{values: got}, replyLength-1, a.Subject, a.Name, a.From))
	}
	return s.rotated(ctx, got, a.Rotation, err)
}

// marked is a sub with its mark, as it stands under its key.
func marked(mark store.SubMark, sub string) string {
	if sub == "" {
		return ""
	}
	return string(mark[:]) + sub
}
