package server

import (
	"errors"
	"time"

	"github.com/glueauth/glueauth/config/secret"
)

// ProveShopKey opens a refresh token of a shop's with the shop's encryption key, and returns when the token expires, the zero
// time for one that is no customer's. Without a token it looks at the form of the key only. The error says which of the two
// is wrong, and the remedy.
func ProveShopKey(key, token secret.Text) (expires time.Time, err error) {
	keys, err := shopKeys(key)
	if err != nil {
		return time.Time{}, err
	}
	if token == "" {
		return time.Time{}, nil
	}
	if !shopShaped(token) {
		return time.Time{}, errors.New("what was given is no refresh token of a shop's: give one whole, in lower-case hex, that begins with " + shopPrefix)
	}
	plain, err := decryptShop(keys, token)
	if err != nil {
		return time.Time{}, errors.New("the encryption key does not open the token: take the key from where the shop has it (SPRYKER_OAUTH_ENCRYPTION_KEY), or another token if this one may be damaged")
	}
	inside, err := parseShop(plain)
	if err != nil {
		return time.Time{}, nil //nolint:nilerr // the key is the right one
	}
	return inside.expiresAt, nil
}
