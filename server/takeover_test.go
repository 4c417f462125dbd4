package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/server"
	"github.com/glueauth/glueauth/store"
)

// b2b gives every customer a company user.
type b2b struct {
	server.Customers
	company *string
}

func (b b2b) ByID(ctx context.Context, id int64) (store.Customer, error) {
	c, err := b.Customers.ByID(ctx, id)
	c.CompanyUser = *b.company
	return c, err
}

// shopTable is a shop's table of refresh tokens.
type shopTable struct {
	mu      sync.Mutex
	rows    map[string]store.ShopToken
	down    error
	frozen  error  // of its writing
	looking func() // called before each look
}

func (s *shopTable) ShopToken(_ context.Context, id string) (store.ShopToken, error) {
	if s.looking != nil {
		s.looking()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down != nil {
		return store.ShopToken{}, s.down
	}
	row, ok := s.rows[id]
	if !ok {
		return store.ShopToken{}, store.ErrNotFound
	}
	return row, nil
}

func (s *shopTable) RevokeShopToken(_ context.Context, id string, _ time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.frozen != nil {
		return s.frozen
	}
	row := s.rows[id]
	row.Revoked = true
	s.rows[id] = row
	return nil
}

// succession is a server with the demo customer, who had signed in at the shop.
func succession(tb testing.TB, change ...func(*server.Config)) *harness {
	tb.Helper()
	h := newHarness(tb, append([]func(*server.Config){func(c *server.Config) {
		web := client("web")
		c.Clients = append(c.Clients, web)
		c.Legacy.Key = rawKey()
	}}, change...)...)
	h.addDemo()
	return h
}

// held returns a token that the demo customer holds, good for another twenty days.
func (h *harness) held(number byte) secret.Text {
	h.t.Helper()
	return sealRaw(h.t, number, inside(number, "frontend", soniasSub, h.now().Add(20*24*time.Hour)))
}

// elsewhere refreshes from another device in another network.
func (h *harness) elsewhere(token secret.Text) (server.TokenResponse, error) {
	h.t.Helper()
	return h.token(server.TokenRequest{
		GrantType: "refresh_token", RefreshToken: &token, Address: netip.MustParseAddr("203.0.113.9"), UserAgent: "thief",
	})
}

func subOf(t *testing.T, access secret.Text) string {
	t.Helper()
	var claims struct {
		Sub string `json:"sub"`
	}
	if err := json.Unmarshal([]byte(payload(t, access)), &claims); err != nil {
		t.Fatal(err)
	}
	return claims.Sub
}

func TestTheSeedPagesTokensAreTakenOver(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"signin", "refresh"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			company := "ebf4b55a-cab0-5ed0-8fb7-525a3eeedeac"
			h := newHarness(t, func(c *server.Config) {
				c.Legacy.Key = shopPassword
				c.Customers = b2b{c.Customers, &company}
			})
			h.addDemo()
			h.pass(time.Date(2021, 4, 1, 12, 0, 0, 0, time.UTC).Sub(h.now()))
			page := seedPage(t, name)

			first := h.mustRefresh(page.Refresh)
			if got, want := subOf(t, first.AccessToken), subOf(t, page.Access); got != want {
				t.Errorf("sub %q, want %q", got, want)
			}
			h.pass(30 * time.Second)
			again, err := h.elsewhere(page.Refresh)
			if err != nil || again.RefreshToken != first.RefreshToken || subOf(t, again.AccessToken) != subOf(t, page.Access) {
				t.Errorf("a second use: %v", err)
			}
			h.told(server.EventReplayed, "")
			second := h.mustRefresh(first.RefreshToken)
			if subOf(t, second.AccessToken) != subOf(t, page.Access) {
				t.Error("the successor's sub differs")
			}
			h.pass(11 * time.Second)
			if _, err := h.elsewhere(page.Refresh); server.CodeOf(err) != server.BadRefreshToken {
				t.Errorf("a third use: %v", err)
			}
			h.told(server.EventReuse, "reuse")
			h.refused(page.Refresh, "a fourth use")
			h.refused(second.RefreshToken, "the successor after a theft")

			h.pass(time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC).Sub(h.now()))
			h.refused(page.Refresh, "today")
			h.told(server.EventRefreshRefused, "expired")
		})
	}
}

