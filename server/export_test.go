package server

import (
	"errors"

	"github.com/glueauth/glueauth/config/secret"
)

// DummyHash returns what an unknown name is verified against.
func (s *Server) DummyHash(name string) secret.Text { return s.customers.dummies.pick(name) }

// OpenShopToken returns what is inside a shop's refresh token, and false when it is none.
func OpenShopToken(key, token secret.Text) ([]byte, bool, error) {
	keys, err := shopKeys(key)
	if err != nil || !shopShaped(token) {
		return nil, false, err
	}
	plain, err := decryptShop(keys, token)
	if errors.Is(err, errNotOurs) {
		return nil, false, nil
	}
	return plain, err == nil, err
}

// ShopTokenFits reports whether what is inside a token makes one of a customer's, and returns its id.
func ShopTokenFits(plain []byte) (id string, customer int64, fits bool) {
	t, err := parseShop(plain)
	return t.id, t.customer, err == nil
}

// OnShopKey has the server call f in place of deriving the keys of a shop's token.
func (s *Server) OnShopKey(f func(salt []byte) ([]byte, error)) { s.refresh.shop.keys = []shopKey{f} }
