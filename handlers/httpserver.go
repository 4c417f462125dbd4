package handlers

import (
	"log/slog"
	"net/http"
	"time"
)

// HTTPServer returns a server for the address with every limit set that a slow or greedy client could use up. What
// net/http itself has to say goes to the logger.
func HTTPServer(address string, h http.Handler, logger *slog.Logger) *http.Server {
	return &http.Server{
		Addr:                         address,
		Handler:                      h,
		ReadHeaderTimeout:            5 * time.Second,
		ReadTimeout:                  10 * time.Second,
		WriteTimeout:                 30 * time.Second,
		IdleTimeout:                  60 * time.Second,
		MaxHeaderBytes:               16 << 10,
		DisableGeneralOptionsHandler: true, // OPTIONS * is an unknown path like any other
		ErrorLog:                     slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
	}
}
