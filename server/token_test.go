package server_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/server"
	"github.com/glueauth/glueauth/store"
	"github.com/glueauth/glueauth/store/sqlstore"
)

func TestClaimsAreTheReferencesInItsOrder(t *testing.T) {
	t.Parallel()
	const jti = `"jti":"010000000000000015`
	const sub = `"sub":"{\"id_company_user\":null,\"id_agent\":null,\"customer_reference\":\"DE--21\",\"id_customer\":21,\"permissions\":null}"`
	at := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC).Unix()
	times := fmt.Sprintf(`"iat":%d,"nbf":%d,"exp":%d`, at, at, at+28800)
	for name, c := range map[string]struct {
		change func(*server.Config)
		want   string
	}{
		"as the reference": {func(*server.Config) {}, `{"aud":"frontend",` + times + `,` + sub + `,"scopes":["customer"]}`},
		"with an issuer": {
			func(c *server.Config) { c.Issuer = "https://shop.example/a?b" },
			`{"aud":"frontend",` + times + `,` + sub + `,"scopes":["customer"],"iss":"https://shop.example/a?b"}`,
		},
		"plain subject and extra claims": {
			func(c *server.Config) {
				c.Clients[0].Subject = server.SubjectReference
				c.Clients[0].Claims = server.ExtraClaims()[:5]
			},
			`{"aud":"frontend",` + times + `,"sub":"DE--21","scopes":["customer"],"client_id":"frontend","customer_reference":"DE--21",` +
				`"email":"sonia@spryker.com","id_customer":21,"scope":"customer"}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t, c.change)
			h.addDemo()
			got := payload(t, h.mustSignIn().AccessToken)
			start := strings.Index(got, jti)
			if start < 0 {
				t.Fatalf("no jti of customer 21 in %s", got)
			}
			end := start + len(`"jti":"",`) + 80
			if got = got[:start] + got[end:]; got != c.want {
				t.Errorf("payload without jti:\n got %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestSubjectIsEncodedAsTheReferenceDoes(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.add(sqlstore.NewCustomer{Reference: `A/<b>&'"\é€😀`, Email: demoEmail, PasswordHash: demoHash, Confirmed: true})
	want := `"sub":"{\"id_company_user\":null,\"id_agent\":null,\"customer_reference\":` +
		`\"A\\/\\u003Cb\\u003E\\u0026\\u0027\\u0022\\\\\\u00e9\\u20ac\\ud83d\\ude00\",\"id_customer\":1,`
	if got := payload(t, h.mustSignIn().AccessToken); !strings.Contains(got, want) {
		t.Errorf("payload %s\nlacks %s", got, want)
	}
}

func TestRefreshOutcomesAreAnsweredAndTold(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.addDemo()
	first := h.mustSignIn()
	second := h.mustRefresh(first.RefreshToken)
	if e := h.last(); e.Name != server.EventRotated || e.Client != "frontend" || e.Subject.ID != 21 || e.Generation != 1 {
		t.Errorf("after a rotation: %+v", e)
	}
	if again := h.mustRefresh(first.RefreshToken); again.RefreshToken != second.RefreshToken || again.AccessToken == second.AccessToken {
		t.Error("a replay must give the same refresh token with a new access token")
	}
	if e := h.last(); e.Name != server.EventReplayed {
		t.Errorf("after a replay: %+v", e)
	}
	h.pass(2 * time.Minute)
	third := h.mustRefresh(second.RefreshToken)
	h.pass(2 * time.Minute)
	thief := server.TokenRequest{GrantType: "refresh_token", RefreshToken: &first.RefreshToken, UserAgent: "thief"}
	if _, err := h.token(thief); err != nil {
		t.Errorf("an ancestor from the same device: %v", err)
	}
	_, err := h.server.Token(t.Context(), thief) // no address: another device
	if server.CodeOf(err) != server.BadRefreshToken {
		t.Errorf("an ancestor from another device: %v", err)
	}
	h.told(server.EventReuse, "reuse")
	if e := h.last(); e.Other.String() != "192.0.2.1" {
		t.Errorf("told the other address %s", e.Other)
	}
	h.refused(third.RefreshToken, "after a theft")
}

func TestCustomerWhoMayNotGoOnLosesHisSession(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change, back string
		cause        store.Cause
	}{
		"blocked":     {`UPDATE customers SET blocked_at = 1`, `UPDATE customers SET blocked_at = NULL`, store.CauseBlocked},
		"unconfirmed": {`UPDATE customers SET registered = NULL`, `UPDATE customers SET registered = '2026-01-01'`, store.CauseUnconfirmed},
		"anonymised":  {`UPDATE customers SET anonymized_at = 1`, `UPDATE customers SET anonymized_at = NULL`, store.CauseGone},
		"password": {
			`UPDATE customers SET password = '$2y$04$wyj28BGBsdZRyl2Jn.ZT5uIKieOFspJHDVFY/D51NksyZ.ZVJHqby'`,
			`UPDATE customers SET password = '` + demoHash.Reveal() + `'`, store.CausePassword,
		},
		"gone": {`UPDATE customers SET id_customer = 22`, `UPDATE customers SET id_customer = 21`, store.CauseGone},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			h.addDemo()
			answer := h.mustSignIn()
			h.exec(c.change)
			h.refused(answer.RefreshToken, "while it lasts")
			if e := h.last(); e.Name != server.EventRefreshRefused || e.Cause != string(c.cause) {
				t.Errorf("got event %+v, want cause %s", e, c.cause)
			}
			h.exec(c.back)
			h.refused(answer.RefreshToken, "after it was undone")
		})
	}
}

