package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/glueauth/glueauth/config"
	"github.com/glueauth/glueauth/handlers"
	"github.com/glueauth/glueauth/server"
	"github.com/glueauth/glueauth/transport"
)

const (
	requestDeadline = 5 * time.Second
	sampleEvery     = time.Hour
)

// serve runs the server until ctx ends, then stops it gracefully. The log goes to stderr, the demo's curl lines to stdout.
func serve(ctx context.Context, cfg *config.Config, stdout, stderr io.Writer) error {
	logger := newLogger(cfg, stderr)
	metrics := handlers.NewMetrics()
	rooms, err := openRooms(ctx, cfg, metrics, logger)
	if err != nil {
		return err
	}
	defer rooms.close(logger)

	settings := coreConfig(cfg, rooms, handlers.Events(logger, metrics))
	if settings.Revocations, err = server.NewRevocations(settings, rooms.sessions); err != nil {
		return err
	}
	if err := settings.Revocations.Follow(ctx); err != nil { // before anybody asks
		return err
	}
	follower := &revocationFollower{revocations: settings.Revocations, metrics: metrics, logger: logger}
	rooms.chores = append(rooms.chores, chore{followRevocationsEvery, follower.step}, chore{forgetRevocationsEvery, settings.Revocations.Forget})
	makeRoom(settings.PasswordWorkers)
	core, err1 := server.New(settings)
	inspector, err2 := server.NewInspector(settings, rooms.customers, rooms.sessions)
	introspector, err3 := server.NewIntrospector(settings, rooms.sessions)
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	if err := core.SampleCosts(ctx); err != nil {
		return err
	}
	var draining atomic.Bool
	web := handlers.Config{
		Server: core, JWKS: rooms.keys.JWKS, JWKSMaxAge: cfg.Keys.JWKSCache, CORSOrigins: cfg.CORS.Origins,
		Ready: rooms.ping, Stopping: draining.Load,
		Logger: logger, Random: rand.Reader, Now: time.Now, Deadline: requestDeadline, Metrics: metrics,
		PEM:           rooms.keys.PEM,
		ClientAddress: clientAddress(cfg.HTTP.TrustedProxies, logger),
		Introspector:  introspector, Inspector: inspector, AdminSecret: cfg.AdminSecret,
		Keys: keyView(rooms.keys), KeyReaders: &handlers.KeyReaders{},
	}
	certs, err := newCertificates(ctx, cfg, metrics, logger)
	if err != nil {
		return err
	}
	web.Warnings = certs.warnings
	if cfg.Revocations {
		web.Revocations = settings.Revocations.Document
	}
	if rooms.guard != nil {
		web.Warnings = func() []string { return append(rooms.guard.warnings(), certs.warnings()...) }
	}
	listeners, err := listen(ctx, cfg, web, certs, logger)
	if err != nil {
		return err
	}
	if err := welcome(ctx, cfg, rooms, certs, listeners[0].Addr(), stdout, logger); err != nil {
		return errors.Join(err, stopAll(listeners, 0))
	}
	keepHouse(ctx, append(rooms.chores, chore{sampleEvery, core.SampleCosts}, chore{followCertificatesEvery, certs.follow},
		watchGates(listeners, logger)), logger)
	return serveAll(ctx, cfg, listeners, &draining, logger)
}

// serveAll serves until ctx ends or a listener fails, and then stops them all gracefully.
func serveAll(ctx context.Context, cfg *config.Config, listeners []listener, draining *atomic.Bool, logger *slog.Logger) (err error) {
	failed := make(chan error, len(listeners))
	for _, l := range listeners {
		go func() { failed <- l.serve() }()
	}
	select {
	case err = <-failed:
		err = fmt.Errorf("listener failed: %w", err)
	case <-ctx.Done():
		logger.InfoContext(ctx, "stopping", "drain", cfg.Shutdown.Drain.String(), "timeout", cfg.Shutdown.Timeout.String())
	}
	draining.Store(true)
	if err == nil {
		time.Sleep(cfg.Shutdown.Drain)
	}
	if err = errors.Join(err, stopAll(listeners, cfg.Shutdown.Timeout)); err == nil {
		logger.InfoContext(ctx, "stopped")
	}
	return err
}

