package server_test

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/server"
	"github.com/glueauth/glueauth/store"
)

// newFollower returns a gate whose introspector goes by what the store's list says.
func newFollower(t *testing.T) (*gate, *server.Revocations) {
	t.Helper()
	g := newGate(t)
	g.addDemo()
	r := g.copyOf(g.sessions)
	return g.behind(g.sessions, func(c *server.Config) { c.Revocations = r }), r
}

func (h *harness) copyOf(list server.RevocationList) *server.Revocations {
	h.t.Helper()
	r, err := server.NewRevocations(h.config, list)
	if err != nil {
		h.t.Fatal(err)
	}
	h.follow(r)
	return r
}

func (h *harness) follow(r *server.Revocations) {
	h.t.Helper()
	if err := r.Follow(h.t.Context()); err != nil {
		h.t.Fatal(err)
	}
}

func (g *gate) end(s server.TokenResponse, sessions string) {
	g.t.Helper()
	if _, err := g.signOut(s.RefreshToken, sessions); err != nil {
		g.t.Fatal(err)
	}
}

func (g *gate) lets(what string, s server.TokenResponse, want bool) {
	g.t.Helper()
	_, err := g.introspector.Verify(g.t.Context(), s.AccessToken, false)
	if want && err != nil || !want && server.CodeOf(err) != server.BadAccessToken {
		g.t.Errorf("%s: %v, want it good: %v", what, err, want)
	}
}

// revocations is the payload of a document.
type revocations struct {
	Issuer    string           `json:"iss"`
	Made      int64            `json:"iat"`
	NotBefore int64            `json:"nbf"`
	Until     int64            `json:"exp"`
	Sessions  []string         `json:"sessions"`
	Customers map[string]int64 `json:"customers"`
	Spared    []string         `json:"spared"`
}

func (h *harness) read(r *server.Revocations) (all revocations, body, etag string) {
	h.t.Helper()
	b, etag, err := r.Document()
	if err != nil {
		h.t.Fatal(err)
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(string(b), ".")[1])
	if err == nil {
		err = json.Unmarshal(payload, &all)
	}
	if err != nil {
		h.t.Fatal(err)
	}
	return all, string(b), etag
}

func jti(t *testing.T, s server.TokenResponse) string {
	t.Helper()
	var claims struct {
		ID string `json:"jti"`
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(s.AccessToken.Reveal(), ".")[1])
	if err == nil {
		err = json.Unmarshal(payload, &claims)
	}
	if err != nil {
		t.Fatal(err)
	}
	return claims.ID
}

// TestWhatHasEndedIsRefusedWithoutALookUp : in the second of a sign-out everywhere too, and nobody else is.
func TestWhatHasEndedIsRefusedWithoutALookUp(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		sessions   string
		mine, his2 bool // are good afterwards
	}{
		"this":   {"this", false, true},
		"others": {"others", true, false},
		"all":    {"all", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, copied := newFollower(t)
			mine, his := g.mustSignIn(), g.mustSignIn()
			shops := server.TokenResponse{AccessToken: shopAccessToken(t, g.now())} // which has no session here
			g.lets("the shop's", shops, true)
			g.end(mine, c.sessions)
			fresh := g.mustSignIn() // in the same second
			g.lets("not read yet", mine, true)
			g.follow(copied)
			g.lets("his own", mine, c.mine)
			g.lets("his other one", his, c.his2)
			g.lets("signed in since", fresh, true)
			g.lets("the shop's, afterwards", shops, c.sessions == "this")
			g.pass(time.Hour)
			g.lets("an hour later", g.mustSignIn(), true)
			g.lets("still", mine, c.mine)
		})
	}
}

// TestWhoSignsInRightAfterASignOutEverywhereIsLetThrough : also where his sign-out was heard of and his sign-in was not yet.
func TestWhoSignsInRightAfterASignOutEverywhereIsLetThrough(t *testing.T) {
	t.Parallel()
	g, copied := newFollower(t)
	blind := g.behind(readers{store.ErrUnavailable}, func(c *server.Config) { c.Revocations = copied })
	verdict := func(gate *gate, what string, s server.TokenResponse, live bool, want server.Code) {
		t.Helper()
		if _, err := gate.introspector.Verify(t.Context(), s.AccessToken, live); (err == nil) != (want == "") || err != nil && server.CodeOf(err) != want {
			t.Errorf("%s, active %v: %v, want %q", what, live, err, want)
		}
	}
	single := g.mustSignIn()
	g.end(single, "this")
	before := g.mustSignIn()
	g.pass(time.Second)
	g.follow(copied)
	g.end(before, "all")
	g.follow(copied)
	fresh := g.mustSignIn()
	for _, live := range []bool{false, true} {
		verdict(g, "signed in since", fresh, live, "")
		verdict(g, "signed out", before, live, server.BadAccessToken)
		verdict(blind, "signed in since, the store is away", fresh, live, server.Unavailable)
		verdict(blind, "ended by itself before, the store is away", single, live, server.BadAccessToken)
	}
	g.pass(4 * time.Second)
	later := g.mustSignIn() // needs no word that spares it
	verdict(blind, "signed in later, the store is away", later, false, "")
	verdict(blind, "not heard of for four seconds, the store is away", fresh, false, server.Unavailable)
	g.follow(copied)
	verdict(blind, "heard of, the store is away", fresh, false, "")
	verdict(blind, "signed out, as is sure by now", before, false, server.BadAccessToken)
	verdict(g, "signed out, as is sure by now", before, true, server.BadAccessToken)
}

