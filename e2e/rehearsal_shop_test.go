package e2e_test

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/glueauth/glueauth/store/storetest"
)

// reference is a shop that answers POST /token as Spryker's does (spec 3 and 4): tokens signed without kid, refresh tokens
// that are encrypted and noted in the shop's own table, from the shop's own customers.
type reference struct {
	t          *testing.T
	db         *storetest.SQLServer
	key        *rsa.PrivateKey
	encryption string
	rows       atomic.Int64
}

const shopTokenLife = 31 * 24 * time.Hour

func (s *reference) listen(t *testing.T) (address string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(s.token))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func (s *reference) token(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/token" {
		http.NotFound(w, r)
		return
	}
	sub := ""
	switch r.FormValue("grant_type") {
	case "password":
		sub = s.subject(r.FormValue("username"), r.FormValue("password"))
	case "refresh_token":
		sub = s.exchange(r.FormValue("refresh_token"))
	}
	w.Header().Set("Content-Type", "application/json")
	if sub == "" {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(`{"error":"invalid_grant","error_description":"refused by the shop"}`))
		return
	}
	access, refresh := s.issue(sub)
	_, _ = fmt.Fprintf(w, `{"access_token":%q,"token_type":"Bearer","expires_in":28800,"refresh_token":%q}`, access, refresh)
}

// subject looks the customer up; all of them have the demo password.
func (s *reference) subject(email, password string) string {
	row := s.db.Do(s.t, shopName, "SELECT id_customer, customer_reference FROM spy_customer WHERE UPPER(email) = UPPER('"+email+"')")
	id, name, found := strings.Cut(row, "\t")
	if !found || password != demoPassword {
		return ""
	}
	return fmt.Sprintf(`{"id_company_user":null,"id_agent":null,"customer_reference":%q,"id_customer":%s,"permissions":null}`, name, id)
}

// exchange revokes a refresh token and returns its subject. A missing row counts as valid, as in the reference.
func (s *reference) exchange(token string) string {
	var inside struct {
		ID      string `json:"refresh_token_id"`
		User    string `json:"user_id"`
		Expires int64  `json:"expire_time"`
	}
	plain, err := s.open(token)
	if err != nil || json.Unmarshal(plain, &inside) != nil || inside.Expires <= time.Now().Unix() {
		return ""
	}
	const where = " WHERE identifier = '"
	if s.db.Do(s.t, shopName, "SELECT COUNT(*) FROM spy_oauth_refresh_token"+where+inside.ID+"' AND revoked_at IS NOT NULL") != "0" {
		return ""
	}
	s.db.Do(s.t, shopName, "UPDATE spy_oauth_refresh_token SET revoked_at = CURRENT_TIMESTAMP"+where+inside.ID+"'")
	return inside.User
}

func (s *reference) issue(sub string) (access, refresh string) {
	now, id, jti := time.Now(), randomHex(40), randomHex(40)
	token := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims{
		"aud": "frontend", "jti": jti, "iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(8 * time.Hour).Unix(), "sub": sub, "scopes": []string{"customer"},
	})
	access, err1 := token.SignedString(s.key)
	expires := now.Add(shopTokenLife)
	plain, err2 := json.Marshal(map[string]any{
		"client_id": "frontend", "refresh_token_id": id, "access_token_id": jti, "scopes": []string{"customer"}, "user_id": sub, "expire_time": expires.Unix(),
	})
	refresh, err3 := s.seal(plain)
	var user struct {
		Reference string `json:"customer_reference"`
	}
	if err := errors.Join(err1, err2, err3, json.Unmarshal([]byte(sub), &user)); err != nil {
		s.t.Error(err)
	}
	s.db.Do(s.t, shopName, fmt.Sprintf("INSERT INTO spy_oauth_refresh_token (id_oauth_refresh_token, identifier, scopes, customer_reference, user_identifier, fk_oauth_client, expires_at)"+
		" VALUES (%d, '%s', '[\"customer\"]', '%s', '%s', 'frontend', '%s')", s.rows.Add(1), id, user.Reference, sub, expires.UTC().Format(time.DateTime)))
	return access, refresh
}

func randomHex(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	return hex.EncodeToString(b)
}

// The wire form of spec 4.3: head 4 ‖ salt 32 ‖ IV 16 ‖ ciphertext ‖ MAC 32.
const shopHead = "\xde\xf5\x02\x00"

func (s *reference) seal(plain []byte) (string, error) {
	b := append([]byte(shopHead), make([]byte, 48)...)
	rand.Read(b[4:])
	stream, mac, err := s.keys(b[4:36], b[36:52])
	if err != nil {
		return "", err
	}
	sealed := make([]byte, len(plain))
	stream.XORKeyStream(sealed, plain)
	b = append(b, sealed...)
	return hex.EncodeToString(append(b, mac(b)...)), nil
}

func (s *reference) open(token string) ([]byte, error) {
	b, err := hex.DecodeString(token)
	if err != nil || len(b) < 84 || string(b[:4]) != shopHead {
		return nil, errors.New("no refresh token of the shop")
	}
	stream, mac, err := s.keys(b[4:36], b[36:52])
	end := len(b) - sha256.Size
	if err != nil || !hmac.Equal(mac(b[:end]), b[end:]) {
		return nil, errors.New("no refresh token of this shop")
	}
	plain := make([]byte, end-52)
	stream.XORKeyStream(plain, b[52:end])
	return plain, nil
}

func (s *reference) keys(salt, iv []byte) (stream cipher.Stream, mac func([]byte) []byte, err error) {
	password := sha256.Sum256([]byte(s.encryption))
	pre, err1 := pbkdf2.Key(sha256.New, string(password[:]), salt, 100_000, 32)
	authentication, err2 := hkdf.Key(sha256.New, pre, salt, "DefusePHP|V2|KeyForAuthentication", 32)
	encryption, err3 := hkdf.Key(sha256.New, pre, salt, "DefusePHP|V2|KeyForEncryption", 32)
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, nil, err
	}
	block, err := aes.NewCipher(encryption)
	if err != nil {
		return nil, nil, err
	}
	return cipher.NewCTR(block, iv), func(b []byte) []byte {
		h := hmac.New(sha256.New, authentication)
		h.Write(b)
		return h.Sum(nil)
	}, nil
}