// listener is a bound socket and the server that will serve it.
type listener struct {
	*transport.Gate
	name   string
	server *http.Server
}

func (l listener) serve() error {
	if l.server.TLSConfig != nil {
		return l.server.ServeTLS(l.Gate, "", "")
	}
	return l.server.Serve(l.Gate)
}

// site is what a listener is to be.
type site struct {
	name, setting, address string
	handler                http.Handler
	connections            int
}

// bind returns the socket of each site, or what keeps any of them from its address.
func bind(ctx context.Context, sites []site) (sockets []net.Listener, err error) {
	var network net.ListenConfig
	for _, s := range sites {
		bound, failed := network.Listen(ctx, "tcp", s.address)
		if failed != nil {
			flag := strings.ReplaceAll(s.setting, "_", "-")
			err = errors.Join(err, fmt.Errorf("the %s listener cannot have %s: give %s (--%s) another address: %w", s.name, s.address, s.setting, flag, failed))
			continue
		}
		sockets = append(sockets, bound)
	}
	if err == nil {
		return sockets, nil
	}
	for _, bound := range sockets {
		_ = bound.Close() // nobody has come
	}
	return nil, err
}

// listen binds the public and the management listener; the public one comes first.
func listen(ctx context.Context, cfg *config.Config, web handlers.Config, certs *certificates, logger *slog.Logger) ([]listener, error) {
	public, err := handlers.Public(web)
	if err != nil {
		return nil, err
	}
	sites := []site{{publicListener, "listen", cfg.Listen, public, connectionLimit(cfg, logger)}}
	if cfg.AdminListen != "" {
		sites = append(sites, site{managementListener, "admin_listen", cfg.AdminListen, handlers.Admin(web), managementConnections})
	}
	sockets, err := bind(ctx, sites)
	if err != nil {
		return nil, err
	}
	var listeners []listener
	for i, s := range sites {
		bound := sockets[i]
		server := handlers.HTTPServer(s.address, s.handler, logger)
		certificate, secured := certs.of[s.name]
		if secured {
			server.TLSConfig = certificate.Config()
		}
		gate := transport.NewGate(bound, server, transport.GateOptions{
			Connections: s.connections, Trusted: transport.Proxies(cfg.HTTP.TrustedProxies).Contains, Now: time.Now,
		})
		web.Metrics.Connections(s.name, gate.Counts)
		listeners = append(listeners, listener{gate, s.name, server})
		logger.InfoContext(ctx, "listening", "listener", s.name, "address", bound.Addr().String(), "tls", secured)
	}
	return listeners, nil
}

// stopAll lets the requests in flight finish, for at most the given time.
func stopAll(listeners []listener, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	var errs []error
	for _, l := range listeners {
		if err := l.server.Shutdown(ctx); err != nil {
			errs = append(errs, fmt.Errorf("requests were cut off after %s: %w", timeout, err), l.server.Close())
		}
		_ = l.Close() // closed already where it was served
	}
	return errors.Join(errs...)
}

// keepHouse does each chore at its intervals until ctx ends. One that fails is told and tried again.
func keepHouse(ctx context.Context, chores []chore, logger *slog.Logger) {
	for _, c := range chores {
		go func() {
			ticker := time.NewTicker(c.every)
			defer ticker.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-ticker.C:
				}
				if err := c.do(ctx); err != nil && ctx.Err() == nil {
					logger.WarnContext(ctx, "housekeeping failed and will be tried again", "error", err)
				}
			}
		}()
	}
}

func newLogger(cfg *config.Config, w io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: cfg.Log.Level}
	var handler slog.Handler = slog.NewJSONHandler(w, options)
	if cfg.Log.Format == "text" {
		handler = slog.NewTextHandler(w, options)
	}
	return slog.New(handlers.NewLogHandler(handler))
}