func TestObservedCustomerCheckRefreshes(t *testing.T) {
	t.Parallel()
	h := newHarness(t, func(c *server.Config) { c.CustomerCheckObserved = true })
	h.addDemo()
	token := h.mustSignIn().RefreshToken
	for _, c := range []struct {
		change string
		told   store.Cause
	}{
		{`blocked_at = 1`, store.CauseBlocked},
		{`blocked_at = NULL, registered = NULL`, store.CauseUnconfirmed},
		{`registered = '2026-01-01', password = NULL`, ""}, // which is not looked at
	} {
		h.exec("UPDATE customers SET " + c.change)
		before := len(h.events)
		token = h.mustRefresh(token).RefreshToken
		observed := slices.DeleteFunc(slices.Clone(h.events[before:]), func(e server.Event) bool { return e.Name != server.EventObserved })
		if c.told == "" && len(observed) == 0 {
			continue
		}
		if len(observed) != 1 || observed[0].Cause != string(c.told) || observed[0].Subject.ID != 21 {
			t.Errorf("%s: told %+v, want %q", c.change, observed, c.told)
		}
	}
	h.exec(`UPDATE customers SET anonymized_at = 1`)
	h.refused(token, "anonymised")
}

func TestClientsAreKeptApart(t *testing.T) {
	t.Parallel()
	h := newHarness(t, func(c *server.Config) {
		web := client("web")
		web.Secret = "s3cret"
		c.Clients = append(c.Clients, web)
	})
	h.addDemo()
	web := server.Credentials{ID: "web", Secret: pointer(secret.Text("s3cret"))}
	r := server.TokenRequest{GrantType: "password", Username: pointer(demoEmail), Password: pointer(demoPassword), Client: web}
	answer, err := h.token(r)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		client server.Credentials
		want   server.Code
	}{
		"the default client":    {server.Credentials{}, server.BadRefreshToken},
		"another client":        {server.Credentials{ID: "frontend"}, server.BadRefreshToken},
		"without the secret":    {server.Credentials{ID: "web"}, server.InvalidClient},
		"with a wrong secret":   {server.Credentials{ID: "web", Secret: pointer(secret.Text("x"))}, server.InvalidClient},
		"with an empty secret":  {server.Credentials{ID: "web", Secret: pointer(secret.Text(""))}, server.InvalidClient},
		"an unknown client":     {server.Credentials{ID: "nobody"}, server.InvalidClient},
		"other's id, my secret": {server.Credentials{ID: "frontend", Secret: web.Secret}, server.BadRefreshToken},
	} {
		_, err := h.token(server.TokenRequest{GrantType: "refresh_token", RefreshToken: &answer.RefreshToken, Client: c.client})
		if server.CodeOf(err) != c.want {
			t.Errorf("%s: got %v, want %s", name, err, c.want)
		}
	}
	if _, err := h.token(server.TokenRequest{GrantType: "refresh_token", RefreshToken: &answer.RefreshToken, Client: web}); err != nil {
		t.Errorf("its own client: %v", err)
	}
}