func TestWithoutTheShopsKeyItsTokensAreNotOurs(t *testing.T) {
	t.Parallel()
	h := succession(t, func(c *server.Config) { c.Legacy.Key = "" })
	h.refused(h.held(1), "without a key")
	h.told(server.EventRefreshRefused, "not_ours")
	other := succession(t, func(c *server.Config) { c.Legacy.Key = "another" })
	other.refused(other.held(1), "with another key")
	other.told(server.EventRefreshRefused, "not_ours")
	if _, err := server.New(func() server.Config {
		c := h.config
		c.Legacy.Key = flipped(rawKey(), 100)
		return c
	}()); err == nil || !strings.Contains(err.Error(), "mistyped") {
		t.Errorf("a mistyped key: %v", err)
	}
}

func TestATakenOverSessionIsTold(t *testing.T) {
	t.Parallel()
	h := succession(t)
	h.mustRefresh(h.held(1))
	h.mu.Lock()
	defer h.mu.Unlock()
	if n := len(h.events); n != 2 || h.events[0].Name != server.EventTakenOver || h.events[1].Name != server.EventRotated {
		t.Errorf("told %+v", h.events)
	}
}

func TestTheShopIsAskedFirst(t *testing.T) {
	t.Parallel()
	good := func(h *harness) store.ShopToken {
		return store.ShopToken{CustomerReference: "DE--21", Client: "frontend", ExpiresAt: h.now().Add(20 * 24 * time.Hour)}
	}
	for name, c := range map[string]struct {
		change func(*store.ShopToken)
		cause  string // why it is refused; empty: it is taken over
	}{
		"as it is":                   {func(*store.ShopToken) {}, ""},
		"two hours behind UTC":       {func(r *store.ShopToken) { r.ExpiresAt = r.ExpiresAt.Add(-2 * time.Hour) }, ""},
		"in Nepal, a second off":     {func(r *store.ShopToken) { r.ExpiresAt = r.ExpiresAt.Add(345*time.Minute - time.Second) }, ""},
		"another expiry":             {func(r *store.ShopToken) { r.ExpiresAt = r.ExpiresAt.Add(time.Minute) }, "shop_expiry"},
		"an expiry days before":      {func(r *store.ShopToken) { r.ExpiresAt = r.ExpiresAt.Add(-24 * time.Hour) }, "shop_expiry"},
		"revoked":                    {func(r *store.ShopToken) { r.Revoked = true }, "shop_revoked"},
		"another customer's":         {func(r *store.ShopToken) { r.CustomerReference = "DE--22" }, "shop_owner"},
		"nobody's, in an older shop": {func(r *store.ShopToken) { r.CustomerReference = "" }, ""},
		"another client's, it says":  {func(r *store.ShopToken) { r.Client = "web" }, "shop_client"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			table := &shopTable{rows: map[string]store.ShopToken{}}
			h := succession(t, func(c *server.Config) { c.Legacy.Tokens = table })
			row := good(h)
			c.change(&row)
			id := strings.Repeat("01", 40)
			table.rows[id] = row
			answer, err := h.refresh(h.held(1))
			if c.cause != "" {
				if server.CodeOf(err) != server.BadRefreshToken {
					t.Errorf("got %v, want %s", err, server.BadRefreshToken)
				}
				h.told(server.EventRefreshRefused, c.cause)
				return
			}
			if err != nil || !table.rows[id].Revoked {
				t.Fatalf("%v; its row: %+v", err, table.rows[id])
			}
			if again := h.mustRefresh(h.held(1)); again.RefreshToken != answer.RefreshToken {
				t.Error("a racing tab was given another token")
			}
		})
	}
	h := succession(t, func(c *server.Config) { c.Legacy.Tokens = &shopTable{} })
	h.refused(h.held(1), "a token that the shop does not know")
	h.told(server.EventRefreshRefused, "shop_unknown")
}

