package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/glueauth/glueauth/config"
)

const customersOfSpryker = "spryker" // customers.source

// announceLegacy says at start how sessions of the shop are taken over. Where nobody can be asked whether a token is good,
// that must have an end: whoever has the shop's key can make tokens meanwhile.
func (r *rooms) announceLegacy(ctx context.Context, cfg *config.Config, logger *slog.Logger) error {
	var until []any
	if end := cfg.Legacy.Until; !end.IsZero() {
		until = []any{"until", end}
	}
	switch {
	case cfg.Legacy.EncryptionKey == "":
	case until != nil && !time.Now().Before(cfg.Legacy.Until):
		logger.InfoContext(ctx, "legacy.until has passed: the shop's refresh tokens are refused, and legacy can be taken out of the settings", until...)
	case r.shop != nil:
		logger.InfoContext(ctx, "taking over the shop's refresh tokens, each as the shop's table says", until...)
	case until == nil:
		seen, remedy := endless(cfg)
		return errors.New(seen + ": " + remedy)
	default:
		logger.WarnContext(ctx, "taking over the shop's refresh tokens without asking the shop: revoked ones too, and whoever has its encryption key can make them for any customer", until...)
	}
	return nil
}

// endless says that tokens would be taken over for ever without asking anybody, and what to do about it.
func endless(cfg *config.Config) (seen, remedy string) {
	const end = "set legacy.until to the day on which the last of them expires, 31 days after the switch-over"
	if cfg.Customers.Source != customersOfSpryker {
		return "legacy.until is not set, and there is no shop database to ask about its refresh tokens", end
	}
	return "legacy.until is not set, and the shop's database cannot be asked about its refresh tokens",
		"GRANT SELECT ON spy_oauth_refresh_token TO the account of customers.url, or " + end
}
