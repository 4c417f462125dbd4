package server_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/server"
)

const (
	// shopPassword is the public example of league/oauth2-server, with which the demo shops are set up.
	shopPassword = secret.Text("lxZFUEsBCJ2Yb14IF2ygAHI5N4+ZAUXXaSeeJm6+twsUmIen")

	vectorKey   = secret.Text("test-encryption-key-for-vectors-only")
	vectorPlain = `{"client_id":"frontend","refresh_token_id":"00ff"}`
	vectorToken = secret.Text("def50200000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f000102030405060708090a0b0c0d0e0f" +
		"7ee039756f86ead13e7a2cb02cccfa0279610b89d007ecd6b67751252473b07f99f2d6bd2557bb73217f77a1dba702123e1a1dae69d57ed413372477feb7133d" +
		"fb1366d1fe8b6f974b8b2d6a269c7a7c95a0")
)

// rawKey is a shop's key in its own form, for which nothing is derived with 100,000 rounds.
func rawKey() secret.Text {
	body := append([]byte{0xde, 0xf0, 0, 0}, bytes.Repeat([]byte{7}, 32)...)
	sum := sha256.Sum256(body)
	return secret.Text(hex.EncodeToString(append(body, sum[:]...)))
}

// seal makes a token as a shop does that uses its key as a key.
func seal(tb testing.TB, pre []byte, salt byte, plain string) secret.Text {
	tb.Helper()
	salts := bytes.Repeat([]byte{salt}, 32)
	derive := func(info string) []byte {
		key, err := hkdf.Key(sha256.New, pre, salts, info, 32)
		if err != nil {
			tb.Fatal(err)
		}
		return key
	}
	block, err := aes.NewCipher(derive("DefusePHP|V2|KeyForEncryption"))
	if err != nil {
		tb.Fatal(err)
	}
	iv, sealed := bytes.Repeat([]byte{salt + 1}, aes.BlockSize), make([]byte, len(plain))
	cipher.NewCTR(block, iv).XORKeyStream(sealed, []byte(plain))
	b := append([]byte{0xde, 0xf5, 2, 0}, salts...)
	b = append(append(b, iv...), sealed...)
	mac := hmac.New(sha256.New, derive("DefusePHP|V2|KeyForAuthentication"))
	mac.Write(b)
	return secret.Text(hex.EncodeToString(mac.Sum(b)))
}

func sealRaw(tb testing.TB, salt byte, plain string) secret.Text {
	tb.Helper()
	return seal(tb, bytes.Repeat([]byte{7}, 32), salt, plain)
}

const soniasSub = `{"id_company_user":null,"id_agent":null,"customer_reference":"DE--21","id_customer":21,"permissions":{"permissions":[1]}}`

// inside is what a shop's token for the demo customer says.
func inside(number byte, client, sub string, expires time.Time) string {
	user, err := json.Marshal(sub)
	if err != nil {
		panic(err)
	}
	return fmt.Sprintf(`{"client_id":%q,"refresh_token_id":"%s","access_token_id":"x","scopes":["customer"],"user_id":%s,"expire_time":%d}`,
		client, strings.Repeat(fmt.Sprintf("%02x", number), 40), user, expires.Unix())
}

// shopAnswer is an answer of the seed page.
type shopAnswer struct {
	Access  secret.Text `json:"access_token"`
	Refresh secret.Text `json:"refresh_token"`
}

