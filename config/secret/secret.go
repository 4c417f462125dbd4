// Package secret holds the one type for text that must never be printed: passwords, tokens, client secrets.
// It is a leaf, so that every room can take it in.
package secret

import (
	"fmt"
	"log/slog"
)

// Redacted is what every way of printing a [Text] shows.
const Redacted = "[redacted]"

// Text is a secret string. fmt, slog and encoding/json print [Redacted] instead of it, with every verb.
type Text string

// Reveal returns the secret itself; a search for its callers finds every place that reads one.
func (t Text) Reveal() string { return string(t) }

// Format implements [fmt.Formatter], so that no verb (%s, %v, %x, %q, %#v) shows the secret.
func (Text) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(Redacted)) }

// LogValue implements [slog.LogValuer].
func (Text) LogValue() slog.Value { return slog.StringValue(Redacted) }

// MarshalText implements [encoding.TextMarshaler], which encoding/json uses too.
func (Text) MarshalText() ([]byte, error) { return []byte(Redacted), nil }
