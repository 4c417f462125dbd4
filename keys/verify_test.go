package keys_test

import (
	"bytes"
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/keys"
)

var verifiedAt = time.Unix(1_772_366_400, 0).UTC()

func b64(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

// payload is the claims of a token that is good for an hour, with more of them.
func payload(more string) string {
	at := verifiedAt.Unix()
	return fmt.Sprintf(`{"aud":"frontend","jti":"0102","iat":%d,"nbf":%d,"exp":%d%s}`, at, at, at+3600, more)
}

func privateKey(tb testing.TB, file string) *rsa.PrivateKey {
	tb.Helper()
	private, err := keys.ParsePEM(read(tb, filepath.Join("testdata", file)))
	if err != nil {
		tb.Fatal(err)
	}
	return private
}

// signed makes a token of any header with RSASSA-PKCS1-v1_5 and SHA-256.
func signed(tb testing.TB, private *rsa.PrivateKey, header, claims string) string {
	tb.Helper()
	input := b64(header) + "." + b64(claims)
	sum := sha256.Sum256([]byte(input))
	signature, err := rsa.SignPKCS1v15(nil, private, crypto.SHA256, sum[:])
	if err != nil {
		tb.Fatal(err)
	}
	return input + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// Not parallel: it counts what is allocated meanwhile.
func TestGarbageTakesNoMoreMemoryThanAToken(t *testing.T) { //nolint:paralleltest // see above
	_, ring := ringOf(t, "test-key.pem")
	dots := secret.Text(strings.Repeat(".", 64<<10)) // as much as a form holds
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := ring.Verify(dots, verifiedAt)
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; err == nil || took > 64<<10 {
		t.Errorf("%d bytes allocated for %d dots (%v)", took, len(dots), err)
	}
}

func TestTokensOfTheRingAreVerified(t *testing.T) {
	t.Parallel()
	_, ring := ringOf(t, "test-key.pem", "second-key.pem")
	second := privateKey(t, "second-key.pem")
	want := keys.Claims{ID: "0102", Audience: "frontend", IssuedAt: verifiedAt, ExpiresAt: verifiedAt.Add(time.Hour)}
	tokens := map[string]string{
		"a retired key":                   signed(t, second, `{"typ":"JWT","alg":"RS256","kid":"`+keys.Thumbprint(&second.PublicKey)+`"}`, payload("")),
		"a shop's own token, without kid": signed(t, second, `{"typ":"JWT","alg":"RS256"}`, payload("")),
		"claims that we do not know":      signed(t, second, `{"alg":"RS256","typ":"JWT"}`, payload(`,"sub":"{}","scopes":["customer"]`)),
		"a list of one audience":          signed(t, second, `{"alg":"RS256","typ":"JWT"}`, strings.Replace(payload(""), `"frontend"`, `["frontend"]`, 1)),
		"dates with fractions, as lcobucci": signed(t, second, `{"typ":"JWT","alg":"RS256"}`,
			`{"aud":"frontend","jti":"0102","iat":1772366400.000000,"nbf":1772366400.0,"exp":1.7723700e9}`),
	}
	for _, typ := range []string{"JWT", "at+jwt"} {
		token, err := ring.Sign(typ, []byte(payload("")))
		if err != nil {
			t.Fatal(err)
		}
		tokens["our own "+typ] = token
	}
	for name, token := range tokens {
		got, err := ring.Verify(secret.Text(token), verifiedAt)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got)\n%s", name, diff)
		}
	}
}

