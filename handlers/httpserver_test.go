package handlers_test

import (
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/glueauth/glueauth/handlers"
)

func TestFailedHandshakesDoNotFillTheLog(t *testing.T) {
	t.Parallel()
	var logs logBuffer
	s := handlers.HTTPServer("", http.NotFoundHandler(), slog.New(slog.NewTextHandler(&logs, &slog.HandlerOptions{Level: slog.LevelDebug})))
	for line, level := range map[string]string{
		"http: TLS handshake error from 192.0.2.1:4711: EOF":  "DEBUG",
		"http: Accept error: too many open files; retrying":   "WARN",
		"http: superfluous response.WriteHeader call from us": "WARN",
	} {
		s.ErrorLog.Print(line)
		if got := logs.String(); !strings.Contains(got, "level="+level+` msg="`+line+`"`+"\n") {
			t.Errorf("want %s %q in\n%s", level, line, got)
		}
	}
}
