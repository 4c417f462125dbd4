package server

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/store"
)

// The wire form of a shop's refresh token (spec 4.3): lower-case hex of a ciphertext of defuse/php-encryption, version 2.
//
//	DE F5 02 00 ‖ salt 32 ‖ IV 16 ‖ AES-256-CTR ciphertext ‖ HMAC-SHA256 32 over everything before
const (
	shopPrefix   = "def50200"
	shopHead     = 4
	shopSalt     = 32
	shopOverhead = shopHead + shopSalt + aes.BlockSize + sha256.Size
	shopLongest  = 16 << 10 // hex digits; with permissions inside, shops give out about 2,900
	shopRounds   = 100_000
	shopIDLength = 80 // hex digits of a refresh_token_id

	shopKeyPrefix = "def00000" // of a key in its own form: this head ‖ key 32 ‖ SHA-256 over both, in hex
	shopKeyLength = 2 * (shopHead + derivedKeyBytes + sha256.Size)
)

// shopKey makes from a token's salt what its two keys are made from.
type shopKey func(salt []byte) ([]byte, error)

// shopKeys returns the ways in which a shop may use its encryption key. One that has the form of a key is used as such by
// shops that load it, and as a password by those that hand it on as text.
func shopKeys(text secret.Text) ([]shopKey, error) {
	digest := sha256.Sum256([]byte(text.Reveal()))
	password := func(salt []byte) ([]byte, error) {
		return pbkdf2.Key(sha256.New, string(digest[:]), salt, shopRounds, derivedKeyBytes)
	}
	if !strings.HasPrefix(text.Reveal(), shopKeyPrefix) || len(text) != shopKeyLength {
		return []shopKey{password}, nil
	}
	b, err := hex.DecodeString(text.Reveal())
	body := shopHead + derivedKeyBytes
	if err != nil || sha256.Sum256(b[:body]) != [sha256.Size]byte(b[body:]) {
		return nil, errors.New("the shop's encryption key is mistyped: its checksum is wrong")
	}
	raw := b[shopHead:body]
	return []shopKey{func([]byte) ([]byte, error) { return raw, nil }, password}, nil
}

// shopShaped reports whether a text can be a shop's refresh token by its looks, which costs nothing.
func shopShaped(text secret.Text) bool {
	digits := text.Reveal()
	return strings.HasPrefix(digits, shopPrefix) && len(digits) >= 2*shopOverhead && len(digits) <= shopLongest && len(digits)%2 == 0 &&
		strings.Trim(digits, "0123456789abcdef") == ""
}

// decryptShop returns what is inside a token that has the right shape, or errNotOurs.
func decryptShop(keys []shopKey, text secret.Text) ([]byte, error) {
	b, err := hex.DecodeString(text.Reveal())
	if err != nil {
		return nil, errNotOurs
	}
	for _, key := range keys {
		plain, err := key.open(b)
		if !errors.Is(err, errNotOurs) {
			return plain, err
		}
	}
	return nil, errNotOurs
}

func (k shopKey) open(b []byte) ([]byte, error) {
	signed, mac := b[:len(b)-sha256.Size], b[len(b)-sha256.Size:]
	salt, rest := signed[shopHead:shopHead+shopSalt], signed[shopHead+shopSalt:]
	pre, err := k(salt)
	if err != nil {
		return nil, fmt.Errorf("derive the shop's keys: %w", err)
	}
	authentication, err1 := hkdf.Key(sha256.New, pre, salt, "DefusePHP|V2|KeyForAuthentication", derivedKeyBytes)
	encryption, err2 := hkdf.Key(sha256.New, pre, salt, "DefusePHP|V2|KeyForEncryption", derivedKeyBytes)
	if err := errors.Join(err1, err2); err != nil {
		return nil, fmt.Errorf("derive the shop's keys: %w", err)
	}
	if !hmac.Equal(keyed(authentication, signed), mac) {
		return nil, errNotOurs
	}
	block, err := aes.NewCipher(encryption)
	if err != nil {
		return nil, fmt.Errorf("derive the shop's keys: %w", err)
	}
	plain := make([]byte, len(rest)-aes.BlockSize)
	cipher.NewCTR(block, rest[:aes.BlockSize]).XORKeyStream(plain, rest[aes.BlockSize:])
	return plain, nil
}

// shopToken is what a shop's refresh token says about a customer.
type shopToken struct {
	id        string // its refresh_token_id
	client    string
	scopes    []string
	sub       string // of its access tokens, with the permissions where the shop puts them in
	customer  int64
	reference string
	company   string // the company user's UUID, empty for none
	expiresAt time.Time
}

// parseShop reads what was inside a token. A token of nobody who is a customer is none of ours.
func parseShop(plain []byte) (t shopToken, err error) {
	var inside struct {
		Client  string   `json:"client_id"`
		ID      string   `json:"refresh_token_id"`
		Scopes  []string `json:"scopes"`
		User    string   `json:"user_id"`
		Expires int64    `json:"expire_time"`
	}
	var user struct {
		Company   *string `json:"id_company_user"`
		Reference string  `json:"customer_reference"`
		ID        int64   `json:"id_customer"`
	}
	if json.Unmarshal(plain, &inside) != nil || json.Unmarshal([]byte(inside.User), &user) != nil {
		return t, errNotOurs
	}
	possible := len(inside.ID) == shopIDLength && strings.Trim(inside.ID, "0123456789abcdef") == "" &&
		inside.Client != "" && inside.Expires > 0 && inside.Expires < 1<<32
	if !possible || user.ID <= 0 || user.Reference == "" {
		return t, errNotOurs
	}
	t = shopToken{
		id: inside.ID, client: inside.Client, scopes: parseScope(strings.Join(inside.Scopes, " ")), sub: inside.User,
		customer: user.ID, reference: user.Reference, expiresAt: time.Unix(inside.Expires, 0).UTC(),
	}
	if user.Company != nil {
		t.company = *user.Company
	}
	return t, nil
}

// session is the token as generation 0 of the session that it names.
func (t shopToken) session() refreshToken {
	sum := sha256.Sum256([]byte(t.id))
	return refreshToken{
		subject: store.Subject{Kind: store.SubjectCustomer, ID: t.customer}, session: [16]byte(sum[:16]),
		expiresAt: t.expiresAt, shop: &t,
	}
}

// subMark is what a shop's sub must agree with to be sent as it stands.
func subMark(reference, company string) store.SubMark {
	sum := sha256.Sum256([]byte(reference + "\x00" + company))
	return store.SubMark(sum[:8])
}