func TestTricksWithTokensAreRefused(t *testing.T) {
	t.Parallel()
	_, ring := ringOf(t, "test-key.pem")
	own, other := privateKey(t, "test-key.pem"), privateKey(t, "second-key.pem")
	kid := keys.Thumbprint(&own.PublicKey)
	good := signed(t, own, `{"typ":"JWT","alg":"RS256"}`, payload(""))
	if _, err := ring.Verify(secret.Text(good), verifiedAt); err != nil {
		t.Fatal(err)
	}
	part := strings.Split(good, ".")
	publicDER, err := x509.MarshalPKIXPublicKey(&own.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	publicPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: publicDER})
	symmetric := func(alg string, key []byte) string {
		input := b64(`{"typ":"JWT","alg":"`+alg+`"}`) + "." + part[1]
		h := hmac.New(sha256.New, key)
		h.Write([]byte(input))
		return input + "." + base64.RawURLEncoding.EncodeToString(h.Sum(nil))
	}
	sum := sha512.Sum512([]byte(b64(`{"typ":"JWT","alg":"RS512"}`) + "." + part[1]))
	rs512, err512 := rsa.SignPKCS1v15(nil, own, crypto.SHA512, sum[:])
	pssSum := sha256.Sum256([]byte(b64(`{"typ":"JWT","alg":"PS256"}`) + "." + part[1]))
	ps256, errPS := rsa.SignPSS(rand.Reader, own, crypto.SHA256, pssSum[:], nil)
	if err := errors.Join(err512, errPS); err != nil {
		t.Fatal(err)
	}
	tokens := map[string]string{
		"empty": "", "dots": "..", "one part": part[0], "two parts": part[0] + "." + part[1], "four parts": good + ".x",
		"no signature": part[0] + "." + part[1] + ".", "another's claims": part[0] + "." + b64(payload(`,"x":1`)) + "." + part[2],
		"none":                 b64(`{"typ":"JWT","alg":"none"}`) + "." + part[1] + ".",
		"none, with signature": b64(`{"typ":"JWT","alg":"none"}`) + "." + part[1] + "." + part[2],
		"None":                 b64(`{"typ":"JWT","alg":"nOnE"}`) + "." + part[1] + ".",
		"HS256 by public PEM":  symmetric("HS256", publicPEM), "HS256 by public DER": symmetric("HS256", publicDER),
		"HS256 by PEM without newline": symmetric("HS256", bytes.TrimSpace(publicPEM)), "HS256 by nothing": symmetric("HS256", nil),
		"RS512":                       b64(`{"typ":"JWT","alg":"RS512"}`) + "." + part[1] + "." + base64.RawURLEncoding.EncodeToString(rs512),
		"PS256":                       b64(`{"typ":"JWT","alg":"PS256"}`) + "." + part[1] + "." + base64.RawURLEncoding.EncodeToString(ps256),
		"a stranger's key":            signed(t, other, `{"typ":"JWT","alg":"RS256"}`, payload("")),
		"a stranger's key by our kid": signed(t, other, `{"typ":"JWT","alg":"RS256","kid":"`+kid+`"}`, payload("")),
		"our key by a stranger's kid": signed(t, own, `{"typ":"JWT","alg":"RS256","kid":"`+keys.Thumbprint(&other.PublicKey)+`"}`, payload("")),
		"a path as kid":               signed(t, own, `{"typ":"JWT","alg":"RS256","kid":"../../dev/null"}`, payload("")),
		"an empty kid":                signed(t, own, `{"typ":"JWT","alg":"RS256","kid":""}`, payload("")),
		"kid is null":                 signed(t, own, `{"typ":"JWT","alg":"RS256","kid":null}`, payload("")),
		"embedded jwk":                signed(t, own, `{"typ":"JWT","alg":"RS256","jwk":{"kty":"RSA"}}`, payload("")),
		"jku":                         signed(t, own, `{"typ":"JWT","alg":"RS256","jku":"https://x.example"}`, payload("")),
		"x5u":                         signed(t, own, `{"typ":"JWT","alg":"RS256","x5u":"https://x.example"}`, payload("")),
		"x5c":                         signed(t, own, `{"typ":"JWT","alg":"RS256","x5c":["MII"]}`, payload("")),
		"crit":                        signed(t, own, `{"typ":"JWT","alg":"RS256","crit":["b64"],"b64":false}`, payload("")),
		"zip":                         signed(t, own, `{"typ":"JWT","alg":"RS256","zip":"DEF"}`, payload("")),
		"typ is another's":            signed(t, own, `{"typ":"logout+jwt","alg":"RS256"}`, payload("")),
		"no typ":                      signed(t, own, `{"alg":"RS256"}`, payload("")),
		"no typ but a kid":            signed(t, own, `{"alg":"RS256","kid":"`+kid+`"}`, payload("")),
		"no alg":                      signed(t, own, `{"typ":"JWT"}`, payload("")),
		"header is no object":         signed(t, own, `["RS256"]`, payload("")),
		"header is null":              signed(t, own, `null`, payload("")),
		"claims are no object":        signed(t, own, `{"typ":"JWT","alg":"RS256"}`, `[1]`),
		"claims are two objects":      signed(t, own, `{"typ":"JWT","alg":"RS256"}`, payload("")+payload("")),
		"claims are null":             signed(t, own, `{"typ":"JWT","alg":"RS256"}`, `null`),
		"exp missing":                 signed(t, own, `{"typ":"JWT","alg":"RS256"}`, `{"aud":"frontend"}`),
		"exp is text":                 signed(t, own, `{"typ":"JWT","alg":"RS256"}`, `{"exp":"1772370000"}`),
		"exp is negative":             signed(t, own, `{"typ":"JWT","alg":"RS256"}`, `{"exp":-1}`),
		"exp is beyond all numbers":   signed(t, own, `{"typ":"JWT","alg":"RS256"}`, `{"exp":1e999}`),
		"exp is beyond all dates":     signed(t, own, `{"typ":"JWT","alg":"RS256"}`, `{"exp":1e300}`),
		"not yet":                     signed(t, own, `{"typ":"JWT","alg":"RS256"}`, `{"exp":1772370000,"nbf":1772366461}`),
		"issued later":                signed(t, own, `{"typ":"JWT","alg":"RS256"}`, `{"exp":1772370000,"iat":1772366461}`),
		"oversized":                   signed(t, own, `{"typ":"JWT","alg":"RS256"}`, payload(`,"x":"`+strings.Repeat("x", 16<<10)+`"`)),
		"padded":                      good + "=", "line break": good[:40] + "\n" + good[40:], "space before": " " + good,
		"Bearer": "Bearer " + good, "line break at the end": good + "\r\n",
	}
	for name, token := range tokens {
		claims, err := ring.Verify(secret.Text(token), verifiedAt)
		if err == nil || errors.Is(err, keys.ErrExpired) {
			t.Errorf("%s: accepted with %v", name, err)
		} else if len(token) > 8 && strings.Contains(err.Error(), token) {
			t.Errorf("%s: the error shows it: %v", name, err)
		}
		if claims != (keys.Claims{}) {
			t.Errorf("%s: claims %+v beside %v", name, claims, err)
		}
	}
}

