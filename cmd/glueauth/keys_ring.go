package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/glueauth/glueauth/config"
	"github.com/glueauth/glueauth/handlers"
	"github.com/glueauth/glueauth/keys"
	"github.com/glueauth/glueauth/store/redisstore"
)

// followKeysEvery is how soon a server sees that its keys have changed.
const followKeysEvery = 500 * time.Millisecond

// withRing has the signing keys open that the settings name, for as long as use runs. It makes nothing.
func (p process) withRing(cmd *cobra.Command, use func(*config.Config, *keys.Ring) error) error {
	return p.withKeys(cmd, func(cfg *config.Config, o keys.Options) error {
		ring, err := keys.Open(o)
		if err != nil {
			return err
		}
		return use(cfg, ring)
	})
}

// withKeys has the place of the signing keys open that the settings name, for as long as use runs.
func (p process) withKeys(cmd *cobra.Command, use func(*config.Config, keys.Options) error) error {
	cfg, err := p.load(cmd)
	if err != nil {
		return err
	}
	return withOptions(cmd.Context(), cfg, func(o keys.Options) error { return use(cfg, o) })
}

func withOptions(ctx context.Context, cfg *config.Config, use func(keys.Options) error) error {
	o, err := ringOptions(cfg)
	if err != nil {
		return err
	}
	if !cfg.Keys.Shared {
		return use(o)
	}
	return withVault(ctx, cfg, o, use)
}

// withVault has the signing keys in Redis open, whatever keys.store says.
func withVault(ctx context.Context, cfg *config.Config, o keys.Options, use func(keys.Options) error) error {
	master, err := existingMaster(ctx, cfg)
	if err != nil {
		return err
	}
	sessions, err := redisstore.OpenSource(ctx, redisOptions(cfg)) // the sessions are not touched
	if err != nil {
		return err
	}
	if o, err = sealedIn(sessions, master, cfg, o); err == nil {
		err = use(o)
	}
	return errors.Join(err, sessions.Close())
}

// sealedIn lets the signing keys be in Redis.
func sealedIn(sessions *redisstore.Store, master *keys.Master, cfg *config.Config, o keys.Options) (keys.Options, error) {
	vault, err := sessions.Keyring()
	if err != nil {
		return keys.Options{}, err
	}
	o.Vault, o.Master, o.Number = vault, master, byte(cfg.Refresh.MACKey) //nolint:gosec // the setting is 1 to 255
	return o, nil
}

// ringOptions is what the settings say of the keys.
func ringOptions(cfg *config.Config) (keys.Options, error) {
	shop, err := keys.ReadShopKey(cfg.Keys.ShopPrivate, cfg.Keys.ShopPublic)
	if err != nil {
		return keys.Options{}, fmt.Errorf("keys.shop_private, keys.shop_public: %w", err)
	}
	o := keys.Options{Dir: cfg.Keys.Dir, Shop: shop, Now: time.Now, Random: rand.Reader, Cache: cfg.Keys.JWKSCache}
	for _, c := range cfg.Clients {
		o.Lifetime = max(o.Lifetime, c.AccessLifetime)
	}
	return o, nil
}

// openKeys opens the keys of a server. Where there are none yet in Redis or in its own data folder, nobody knows any, so that
// what it makes signs at once.
func openKeys(ctx context.Context, cfg *config.Config, options keys.Options, logger *slog.Logger) (*keys.Ring, error) {
	if err := leftBehind(options); err != nil {
		return nil, err
	}
	ring, err := keys.Open(options)
	switch missing := errors.Is(err, keys.ErrNoKeys); {
	case missing && cfg.Keys.Shared:
		ring, err = makeShared(cfg, options, logger)
	case missing && inData(cfg, cfg.Keys.Dir):
		ring, err = makeKeys(ctx, cfg, options, logger)
	}
	if err != nil {
		return nil, err
	}
	if err := signsForAll(cfg, ring); err != nil {
		return nil, err
	}
	if signing := ring.List()[0].Kid; options.Shop != nil && signing != options.Shop.Kid() {
		logger.WarnContext(ctx, "the shop's key verifies but another one signs: a shop that knows its own only refuses our tokens; glueauth keys import --sign changes that",
			"shop", options.Shop.Kid(), "signing", signing)
	}
	return ring, nil
}

// signsForAll returns an error for a client whose algorithm no key signs.
func signsForAll(cfg *config.Config, ring *keys.Ring) error {
	for _, c := range cfg.Clients {
		if err := ring.CanSign(c.Algorithm); err != nil {
			return fmt.Errorf("client %s: %w", c.ID, err)
		}
	}
	return nil
}

