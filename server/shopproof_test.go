package server_test

import (
	"strings"
	"testing"
	"time"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/server"
)

func TestShopKeyIsProvedByAToken(t *testing.T) {
	t.Parallel()
	last := vectorToken[:len(vectorToken)-1]
	mistyped := rawKey()[:20] + "1" + rawKey()[21:]
	customers := `{"client_id":"frontend","refresh_token_id":"` + strings.Repeat("0f", 40) + `","user_id":"{\"customer_reference\":\"DE--21\",\"id_customer\":6}","expire_time":1700000000}`
	for name, c := range map[string]struct {
		key, token secret.Text
		expires    time.Time
		wrong      string
	}{
		"a password alone":        {vectorKey, "", time.Time{}, ""},
		"a key alone":             {rawKey(), "", time.Time{}, ""},
		"a mistyped key":          {mistyped, "", time.Time{}, "the shop's encryption key is mistyped"},
		"a token of nobody":       {vectorKey, vectorToken, time.Time{}, ""},
		"a customer's":            {rawKey(), sealRaw(t, 1, customers), time.Unix(1700000000, 0).UTC(), ""},
		"another key":             {shopPassword, vectorToken, time.Time{}, "SPRYKER_OAUTH_ENCRYPTION_KEY"},
		"a damaged token":         {vectorKey, last + "1", time.Time{}, "does not open the token"},
		"half a token":            {vectorKey, last, time.Time{}, "give one whole"},
		"a token of another kind": {vectorKey, "grt_AQEAAAAA", time.Time{}, "begins with def50200"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			expires, err := server.ProveShopKey(c.key, c.token)
			if c.wrong == "" {
				if err != nil || !expires.Equal(c.expires) {
					t.Errorf("got %s, %v, want %s", expires, err, c.expires)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.wrong) {
				t.Fatalf("got %v, want %q", err, c.wrong)
			}
			for _, text := range []secret.Text{c.key, c.token} {
				if text != "" && strings.Contains(err.Error(), text.Reveal()) {
					t.Errorf("%v shows a secret", err)
				}
			}
		})
	}
}