func TestScopes(t *testing.T) {
	t.Parallel()
	type result struct {
		scopes, tell string
		code         server.Code
	}
	for name, c := range map[string]struct {
		dialect server.Dialect
		scope   *string
		want    result
	}{
		"glue, none":             {server.Glue, nil, result{scopes: `["customer"]`}},
		"glue, empty":            {server.Glue, pointer(""), result{scopes: `["customer"]`}},
		"glue, unknown dropped":  {server.Glue, pointer("agent read"), result{scopes: `["read","customer"]`}},
		"glue, said twice":       {server.Glue, pointer("customer read customer"), result{scopes: `["customer","read"]`}},
		"rfc6749, none":          {server.RFC6749, nil, result{scopes: `["customer"]`, tell: "customer"}},
		"rfc6749, chosen":        {server.RFC6749, pointer("read"), result{scopes: `["read"]`}},
		"rfc6749, unknown":       {server.RFC6749, pointer("read agent"), result{code: server.InvalidScope}},
		"rfc6749, only a spaces": {server.RFC6749, pointer(" "), result{scopes: `["customer"]`, tell: "customer"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t, func(cfg *server.Config) {
				cfg.Clients[0].Dialect, cfg.Clients[0].Scopes = c.dialect, []string{"customer", "read"}
			})
			h.addDemo()
			answer, err := h.token(server.TokenRequest{GrantType: "password", Username: pointer(demoEmail), Password: pointer(demoPassword), Scope: c.scope})
			got := result{tell: answer.Scope}
			if err != nil {
				got.code = server.CodeOf(err)
			} else {
				_, after, _ := strings.Cut(payload(t, answer.AccessToken), `"scopes":`)
				got.scopes = strings.TrimSuffix(after, "}")
			}
			if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(result{})); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestScopesAreThoseOfTheClientsListToday(t *testing.T) {
	t.Parallel()
	list := []string{"orders", "customer"}
	h := newHarness(t, func(c *server.Config) { c.Clients[0].Scopes = list })
	h.addDemo()
	if got := payload(t, h.mustSignIn().AccessToken); !strings.Contains(got, `"scopes":["customer"]`) {
		t.Errorf("a sign-in that does not choose: %s", got)
	}
	answer, err := h.token(server.TokenRequest{GrantType: "password", Username: pointer(demoEmail), Password: pointer(demoPassword), Scope: pointer("orders")})
	if err != nil {
		t.Fatal(err)
	}
	for _, odd := range []string{"customer\tx", "customer\norders", "agent", strings.Repeat("x ", 20_000) + "y"} {
		_, err := h.token(server.TokenRequest{GrantType: "refresh_token", RefreshToken: &answer.RefreshToken, Scope: &odd})
		if server.CodeOf(err) != server.InvalidScope {
			t.Errorf("scope %.20q: %v", odd, err)
		}
	}
	list[0] = "withdrawn"
	again := h.mustRefresh(answer.RefreshToken)
	if got := payload(t, again.AccessToken); !strings.Contains(got, `"scopes":["customer"]`) {
		t.Errorf("after a scope was withdrawn: %s", got)
	}
	if _, err := h.token(server.TokenRequest{GrantType: "refresh_token", RefreshToken: &again.RefreshToken, Scope: pointer("orders")}); server.CodeOf(err) != server.InvalidScope {
		t.Errorf("a withdrawn scope: %v", err)
	}
}

func TestNarrowerScopeOnRefresh(t *testing.T) {
	t.Parallel()
	for dialect, later := range map[server.Dialect]string{server.Glue: `["customer"]`, server.RFC6749: `["customer","read"]`} {
		t.Run(string(dialect), func(t *testing.T) {
			t.Parallel()
			h := newHarness(t, func(c *server.Config) {
				c.Clients[0].Dialect, c.Clients[0].Scopes = dialect, []string{"customer", "read"}
			})
			h.addDemo()
			answer, err := h.token(server.TokenRequest{GrantType: "password", Username: pointer(demoEmail), Password: pointer(demoPassword), Scope: pointer("customer read")})
			if err != nil {
				t.Fatal(err)
			}
			ask := server.TokenRequest{GrantType: "refresh_token", RefreshToken: &answer.RefreshToken, Scope: pointer("customer agent")}
			if _, err := h.token(ask); server.CodeOf(err) != server.InvalidScope {
				t.Errorf("a wider scope: %v", err)
			}
			ask.Scope = pointer("customer")
			narrowed, err := h.token(ask)
			if err != nil {
				t.Fatal(err)
			}
			if got := payload(t, narrowed.AccessToken); !strings.Contains(got, `"scopes":["customer"]`) {
				t.Errorf("narrowed: %s", got)
			}
			if got := payload(t, h.mustRefresh(narrowed.RefreshToken).AccessToken); !strings.Contains(got, `"scopes":`+later) {
				t.Errorf("the refresh after it: %s, want %s", got, later)
			}
		})
	}
}

func TestLifetimesAreCalendarMonthsAndEndForGood(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.addDemo()
	token := h.mustSignIn().RefreshToken // 31 January, so until 3 March
	h.pass(31*24*time.Hour - time.Second)
	h.mustRefresh(token)
	h.pass(time.Second)
	h.refused(token, "a month after 31 January is 3 March")
	if e := h.last(); e.Cause != "expired" {
		t.Errorf("got event %+v", e)
	}
	token = h.mustSignIn().RefreshToken
	begun := h.now()
	for h.now().Before(begun.AddDate(1, 0, -20)) {
		h.pass(20 * 24 * time.Hour)
		token = h.mustRefresh(token).RefreshToken
	}
	h.pass(begun.AddDate(1, 0, 0).Sub(h.now()))
	h.refused(token, "a year after the sign-in")
}

func TestOurOwnFailureIsNoVerdict(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.addDemo()
	token := h.mustSignIn().RefreshToken
	h.exec(`ALTER TABLE customers RENAME TO elsewhere`)
	if _, err := h.refresh(token); server.CodeOf(err) != server.Unavailable {
		t.Errorf("refresh: %v", err)
	}
	if _, err := h.signIn(demoEmail, "change123"); server.CodeOf(err) != server.Unavailable {
		t.Errorf("sign-in: %v", err)
	}
	h.exec(`ALTER TABLE elsewhere RENAME TO customers`)
	h.exec(`ALTER TABLE sessions RENAME TO elsewhere`)
	if _, err := h.refresh(token); server.CodeOf(err) != server.Unavailable {
		t.Errorf("refresh: %v", err)
	}
	if _, err := h.signIn(demoEmail, "change123"); server.CodeOf(err) != server.Unavailable {
		t.Errorf("sign-in: %v", err)
	}
	h.exec(`ALTER TABLE elsewhere RENAME TO sessions`)
	h.mustRefresh(token)
}

func TestNoRandomnessNoToken(t *testing.T) {
	t.Parallel()
	h := newHarness(t, func(c *server.Config) { c.Random = failingReader{} })
	h.addDemo()
	if _, err := h.signIn(demoEmail, "change123"); server.CodeOf(err) != server.Internal {
		t.Errorf("got %v, want %s", err, server.Internal)
	}
}

func TestRacersWithOneTokenShareOneSuccessor(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.addDemo()
	token := h.mustSignIn().RefreshToken
	for range 10 {
		var group sync.WaitGroup
		answers := make([]server.TokenResponse, 32)
		errs := make([]error, 32)
		for i := range answers {
			group.Go(func() { answers[i], errs[i] = h.refresh(token) })
		}
		group.Wait()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		for _, a := range answers {
			if a.RefreshToken != answers[0].RefreshToken {
				t.Fatal("two racers got different successors")
			}
		}
		token = answers[0].RefreshToken
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	rotated := 0
	for _, e := range h.events {
		if e.Name == server.EventRotated {
			rotated++
		}
	}
	if rotated != 10 {
		t.Errorf("10 rounds made %d generations", rotated)
	}
}

func TestMissingPartsAreNamed(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	for name, c := range map[string]struct {
		request server.TokenRequest
		want    server.Code
	}{
		"no grant type":      {server.TokenRequest{}, server.MissingGrant},
		"unknown grant type": {server.TokenRequest{GrantType: "client_credentials"}, server.UnsupportedGrant},
		"no username":        {server.TokenRequest{GrantType: "password", Password: pointer(demoPassword)}, server.MissingParameter},
		"no password":        {server.TokenRequest{GrantType: "password", Username: pointer(demoEmail)}, server.MissingParameter},
		"no refresh token":   {server.TokenRequest{GrantType: "refresh_token"}, server.MissingParameter},
		"bad client first":   {server.TokenRequest{GrantType: "password", Client: server.Credentials{ID: "x"}}, server.InvalidClient},
	} {
		if _, err := h.token(c.request); server.CodeOf(err) != c.want {
			t.Errorf("%s: got %v, want %s", name, err, c.want)
		}
	}
}
