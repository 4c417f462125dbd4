package handlers

import (
	"context"
	"log/slog"
	"net/netip"
	"strings"
	"unicode"

	"github.com/glueauth/glueauth/server"
	"github.com/glueauth/glueauth/store"
)

// requestKey is where a context keeps its [requestInfo].
type requestKey struct{}

// requestInfo is what log lines say about the request that caused them.
type requestInfo struct {
	id      string
	address netip.Addr
}

// clientAddress returns where a request comes from, the zero address when that is not known.
func clientAddress(ctx context.Context) netip.Addr {
	info, _ := ctx.Value(requestKey{}).(requestInfo)
	return info.address
}

func addressOf(ctx context.Context) string {
	if a := clientAddress(ctx); a.IsValid() {
		return a.String()
	}
	return ""
}

// NewLogHandler returns a handler that adds the request id out of the context to each record, and writes times in UTC.
func NewLogHandler(h slog.Handler) slog.Handler { return logHandler{h} }

type logHandler struct{ slog.Handler }

func (h logHandler) Handle(ctx context.Context, record slog.Record) error {
	record.Time = record.Time.UTC()
	if info, ok := ctx.Value(requestKey{}).(requestInfo); ok {
		record = record.Clone()
		record.AddAttrs(slog.String("request_id", info.id))
	}
	return h.Handler.Handle(ctx, record) //nolint:wrapcheck // transparent
}

func (h logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return logHandler{h.Handler.WithAttrs(attrs)}
}

func (h logHandler) WithGroup(name string) slog.Handler { return logHandler{h.Handler.WithGroup(name)} }

// Events returns what counts and logs the core's outcomes, for [server.Config].Event: one line and one count for each.
// Each refused sign-in is one such line, sign_in_refused or sign_in_limited, which deploy/fail2ban reads.
// Customers appear by their id only.
func Events(logger *slog.Logger, m *Metrics) func(context.Context, server.Event) {
	return func(ctx context.Context, e server.Event) {
		m.event(e)
		attrs := []slog.Attr{slog.String("event", string(e.Name)), slog.String("client", printable(e.Client, 100))}
		if e.Cause != "" {
			attrs = append(attrs, slog.String("cause", e.Cause))
		}
		if e.Subject != (store.Subject{}) {
			attrs = append(attrs, slog.Int("subject_kind", int(e.Subject.Kind)), slog.Int64("subject", e.Subject.ID))
		}
		if e.Session != (store.SessionName{}) {
			attrs = append(attrs, slog.String("session", e.Session.String()))
		}
		if e.Generation != 0 {
			attrs = append(attrs, slog.Uint64("generation", uint64(e.Generation)))
		}
		attrs = append(attrs, slog.String("address", addressOf(ctx)))
		if e.Other.IsValid() {
			attrs = append(attrs, slog.String("other_address", e.Other.String()))
		}
		logger.LogAttrs(ctx, eventLevel(e), "event", attrs...)
	}
}

// eventLevel: what happens all day is debug, what a customer or operator may ask about is info, what points to theft, a
// lost write, a lost session, a token that is good at the shop still, a guard that is only observed or does not know of the other replicas is a warning.
func eventLevel(e server.Event) slog.Level {
	if e.Cause == string(store.CauseMissing) {
		return slog.LevelWarn
	}
	switch e.Name {
	case server.EventRotated, server.EventReplayed:
		return slog.LevelDebug
	case server.EventHealed, server.EventReuse, server.EventObserved, server.EventManagementRefused, server.EventShopUnmarked,
		server.EventGuessLocal:
		return slog.LevelWarn
	default:
		return slog.LevelInfo
	}
}

// printable makes foreign text fit for a log line: at most limit bytes, and nothing that moves a terminal's cursor.
func printable(s string, limit int) string {
	if len(s) > limit {
		s = s[:limit]
	}
	return strings.Map(func(c rune) rune {
		if unicode.IsPrint(c) && c != unicode.ReplacementChar {
			return c
		}
		return '?'
	}, s)
}