func TestDatesOfATokenAreTheCallersClock(t *testing.T) {
	t.Parallel()
	_, ring := ringOf(t, "test-key.pem")
	token, err := ring.Sign("JWT", []byte(payload("")))
	if err != nil {
		t.Fatal(err)
	}
	for after, expired := range map[time.Duration]bool{
		-time.Minute: false, 0: false, time.Hour - time.Nanosecond: false, time.Hour: true, 1000 * time.Hour: true,
	} {
		claims, err := ring.Verify(secret.Text(token), verifiedAt.Add(after))
		if errors.Is(err, keys.ErrExpired) != expired || !expired && err != nil || claims.ID != "0102" {
			t.Errorf("after %s: %+v, %v", after, claims, err)
		}
	}
	if _, err := ring.Verify(secret.Text(token), verifiedAt.Add(-time.Minute-time.Nanosecond)); err == nil {
		t.Error("accepted more than a minute before it was issued")
	}
}

func TestAListOfAudiencesIsNobodys(t *testing.T) {
	t.Parallel()
	_, ring := ringOf(t, "test-key.pem")
	for _, audience := range []string{`["frontend","x"]`, `[]`} {
		token := signed(t, privateKey(t, "test-key.pem"), `{"typ":"JWT","alg":"RS256"}`, strings.Replace(payload(""), `"frontend"`, audience, 1))
		if claims, err := ring.Verify(secret.Text(token), verifiedAt); err != nil || claims.Audience != "" {
			t.Errorf("%s: %+v, %v", audience, claims, err)
		}
	}
}

// FuzzVerify holds that nothing is accepted but what the ring has signed, letter by letter.
func FuzzVerify(f *testing.F) {
	dir := f.TempDir()
	private := privateKey(f, "test-key.pem")
	write(f, filepath.Join(dir, "test-key.pem"), string(read(f, filepath.Join("testdata", "test-key.pem"))))
	ring := open(f, dir)
	genuine := map[string]bool{}
	for _, header := range []string{
		`{"typ":"JWT","alg":"RS256"}`, `{"typ":"at+jwt","alg":"RS256","kid":"` + keys.Thumbprint(&private.PublicKey) + `"}`,
	} {
		for _, claims := range []string{payload(""), `{"exp":1}`} {
			token := signed(f, private, header, claims)
			genuine[token] = true
			f.Add(token)
			f.Add(strings.Replace(token, "J", "j", 1))
		}
		f.Add(b64(header) + "." + b64(payload("")) + ".")
	}
	f.Add("")
	f.Add("..")
	f.Fuzz(func(t *testing.T, token string) {
		_, err := ring.Verify(secret.Text(token), verifiedAt)
		if accepted := err == nil || errors.Is(err, keys.ErrExpired); accepted != genuine[token] {
			t.Errorf("accepted %v (%v): %q", accepted, err, token)
		}
	})
}
