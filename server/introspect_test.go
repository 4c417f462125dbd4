package server_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/server"
	"github.com/glueauth/glueauth/store"
	"github.com/glueauth/glueauth/store/sqlstore"
)

// gate is a harness with a gateway before it, whose client may introspect.
type gate struct {
	*harness
	introspector *server.Introspector
}

var gateway = server.Credentials{ID: "gateway", Secret: pointer(secret.Text("s3cret"))}

func newGate(t *testing.T, change ...func(*server.Config)) *gate {
	t.Helper()
	h := newHarness(t, append([]func(*server.Config){func(c *server.Config) {
		asking := client("gateway")
		asking.Secret, asking.Introspect = "s3cret", true
		c.Clients = append(c.Clients, asking)
	}}, change...)...)
	introspector, err := server.NewIntrospector(h.config, h.sessions)
	if err != nil {
		t.Fatal(err)
	}
	return &gate{h, introspector}
}

// behind is another introspector with another store of sessions.
func (g *gate) behind(sessions server.SessionReader, change func(*server.Config)) *gate {
	g.t.Helper()
	config := g.config
	change(&config)
	introspector, err := server.NewIntrospector(config, sessions)
	if err != nil {
		g.t.Fatal(err)
	}
	return &gate{g.harness, introspector}
}

func (g *gate) ask(token secret.Text) (server.Introspection, error) {
	g.t.Helper()
	return g.introspector.Introspect(g.t.Context(), server.IntrospectRequest{Client: gateway, Token: &token})
}

func (g *gate) active(token secret.Text, want bool, when string) {
	g.t.Helper()
	got, err := g.ask(token)
	if err != nil || got.Active != want || !want && got != (server.Introspection{}) {
		g.t.Errorf("%s: %+v %v, want active %v", when, got, err, want)
	}
}

// own signs the gateway's own client in.
func (g *gate) own() server.TokenResponse {
	g.t.Helper()
	p := demoPassword
	answer, err := g.token(server.TokenRequest{GrantType: "password", Client: gateway, Username: pointer(demoEmail), Password: &p})
	if err != nil {
		g.t.Fatal(err)
	}
	return answer
}

func nothing(*server.Config) {}

// readers are stores that answer all with one error.
type readers struct{ err error }

func (r readers) Session(context.Context, store.Subject, store.SessionName) (store.Snapshot, error) {
	return store.Snapshot{}, r.err
}

func (r readers) Record(context.Context, store.Subject) (*store.SubjectRecord, error) {
	return nil, r.err
}

func TestATokenIsActiveWhileItsSessionLives(t *testing.T) {
	t.Parallel()
	all := func(g *gate, s server.TokenResponse) {
		_, err := g.revoke(server.RevokeRequest{Client: gateway, Token: &s.RefreshToken, Sessions: "all"})
		if err != nil {
			g.t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		happens         func(*gate, server.TokenResponse)
		access, refresh bool
	}{
		"nothing":            {func(*gate, server.TokenResponse) {}, true, true},
		"almost eight hours": {func(g *gate, _ server.TokenResponse) { g.pass(8*time.Hour - time.Second) }, true, true},
		"eight hours":        {func(g *gate, _ server.TokenResponse) { g.pass(8 * time.Hour) }, false, true},
		"another session":    {func(g *gate, _ server.TokenResponse) { g.own() }, true, true},
		"the customer signs out": {func(g *gate, s server.TokenResponse) {
			_, _ = g.revoke(server.RevokeRequest{Client: gateway, Token: &s.AccessToken})
		}, false, false},
		"everywhere":                      {all, false, false},
		"everywhere, from elsewhere":      {func(g *gate, _ server.TokenResponse) { all(g, g.own()) }, false, false},
		"all records are lost":            {func(g *gate, _ server.TokenResponse) { g.exec(`DELETE FROM sessions`) }, false, false},
		"the customer's record is lost":   {func(g *gate, _ server.TokenResponse) { g.exec(`DELETE FROM subjects`) }, false, false},
		"another client's session is out": {func(g *gate, _ server.TokenResponse) { g.mustSignOut(g.mustSignIn().RefreshToken, "") }, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGate(t)
			g.addDemo()
			s := g.own()
			c.happens(g, s)
			g.active(s.AccessToken, c.access, "access token")
			g.active(s.RefreshToken, c.refresh, "refresh token")
			_, err := g.introspector.Verify(t.Context(), s.AccessToken, true)
			if (err == nil) != c.access || err != nil && server.CodeOf(err) != server.BadAccessToken {
				t.Errorf("asked for with its session: %v", err)
			}
		})
	}
}

