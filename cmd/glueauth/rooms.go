package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"runtime"
	"time"

	"github.com/glueauth/glueauth/config"
	"github.com/glueauth/glueauth/handlers"
	"github.com/glueauth/glueauth/keys"
	"github.com/glueauth/glueauth/server"
	"github.com/glueauth/glueauth/store"
	"github.com/glueauth/glueauth/store/redisstore"
	"github.com/glueauth/glueauth/store/sqlitefile"
	"github.com/glueauth/glueauth/store/sqlitestore"
	"github.com/glueauth/glueauth/store/sqlstore"
	"github.com/glueauth/glueauth/transport"
)

// rooms is everything that a running server has opened.
type rooms struct {
	lock        *dataLock
	master      *keys.Master
	keys        *keys.Ring
	customers   customerStore
	customersID string              // tells this source of customers from others
	people      *sqlitefile.File    // of the embedded customers, else nil
	embedded    *sqlstore.Customers // likewise
	sessions    sessionStore
	redis       *redisstore.Store // nil while it is not connected
	shop        server.ShopTokens // nil: there is no shop database to ask about tokens
	guard       *guard            // nil where sessions are embedded
	chores      []chore
	closers     []func() error // in the order of closing
}

// sessionStore is what every store of sessions offers.
type sessionStore interface {
	server.Sessions
	server.Guesses
	server.InspectedSessions
	server.SessionReader
	server.RevocationList
	Ping(ctx context.Context) error
}

// chore is what a running server has to do again and again.
type chore struct {
	every time.Duration
	do    func(context.Context) error
}

// openRooms opens what the server needs. It makes what is missing inside its own data folder, and says so in the log;
// what an operator has put elsewhere must be there.
func openRooms(ctx context.Context, cfg *config.Config, metrics *handlers.Metrics, logger *slog.Logger) (_ *rooms, err error) {
	r := &rooms{}
	defer func() {
		if err != nil {
			r.close(logger)
		}
	}()
	if len(cfg.FromShop) > 0 {
		logger.InfoContext(ctx, "settings out of the shop's environment, see glueauth config print", "settings", cfg.FromShop)
	}
	for _, file := range exposed(cfg) {
		logger.WarnContext(ctx, "every user of this machine can read or write the file of a secret: "+secretFileRemedy, "file", file.path, "mode", file.mode)
	}
	if r.lock, err = lockData(cfg.Data, logger); err != nil {
		return nil, err
	}
	if err := r.openMaster(ctx, cfg, logger); err != nil {
		return nil, err
	}
	if err := r.openKeys(ctx, cfg, logger); err != nil {
		return nil, err
	}
	logger.InfoContext(ctx, "signing", "kid", r.keys.List()[0].Kid, "published", len(r.keys.List()))
	r.chores = append(r.chores, chore{followKeysEvery, newKeyKeeper(r.keys, cfg.Keys.RotateEvery, logger).step})
	open := func(path string) (*sqlitefile.File, error) { return r.openFile(ctx, cfg, path, logger) }
	if err := r.openCustomers(ctx, cfg, open, logger); err != nil {
		return nil, err
	}
	if err := r.announceLegacy(ctx, cfg, logger); err != nil {
		return nil, err
	}
	if cfg.Redis.URL != "" {
		return r, r.openRedis(ctx, cfg, metrics, logger)
	}
	return r, r.openEmbedded(ctx, cfg, logger)
}

// openMaster opens the master key, which must be able to make refresh tokens.
func (r *rooms) openMaster(ctx context.Context, cfg *config.Config, logger *slog.Logger) (err error) {
	if r.master, err = openMaster(ctx, cfg, logger); err != nil {
		return err
	}
	if err := makesTokens(cfg, r.master); err != nil {
		return err
	}
	if newest := int(r.master.Number()); newest > 1 && newest > cfg.Refresh.MACKey {
		logger.WarnContext(ctx, "the newest master key makes nothing yet: once every server has read it, set refresh.mac_key", "refresh.mac_key", newest)
	}
	return nil
}

// openKeys opens the signing keys, and the Redis in which they may be.
func (r *rooms) openKeys(ctx context.Context, cfg *config.Config, logger *slog.Logger) error {
	options, err := ringOptions(cfg)
	if err != nil {
		return err
	}
	if cfg.Keys.Shared {
		sessions, err := r.connectRedis(ctx, cfg)
		if err != nil {
			return err
		}
		if options, err = sealedIn(sessions, r.master, cfg, options); err != nil {
			return err
		}
	}
	r.keys, err = openKeys(ctx, cfg, options, logger)
	return err
}

