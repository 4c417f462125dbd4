package keys

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/glueauth/glueauth/config/secret"
)

const (
	maxToken = 16 << 10 // bytes; no header of a request could carry more
	// clockSkew is how far the clock of whoever signed may be ahead of ours. A token is not refused for it, or a sign-out
	// with a token that another replica has just made would do nothing.
	clockSkew = time.Minute
	maxDate   = 1 << 40 // seconds since 1970; above it a date is no date
)

// ErrExpired says that a token is genuine but its exp has passed. [Ring.Verify] returns its claims beside it.
var ErrExpired = errors.New("token expired")

var errForeign = errors.New("not a token of these keys")

// Claims are those registered claims (RFC 7519 §4.1) of a verified token by which its session is found again.
type Claims struct {
	ID        string // jti, empty for none
	Audience  string // aud, empty when it is a list
	IssuedAt  time.Time
	ExpiresAt time.Time
}

// Verify returns what a token says that one of the published keys has signed, at the time now: a JWT in JWS compact
// serialisation with a header of typ (JWT or at+jwt), alg (the key's) and perhaps kid, and no other member. Without a kid
// any key of the ring may have signed it. The error is [ErrExpired], with the claims, or means that the token is not one
// that we accept; it shows nothing of the token.
func (r *Ring) Verify(token secret.Text, now time.Time) (Claims, error) {
	part := strings.SplitN(token.Reveal(), ".", 4) // one more than a token has: garbage may be all dots
	if len(token) > maxToken || len(part) != 3 {
		return Claims{}, errForeign
	}
	signature, ok := decodePart(part[2])
	if !ok || !r.viewAt(now).signed(part[0], part[0]+"."+part[1], signature) {
		return Claims{}, errForeign
	}
	payload, ok := decodePart(part[1])
	if !ok {
		return Claims{}, errForeign
	}
	return readClaims(payload, now)
}

// signed reports whether the signature is that of the key which the header asks for. Algorithm and key come from the ring;
// the header can only agree with them.
func (v *view) signed(encodedHeader, input string, signature []byte) bool {
	raw, ok := decodePart(encodedHeader)
	header := map[string]string{} // no member that a token of ours can have is anything but a string
	if !ok || json.Unmarshal(raw, &header) != nil {
		return false
	}
	kid, named := header["kid"]
	members := 2
	if named {
		members = 3
	}
	if !slices.Contains(types(), header["typ"]) || len(header) != members {
		return false
	}
	for _, k := range v.published {
		if (!named || k.kid == kid) && k.method.Alg() == header["alg"] && k.method.Verify(input, signature, k.public) == nil {
			return true
		}
	}
	return false
}

func readClaims(payload []byte, now time.Time) (Claims, error) {
	var c struct {
		ID        string           `json:"jti"`
		Audience  jwt.ClaimStrings `json:"aud"`
		IssuedAt  float64          `json:"iat"` // shops write fractions of seconds
		NotBefore float64          `json:"nbf"`
		ExpiresAt float64          `json:"exp"`
	}
	if json.Unmarshal(payload, &c) != nil || c.ExpiresAt <= 0 {
		return Claims{}, errForeign
	}
	for _, date := range []float64{c.IssuedAt, c.NotBefore, c.ExpiresAt} {
		if date < 0 || date > maxDate {
			return Claims{}, errForeign
		}
	}
	if begun := now.Add(clockSkew); begun.Before(dateOf(c.IssuedAt)) || begun.Before(dateOf(c.NotBefore)) {
		return Claims{}, errForeign
	}
	claims := Claims{ID: c.ID, IssuedAt: dateOf(c.IssuedAt), ExpiresAt: dateOf(c.ExpiresAt)}
	if len(c.Audience) == 1 {
		claims.Audience = c.Audience[0]
	}
	if !now.Before(claims.ExpiresAt) {
		return claims, ErrExpired
	}
	return claims, nil
}

// dateOf turns a NumericDate (RFC 7519 §2) into a time.
func dateOf(seconds float64) time.Time {
	whole := int64(seconds)
	return time.Unix(whole, int64((seconds-float64(whole))*1e9)).UTC()
}

// decodePart decodes the one spelling that a part of a token has.
func decodePart(s string) ([]byte, bool) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	return b, err == nil && !strings.ContainsAny(s, "\r\n") // the decoder skips line breaks
}