// TestARefreshTokenThatWasReplacedUnusedIsNotActive : whoever used it would be taken for a thief.
func TestARefreshTokenThatWasReplacedUnusedIsNotActive(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	g.addDemo()
	used := g.own().RefreshToken
	refresh := func(from string) secret.Text {
		t.Helper()
		answer, err := g.token(server.TokenRequest{GrantType: "refresh_token", Client: gateway, RefreshToken: &used, Address: netip.MustParseAddr(from)})
		if err != nil {
			t.Fatal(err)
		}
		return answer.RefreshToken
	}
	lost := refresh(here)
	g.active(lost, true, "the newest one")
	g.pass(2 * time.Minute)
	newest := refresh("198.51.100.9") // its owner asks again from elsewhere
	for token, want := range map[secret.Text]bool{used: true, lost: false, newest: true} {
		g.active(token, want, map[secret.Text]string{used: "the one used last", lost: "the one that was replaced", newest: "the newest one"}[token])
	}
}

func TestAnAccessTokenEndsWithItsSessionEvenWhenItLastsLonger(t *testing.T) {
	t.Parallel()
	g := newGate(t, func(c *server.Config) {
		c.Clients[0].RefreshUntil = func(t time.Time) time.Time { return t.Add(time.Hour) }
	})
	g.addDemo()
	s := g.mustSignIn()
	g.pass(time.Hour - time.Second)
	g.active(s.AccessToken, true, "before its session expires")
	g.pass(time.Second)
	g.active(s.AccessToken, false, "after")
}

func TestWhatIsToldOfATokenIsWhatItSays(t *testing.T) {
	t.Parallel()
	g := newGate(t, func(c *server.Config) {
		c.Issuer, c.Clients[0].Subject = "https://login.example", server.SubjectReference
	})
	g.addDemo()
	got, err := g.ask(g.mustSignIn().AccessToken)
	if err != nil || len(got.ID) != 80 {
		t.Fatal(got, err)
	}
	at := g.now().Unix()
	want := server.Introspection{
		Active: true, Scope: "customer", Client: "frontend", Type: "Bearer", ExpiresAt: at + 28800, IssuedAt: at, NotBefore: at,
		Subject: "DE--21", Audience: "frontend", Issuer: "https://login.example", ID: got.ID,
	}
	if got != want {
		t.Error(cmp.Diff(want, got))
	}
}

func TestOnlyAProvedClientThatMayIsTold(t *testing.T) {
	t.Parallel()
	g := newGate(t, func(c *server.Config) {
		list := []server.Client{c.Clients[1], c.Clients[0], client("erp")}
		list[2].Secret = "other"
		c.Clients = list // the default client has a secret and may introspect
	})
	g.addDemo()
	token := g.own().AccessToken
	for name, c := range map[string]struct {
		client server.Credentials
		want   server.Code
	}{
		"nobody":                  {server.Credentials{}, server.InvalidClient},
		"nobody with the secret":  {server.Credentials{Secret: gateway.Secret}, server.InvalidClient},
		"no secret":               {server.Credentials{ID: "gateway"}, server.InvalidClient},
		"a wrong secret":          {server.Credentials{ID: "gateway", Secret: pointer(secret.Text("s3cre"))}, server.InvalidClient},
		"an unknown client":       {server.Credentials{ID: "ghost", Secret: gateway.Secret}, server.InvalidClient},
		"a public client":         {server.Credentials{ID: "frontend"}, server.InvalidClient},
		"one that may not":        {server.Credentials{ID: "erp", Secret: pointer(secret.Text("other"))}, server.NotAllowed},
		"one that may not, wrong": {server.Credentials{ID: "erp", Secret: gateway.Secret}, server.InvalidClient},
	} {
		got, err := g.introspector.Introspect(t.Context(), server.IntrospectRequest{Client: c.client, Token: &token})
		if server.CodeOf(err) != c.want || got != (server.Introspection{}) {
			t.Errorf("%s: %+v %v, want %s", name, got, err, c.want)
		}
	}
	if _, err := g.introspector.Introspect(t.Context(), server.IntrospectRequest{Client: gateway}); server.CodeOf(err) != server.MissingParameter {
		t.Errorf("no token: %v", err)
	}
	g.active(token, true, "the one that may")
}

