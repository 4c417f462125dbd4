package server_test

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/server"
	"github.com/glueauth/glueauth/store"
)

func (h *harness) revoke(r server.RevokeRequest) (*server.TokenResponse, error) {
	h.t.Helper()
	if !r.Address.IsValid() {
		r.Address, r.UserAgent = netip.MustParseAddr("192.0.2.1"), "browser"
	}
	return h.server.Revoke(h.t.Context(), r)
}

// signOut signs out with a token, of the sessions that are named.
func (h *harness) signOut(token secret.Text, sessions string) (*server.TokenResponse, error) {
	h.t.Helper()
	return h.revoke(server.RevokeRequest{Token: &token, Sessions: sessions})
}

func (h *harness) mustSignOut(token secret.Text, sessions string) {
	h.t.Helper()
	if answer, err := h.signOut(token, sessions); err != nil || answer != nil {
		h.t.Errorf("sign out of %q: %v, %v", sessions, answer, err)
	}
}

// told checks name and cause of the newest event.
func (h *harness) told(name server.EventName, cause string) {
	h.t.Helper()
	if e := h.last(); e.Name != name || e.Cause != cause {
		h.t.Errorf("told %s %s, want %s %s", e.Name, e.Cause, name, cause)
	}
}

// twoClients has a second client, web, beside frontend.
func twoClients(c *server.Config) { c.Clients = append(c.Clients, client("web")) }

func TestAnyGenuineTokenSignsOutItsOwnSession(t *testing.T) {
	t.Parallel()
	type tokens struct{ first, newest server.TokenResponse }
	for name, pick := range map[string]func(tokens) secret.Text{
		"the newest refresh token":           func(s tokens) secret.Text { return s.newest.RefreshToken },
		"an older, expired one":              func(s tokens) secret.Text { return s.first.RefreshToken },
		"the access token of the newest one": func(s tokens) secret.Text { return s.newest.AccessToken },
	} {
		for _, sessions := range []string{"", "this"} {
			t.Run(name+" "+sessions, func(t *testing.T) {
				t.Parallel()
				h := newHarness(t)
				h.addDemo()
				s := tokens{first: h.mustSignIn()}
				h.pass(20 * 24 * time.Hour)
				s.newest, _ = h.refresh(s.first.RefreshToken)
				other := h.mustSignIn()
				h.pass(12*24*time.Hour - 5*time.Hour)
				s.newest = h.mustRefresh(s.newest.RefreshToken)
				h.mustSignOut(pick(s), sessions)
				h.told(server.EventSessionEnded, "revoked")
				h.refused(s.newest.RefreshToken, "after the sign-out")
				h.told(server.EventRefreshRefused, "revoked")
				h.mustRefresh(other.RefreshToken)
			})
		}
	}
}

func TestWhatIsNoTokenOfThisClientSignsNobodyOut(t *testing.T) {
	t.Parallel()
	h := newHarness(t, twoClients, func(c *server.Config) { c.Clients[0].AccessLifetime = time.Hour })
	h.addDemo()
	session, ended := h.mustSignIn(), h.mustSignIn()
	h.mustSignOut(ended.RefreshToken, "")
	h.pass(time.Hour)
	expired := session.AccessToken
	session = h.mustRefresh(session.RefreshToken)
	web := server.Credentials{ID: "web"}
	refresh, access := session.RefreshToken.Reveal(), session.AccessToken.Reveal()
	for name, c := range map[string]struct {
		client server.Credentials
		token  string
		cause  string
	}{
		"garbage":                         {token: "garbage", cause: "not_ours"},
		"nothing":                         {token: "", cause: "not_ours"},
		"a token of the shop":             {token: "def50200" + strings.Repeat("ab", 300), cause: "not_ours"},
		"a refresh token, one letter off": {token: refresh[:60] + flip(refresh[60]) + refresh[61:], cause: "not_ours"},
		"a refresh token, cut":            {token: refresh[:75], cause: "not_ours"},
		"an access token, one letter off": {token: access[:200] + flip(access[200]) + access[201:], cause: "not_ours"},
		"an access token, unsigned":       {token: access[:strings.LastIndex(access, ".")+1], cause: "not_ours"},
		"an expired access token":         {token: expired.Reveal(), cause: "expired"},
		"another client's access token":   {client: web, token: access, cause: "other_client"},
		"another client's refresh token":  {client: web, token: refresh, cause: "ended"},
		"a session that has ended":        {token: ended.RefreshToken.Reveal(), cause: "ended"},
		"access to an ended session":      {token: h.accessOf(ended), cause: "expired"},
	} {
		token := secret.Text(c.token)
		if answer, err := h.revoke(server.RevokeRequest{Client: c.client, Token: &token}); answer != nil || err != nil {
			t.Errorf("%s: %v, %v", name, answer, err)
		}
		if e := h.last(); e.Name != server.EventRevokeIgnored || e.Cause != c.cause {
			t.Errorf("%s: told %s %s, want cause %s", name, e.Name, e.Cause, c.cause)
		}
	}
	h.mustRefresh(session.RefreshToken)
}

