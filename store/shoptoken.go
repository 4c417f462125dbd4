package store

import "time"

// ShopToken is a row of the shop's own spy_oauth_refresh_token.
type ShopToken struct {
	CustomerReference string    // of the row; empty where the shop has none
	Client            string    // its OAuth client's identifier
	ExpiresAt         time.Time // as the shop wrote it, in its own time zone, which the row does not tell: read as UTC
	Revoked           bool
}