func TestAStoreThatCannotSayIsNoWordOnAToken(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	g.addDemo()
	s := g.own()
	tokens := map[string]secret.Text{"access": s.AccessToken, "refresh": s.RefreshToken, "the shop's": shopAccessToken(t, g.now())}
	for text, c := range map[string]struct {
		err  error
		want server.Code
	}{
		"down": {fmt.Errorf("no connection: %w", store.ErrUnavailable), server.Unavailable},
		"slow": {context.DeadlineExceeded, server.Unavailable},
		"bug":  {errors.New("bug"), server.Internal},
	} {
		down := g.behind(readers{c.err}, nothing)
		for kind, token := range tokens {
			if got, err := down.ask(token); server.CodeOf(err) != c.want || got != (server.Introspection{}) {
				t.Errorf("%s, %s token: %+v %v", text, kind, got, err)
			}
		}
		if _, err := down.introspector.Verify(t.Context(), s.AccessToken, true); server.CodeOf(err) != c.want {
			t.Errorf("%s, verify: %v", text, err)
		}
		if _, err := down.introspector.Verify(t.Context(), s.AccessToken, false); err != nil {
			t.Errorf("%s, verify without the session: %v", text, err)
		}
		down.active("x", false, "garbage")
	}
	ahead := g.replica(func(c *server.Config) { c.Refresh.MACKey = 2 })
	newer, err := ahead.token(server.TokenRequest{GrantType: "refresh_token", Client: gateway, RefreshToken: &s.RefreshToken})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.ask(newer.RefreshToken); server.CodeOf(err) != server.Unavailable {
		t.Errorf("a refresh token of a replica ahead: %v", err)
	}
}

func TestAShopsAccessTokenIsJudgedByWhatIsKnownOfItsCustomer(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		happens func(*gate, server.TokenResponse)
		active  bool
	}{
		"nothing":                {func(*gate, server.TokenResponse) {}, true},
		"nine hours":             {func(g *gate, _ server.TokenResponse) { g.pass(9 * time.Hour) }, false},
		"signs out here":         {func(g *gate, s server.TokenResponse) { g.mustSignOut(s.RefreshToken, "") }, true},
		"signs out everywhere":   {func(g *gate, s server.TokenResponse) { g.mustSignOut(s.RefreshToken, "all") }, false},
		"another password shows": {func(g *gate, s server.TokenResponse) { g.repassword(); g.refused(s.RefreshToken, "password") }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGate(t)
			g.addDemo()
			token := shopAccessToken(t, g.now())
			g.pass(time.Minute)
			s := g.mustSignIn()
			c.happens(g, s)
			g.active(token, c.active, "introspected")
			if _, err := g.introspector.Verify(t.Context(), token, true); (err == nil) != c.active {
				t.Errorf("verified: %v", err)
			}
		})
	}
}

func (h *harness) repassword() {
	h.exec(`UPDATE customers SET password = '$2y$04$wyj28BGBsdZRyl2Jn.ZT5uIKieOFspJHDVFY/D51NksyZ.ZVJHqby'`)
}

