package e2e_test

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
)

// The block of the README about the RFC 9068 profile, as printed but for the address, makes tokens that the strictest
// validators accept; without the profile they refuse them.
func TestTheStrictestValidatorsAcceptTheRFC9068Profile(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)<!-- tested: profile -->\\s*```yaml\n(.*?)```").FindStringSubmatch(string(page))
	if block == nil {
		t.Fatal("the README has no block about the profile")
	}
	dir, address := t.TempDir(), freeAddress(t)
	c := &court{issuer: "http://" + address}
	printed := strings.Replace(block[1], "https://login.shop.example", c.issuer, 1)
	config := write(t, dir, "glueauth.yaml", printed+"  - id: usual\n", 0o600)
	email := customers(t, dir, 1)[0]
	c.p = start(t, dir, "GLUEAUTH_LISTEN="+address, "--config="+config)
	token := func(client string) string {
		return c.p.must(t, "grant_type", "password", "username", email, "password", demoPassword, "client_id", client).AccessToken
	}
	strict, usual := token("api"), token("usual")

	type claims struct {
		Issuer   string `json:"iss"`
		Audience string `json:"aud"`
		Subject  string `json:"sub"`
		Client   string `json:"client_id"`
		Scope    string `json:"scope"`
	}
	want := claims{c.issuer, "api", "DE--1000", "api", "customer"}
	said := map[string]json.RawMessage{}
	judge(t, &said, nil, "strict.js", c.issuer, "api", strict)
	for _, name := range []string{"oauth4webapi", "jose"} {
		var got claims
		if err := json.Unmarshal(said[name], &got); err != nil || got != want {
			t.Errorf("%s: %s, want %+v", name, said[name], want)
		}
	}
	judge(t, &said, nil, "strict.js", c.issuer, "usual", usual)
	for name, answer := range said {
		if text := string(answer); !strings.HasPrefix(text, `"`) || !strings.Contains(text, "typ") {
			t.Errorf("%s: a token without the profile: %s", name, answer)
		}
	}
	// A client is its algorithm where express.js is concerned; both sign by RS256.
	c.tokens = map[string]map[string]string{"RS256": {"strict": strict, "usual": usual}}
	got := c.program("node", "express.js", c.issuer, "strict", "api", "usual")(t)["RS256"]
	if got["strict"] != accepted || got["usual"] != "Unexpected 'typ' value" {
		t.Errorf("express-oauth2-jwt-bearer: %q", got)
	}
}
