package server_test

import (
	"encoding/base64"
	"slices"
	"testing"
	"time"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/server"
)

func TestAMACKeyIsRolledReplicaByReplica(t *testing.T) {
	t.Parallel()
	behind := newHarness(t)
	behind.addDemo()
	ahead := behind.replica(func(c *server.Config) { c.Refresh.MACKey = 2 })
	old := behind.mustSignIn()
	if got := keyNumber(t, old.RefreshToken); got != 1 {
		t.Fatalf("made with key %d", got)
	}
	rolled := ahead.mustRefresh(old.RefreshToken)
	if got := keyNumber(t, rolled.RefreshToken); got != 2 {
		t.Fatalf("made with key %d after the roll", got)
	}
	for _, sessions := range []string{"", "others", "all"} {
		if _, err := behind.signOut(rolled.RefreshToken, sessions); server.CodeOf(err) != server.Unavailable {
			t.Errorf("sign-out of %q at the replica behind: %v", sessions, err)
		}
	}
	if _, err := behind.refresh(rolled.RefreshToken); server.CodeOf(err) != server.Unavailable {
		t.Errorf("refresh at the replica behind: %v", err)
	}
	if again := behind.mustRefresh(old.RefreshToken); keyNumber(t, again.RefreshToken) != 1 { // a retry that went there
		t.Error("the replica behind made a token with the newer key")
	}
	ahead.mustRefresh(rolled.RefreshToken)
	last := behind.replica(func(c *server.Config) { c.Refresh.MACKey = 255 })
	if got := keyNumber(t, last.mustRefresh(last.mustSignIn().RefreshToken).RefreshToken); got != 255 {
		t.Errorf("made with key %d", got)
	}
}

func TestANumberDoesNotFitAnotherKey(t *testing.T) {
	t.Parallel()
	h := newHarness(t, func(c *server.Config) { c.Refresh.MACKey = 3 })
	h.addDemo()
	token := h.mustSignIn().RefreshToken
	for number, want := range map[byte]server.Code{
		0: server.BadRefreshToken, 1: server.BadRefreshToken, 2: server.BadRefreshToken, 4: server.Unavailable, 255: server.Unavailable,
	} {
		if _, err := h.refresh(renumbered(t, token, number)); server.CodeOf(err) != want {
			t.Errorf("number %d: %v, want %s", number, err, want)
		}
	}
	h.mustRefresh(token)
}

func rawToken(t *testing.T, token secret.Text) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(token.Reveal()[len("grt_"):])
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func keyNumber(t *testing.T, token secret.Text) byte {
	t.Helper()
	return rawToken(t, token)[0]
}

func renumbered(t *testing.T, token secret.Text, number byte) secret.Text {
	t.Helper()
	b := rawToken(t, token)
	b[0] = number
	return secret.Text("grt_" + base64.RawURLEncoding.EncodeToString(b))
}

func TestTheExpiryOfARefreshTokenIsToldToThoseWhoWantIt(t *testing.T) {
	t.Parallel()
	h := newHarness(t, twoClients, func(c *server.Config) {
		c.Clients[0].RefreshExpiry = true
		c.Clients[0].MaxLife = func(t time.Time) time.Time { return t.Add(40 * 24 * time.Hour) }
	})
	h.addDemo()
	answer := h.mustSignIn() // 31 January, so until 3 March
	if answer.RefreshExpiresIn != 31*24*time.Hour {
		t.Errorf("at the sign-in %s", answer.RefreshExpiresIn)
	}
	h.pass(30*24*time.Hour + 7*time.Second)
	refreshed := h.mustRefresh(answer.RefreshToken)
	if want := 10*24*time.Hour - 7*time.Second; refreshed.RefreshExpiresIn != want {
		t.Errorf("shortly before the session's end %s, want %s", refreshed.RefreshExpiresIn, want)
	}
	h.pass(30 * time.Second)
	if want := 10*24*time.Hour - 37*time.Second; h.mustRefresh(answer.RefreshToken).RefreshExpiresIn != want {
		t.Error("a replay tells another time than is left")
	}
	web, err := h.token(server.TokenRequest{
		GrantType: "password", Username: pointer(demoEmail), Password: pointer(demoPassword), Client: server.Credentials{ID: "web"},
	})
	if err != nil || web.RefreshExpiresIn != 0 {
		t.Errorf("to one who did not ask: %s, %v", web.RefreshExpiresIn, err)
	}
	h.pass(10 * 24 * time.Hour)
	h.refused(refreshed.RefreshToken, "after the end that this client's sessions have")
}

func TestAnIncompleteConfigIsRefused(t *testing.T) {
	t.Parallel()
	whole := newHarness(t).config
	for name, spoil := range map[string]func(*server.Config){
		"no client":                  func(c *server.Config) { c.Clients = nil },
		"a client twice":             func(c *server.Config) { c.Clients = append(c.Clients, c.Clients[0]) },
		"a client without id":        func(c *server.Config) { c.Clients[0].ID = "" },
		"a client without scopes":    func(c *server.Config) { c.Clients[0].Scopes = nil },
		"a client without lifetime":  func(c *server.Config) { c.Clients[0].RefreshUntil = nil },
		"a client without end":       func(c *server.Config) { c.Clients[0].MaxLife = nil },
		"access for no time":         func(c *server.Config) { c.Clients[0].AccessLifetime = 0 },
		"no customers":               func(c *server.Config) { c.Customers = nil },
		"no sessions":                func(c *server.Config) { c.Sessions = nil },
		"nobody to count guesses":    func(c *server.Config) { c.Guesses = nil },
		"no keys":                    func(c *server.Config) { c.Keys = nil },
		"no master key":              func(c *server.Config) { c.Master = nil },
		"no mac key":                 func(c *server.Config) { c.Refresh.MACKey = 0 },
		"no session for anyone":      func(c *server.Config) { c.Refresh.MaxSessions = 0 },
		"no worker":                  func(c *server.Config) { c.PasswordWorkers = 0 },
		"no clock":                   func(c *server.Config) { c.Now = nil },
		"no randomness":              func(c *server.Config) { c.Random = nil },
		"nobody to tell of outcomes": func(c *server.Config) { c.Event = nil },
	} {
		config := whole
		config.Clients = slices.Clone(whole.Clients)
		spoil(&config)
		if _, err := server.New(config); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