// connectRedis opens Redis once for all that is kept there.
func (r *rooms) connectRedis(ctx context.Context, cfg *config.Config) (*redisstore.Store, error) {
	if r.redis != nil {
		return r.redis, nil
	}
	sessions, err := redisstore.Open(ctx, redisOptions(cfg))
	if err != nil {
		return nil, err
	}
	r.redis = sessions
	r.closers = append([]func() error{sessions.Close}, r.closers...)
	return sessions, nil
}

func redisOptions(cfg *config.Config) redisstore.Options {
	return redisstore.Options{URL: cfg.Redis.URL, WaitReplicas: cfg.Redis.WaitReplicas}
}

const (
	databaseName = "glueauth.db"
	sweepEvery   = time.Minute
	agreeEvery   = redisstore.FingerprintLife / 3
)

// openEmbedded keeps sessions in the data folder, in the customers' file where that is the one there.
func (r *rooms) openEmbedded(ctx context.Context, cfg *config.Config, logger *slog.Logger) (err error) {
	file, own := r.people, filepath.Join(cfg.Data, databaseName)
	if cfg.Customers.File != own {
		if file, err = r.openFile(ctx, cfg, own, logger); err != nil {
			return err
		}
	}
	if err := stillHere(ctx, file, own); err != nil {
		return err
	}
	mark, err := masterMark(r.master, 1) // the oldest, which stays
	if err != nil {
		return err
	}
	if err := file.Claim(ctx, mark); err != nil {
		return fmt.Errorf("%s: %w", own, err)
	}
	sessions := sqlitestore.New(file, time.Now)
	r.sessions = sessions
	r.closers = append([]func() error{func() error { sessions.Close(); return nil }}, r.closers...)
	r.chores = append(r.chores, chore{sweepEvery, func(ctx context.Context) error {
		_, err := sessions.Sweep(ctx)
		return err //nolint:wrapcheck // logged as it is
	}})
	return nil
}

// openRedis keeps sessions in Redis, and makes sure that the replicas which do so too have the same keys and customers.
func (r *rooms) openRedis(ctx context.Context, cfg *config.Config, metrics *handlers.Metrics, logger *slog.Logger) error {
	sessions, err := r.connectRedis(ctx, cfg)
	if err != nil {
		return err
	}
	if left := leftHere(ctx, cfg); left != "" {
		logger.WarnContext(ctx, "sessions stay behind", "detail", left)
	}
	r.sessions = sessions
	r.guard = newGuard(sessions, metrics, logger)
	if err := r.guard.look(ctx); err != nil {
		logger.WarnContext(ctx, "the state of redis is not known yet", "error", err)
	}
	r.chores = append(r.chores, chore{guardEvery, r.guard.look})
	fingerprint := redisstore.Fingerprint{Customers: r.customersID}
	for _, number := range r.master.Numbers() {
		mark, err := masterMark(r.master, number)
		if err != nil {
			return err
		}
		fingerprint.Masters = append(fingerprint.Masters, fmt.Sprintf("%d:%x", number, mark))
	}
	agree := func(ctx context.Context) error {
		now := fingerprint
		for _, key := range r.keys.List() { // those that are gone too: others may not know it yet
			now.SigningKeys = append(now.SigningKeys, key.Kid)
		}
		return sessions.Agree(ctx, now)
	}
	r.chores = append(r.chores, chore{agreeEvery, agree})
	return agree(ctx)
}

func (r *rooms) openFile(ctx context.Context, cfg *config.Config, path string, logger *slog.Logger) (*sqlitefile.File, error) {
	file, err := sqlitefile.Open(ctx, path, sqlitefile.Options{PowerLossSafe: cfg.Store.PowerLossSafe, Create: inData(cfg, path)})
	if err != nil {
		return nil, err
	}
	r.closers = append(r.closers, file.Close)
	if file.Created {
		logger.InfoContext(ctx, "made the database", "file", path)
	}
	return file, nil
}

// ping asks every store whether it can work; nil means that the server is ready.
func (r *rooms) ping(ctx context.Context) error {
	return errors.Join(r.customers.Ping(ctx), r.sessions.Ping(ctx))
}

func (r *rooms) close(logger *slog.Logger) {
	var errs []error
	for _, c := range r.closers {
		errs = append(errs, c())
	}
	if r.lock != nil {
		errs = append(errs, r.lock.release())
	}
	if err := errors.Join(errs...); err != nil {
		logger.Error("closing failed", "error", err)
	}
}

// inData reports whether a path lies in the server's own data folder, where it may make what is missing.
func inData(cfg *config.Config, path string) bool {
	return filepath.Dir(path) == filepath.Clean(cfg.Data)
}