func TestTheCustomerOfATokenIsKnownInEachFormOfSubject(t *testing.T) {
	t.Parallel()
	const uuid = "6ec5b5ae-3d40-5b1d-8bd0-0a3d5d6a0f2e"
	for name, c := range map[string]struct {
		form   server.SubjectForm
		claims []string
		want   server.Bearer
	}{
		"glue":                {form: server.SubjectGlue, want: server.Bearer{Reference: "DE--21/x y", ID: 21, Scopes: []string{"customer"}}},
		"reference":           {form: server.SubjectReference, want: server.Bearer{Reference: "DE--21/x y", ID: 21, Scopes: []string{"customer"}}},
		"uuid":                {form: server.SubjectUUID, want: server.Bearer{ID: 21, Scopes: []string{"customer"}}},
		"uuid with the claim": {server.SubjectUUID, []string{"customer_reference"}, server.Bearer{Reference: "DE--21/x y", ID: 21, Scopes: []string{"customer"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGate(t, func(config *server.Config) { config.Clients[0].Subject, config.Clients[0].Claims = c.form, c.claims })
			g.add(sqlstore.NewCustomer{ID: 21, Reference: "DE--21/x y", Email: demoEmail, PasswordHash: demoHash, Confirmed: true})
			g.exec(`UPDATE customers SET uuid = '` + uuid + `'`)
			got, err := g.introspector.Verify(t.Context(), g.mustSignIn().AccessToken, false)
			if err != nil || !cmp.Equal(got, c.want) {
				t.Error(err, cmp.Diff(c.want, got))
			}
		})
	}
}

func TestATokenOfNobodyWhoIsACustomerLetsNobodyThrough(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	at := g.now().Unix()
	base := fmt.Sprintf(`{"aud":"frontend","iat":%d,"exp":%d,"jti":"%s"`, at, at+60, strings.Repeat("e7", 40))
	agent := `,"sub":"{\"id_agent\":5,\"customer_reference\":null,\"id_customer\":null}"`
	signed := func(claims string) secret.Text {
		token, err := g.config.Keys.Sign("JWT", []byte(claims))
		if err != nil {
			t.Fatal(err)
		}
		return secret.Text(token)
	}
	for name, c := range map[string]struct {
		token  secret.Text
		id     int64
		active bool
	}{
		"the shop's own, of a customer": {forShop(t, base+`,"sub":"{\"customer_reference\":\"DE--21\",\"id_customer\":21}"}`), 21, true},
		"the shop's own, of an agent":   {forShop(t, base+agent+`}`), 0, true},
		"the shop's own, of a machine":  {forShop(t, base+`,"sub":"machine"}`), 0, true},
		"the shop's own, of nobody":     {forShop(t, base+`}`), 0, true},
		"a sub that is no text":         {forShop(t, base+`,"sub":21}`), 0, false},
		"ours, without a session":       {signed(base + `,"sub":"machine"}`), 0, false},
		"ours, of an agent":             {signed(base + agent + `}`), 0, false},
	} {
		got, err := g.introspector.Verify(t.Context(), c.token, false)
		if got.ID != c.id || c.id == 0 && server.CodeOf(err) != server.BadAccessToken {
			t.Errorf("%s: verified as %+v, %v", name, got, err)
		}
		g.active(c.token, c.active, name)
	}
}

func TestWhatIsNoAccessTokenIsRefused(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	g.addDemo()
	s := g.mustSignIn()
	access := s.AccessToken.Reveal()
	for name, token := range map[string]string{
		"nothing": "", "garbage": "x", "two dots": "..", "a refresh token": s.RefreshToken.Reveal(),
		"no signature": access[:strings.LastIndex(access, ".")+1], "one letter off": access[:200] + flip(access[200]) + access[201:],
	} {
		for _, live := range []bool{false, true} {
			if _, err := g.introspector.Verify(t.Context(), secret.Text(token), live); server.CodeOf(err) != server.BadAccessToken {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestOnlyClientsWithASecretMayBeAllowedToAsk(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	for name, spoil := range map[string]func(*server.Config){
		"public client that asks": func(c *server.Config) { c.Clients = []server.Client{client("x")}; c.Clients[0].Introspect = true },
		"no clients":              func(c *server.Config) { c.Clients = nil },
		"no keys":                 func(c *server.Config) { c.Keys = nil },
		"no master":               func(c *server.Config) { c.Master = nil },
		"no clock":                func(c *server.Config) { c.Now = nil },
	} {
		config := h.config
		spoil(&config)
		if _, err := server.NewIntrospector(config, h.sessions); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := server.NewIntrospector(h.config, nil); err == nil {
		t.Error("no sessions: accepted")
	}
}

func TestMetadataSayWhatTheClientsCan(t *testing.T) {
	t.Parallel()
	g := newGate(t, func(c *server.Config) {
		c.Issuer = "https://login.example"
		c.Clients[0].Scopes, c.Clients[1].Scopes = []string{"customer", "b"}, []string{"a", "b"}
		c.Clients[1].Algorithm = "ES256"
	})
	want := server.Metadata{
		Issuer: "https://login.example", Grants: []string{"password", "refresh_token"}, Scopes: []string{"customer", "b", "a"},
		Algorithms: []string{"RS256", "ES256"}, Public: true, Confidential: true, Introspects: true,
	}
	if got := g.server.Metadata(); !cmp.Equal(got, want) {
		t.Error(cmp.Diff(want, got))
	}
	want = server.Metadata{Grants: want.Grants, Scopes: []string{"customer"}, Algorithms: []string{"RS256"}, Public: true}
	if got := newHarness(t).server.Metadata(); !cmp.Equal(got, want) {
		t.Error(cmp.Diff(want, got))
	}
}