func (h *harness) accessOf(r server.TokenResponse) string { return r.AccessToken.Reveal() }

func flip(letter byte) string {
	if letter == 'A' {
		return "B"
	}
	return "A"
}

func TestLostSessionIsNoSession(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.addDemo()
	session := h.mustSignIn()
	h.exec(`DELETE FROM sessions`)
	h.mustSignOut(session.RefreshToken, "")
	h.told(server.EventRevokeIgnored, "ended")
	h.refused(session.RefreshToken, "without a record")
	h.told(server.EventRefreshRefused, "store_lost")
}

// untouched is a store that nobody may ask.
type untouched struct{ t *testing.T }

func (u untouched) Open(context.Context, store.SignIn) (store.SignedIn, error) {
	u.t.Error("a session was opened")
	return store.SignedIn{}, store.ErrUnavailable
}

func (u untouched) Adopt(context.Context, store.Adoption) (store.RotateResult, error) {
	u.t.Error("a session was taken over")
	return store.RotateResult{}, store.ErrUnavailable
}

func (u untouched) Rotate(context.Context, store.Rotation) (store.RotateResult, error) {
	u.t.Error("a session was rotated")
	return store.RotateResult{}, store.ErrUnavailable
}

func (u untouched) End(context.Context, store.Ending) (bool, error) {
	u.t.Error("a session was ended")
	return false, store.ErrUnavailable
}

func (u untouched) EndAll(context.Context, store.EndingAll) error {
	u.t.Error("all sessions were ended")
	return store.ErrUnavailable
}

func TestMistakesInASignOutAreNamedBeforeTheStoreIsAsked(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.addDemo()
	session := h.mustSignIn()
	lone := h.replica(func(c *server.Config) {
		c.Sessions = untouched{t}
		c.Clients[0].Secret = "s3cret"
	})
	good := server.Credentials{Secret: pointer(secret.Text("s3cret")), ID: "frontend"}
	for name, c := range map[string]struct {
		request server.RevokeRequest
		want    server.Code
	}{
		"client before token":       {server.RevokeRequest{Client: server.Credentials{ID: "frontend"}}, server.InvalidClient},
		"unknown client":            {server.RevokeRequest{Client: server.Credentials{ID: "x"}, Token: &session.RefreshToken}, server.InvalidClient},
		"no token":                  {server.RevokeRequest{Client: good}, server.MissingParameter},
		"no token, all":             {server.RevokeRequest{Client: good, Sessions: "all"}, server.MissingParameter},
		"unknown sessions":          {server.RevokeRequest{Client: good, Token: &session.RefreshToken, Sessions: "mine"}, server.Malformed},
		"sessions in capitals":      {server.RevokeRequest{Client: good, Token: &session.RefreshToken, Sessions: "ALL"}, server.Malformed},
		"access token for others":   {server.RevokeRequest{Client: good, Token: &session.AccessToken, Sessions: "others"}, server.Malformed},
		"access token for all":      {server.RevokeRequest{Client: good, Token: &session.AccessToken, Sessions: "all"}, server.Malformed},
		"garbage for others":        {server.RevokeRequest{Client: good, Token: pointer(secret.Text("x")), Sessions: "others"}, server.BadRefreshToken},
		"garbage for all":           {server.RevokeRequest{Client: good, Token: pointer(secret.Text("x")), Sessions: "all"}, server.BadRefreshToken},
		"an empty token for others": {server.RevokeRequest{Client: good, Token: pointer(secret.Text("")), Sessions: "others"}, server.BadRefreshToken},
	} {
		if answer, err := lone.revoke(c.request); server.CodeOf(err) != c.want || answer != nil {
			t.Errorf("%s: got %v, want %s", name, err, c.want)
		}
	}
	h.mustRefresh(session.RefreshToken)
}