func TestTheDocumentSaysWhatHasEndedForAsLongAsTokensLive(t *testing.T) {
	t.Parallel()
	g, copied := newFollower(t)
	empty, _, first := g.read(copied)
	minute := g.now().Truncate(time.Minute).Unix()
	want := revocations{Made: minute, NotBefore: 253402300799, Until: minute + 300, Sessions: []string{}, Customers: map[string]int64{}, Spared: []string{}}
	if diff := cmp.Diff(want, empty); diff != "" {
		t.Error(diff)
	}
	one, others := g.mustSignIn(), g.mustSignIn()
	g.end(one, "this")
	g.end(others, "others")
	g.follow(copied)
	all, body, etag := g.read(copied)
	want.Sessions = []string{jti(t, one)[:50]}
	want.Customers[jti(t, one)[:18]] = g.now().Add(store.ClockAllowance).Unix()
	want.Spared = []string{jti(t, others)[18:50]}
	if diff := cmp.Diff(want, all); diff != "" || etag == first {
		t.Errorf("%s %s", etag, diff)
	}
	g.follow(copied)
	other := g.copyOf(g.sessions)
	for _, r := range []*server.Revocations{copied, other} {
		if _, again, same := g.read(r); again != body || same != etag {
			t.Errorf("%s, want %s\n%s\n%s", same, etag, again, body)
		}
	}
	g.pass(8 * time.Hour)
	g.follow(copied)
	if all, _, _ := g.read(copied); len(all.Sessions) != 1 || len(all.Customers) != 1 {
		t.Errorf("while a token may live: %+v", all)
	}
	g.pass(time.Minute)
	if err := copied.Forget(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, r := range []*server.Revocations{copied, g.copyOf(g.sessions)} {
		g.follow(r)
		if all, _, _ := g.read(r); len(all.Sessions)+len(all.Customers)+len(all.Spared) != 0 {
			t.Errorf("afterwards: %+v", all)
		}
	}
}

// TestACopyThatIsLateIsNotHandedOut : and goes on being judged by.
func TestACopyThatIsLateIsNotHandedOut(t *testing.T) {
	t.Parallel()
	g, copied := newFollower(t)
	ended, lives := g.mustSignIn(), g.mustSignIn()
	g.end(ended, "this")
	g.follow(copied)
	_, body, _ := g.read(copied)
	g.sessions.Close()
	if err := copied.Follow(t.Context()); server.CodeOf(err) != server.Unavailable {
		t.Errorf("%v", err)
	}
	g.pass(2 * time.Second)
	if _, again, _ := g.read(copied); again != body {
		t.Error("two seconds old: another document")
	}
	g.pass(time.Second)
	if _, _, err := copied.Document(); server.CodeOf(err) != server.Unavailable {
		t.Errorf("three seconds old: %v", err)
	}
	g.lets("ended", ended, false)
	g.lets("lives", lives, true)

	never, err := server.NewRevocations(g.config, g.sessions)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := never.Document(); server.CodeOf(err) != server.Unavailable {
		t.Errorf("never read: %v", err)
	}
}

func TestTheDocumentIsNoToken(t *testing.T) {
	t.Parallel()
	g, copied := newFollower(t)
	_, body, _ := g.read(copied)
	text := secret.Text(body)
	g.active(text, false, "introspected")
	g.lets("verified", server.TokenResponse{AccessToken: text}, false)
	if _, err := g.signOut(text, "this"); err != nil {
		t.Error(err)
	}
	g.told(server.EventRevokeIgnored, "not_ours")
}

// crowdOf is a list of n that end at once, of whom each spares a session if asked.
type crowdOf struct {
	n    int
	kind string
	now  func() time.Time
}

func (c crowdOf) Revoked(_ context.Context, after int64) (list []store.Revocation, next int64, err error) {
	if after > 0 {
		return nil, after, nil
	}
	for i := range c.n {
		r := store.Revocation{Subject: store.Subject{Kind: store.SubjectCustomer, ID: int64(i)}, At: c.now()}
		one := r
		binary.BigEndian.PutUint64(one.Session[4:], uint64(i+1)*0x9e3779b97f4a7c15)
		r.Epoch, r.NotBefore = store.Epoch{1}, c.now()
		switch c.kind {
		case "sessions":
			list = append(list, one)
		case "customers":
			list = append(list, r)
		default:
			one.Spared, one.Epoch = true, r.Epoch
			list = append(list, r, one)
		}
	}
	return list, 1, nil
}

func (crowdOf) ForgetRevoked(context.Context, time.Duration) error {
	return errors.New("not asked for")
}

func TestTenThousandRevocationsAreLessThanAMebibyte(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	for _, kind := range []string{"sessions", "customers", "others"} {
		all, body, _ := h.read(h.copyOf(crowdOf{n: 10_000, kind: kind, now: h.now}))
		if got := max(len(all.Sessions), len(all.Customers)); got != 10_000 || len(body) > 1<<20 {
			t.Errorf("%d %s in %d bytes", got, kind, len(body))
		}
		t.Logf("10,000 %s: %d bytes", kind, len(body))
		if !slices.IsSorted(all.Sessions) {
			t.Error("not sorted")
		}
	}
}

func TestRevocationsNeedAWholeConfig(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	if _, err := server.NewRevocations(h.config, nil); err == nil {
		t.Error("without a list")
	}
	h.config.Clients = nil
	if _, err := server.NewRevocations(h.config, h.sessions); err == nil {
		t.Error("without clients")
	}
}
