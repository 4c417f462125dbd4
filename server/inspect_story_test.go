package server_test

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/server"
)

var update = flag.Bool("update", false, "rewrite the golden stories")

// story is what is told of who, with SESSION 1, SESSION 2 … for the names of the sessions, the first sign-in first.
func (o *office) story(who secret.Text) string {
	o.t.Helper()
	s, err := o.inspector.Explain(o.t.Context(), who)
	if err != nil {
		o.t.Fatal(err)
	}
	text := strings.Join(s.Lines, "\n") + "\n"
	all := o.list("DE--21").Sessions
	for n, v := range all {
		text = strings.ReplaceAll(text, v.Session, fmt.Sprintf("SESSION %d", len(all)-n))
	}
	return regexp.MustCompile(`[0-9a-f]{32}`).ReplaceAllString(text, "LOST SESSION")
}

// withKey refreshes with a retry key.
func (o *office) withKey(token, key secret.Text) {
	o.t.Helper()
	o.must(o.token(server.TokenRequest{
		GrantType: "refresh_token", RefreshToken: &token, RetryKey: key, Address: netip.MustParseAddr(home), UserAgent: phone,
	}))
}

// stories are what happens to a customer, and whom the support desk asks about then.
func stories() map[string]func(*office) secret.Text {
	const tenMinutes = 10 * time.Minute
	rotate := func(o *office, token secret.Text, times int) server.TokenResponse {
		var answer server.TokenResponse
		for range times {
			o.pass(tenMinutes)
			answer = o.mustUse(token, home)
			token = answer.RefreshToken
		}
		return answer
	}
	return map[string]func(*office) secret.Text{
		"stolen": func(o *office) secret.Text {
			third := rotate(o, o.enter(home).RefreshToken, 2)
			rotate(o, third.RefreshToken, 2)
			o.pass(tenMinutes)
			if _, err := o.use(third.RefreshToken, mall); server.CodeOf(err) != server.BadRefreshToken {
				o.t.Errorf("the thief: %v", err)
			}
			return demoEmail
		},
		"stolen_by_token": func(o *office) secret.Text {
			first := o.enter(home).RefreshToken
			rotate(o, first, 2)
			_, _ = o.use(first, mall)
			return first
		},
		"stolen_and_observed": func(o *office) secret.Text {
			first := o.enter(home).RefreshToken
			newest := rotate(o, first, 2)
			_, _ = o.use(first, mall)
			rotate(o, newest.RefreshToken, 1)
			return demoEmail
		},
		"replayed": func(o *office) secret.Text {
			first := o.enter(home).RefreshToken
			o.pass(tenMinutes)
			o.mustUse(first, home)
			o.pass(5 * time.Second)
			o.mustUse(first, home)
			o.mustUse(first, home)
			return "DE--21"
		},
		"expired": func(o *office) secret.Text {
			second := rotate(o, o.enter(home).RefreshToken, 1)
			o.pass(32 * 24 * time.Hour)
			return second.RefreshToken
		},
		"expired_long_ago": func(o *office) secret.Text {
			token := o.enter(home).RefreshToken
			o.pass(60 * 24 * time.Hour)
			o.exec(`DELETE FROM sessions`)
			return token
		},
		"revoked_by_client": func(o *office) secret.Text {
			second := rotate(o, o.enter(home).RefreshToken, 1)
			o.pass(tenMinutes)
			o.signOut(second.RefreshToken, "", mall)
			return second.AccessToken
		},
		"revoked_by_operator": func(o *office) secret.Text {
			second := rotate(o, o.enter(home).RefreshToken, 1)
			o.pass(tenMinutes)
			o.revoke(second.RefreshToken)
			return demoEmail
		},
		"all_revoked_by_operator": func(o *office) secret.Text {
			token := o.enter(home).RefreshToken
			o.pass(time.Minute)
			o.enter(mall)
			o.pass(tenMinutes)
			o.revoke(demoEmail)
			o.pass(tenMinutes)
			_, _ = o.use(token, home)
			return demoEmail
		},
		"signed_out_everywhere": func(o *office) secret.Text {
			o.enter(mall)
			o.pass(time.Minute)
			token := o.enter(home).RefreshToken
			o.pass(tenMinutes)
			o.signOut(token, "all", home)
			return demoEmail
		},
		"signed_out_elsewhere": func(o *office) secret.Text {
			forgotten := o.enter(mall).RefreshToken
			o.pass(time.Minute)
			token := o.enter(home).RefreshToken
			o.pass(tenMinutes)
			answer := o.signOut(token, "others", home)
			rotate(o, answer.RefreshToken, 1)
			_, _ = o.use(forgotten, mall)
			return demoEmail
		},
		"shut_out_copy": func(o *office) secret.Text {
			token := o.enter(home).RefreshToken
			o.pass(tenMinutes)
			answer := o.signOut(token, "others", home)
			rotate(o, answer.RefreshToken, 1)
			return token
		},
		"lost_for_long": func(o *office) secret.Text {
			token := o.enter(home).RefreshToken
			o.pass(tenMinutes)
			o.mustUse(token, home)
			o.pass(3 * time.Hour)
			o.mustUse(token, mall)
			return "DE--21"
		},
		"copied_at_once": func(o *office) secret.Text {
			token := o.enter(home).RefreshToken
			o.pass(tenMinutes)
			o.withKey(token, "0123456789abcdef")
			o.must(o.token(server.TokenRequest{GrantType: "refresh_token", RefreshToken: &token, Address: netip.MustParseAddr(mall), UserAgent: "curl/8"}))
			return "DE--21"
		},
		"two_tabs_with_keys": func(o *office) secret.Text {
			token := o.enter(home).RefreshToken
			o.pass(tenMinutes)
			for _, key := range []secret.Text{"0123456789abcdef", "fedcba9876543210"} {
				o.withKey(token, key)
			}
			return "DE--21"
		},
		"lost_for_long_at_home": func(o *office) secret.Text {
			token := o.enter(home).RefreshToken
			o.pass(tenMinutes)
			for range 2 {
				o.withKey(token, "0123456789abcdef")
				o.pass(3 * time.Hour)
			}
			return "DE--21"
		},
		"store_went_back": func(o *office) secret.Text {
			third := rotate(o, o.enter(home).RefreshToken, 2)
			o.exec(`UPDATE sessions SET base = 0, cur = 1, uses = zeroblob(64), timeline = x''`)
			rotate(o, third.RefreshToken, 1)
			return "DE--21"
		},
		"password_changed": func(o *office) secret.Text {
			token := o.enter(home).RefreshToken
			o.exec(`UPDATE customers SET password = '$2y$04$wyj28BGBsdZRyl2Jn.ZT5uIKieOFspJHDVFY/D51NksyZ.ZVJHqby'`)
			o.pass(tenMinutes)
			_, _ = o.use(token, home)
			return demoEmail
		},
		"blocked": func(o *office) secret.Text {
			token := o.enter(home).RefreshToken
			o.exec(`UPDATE customers SET blocked_at = 1`)
			o.pass(tenMinutes)
			_, _ = o.use(token, home)
			return demoEmail
		},
		"blocked_for_long": func(o *office) secret.Text {
			o.exec(`UPDATE customers SET blocked_at = 1`)
			return demoEmail
		},
		"no_password": func(o *office) secret.Text {
			o.enter(home)
			o.exec(`UPDATE customers SET password = ''`)
			return "DE--21"
		},
		"blocked_soon": func(o *office) secret.Text {
			token := o.enter(home).RefreshToken
			o.exec(`UPDATE customers SET blocked_at = 1`)
			return token
		},
		"too_many": func(o *office) secret.Text {
			o.enter(home)
			o.pass(tenMinutes)
			o.enter(mall)
			o.pass(tenMinutes)
			o.enter(mall)
			return demoEmail
		},
		"store_lost": func(o *office) secret.Text {
			token := o.enter(home).RefreshToken
			o.exec(`DELETE FROM sessions`)
			return token
		},
		"customer_record_lost": func(o *office) secret.Text {
			o.enter(home)
			o.exec(`DELETE FROM subjects`)
			return demoEmail
		},
		"used_token_of_living_session": func(o *office) secret.Text {
			token := o.enter(home).RefreshToken
			rotate(o, token, 3)
			return token
		},
		"newest_token": func(o *office) secret.Text { return rotate(o, o.enter(home).RefreshToken, 1).RefreshToken },
		"expired_access_token": func(o *office) secret.Text {
			answer := o.enter(home)
			o.pass(9 * time.Hour)
			o.mustUse(answer.RefreshToken, home)
			return answer.AccessToken
		},
		"forged": func(o *office) secret.Text {
			token := o.enter(home).RefreshToken
			return token[:len(token)-4] + "AAAA"
		},
		"foreign_access_token": func(o *office) secret.Text {
			token := o.enter(home).AccessToken
			return token[:len(token)-8] + "AAAAAAAA"
		},
		"busy": func(o *office) secret.Text {
			rotate(o, o.enter(home).RefreshToken, 20)
			return demoEmail
		},
	}
}

func TestStoriesAreTheRightOnes(t *testing.T) {
	t.Parallel()
	changes := map[string]func(*server.Config){
		"stolen_and_observed": func(c *server.Config) { c.Refresh.ReuseKeepsAlive = true },
		"too_many":            func(c *server.Config) { c.Refresh.MaxSessions = 2 },
	}
	for name, happens := range stories() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			change := changes[name]
			if change == nil {
				change = func(*server.Config) {}
			}
			o := newOffice(t, change)
			got := o.story(happens(o))
			path := filepath.Join("testdata", "story", name+".txt")
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("(-want +got, run with -update to take it over):\n%s", diff)
			}
		})
	}
}
