package server_test

import (
	"context"
	"encoding/json"
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

const (
	home  = "198.51.100.7"
	mall  = "203.0.113.9"
	phone = "Mozilla/5.0 (iPhone)"
)

// office is a harness with an operator in it.
type office struct {
	*harness
	inspector *server.Inspector
}

func newOffice(t *testing.T, change ...func(*server.Config)) *office {
	t.Helper()
	var config server.Config
	o := &office{harness: newHarness(t, append(change, func(c *server.Config) { config = *c })...)}
	sessions, ok := config.Sessions.(server.InspectedSessions)
	if !ok {
		t.Fatal("the store cannot be inspected")
	}
	inspector, err := server.NewInspector(config, o.customers, sessions)
	if err != nil {
		t.Fatal(err)
	}
	o.inspector = inspector
	o.addDemo()
	return o
}

// enter signs the demo customer in from an address.
func (o *office) enter(address string) server.TokenResponse {
	o.t.Helper()
	p := demoPassword
	return o.must(o.token(server.TokenRequest{
		GrantType: "password", Username: pointer(demoEmail), Password: &p, Address: netip.MustParseAddr(address), UserAgent: phone,
	}))
}

func (o *office) use(token secret.Text, address string) (server.TokenResponse, error) {
	o.t.Helper()
	return o.token(server.TokenRequest{GrantType: "refresh_token", RefreshToken: &token, Address: netip.MustParseAddr(address), UserAgent: phone})
}

func (o *office) mustUse(token secret.Text, address string) server.TokenResponse {
	o.t.Helper()
	return o.must(o.use(token, address))
}

func (o *office) must(answer server.TokenResponse, err error) server.TokenResponse {
	o.t.Helper()
	if err != nil {
		o.t.Fatal(err)
	}
	return answer
}

func (o *office) signOut(token secret.Text, sessions, address string) *server.TokenResponse {
	o.t.Helper()
	answer, err := o.server.Revoke(o.t.Context(), server.RevokeRequest{
		Token: &token, Sessions: sessions, Address: netip.MustParseAddr(address), UserAgent: phone,
	})
	if err != nil {
		o.t.Fatal(err)
	}
	return answer
}

func (o *office) list(who string) server.Listing {
	o.t.Helper()
	l, err := o.inspector.List(o.t.Context(), secret.Text(who))
	if err != nil {
		o.t.Fatal(err)
	}
	return l
}

func (o *office) show(who secret.Text) server.SessionView {
	o.t.Helper()
	s, err := o.inspector.Show(o.t.Context(), who)
	if err != nil {
		o.t.Fatal(err)
	}
	return s
}

func (o *office) revoke(who secret.Text) server.Revocation {
	o.t.Helper()
	r, err := o.inspector.Revoke(o.t.Context(), who)
	if err != nil {
		o.t.Fatal(err)
	}
	return r
}

func TestSessionIsShownAsItStands(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	first := o.enter(home)
	o.pass(time.Minute)
	second := o.mustUse(first.RefreshToken, mall)
	got := o.show(second.AccessToken)
	if _, err := json.Marshal(got); err != nil {
		t.Error(err)
	}
	start := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	want := server.SessionView{
		Session: got.Session, Customer: &server.CustomerView{ID: 21, Reference: "DE--21", Email: demoEmail},
		Client: "frontend", Scopes: []string{"customer"}, Alive: true, Started: start, Refreshed: start.Add(time.Minute), Generation: 2,
		Expires: start.Add(time.Minute).AddDate(0, 1, 0), Ends: start.AddDate(1, 0, 0),
		First: server.VisitorView{Address: netip.MustParseAddr(home), Agent: phone}, Last: server.VisitorView{Address: netip.MustParseAddr(mall), Agent: phone},
		Timeline: []server.EntryView{{At: start.Add(time.Minute), What: "rotated", Generation: 1, Address: netip.MustParseAddr(mall), Count: 1}},
	}
	addresses := cmp.Comparer(func(a, b netip.Addr) bool { return a == b })
	if diff := cmp.Diff(want, got, addresses); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	jti := strings.Split(strings.SplitAfter(payload(t, first.AccessToken), `"jti":"`)[1], `"`)[0]
	for what, who := range map[string]string{
		"refresh token": second.RefreshToken.Reveal(), "used refresh token": first.RefreshToken.Reveal(), "access token": first.AccessToken.Reveal(),
		"name": got.Session, "name in capitals": strings.ToUpper(got.Session), "jti": jti, "half of a jti": jti[:50], "spaces": " " + got.Session + "\r\n",
	} {
		if again := o.show(secret.Text(who)); again.Session != got.Session {
			t.Errorf("by %s: session %s", what, again.Session)
		}
		if l := o.list(who); len(l.Sessions) != 1 || l.Sessions[0].Session != got.Session {
			t.Errorf("list by %s: %v", what, l)
		}
	}
	o.exec(`DELETE FROM customers`)
	if c := o.show(second.RefreshToken).Customer; *c != (server.CustomerView{ID: 21}) {
		t.Errorf("of a customer who is gone: %+v", c)
	}
}

func TestListHasTheNewestSignInFirst(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.add(sqlstore.NewCustomer{ID: 22, Reference: "DE--22", Email: "other@example.com", Confirmed: true})
	old := o.show(o.enter(home).RefreshToken).Session
	o.pass(time.Second)
	newest := o.show(o.enter(mall).RefreshToken).Session
	o.revoke(secret.Text(old))
	for _, who := range []string{demoEmail, strings.ToUpper(demoEmail), "DE--21", newest} {
		l := o.list(who)
		if l.Customer.ID != 21 || len(l.Sessions) != 2 || l.Sessions[0].Session != newest || l.Sessions[1].Session != old {
			t.Errorf("%s: %+v", who, l)
		}
	}
	if l := o.list("DE--22"); l.Customer.ID != 22 || l.Sessions == nil || len(l.Sessions) != 0 {
		t.Errorf("of nobody's: %+v", l)
	}
}

func TestRevokeEndsTheSessionThatIsNamed(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	a, b := o.enter(home), o.enter(home)
	name := o.show(a.RefreshToken).Session
	if r := o.revoke(secret.Text(name)); !r.Ended || r.Session != name || r.Customer.Reference != "DE--21" {
		t.Errorf("by name: %+v", r)
	}
	if e := o.last(); e.Name != server.EventOperatorEnded || e.Cause != "one" || e.Subject.ID != 21 || e.Session.String() != name {
		t.Errorf("told: %+v", e)
	}
	o.refused(a.RefreshToken, "after it was revoked")
	told := len(o.events)
	if r := o.revoke(a.AccessToken); r.Ended || r.Session != name || len(o.events) != told {
		t.Errorf("again: %+v, and %d events", r, len(o.events)-told)
	}
	o.mustUse(b.RefreshToken, home)
}

func TestRevokeEndsAllSessionsOfACustomer(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	a, b := o.enter(home), o.enter(mall)
	if r := o.revoke("DE--21"); !r.Ended || r.Session != "" {
		t.Errorf("all: %+v", r)
	}
	if e := o.last(); e.Name != server.EventOperatorEnded || e.Cause != "all" || e.Subject.ID != 21 || e.Session != (store.SessionName{}) {
		t.Errorf("told: %+v", e)
	}
	o.refused(a.RefreshToken, "after all were revoked")
	o.refused(b.RefreshToken, "after all were revoked")
	o.mustUse(o.enter(home).RefreshToken, home)
}

func TestUnknownWhoIsSaidToBeUnknown(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	answer := o.enter(home)
	ask := map[string]func(context.Context, secret.Text) error{
		"list":    func(ctx context.Context, who secret.Text) error { _, err := o.inspector.List(ctx, who); return err },
		"show":    func(ctx context.Context, who secret.Text) error { _, err := o.inspector.Show(ctx, who); return err },
		"revoke":  func(ctx context.Context, who secret.Text) error { _, err := o.inspector.Revoke(ctx, who); return err },
		"explain": func(ctx context.Context, who secret.Text) error { _, err := o.inspector.Explain(ctx, who); return err },
	}
	forged := answer.RefreshToken[:20] + "AAAA" + answer.RefreshToken[24:]
	for _, c := range []struct {
		name string
		who  secret.Text
		not  string // call that knows an answer
		code server.Code
		text string
	}{
		{"nothing", " \n", "", server.Malformed, "nobody is named: give an e-mail address"},
		{"e-mail", "nobody@example.com", "", server.NothingFound, "no customer and no session"},
		{"reference", "DE--99", "", server.NothingFound, "no customer and no session"},
		{"name", secret.Text(strings.Repeat("ab", 16)), "", server.NothingFound, "no record of that session"},
		{"jti of nobody", secret.Text(strings.Repeat("ab", 40)), "", server.NothingFound, "no customer and no session"},
		{"jti of no session", secret.Text("01" + strings.Repeat("00", 7) + "15" + strings.Repeat("ab", 31)), "list, explain", server.NothingFound, "no record"},
		{"forged refresh token", forged, "explain", server.NothingFound, "no token of this server"},
		{"cut refresh token", answer.RefreshToken[:40], "explain", server.NothingFound, "no token of this server"},
		{"cut access token", answer.AccessToken[:len(answer.AccessToken)-1], "explain", server.NothingFound, "no token of this server"},
		{"a shop's own refresh token", secret.Text("def50200" + strings.Repeat("0f", 300)), "explain", server.NothingFound, "no token of this server"},
		{"newer key", "grt_" + secret.Text("AgEA") + answer.RefreshToken[8:], "", server.Unavailable, "newer mac key"},
		{"customer for a session", demoEmail, "list, revoke, explain", server.Malformed, "list them"},
	} {
		for call, do := range ask {
			err := do(t.Context(), c.who)
			if strings.Contains(c.not, call) {
				if err != nil {
					t.Errorf("%s of %s: %v", call, c.name, err)
				}
				continue
			}
			if server.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.text) {
				t.Errorf("%s of %s: %v, want %s with %q", call, c.name, err, c.code, c.text)
			}
			if len(c.who) > 20 && strings.Contains(err.Error(), c.who.Reveal()[:20]) {
				t.Errorf("%s of %s: the error quotes it", call, c.name)
			}
		}
	}
}

func TestInspectorOfAStoreThatIsDownHasNoVerdict(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	answer := o.enter(home)
	name := secret.Text(o.show(answer.RefreshToken).Session)
	_ = o.file.Read.Close()
	_ = o.file.Write.Close()
	for _, who := range []secret.Text{demoEmail, "DE--21", name, answer.RefreshToken, answer.AccessToken} {
		_, err1 := o.inspector.List(t.Context(), who)
		_, err2 := o.inspector.Show(t.Context(), who)
		_, err3 := o.inspector.Revoke(t.Context(), who)
		_, err4 := o.inspector.Explain(t.Context(), who)
		for _, err := range []error{err1, err2, err3, err4} {
			if server.CodeOf(err) != server.Unavailable {
				t.Errorf("%v, want %s", err, server.Unavailable)
			}
		}
	}
}
