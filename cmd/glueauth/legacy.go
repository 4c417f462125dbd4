package main

import (
	"context"
	"errors"
	"log/slog"

	"github.com/glueauth/glueauth/config"
)

// announceLegacy says at start how sessions of the shop are taken over. Where nobody can be asked whether a token is good,
// that must have an end: whoever has the shop's key can make tokens meanwhile.
func (r *rooms) announceLegacy(ctx context.Context, cfg *config.Config, logger *slog.Logger) error {
	until := cfg.Legacy.Until
	switch {
	case cfg.Legacy.EncryptionKey == "":
	case r.shop != nil:
		logger.InfoContext(ctx, "taking over the shop's refresh tokens, each as the shop's table says", "until", until)
	case until.IsZero():
		return errors.New("legacy.until is not set, and there is no shop database to ask about its refresh tokens: set it to the day on which the last of them expires, 31 days after the switch-over")
	default:
		logger.WarnContext(ctx, "taking over the shop's refresh tokens without asking the shop: revoked ones too, and whoever has its encryption key can make them for any customer", "until", until)
	}
	return nil
}
