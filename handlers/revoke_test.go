package handlers_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/glueauth/glueauth/handlers"
)

// revoke sends a form to /revoke.
func (x *shop) revoke(t *testing.T, form string) answer {
	t.Helper()
	return x.do(t, http.MethodPost, "/revoke", strings.NewReader(form), "Content-Type", urlEncoded)
}

type pair struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
}

// tokens sends a form to /token and returns what was answered.
func (x *shop) tokens(t *testing.T, form string) pair {
	t.Helper()
	a := x.post(t, form)
	var p pair
	if err := json.Unmarshal([]byte(a.body), &p); err != nil || a.status != http.StatusOK {
		t.Fatal(a.status, a.body, err)
	}
	return p
}

const refreshing = "grant_type=refresh_token&refresh_token="

func TestEveryWayOutIsCountedAndLogged(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		act                func(*testing.T, *shop, pair)
		event, cause, also string // also: a part of the log line
	}{
		"this": {
			func(t *testing.T, x *shop, p pair) { t.Helper(); x.revoke(t, "token="+p.Refresh) },
			"session_ended", "revoked", `"generation":1`,
		},
		"this, with the access token": {
			func(t *testing.T, x *shop, p pair) { t.Helper(); x.revoke(t, "token="+p.Access) }, "session_ended", "revoked", `"session":"`,
		},
		"others": {
			func(t *testing.T, x *shop, p pair) { t.Helper(); x.revoke(t, "sessions=others&token="+p.Refresh) },
			"signed_out", "others", `"subject":21`,
		},
		"all": {
			func(t *testing.T, x *shop, p pair) { t.Helper(); x.revoke(t, "sessions=all&token="+p.Refresh) }, "signed_out", "all", `"subject":21`,
		},
		"garbage": {
			func(t *testing.T, x *shop, _ pair) { t.Helper(); x.revoke(t, "token=x") }, "revoke_ignored", "not_ours", `"client":"frontend"`,
		},
		"expired": {
			func(t *testing.T, x *shop, p pair) {
				t.Helper()
				x.clock.advance(8 * time.Hour)
				x.revoke(t, "token="+p.Access)
			}, "revoke_ignored", "expired", `"client":"frontend"`,
		},
		"another client's": {
			func(t *testing.T, x *shop, p pair) { t.Helper(); x.revoke(t, "client_id=gateway&token="+p.Access) },
			"revoke_ignored", "other_client", `"client":"gateway"`,
		},
		"twice": {
			func(t *testing.T, x *shop, p pair) {
				t.Helper()
				x.revoke(t, "token="+p.Refresh)
				x.revoke(t, "token="+p.Refresh)
			}, "revoke_ignored", "ended", `"subject":21`,
		},
		"a refresh afterwards": {
			func(t *testing.T, x *shop, p pair) {
				t.Helper()
				x.revoke(t, "token="+p.Refresh)
				x.post(t, refreshing+p.Refresh)
			}, "refresh_refused", "revoked", `"address":"127.0.0.1"`,
		},
		"a refresh after all": {
			func(t *testing.T, x *shop, p pair) {
				t.Helper()
				x.revoke(t, "sessions=all&token="+p.Refresh)
				x.post(t, refreshing+p.Refresh)
			}, "refresh_refused", "signed_out_all", `"session":"`,
		},
		"a refresh of another session after all": {
			func(t *testing.T, x *shop, p pair) {
				t.Helper()
				other := x.tokens(t, signIn)
				x.revoke(t, "sessions=all&token="+p.Refresh)
				x.post(t, refreshing+other.Refresh)
			}, "refresh_refused", "signed_out", `"session":"`,
		},
		"a theft": {
			func(t *testing.T, x *shop, p pair) {
				t.Helper()
				second := x.tokens(t, refreshing+p.Refresh)
				x.clock.advance(time.Hour)
				x.tokens(t, refreshing+second.Refresh)
				x.clock.advance(time.Hour)
				x.post(t, refreshing+p.Refresh, "User-Agent", "thief")
			}, "refresh_reuse", "reuse", `"other_address":"127.0.0.1"`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := openShop(t, setup{})
			p := x.tokens(t, signIn)
			c.act(t, x, p)
			metric := `glueauth_events_total{cause="` + c.cause + `",event="` + c.event + `"} 1`
			if text := get(handlers.Admin(x.config), "/metrics").Body.String(); !strings.Contains(text, metric+"\n") {
				t.Errorf("no %s", metric)
			}
			for line := range strings.Lines(x.logs.String()) {
				if strings.Contains(line, `"event":"`+c.event+`"`) && strings.Contains(line, `"cause":"`+c.cause+`"`) && strings.Contains(line, c.also) {
					return
				}
			}
			t.Errorf("no line of %s %s with %s in\n%s", c.event, c.cause, c.also, x.logs.String())
		})
	}
}