func TestANoOfTheShopDoesNotCountAgainstASessionThatAnotherTabHasTakenOver(t *testing.T) {
	t.Parallel()
	table := &shopTable{rows: map[string]store.ShopToken{}}
	h := succession(t, func(c *server.Config) { c.Legacy.Tokens = table })
	tab := h.replica(func(c *server.Config) { c.Legacy.Tokens = nil })
	token := h.held(1)
	var first server.TokenResponse
	table.looking = func() { first = tab.mustRefresh(token) }
	if second := h.mustRefresh(token); second.RefreshToken != first.RefreshToken {
		t.Error("the two tabs were given different tokens")
	}
	h.told(server.EventReplayed, "")
}

func TestAShopThatIsDownConsumesNothing(t *testing.T) {
	t.Parallel()
	table := &shopTable{rows: map[string]store.ShopToken{}, down: store.ErrUnavailable}
	h := succession(t, func(c *server.Config) { c.Legacy.Tokens = table })
	token := h.held(1)
	table.rows[strings.Repeat("01", 40)] = store.ShopToken{CustomerReference: "DE--21", Client: "frontend", ExpiresAt: h.now().Add(20 * 24 * time.Hour)}
	if _, err := h.refresh(token); server.CodeOf(err) != server.Unavailable {
		t.Errorf("while it is down: %v", err)
	}
	table.down = nil
	table.frozen = errors.New("lock wait timeout")
	answer := h.mustRefresh(token)
	if i := slices.IndexFunc(h.events, func(e server.Event) bool { return e.Name == server.EventShopUnmarked }); i < 0 {
		t.Error("that the shop could not be told is not told")
	}
	table.down = store.ErrUnavailable
	if again := h.mustRefresh(token); again.RefreshToken != answer.RefreshToken {
		t.Error("a replay needs the shop")
	}

	table.down, table.frozen = nil, store.ErrReadOnly
	table.rows[strings.Repeat("02", 40)] = table.rows[strings.Repeat("01", 40)]
	h.mustRefresh(h.held(2))
	h.told(server.EventRotated, "")
}

func TestTheTakeOverEndsWhenItIsSaidTo(t *testing.T) {
	t.Parallel()
	h := succession(t)
	late := h.replica(func(c *server.Config) { c.Legacy.Until = h.now() })
	token := h.held(1)
	late.refused(token, "from then on")
	late.told(server.EventRefreshRefused, "take_over_over")
	answer := h.mustRefresh(token)
	if again := late.mustRefresh(token); again.RefreshToken != answer.RefreshToken {
		t.Error("one that was taken over before is not known afterwards")
	}
}

func TestAnotherClientsTokenIsNotTakenOver(t *testing.T) {
	t.Parallel()
	h := succession(t)
	token := h.held(1)
	_, err := h.token(server.TokenRequest{GrantType: "refresh_token", RefreshToken: &token, Client: server.Credentials{ID: "web"}})
	if server.CodeOf(err) != server.BadRefreshToken {
		t.Errorf("got %v", err)
	}
	h.told(server.EventRefreshRefused, "other_client")
	h.mustRefresh(token)
}

func TestACustomerWhoMayNotGoOnIsNotTakenOverLater(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ change, back string }{
		"blocked":     {`UPDATE customers SET blocked_at = 1`, `UPDATE customers SET blocked_at = NULL`},
		"unconfirmed": {`UPDATE customers SET registered = NULL`, `UPDATE customers SET registered = '2026-01-01'`},
		"gone":        {`UPDATE customers SET id_customer = 22`, `UPDATE customers SET id_customer = 21`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := succession(t)
			token := h.held(1)
			h.exec(c.change)
			h.refused(token, "while it lasts")
			h.exec(c.back)
			h.refused(token, "after it was undone")
			h.mustRefresh(h.held(2))
		})
	}
}

