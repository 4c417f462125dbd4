package main

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/glueauth/glueauth/config"
	"github.com/glueauth/glueauth/transport"
)

const (
	// managementConnections is far more than operators and monitors need.
	managementConnections = 256
	// watchGatesEvery is how often a flood is told of, while it lasts.
	watchGatesEvery = time.Minute
)

// connectionLimit is how many connections the public listener may have. A quarter of the files that the process may open is left
// for everything else: with none left, nobody could connect.
func connectionLimit(cfg *config.Config, logger *slog.Logger) int {
	most := cfg.HTTP.MaxConnections
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		return most
	}
	if room := files.Cur / 4 * 3; uint64(most) > room { //nolint:gosec // most is positive
		logger.Warn("fewer connections than http.max_connections: raise the limit of open files (ulimit -n), or lower that setting",
			"connections", room, "http.max_connections", most, "open_files", files.Cur)
		most = int(room) //nolint:gosec // it is less than most
	}
	return most
}

// watchGates is the chore that tells of connections which had to be closed before their time.
func watchGates(listeners []listener, logger *slog.Logger) chore {
	told := map[string]uint64{}
	return chore{watchGatesEvery, func(ctx context.Context) error {
		for _, l := range listeners {
			_, cut, refused := l.Counts()
			if now := cut + refused; now > told[l.name] {
				logger.WarnContext(ctx, "too many connections, some were closed; a proxy in front belongs into trusted_proxies", "listener", l.name,
					"closed", now-told[l.name])
				told[l.name] = now
			}
		}
		return nil
	}}
}

// clientAddress tells where a request comes from. It warns once of what looks like a proxy that nobody has named: all customers behind
// that share its address, and with it the limit on guesses.
func clientAddress(trusted transport.Proxies, logger *slog.Logger) func(*http.Request) netip.Addr {
	var once sync.Once
	return func(r *http.Request) netip.Addr {
		a := trusted.ClientAddress(r)
		peer, _ := netip.ParseAddrPort(r.RemoteAddr)                // the zero address is none of these
		near := peer.Addr().IsPrivate() || peer.Addr().IsLoopback() // strangers, who make the header up, are not
		if near && len(r.Header["X-Forwarded-For"]) > 0 && !trusted.Contains(peer.Addr()) {
			once.Do(func() {
				logger.WarnContext(r.Context(), "this looks like a proxy that is not in trusted_proxies: name it there, or all customers behind it "+
					"share one address, and its limit on guesses", "address", a.String())
			})
		}
		return a
	}
}