func TestSignOutIsNeverAcknowledgedWhileTheStoreIsDown(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.addDemo()
	session := h.mustSignIn()
	asked := func(why string) {
		t.Helper()
		for _, sessions := range []string{"this", "others", "all"} {
			if answer, err := h.signOut(session.RefreshToken, sessions); answer != nil || server.CodeOf(err) != server.Unavailable {
				t.Errorf("%s, %s: %v, %v", why, sessions, answer, err)
			}
		}
		if _, err := h.signOut(session.AccessToken, ""); server.CodeOf(err) != server.Unavailable {
			t.Errorf("%s, with an access token: %v", why, err)
		}
	}
	h.exec(`ALTER TABLE sessions RENAME TO elsewhere`)
	asked("without a table")
	h.exec(`ALTER TABLE elsewhere RENAME TO sessions`)
	session = h.mustRefresh(session.RefreshToken)
	late, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.server.Revoke(late, server.RevokeRequest{Token: &session.RefreshToken}); server.CodeOf(err) != server.Unavailable {
		t.Errorf("after its time: %v", err)
	}
	session = h.mustRefresh(session.RefreshToken)
	h.sessions.Close()
	asked("closed")
}

func TestSignOutOfTheOthersKeepsThisOne(t *testing.T) {
	t.Parallel()
	h := newHarness(t, twoClients)
	h.addDemo()
	this, other := h.mustSignIn(), h.mustSignIn()
	elsewhere, err := h.token(server.TokenRequest{
		GrantType: "password", Username: pointer(demoEmail), Password: pointer(demoPassword), Client: server.Credentials{ID: "web"},
	})
	if err != nil {
		t.Fatal(err)
	}
	h.pass(time.Hour)
	middle := h.mustRefresh(this.RefreshToken)
	h.pass(time.Hour)
	answer, err := h.signOut(middle.RefreshToken, "others")
	if err != nil || answer == nil {
		t.Fatal(answer, err)
	}
	h.told(server.EventSignedOut, "others")
	if got := payload(t, answer.AccessToken); !strings.Contains(got, `"scopes":["customer"]`) || answer.ExpiresIn != 8*time.Hour {
		t.Errorf("answered %s for %s", got, answer.ExpiresIn)
	}
	h.pass(30 * time.Second)
	again, err := h.signOut(middle.RefreshToken, "others")
	if err != nil || again.RefreshToken != answer.RefreshToken {
		t.Fatalf("the retry of a lost answer: %v", err)
	}
	h.refused(other.RefreshToken, "another session")
	h.told(server.EventRefreshRefused, "signed_out")
	if _, err := h.token(server.TokenRequest{
		GrantType: "refresh_token", RefreshToken: &elsewhere.RefreshToken, Client: server.Credentials{ID: "web"},
	}); server.CodeOf(err) != server.BadRefreshToken {
		t.Errorf("at another client: %v", err)
	}
	h.refused(this.RefreshToken, "a forgotten tab")
	newest := h.mustRefresh(answer.RefreshToken)
	h.refused(middle.RefreshToken, "the retry after the next refresh")
	h.mustRefresh(newest.RefreshToken)
}

func TestOthersIsRefusedLikeARefresh(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change string
		cause  store.Cause
	}{
		"blocked":  {`UPDATE customers SET blocked_at = 1`, store.CauseBlocked},
		"password": {`UPDATE customers SET password = '$2y$04$wyj28BGBsdZRyl2Jn.ZT5uIKieOFspJHDVFY/D51NksyZ.ZVJHqby'`, store.CausePassword},
		"gone":     {`DELETE FROM customers`, store.CauseGone},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			h.addDemo()
			session := h.mustSignIn()
			h.exec(c.change)
			if answer, err := h.signOut(session.RefreshToken, "others"); answer != nil || server.CodeOf(err) != server.BadRefreshToken {
				t.Errorf("%v, %v", answer, err)
			}
			h.told(server.EventRefreshRefused, string(c.cause))
			if all, _, err := h.sessions.SessionsOf(t.Context(), store.Subject{Kind: store.SubjectCustomer, ID: 21}); err != nil || len(all) != 1 || all[0].Cause != c.cause {
				t.Errorf("the session did not end: %+v %v", all, err)
			}
		})
	}
}

func TestSignOutOfAllEndsEverySessionOfTheCustomer(t *testing.T) {
	t.Parallel()
	h := newHarness(t, twoClients)
	h.addDemo()
	this, other := h.mustSignIn(), h.mustSignIn()
	if _, err := h.revoke(server.RevokeRequest{Client: server.Credentials{ID: "web"}, Token: &this.RefreshToken, Sessions: "all"}); server.CodeOf(err) != server.BadRefreshToken {
		t.Errorf("another client: %v", err)
	}
	h.told(server.EventRefreshRefused, "other_client")
	h.exec(`UPDATE customers SET blocked_at = 1, password = NULL`) // whoever may not go on may leave
	h.mustSignOut(this.RefreshToken, "all")
	h.told(server.EventSignedOut, "all")
	if slices.ContainsFunc(h.events, func(e server.Event) bool { return e.Name == server.EventRotated }) {
		t.Error("told of a rotation although no token was handed out")
	}
	h.mustSignOut(this.RefreshToken, "all")
	h.told(server.EventRefreshRefused, "signed_out_all")
	if _, err := h.signOut(other.RefreshToken, "all"); server.CodeOf(err) != server.BadRefreshToken {
		t.Errorf("a session that was signed out: %v", err)
	}
	h.exec(`UPDATE customers SET blocked_at = NULL, password = '` + demoHash.Reveal() + `'`)
	h.refused(this.RefreshToken, "the session itself")
	h.refused(other.RefreshToken, "another one")
	h.mustRefresh(h.mustSignIn().RefreshToken)
}

