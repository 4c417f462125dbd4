package main

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/glueauth/glueauth/handlers"
	"github.com/glueauth/glueauth/store/redisstore"
)

// guardEvery is how often Redis is looked at.
const guardEvery = time.Minute

// guard tells an operator what can cost sessions at a Redis that works: in the log once when it appears and once when it is
// gone, in the metrics, and in /readyz?verbose.
type guard struct {
	guardian *redisstore.Guardian
	metrics  *handlers.Metrics
	logger   *slog.Logger

	mu    sync.Mutex
	found []redisstore.Finding
}

func newGuard(s *redisstore.Store, metrics *handlers.Metrics, logger *slog.Logger) *guard {
	return &guard{guardian: s.Guardian(), metrics: metrics, logger: logger}
}

// look is a chore.
func (g *guard) look(ctx context.Context) error {
	found, err := g.guardian.Look(ctx)
	if err != nil {
		return err //nolint:wrapcheck // logged as it is
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	before, now := byName(g.found), byName(found)
	for _, name := range redisstore.FindingNames() {
		text, there := now[name]
		_, was := before[name]
		g.metrics.Finding(name, there)
		switch {
		case there && !was:
			g.logger.WarnContext(ctx, "redis can lose sessions", "finding", name, "detail", text)
		case was && !there:
			g.logger.InfoContext(ctx, "redis has recovered", "finding", name)
		}
	}
	g.found = found
	return nil
}

// warnings is for /readyz?verbose.
func (g *guard) warnings() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	var texts []string
	for _, f := range g.found {
		texts = append(texts, f.Text)
	}
	return texts
}

func byName(found []redisstore.Finding) map[string]string {
	texts := map[string]string{}
	for _, f := range found {
		texts[f.Name] = f.Text
	}
	return texts
}