// leftBehind returns an error where Redis has no keys, and the folder from which they would have come has some.
func leftBehind(options keys.Options) error {
	if options.Vault == nil {
		return nil
	}
	options.Shop = nil
	if _, err := keys.Open(options); !errors.Is(err, keys.ErrNoKeys) {
		return nil // what else is wrong comes back from whoever opens it
	}
	options.Vault = nil
	if _, err := keys.Open(options); errors.Is(err, keys.ErrNoKeys) {
		return nil
	}
	return fmt.Errorf("there are no signing keys in redis, but some in %s: bring them there with `glueauth keys move --to redis`, or take them away to begin with new ones",
		options.Dir)
}

// makeShared makes the first keys in Redis, unless another server is faster.
func makeShared(cfg *config.Config, options keys.Options, logger *slog.Logger) (*keys.Ring, error) {
	algorithms := keys.Algorithms()[:1]
	for _, c := range cfg.Clients {
		if !slices.Contains(algorithms, c.Algorithm) {
			algorithms = append(algorithms, c.Algorithm)
		}
	}
	kids, err := keys.First(options, algorithms)
	if err != nil {
		return nil, err
	}
	for i, kid := range kids {
		logger.Info("made a signing key in redis", "kid", kid, "alg", algorithms[i])
	}
	return keys.Open(options)
}

// makeKeys makes the first keys: one for RS256, and one for each other algorithm that a client has.
func makeKeys(ctx context.Context, cfg *config.Config, options keys.Options, logger *slog.Logger) (*keys.Ring, error) {
	served, err := wasServed(ctx, cfg)
	if err != nil {
		return nil, err
	}
	kid, err := keys.Create(options)
	if err != nil {
		return nil, err
	}
	if served {
		logger.WarnContext(ctx, "made a signing key although the database is not new: access tokens of the former key are void; to keep them good, restore the folder of the signing keys from a backup",
			"folder", options.Dir, "kid", kid)
	} else {
		logger.InfoContext(ctx, "made a signing key", "folder", options.Dir, "kid", kid)
	}
	ring, err := keys.Open(options)
	if err != nil {
		return nil, err
	}
	for _, c := range cfg.Clients {
		if ring.CanSign(c.Algorithm) == nil {
			continue
		}
		key, err := ring.Rotate(c.Algorithm, true, 0)
		if err != nil {
			return nil, err
		}
		logger.InfoContext(ctx, "made a signing key", "folder", options.Dir, "kid", key.Kid, "alg", key.Algorithm)
	}
	return ring, nil
}

// keyKeeper lets a server's keys follow their files and the clock.
type keyKeeper struct {
	ring   *keys.Ring
	every  time.Duration
	logger *slog.Logger
	states map[string]string // of each key, as they were told
	failed string            // what was told last
}

func newKeyKeeper(ring *keys.Ring, every time.Duration, logger *slog.Logger) *keyKeeper {
	k := &keyKeeper{ring: ring, every: every, logger: logger, states: map[string]string{}}
	for _, key := range ring.List() {
		k.states[key.Kid] = key.State
	}
	return k
}

// step is the chore. It tells every change of a key, and what fails once.
func (k *keyKeeper) step(ctx context.Context) error {
	if _, err := k.ring.Refresh(); err != nil {
		k.logger.ErrorContext(ctx, "signing keys", "error", err)
	}
	failed := ""
	if _, err := k.ring.Keep(k.every); err != nil {
		failed = err.Error()
	}
	if failed != "" && failed != k.failed {
		k.logger.WarnContext(ctx, "the schedule of the signing keys cannot be kept up", "error", failed)
	}
	k.failed = failed
	states := map[string]string{}
	for _, key := range k.ring.List() {
		states[key.Kid] = key.State
		if k.states[key.Kid] != key.State {
			k.logger.InfoContext(ctx, "signing key", "kid", key.Kid, "alg", key.Algorithm, "state", key.State, "since", key.Since, "until", key.Until)
		}
	}
	for kid, state := range k.states {
		if _, there := states[kid]; !there && state != keys.Gone {
			k.logger.InfoContext(ctx, "signing key", "kid", kid, "state", keys.Gone)
		}
	}
	k.states = states
	return nil
}

// keyView is the keys as the management API tells of them.
func keyView(ring *keys.Ring) func() []handlers.Key {
	return func() []handlers.Key {
		var list []handlers.Key
		for _, k := range ring.List() {
			list = append(list, handlers.Key{Kid: k.Kid, Algorithm: k.Algorithm, State: k.State, Since: k.Since, Until: k.Until})
		}
		return list
	}
}
