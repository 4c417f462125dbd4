package redisstore_test

import (
	"strings"
	"testing"
	"time"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/store/redisstore"
	"github.com/glueauth/glueauth/store/storetest"
)

func TestReachSaysWhatKeepsUsFromAServer(t *testing.T) {
	t.Parallel()
	plain, encrypted := storetest.RedisPort(t), tlsRedis(t, "trusted")
	hanging := storetest.RedisPort(t)
	hanging.Stop(t)
	t.Cleanup(func() { hanging.Continue(t) })
	for name, c := range map[string]struct{ url, why, remedy string }{
		"it answers":             {"redis://" + plain.Addr, "", ""},
		"it asks for a password": {"redis://" + storetest.RedisPort(t, "--requirepass", password).Addr, "", ""},
		"a socket":               {storetest.Redis(t).URL(), "", ""},
		"TLS":                    {"rediss://" + encrypted.Addr, "", ""},
		"nobody there":           {"redis://127.0.0.1:1", "no connection to 127.0.0.1:1 (connection refused)", "start it"},
		"no such host":           {"redis://redis.invalid", "no connection to redis.invalid:6379 (no such host)", "correct the host"},
		"the second of two":      {"redis+cluster://" + plain.Addr + ",127.0.0.1:1", "no connection to 127.0.0.1:1", "start it"},
		"no TLS":                 {"rediss://" + plain.Addr, plain.Addr + " refuses TLS", "write redis in place of rediss"},
		"only TLS":               {"redis://" + encrypted.Addr, encrypted.Addr + " speaks TLS only", "write rediss in place of redis"},
		"a stranger's":           {"rediss://" + tlsRedis(t, "stranger").Addr, "from an unknown authority", "SSL_CERT_FILE"},
		"expired":                {"rediss://" + tlsRedis(t, "expired").Addr, "has expired", "renew it"},
		"not Redis":              {"redis://" + webServer(t), "does not answer as Redis does", "correct the port"},
		"not Redis and no TLS":   {"rediss://" + webServer(t), "refuses TLS", "name its TLS port"},
		"it hangs":               {"redis://" + hanging.Addr, "does not answer as Redis does", "look whether it hangs"},
		"no url":                 {"redis.example", "none of the forms", "redis://HOST"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := c.url
			if !strings.HasPrefix(url, "unix") {
				url = strings.Replace(url, "://", "://:"+password+"@", 1)
			}
			err := redisstore.Reach(t.Context(), secret.Text(url))
			if c.why == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.why) || !strings.Contains(err.Error(), c.remedy) || strings.Contains(err.Error(), password) {
				t.Errorf("got %v, want %q and %q, and never the password", err, c.why, c.remedy)
			}
		})
	}
}

func TestSkewOfARedis(t *testing.T) {
	t.Parallel()
	s := open(t, redisstore.Options{URL: secret.Text(storetest.Redis(t).URL())})
	for _, moved := range []time.Duration{0, 10 * time.Second, -time.Hour} {
		got, err := s.Skew(t.Context(), func() time.Time { return time.Now().Add(-moved) })
		if off := (got - moved).Abs(); err != nil || off > time.Second {
			t.Errorf("got %s, %v, want about %s", got, err, moved)
		}
	}
	broken := storetest.Redis(t)
	s = open(t, redisstore.Options{URL: secret.Text(broken.URL())})
	broken.Kill()
	_, err := s.Skew(t.Context(), time.Now)
	mustBe(t, err, "dial")
}