func TestATokenThatWasSignedOutWithOthersSignsOutItsSessionOnly(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.addDemo()
	old := h.mustSignIn()
	h.pass(time.Hour)
	kept, err := h.signOut(h.mustRefresh(old.RefreshToken).RefreshToken, "others")
	if err != nil {
		t.Fatal(err)
	}
	later := h.mustSignIn()
	if _, err := h.signOut(old.RefreshToken, "all"); server.CodeOf(err) != server.BadRefreshToken {
		t.Errorf("a forgotten tab signs out all: %v", err)
	}
	h.told(server.EventSessionEnded, "revoked")
	h.refused(kept.RefreshToken, "its session")
	h.mustRefresh(later.RefreshToken)
}

func TestASignOutWithAStolenTokenIsATheft(t *testing.T) {
	t.Parallel()
	for _, sessions := range []string{"others", "all"} {
		t.Run(sessions, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			h.addDemo()
			stolen, other := h.mustSignIn(), h.mustSignIn()
			h.pass(time.Hour)
			second := h.mustRefresh(stolen.RefreshToken)
			h.pass(time.Hour)
			third := h.mustRefresh(second.RefreshToken)
			h.pass(time.Hour)
			thief := server.RevokeRequest{Token: &stolen.RefreshToken, Sessions: sessions, Address: netip.MustParseAddr("203.0.113.9"), UserAgent: "thief"}
			if answer, err := h.revoke(thief); answer != nil || server.CodeOf(err) != server.BadRefreshToken {
				t.Errorf("%v, %v", answer, err)
			}
			h.told(server.EventReuse, "reuse")
			if e := h.last(); e.Other.String() != "192.0.2.1" {
				t.Errorf("told the other address %s", e.Other)
			}
			h.refused(third.RefreshToken, "after the theft")
			h.mustRefresh(other.RefreshToken)
		})
	}
}

func TestNoRandomnessNoSignOut(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.addDemo()
	session := h.mustSignIn()
	dry := h.replica(func(c *server.Config) { c.Random = failingReader{} })
	for _, sessions := range []string{"others", "all"} {
		if _, err := dry.signOut(session.RefreshToken, sessions); server.CodeOf(err) != server.Internal {
			t.Errorf("%s: %v", sessions, err)
		}
	}
	h.mustRefresh(session.RefreshToken)
}

func TestVisitorsAreKeptAsFarAsTheyFit(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.addDemo()
	for agent, want := range map[string]string{
		"":                                    "",
		"Mozilla/5.0 (X11)":                   "Mozilla/5.0 (X11)",
		strings.Repeat("a", 100):              strings.Repeat("a", 32),
		strings.Repeat("a", 31) + "é":         strings.Repeat("a", 31),
		strings.Repeat("€", 30):               strings.Repeat("€", 10),
		"a\r\n\x1b[2Jb\u202e\xff\u009b" + "c": "a???[2Jb???c",
		strings.Repeat("\u202e", 200) + "printable":    strings.Repeat("?", 32),
		strings.Repeat("\xff", 31) + "\U0001F600smile": strings.Repeat("?", 31),
	} {
		session, err := h.token(server.TokenRequest{
			GrantType: "password", Username: pointer(demoEmail), Password: pointer(demoPassword),
			Address: netip.MustParseAddr("::ffff:192.0.2.7"), UserAgent: agent,
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.token(server.TokenRequest{
			GrantType: "refresh_token", RefreshToken: &session.RefreshToken, Address: netip.MustParseAddr("fe80::1%eth0"), UserAgent: "other",
		}); err != nil {
			t.Fatal(err)
		}
		kept, err := h.sessions.Session(t.Context(), store.Subject{Kind: store.SubjectCustomer, ID: 21}, h.last().Session)
		if err != nil {
			t.Fatal(err)
		}
		got := []store.Visitor{kept.First, kept.Last}
		expected := []store.Visitor{
			{Address: netip.MustParseAddr("192.0.2.7"), Agent: want}, {Address: netip.MustParseAddr("fe80::1"), Agent: "other"},
		}
		if diff := cmp.Diff(expected, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
			t.Errorf("%q (-want +got)\n%s", agent, diff)
		}
	}
}