func openMaster(ctx context.Context, cfg *config.Config, logger *slog.Logger) (*keys.Master, error) {
	if cfg.Keys.Master != "" {
		return keys.ParseMaster(cfg.Keys.Master)
	}
	path := cfg.Keys.MasterFile
	master, err := keys.OpenMaster(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return master, err
	}
	if err := lostMaster(ctx, cfg); err != nil {
		return nil, err
	}
	if !inData(cfg, path) {
		return nil, fmt.Errorf("%w: put the 32 bytes of the master key there (openssl rand -out FILE 32, mode 0600)", err)
	}
	if err := keys.CreateMaster(path, rand.Reader); err != nil {
		return nil, err
	}
	logger.InfoContext(ctx, "made the master key: refresh tokens depend on it, keep it with your backups", "file", path)
	return keys.OpenMaster(path)
}

// masterMark is by which a store knows a master key again, the one that counts from a number on. It tells nothing about it.
func masterMark(master *keys.Master, number byte) ([]byte, error) {
	return master.Derive("fingerprint", number, 16)
}

// passwordWorkers is how many passwords are verified at the same time: as many as there are cores, for they give way to all
// else. Where Go may use fewer cores than there are, as under a quota, the system does not set their threads aside, and one
// core is left to all else.
func passwordWorkers(cfg *config.Config) int {
	processors := runtime.GOMAXPROCS(0)
	switch {
	case cfg.Password.Workers > 0:
		return cfg.Password.Workers
	case processors < runtime.NumCPU():
		return max(1, processors-1)
	default:
		return runtime.NumCPU()
	}
}

// makeRoom gives Go a processor more for each thread that gives way (server/thread.go), and for the one that reads a shop's
// tokens; not under a quota, which they would only use up sooner.
func makeRoom(workers int) {
	if processors, cores := runtime.GOMAXPROCS(0), runtime.NumCPU(); processors >= cores {
		runtime.GOMAXPROCS(max(processors, cores+workers+1)) // the same however often a server is started in one process
	}
}

// coreConfig is the settings and the rooms as the authorization core wants them.
func coreConfig(cfg *config.Config, r *rooms, event func(context.Context, server.Event)) server.Config {
	list := make([]server.Client, 0, len(cfg.Clients))
	for _, c := range cfg.Clients {
		list = append(list, server.Client{
			ID: c.ID, Secret: c.Secret, Introspect: c.Introspect, Dialect: server.Dialect(c.Dialect), Scopes: c.Scopes,
			AccessLifetime: c.AccessLifetime, RefreshUntil: c.RefreshLifetime.After, MaxLife: c.RefreshMax.After, RefreshExpiry: c.RefreshExpiry,
			TokenType: c.Type, Algorithm: c.Algorithm, Subject: server.SubjectForm(c.Subject), Claims: c.Claims,
		})
	}
	return server.Config{
		Clients: list, Customers: r.customers, Sessions: r.sessions, Keys: r.keys, Master: r.master,
		Issuer: cfg.Issuer, RequireConfirmed: cfg.Customers.DoubleOptIn, CustomerCheckObserved: cfg.Refresh.CheckObserved,
		Refresh: server.RefreshPolicy{
			Windows: store.Windows{
				Replay: cfg.Refresh.ReplayWindow, Rejoin: cfg.Refresh.RejoinWindow,
				LateRetry: cfg.Refresh.LateRetry, Concurrency: cfg.Refresh.ConcurrencyAllowance,
			},
			MaxSessions: cfg.Refresh.MaxSessions, ReuseKeepsAlive: cfg.Refresh.ReuseObserved,
			MACKey: byte(cfg.Refresh.MACKey), //nolint:gosec // the setting is 1 to 255
		},
		Guesses: r.sessions, Guessing: guessing(cfg),
		Legacy:          server.Legacy{Key: cfg.Legacy.EncryptionKey, Tokens: r.shop, Until: cfg.Legacy.Until},
		PasswordWorkers: passwordWorkers(cfg), Now: time.Now, Random: rand.Reader, Event: event,
	}
}

// guessing is the settings as the core wants them.
func guessing(cfg *config.Config) server.Guessing {
	g := cfg.Guessing
	return server.Guessing{
		Limits:  store.GuessLimits{Pair: store.GuessLimit(g.Pair), Account: store.GuessLimit(g.Account), Address: store.GuessLimit(g.Address)},
		Observe: g.Observed, Uncounted: transport.Proxies(cfg.HTTP.TrustedProxies).Contains,
	}
}
