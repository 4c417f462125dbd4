package main

import (
	"context"
	"time"

	"github.com/glueauth/glueauth/server"
)

// checkLegacy looks whether the shop's refresh tokens can be taken over.
func (d *doctor) checkLegacy(context.Context) []finding {
	const check = "encryption key"
	legacy := d.cfg.Legacy
	if legacy.EncryptionKey == "" {
		if d.shopToken != "" {
			return []finding{broken(check, "set legacy.encryption_key, or leave the token out", "there is none to open the token with")}
		}
		return []finding{fine(check, "there is none: the shop's refresh tokens are refused")}
	}
	expires, err := server.ProveShopKey(legacy.EncryptionKey, d.shopToken)
	switch {
	case err != nil:
		return []finding{failed(check, err)}
	case legacy.Until.IsZero() && d.asksNobody:
		seen, remedy := endless(d.cfg)
		return []finding{broken(check, remedy, "%s", seen)}
	case d.shopToken == "":
		return []finding{fine(check, "it can be one; --shop-token proves it with a refresh token of the shop's")}
	case expires.IsZero():
		return []finding{fine(check, "it opens the token, which is no customer's")}
	default:
		return []finding{fine(check, "it opens the token, which expires %s", expires.Format(time.RFC3339))}
	}
}