func seedPage(t *testing.T, name string) (a shopAnswer) {
	t.Helper()
	b, err := os.ReadFile("testdata/shop/" + name + ".json")
	if err == nil {
		err = json.Unmarshal(b, &a)
	}
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestTheSpecsOwnTokenIsOpened(t *testing.T) {
	t.Parallel()
	if plain, ok, err := server.OpenShopToken(vectorKey, vectorToken); !ok || err != nil || string(plain) != vectorPlain {
		t.Errorf("opened %q, %v, %v", plain, ok, err)
	}
	for name, token := range map[string]secret.Text{
		"a bit of the salt":       flipped(vectorToken, 9),
		"a bit of the IV":         flipped(vectorToken, 80),
		"a bit of the ciphertext": flipped(vectorToken, 120),
		"a bit of the MAC":        flipped(vectorToken, len(vectorToken)-1),
		"a byte cut off":          vectorToken[:len(vectorToken)-2],
		"a digit cut off":         vectorToken[:len(vectorToken)-1],
		"nothing inside is left":  vectorToken[:2*84],
		"shorter than can be":     vectorToken[:2*84-2],
		"longer than can be":      vectorToken + secret.Text(strings.Repeat("00", 8192)),
		"upper case":              secret.Text(strings.ToUpper(vectorToken.Reveal())),
		"no hex":                  vectorToken[:len(vectorToken)-2] + "zz",
		"another version":         "def50100" + vectorToken[8:],
		"nothing":                 "",
	} {
		if plain, ok, err := server.OpenShopToken(vectorKey, token); ok || err != nil {
			t.Errorf("%s: opened %q, %v", name, plain, err)
		}
	}
	if plain, ok, err := server.OpenShopToken(vectorKey+" ", vectorToken); ok || err != nil {
		t.Errorf("with another key: %q, %v", plain, err)
	}
}

// flipped returns a token with the lowest bit of a digit flipped.
func flipped(token secret.Text, i int) secret.Text {
	b := []byte(token.Reveal())
	digit := strings.IndexByte("0123456789abcdef", b[i])
	b[i] = "0123456789abcdef"[digit^1]
	return secret.Text(b)
}

func TestAKeyInItsOwnFormIsUsedAsOneAndAsAPassword(t *testing.T) {
	t.Parallel()
	key := rawKey()
	if plain, ok, err := server.OpenShopToken(key, sealRaw(t, 1, "as a key")); !ok || err != nil || string(plain) != "as a key" {
		t.Errorf("as a key: %q, %v, %v", plain, ok, err)
	}
	digest := sha256.Sum256([]byte(key.Reveal()))
	pre, err := pbkdf2.Key(sha256.New, string(digest[:]), bytes.Repeat([]byte{2}, 32), 100_000, 32)
	if err != nil {
		t.Fatal(err)
	}
	if plain, ok, err := server.OpenShopToken(key, seal(t, pre, 2, "as a password")); !ok || err != nil || string(plain) != "as a password" {
		t.Errorf("as a password: %q, %v, %v", plain, ok, err)
	}
	if _, _, err := server.OpenShopToken(flipped(key, 70), vectorToken); err == nil || strings.Contains(err.Error(), key.Reveal()[20:40]) {
		t.Errorf("a mistyped key: %v", err)
	}
}

func TestOnlyTokensOfCustomersFit(t *testing.T) {
	t.Parallel()
	good := inside(1, "frontend", soniasSub, time.Unix(1_700_000_000, 0))
	if id, customer, fits := server.ShopTokenFits([]byte(good)); !fits || customer != 21 || id != strings.Repeat("01", 40) {
		t.Errorf("%s, %d, %v", id, customer, fits)
	}
	agent := `{"id_company_user":null,"id_agent":5,"customer_reference":null,"id_customer":null,"permissions":null}`
	for name, plain := range map[string]string{
		"nothing":              "",
		"no object":            `["frontend"]`,
		"an agent's":           inside(1, "frontend", agent, time.Unix(1_700_000_000, 0)),
		"a user who is a word": strings.Replace(good, `"user_id":`, `"user_id":"sonia","x":`, 1),
		"no client":            inside(1, "", soniasSub, time.Unix(1_700_000_000, 0)),
		"a short id":           strings.Replace(good, "0101", "01", 1),
		"an id that is no hex": strings.Replace(good, "0101", "01xx", 1),
		"no expiry":            inside(1, "frontend", soniasSub, time.Unix(0, 0)),
		"an expiry too far":    inside(1, "frontend", soniasSub, time.Unix(1<<32, 0)),
		"a customer below one": inside(1, "frontend", strings.Replace(soniasSub, "21,", "-1,", 1), time.Unix(1_700_000_000, 0)),
		"no reference":         inside(1, "frontend", strings.Replace(soniasSub, "DE--21", "", 1), time.Unix(1_700_000_000, 0)),
	} {
		if _, customer, fits := server.ShopTokenFits([]byte(plain)); fits {
			t.Errorf("%s fits, customer %d", name, customer)
		}
	}
}

func FuzzShopToken(f *testing.F) {
	key := rawKey()
	f.Add([]byte(inside(1, "frontend", soniasSub, time.Unix(1_700_000_000, 0))), byte(3), uint16(100), vectorToken.Reveal())
	f.Add([]byte(`{"user_id":"{}"}`), byte(0), uint16(8), "def50200")
	f.Fuzz(func(t *testing.T, plain []byte, salt byte, at uint16, text string) {
		if len(plain) > 8000 {
			return
		}
		token := sealRaw(t, salt, string(plain))
		got, ok, err := server.OpenShopToken(key, token)
		if !ok || err != nil || !bytes.Equal(got, plain) {
			t.Fatalf("sealed %q, opened %q, %v, %v", plain, got, ok, err)
		}
		if id, customer, fits := server.ShopTokenFits(plain); fits && (len(id) != 80 || customer < 1) {
			t.Errorf("customer %d, id %q", customer, id)
		}
		if !strings.HasPrefix(text, "def50200") { // else it would cost 100,000 rounds
			if _, ok, _ := server.OpenShopToken(key, secret.Text(text)); ok {
				t.Errorf("opened %q", text)
			}
		}
		broken := flipped(token, int(at)%len(token))
		if shaped := strings.HasPrefix(broken.Reveal(), "def50200"); !shaped {
			if _, ok, _ := server.OpenShopToken(key, broken); ok {
				t.Errorf("opened with another head")
			}
		}
	})
}