func TestAChangedPasswordEndsATakenOverSession(t *testing.T) {
	t.Parallel()
	h := succession(t)
	token := h.held(1)
	answer := h.mustRefresh(token)
	h.exec(`UPDATE customers SET password = '$2y$04$wyj28BGBsdZRyl2Jn.ZT5uIKieOFspJHDVFY/D51NksyZ.ZVJHqby'`)
	h.refused(answer.RefreshToken, "with another password")
	h.told(server.EventRefreshRefused, "password_changed")
	h.refused(token, "the shop's own")
}

func TestTheShopsSubIsSentUntilItIsNotTrueAnyMore(t *testing.T) {
	t.Parallel()
	company := ""
	h := succession(t, func(c *server.Config) { c.Customers = b2b{c.Customers, &company} })
	answer := h.mustRefresh(h.held(1))
	for range 3 {
		if got := subOf(t, answer.AccessToken); got != soniasSub {
			t.Errorf("sub %q", got)
		}
		answer = h.mustRefresh(answer.RefreshToken)
	}
	company = "0d2c"
	answer = h.mustRefresh(answer.RefreshToken)
	want := strings.NewReplacer(`"id_company_user":null`, `"id_company_user":"0d2c"`, `{"permissions":[1]}`, "null").Replace(soniasSub)
	if got := subOf(t, answer.AccessToken); got != want {
		t.Errorf("sub %q, want %q", got, want)
	}
	company = ""
	if got := subOf(t, h.mustRefresh(answer.RefreshToken).AccessToken); strings.Contains(got, "[1]") {
		t.Errorf("it came back: %q", got)
	}
	moved := sealRaw(t, 2, inside(2, "frontend", strings.Replace(soniasSub, "DE--21", "AT--21", 1), h.now().Add(time.Hour)))
	if got := subOf(t, h.mustRefresh(moved).AccessToken); !strings.Contains(got, "DE--21") {
		t.Errorf("of another reference: %q", got)
	}
}

func TestRevokingAShopsToken(t *testing.T) {
	t.Parallel()
	table := &shopTable{rows: map[string]store.ShopToken{}}
	h := succession(t, func(c *server.Config) { c.Legacy.Tokens = table })
	unused, taken := h.held(1), h.held(2)
	for _, id := range []string{"01", "02"} {
		table.rows[strings.Repeat(id, 40)] = store.ShopToken{CustomerReference: "DE--21", Client: "frontend", ExpiresAt: h.now().Add(20 * 24 * time.Hour)}
	}
	h.mustSignOut(unused, "")
	h.told(server.EventSessionEnded, "revoked")
	h.refused(unused, "after it was revoked")
	h.told(server.EventRefreshRefused, "revoked")
	if !table.rows[strings.Repeat("01", 40)].Revoked {
		t.Error("the shop was not told")
	}
	h.mustSignOut(unused, "")
	h.told(server.EventRevokeIgnored, "ended")

	answer := h.mustRefresh(taken)
	h.mustSignOut(taken, "this")
	h.told(server.EventSessionEnded, "revoked")
	h.refused(answer.RefreshToken, "the successor")

	third := h.held(3)
	for _, sessions := range []string{"others", "all"} {
		if _, err := h.signOut(third, sessions); server.CodeOf(err) != server.Malformed {
			t.Errorf("%s: %v", sessions, err)
		}
	}
	if _, err := h.revoke(server.RevokeRequest{Token: &third, Client: server.Credentials{ID: "web"}}); err != nil {
		t.Error(err)
	}
	h.told(server.EventRevokeIgnored, "other_client")
	h.mustSignOut("def50200"+third[8:100], "")
	h.told(server.EventRevokeIgnored, "not_ours")
}

func TestSigningOutEverywhereVoidsWhatTheShopGaveOut(t *testing.T) {
	t.Parallel()
	h := succession(t)
	h.mustSignOut(h.mustSignIn().RefreshToken, "all")
	h.refused(h.held(1), "a token from before")
	h.told(server.EventRefreshRefused, "signed_out")
	h.pass(12 * 24 * time.Hour)
	later := sealRaw(t, 2, inside(2, "frontend", soniasSub, h.now().Add(31*24*time.Hour)))
	h.mustRefresh(later)
}
