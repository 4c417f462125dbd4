package server_test

import (
	"strings"
	"testing"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/server"
)

func TestRefreshTokenHasOneSpelling(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.addDemo()
	answer := h.mustSignIn()
	token := answer.RefreshToken.Reveal()
	if len(token) != 76 || !strings.HasPrefix(token, "grt_") {
		t.Fatalf("a refresh token has %d characters, want 76", len(token))
	}
	variants := []string{
		"", "grt_", token + "=", token + " ", " " + token, token[4:], "GRT_" + token[4:], token + "\n", token[:40] + "\r\n" + token[42:],
		strings.ToUpper(token), strings.ToLower(token), strings.ReplaceAll(token, "_", ""), answer.AccessToken.Reveal(),
		strings.NewReplacer("-", "+", "_", "/").Replace(token),
	}
	for i := range token {
		variants = append(variants, token[:i], token[i:], token[:i]+"A"+token[i:])
		for bit := range 7 {
			variants = append(variants, token[:i]+string(token[i]^(1<<bit))+token[i+1:])
		}
	}
	for _, v := range variants {
		if v == token {
			continue
		}
		_, err := h.refresh(secret.Text(v))
		if code := server.CodeOf(err); code != server.BadRefreshToken && (code != server.Unavailable || !newerKey(v)) {
			t.Errorf("variant %q: got %v", v, err)
		}
	}
	h.mustRefresh(answer.RefreshToken) // none of them harmed the session
}

// newerKey reports whether a token's first byte, the MAC key number, was raised; such a token may be another replica's.
func newerKey(v string) bool { return len(v) == 76 && v[4:6] > "AB" || strings.Contains(v[4:6], "_") }

func FuzzRefreshToken(f *testing.F) {
	f.Add("grt_AQEAAAAAAAAAFQAAAAAAAAAAAAAAAAAAAAAAAAABAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	f.Add("def50200")
	f.Add("")
	h := newHarness(f)
	f.Fuzz(func(t *testing.T, token string) {
		presented := secret.Text(token)
		_, err := h.server.Token(t.Context(), server.TokenRequest{GrantType: "refresh_token", RefreshToken: &presented})
		if code := server.CodeOf(err); code != server.BadRefreshToken && code != server.Unavailable {
			t.Errorf("got %v", err)
		}
	})
}
