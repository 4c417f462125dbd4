package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/glueauth/glueauth/handlers"
	"github.com/glueauth/glueauth/server"
)

const (
	// followRevocationsEvery is how often the store is asked what has ended.
	followRevocationsEvery  = 500 * time.Millisecond
	forgetRevocationsEvery  = time.Minute
	revocationsReadPatience = time.Second // of one question, so that a store that hangs is told soon
)

// revocationFollower tells an operator, once each time, that the store does not say what has ended: then /verify goes by what was
// known before, and gateways get no news.
type revocationFollower struct {
	revocations *server.Revocations
	metrics     *handlers.Metrics
	logger      *slog.Logger
	late        bool
}

// step is a chore.
func (f *revocationFollower) step(ctx context.Context) error {
	bounded, cancel := context.WithTimeout(ctx, revocationsReadPatience)
	defer cancel()
	err := f.revocations.Follow(bounded)
	if ctx.Err() != nil {
		return nil
	}
	switch late := err != nil; {
	case late && !f.late:
		f.logger.WarnContext(ctx, "the store does not say which sessions have ended: until it does, gateways and /verify go by what they know", "error", err)
	case !late && f.late:
		f.logger.InfoContext(ctx, "the store says again which sessions have ended")
	}
	f.late = err != nil
	f.metrics.Late(f.late)
	return nil
}
