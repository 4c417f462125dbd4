package handlers

import (
	"bytes"
	"context"
	"log"
	"log/slog"
	"net/http"
	"time"
)

// HTTPServer returns a server for the address with every limit set that a slow or greedy client could use up. What
// net/http itself has to say goes to the logger.
func HTTPServer(address string, h http.Handler, logger *slog.Logger) *http.Server {
	return &http.Server{
		Addr:              address,
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    16 << 10,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          16, // each that hangs costs up to 20 KiB for as long as the deadlines allow
			MaxReceiveBufferPerConnection: 4 * maxBody,
			MaxReceiveBufferPerStream:     maxBody,
			WriteByteTimeout:              10 * time.Second,
		},
		DisableGeneralOptionsHandler: true, // OPTIONS * is an unknown path like any other
		ErrorLog:                     log.New(serverLog{logger}, "", 0),
	}
}

// serverLog takes in what net/http itself has to say.
type serverLog struct{ logger *slog.Logger }

// Write tells of handshakes that failed at level debug only: port scans, probes that just connect and clients that speak plain
// HTTP make them all day, and anybody could fill the log with them.
func (l serverLog) Write(line []byte) (int, error) {
	level := slog.LevelWarn
	if bytes.HasPrefix(line, []byte("http: TLS handshake error")) {
		level = slog.LevelDebug
	}
	l.logger.Log(context.Background(), level, string(bytes.TrimSpace(line))) //nolint:sloglint // net/http's own words
	return len(line), nil
}
