package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/glueauth/glueauth/config"
	"github.com/glueauth/glueauth/handlers"
	"github.com/glueauth/glueauth/keys"
)

// followKeysEvery is how soon a server sees that the files of its keys have changed.
const followKeysEvery = 500 * time.Millisecond

// ring opens the signing keys that the settings name. It makes nothing.
func (p process) ring(cmd *cobra.Command) (*keys.Ring, *config.Config, error) {
	cfg, err := p.load(cmd)
	if err != nil {
		return nil, nil, err
	}
	ring, err := openRing(cfg)
	return ring, cfg, err
}

func openRing(cfg *config.Config) (*keys.Ring, error) {
	options, err := ringOptions(cfg)
	if err != nil {
		return nil, err
	}
	return keys.Open(options)
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

// openKeys opens the keys of a server. Where its own data folder has none yet, nobody knows any, so that what it makes
// signs at once.
func openKeys(cfg *config.Config, logger *slog.Logger) (*keys.Ring, error) {
	options, err := ringOptions(cfg)
	if err != nil {
		return nil, err
	}
	ring, err := keys.Open(options)
	if errors.Is(err, keys.ErrNoKeys) && inData(cfg, cfg.Keys.Dir) {
		ring, err = makeKeys(cfg, options, logger)
	}
	if err != nil {
		return nil, err
	}
	for _, c := range cfg.Clients {
		if err := ring.CanSign(c.Algorithm); err != nil {
			return nil, fmt.Errorf("client %s: %w", c.ID, err)
		}
	}
	if signing := ring.List()[0].Kid; options.Shop != nil && signing != options.Shop.Kid() {
		logger.Warn("the shop's key verifies but another one signs: a shop that knows its own only refuses our tokens; glueauth keys import --sign changes that",
			"shop", options.Shop.Kid(), "signing", signing)
	}
	return ring, nil
}

// makeKeys makes the first keys: one for RS256, and one for each other algorithm that a client has.
func makeKeys(cfg *config.Config, options keys.Options, logger *slog.Logger) (*keys.Ring, error) {
	kid, err := keys.Create(options.Dir, rand.Reader)
	if err != nil {
		return nil, err
	}
	logger.Info("made a signing key", "folder", options.Dir, "kid", kid)
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
		logger.Info("made a signing key", "folder", options.Dir, "kid", key.Kid, "alg", key.Algorithm)
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
