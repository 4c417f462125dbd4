package server_test

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/server"
)

// shopAccessToken is an access token of the demo customer as league/oauth2-server signs it: dates with microseconds.
func shopAccessToken(t *testing.T, issued time.Time) secret.Text {
	t.Helper()
	return forShop(t, fmt.Sprintf(`{"aud":"frontend","jti":"%s","iat":%d.789012,"nbf":%[2]d.789012,"exp":%d.789012,`+
		`"sub":"{\"id_company_user\":null,\"id_agent\":null,\"customer_reference\":\"DE--21\",\"id_customer\":21,\"permissions\":null}","scopes":["customer"]}`,
		strings.Repeat("e7", 40), issued.Unix(), issued.Add(8*time.Hour).Unix()))
}

// forShop signs claims with the key of testKeys as a shop does: without a kid.
func forShop(t *testing.T, claims string) secret.Text {
	t.Helper()
	text, err := os.ReadFile("../keys/testdata/test-key.pem")
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	input := base64.RawURLEncoding.EncodeToString([]byte(`{"typ":"JWT","alg":"RS256"}`)) + "." + base64.RawURLEncoding.EncodeToString([]byte(claims))
	sum := sha256.Sum256([]byte(input))
	private, _ := key.(*rsa.PrivateKey)
	signature, err := rsa.SignPKCS1v15(nil, private, crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return secret.Text(input + "." + base64.RawURLEncoding.EncodeToString(signature))
}

func TestAShopsAccessTokenIsKnownAndMovesNothing(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	answer := o.enter(home)
	token := shopAccessToken(t, o.now())
	request := server.RevokeRequest{Token: &token}
	if _, err := o.server.Revoke(t.Context(), request); err != nil {
		t.Errorf("signing out with it: %v", err)
	}
	if e := o.last(); e.Name != server.EventRevokeIgnored {
		t.Errorf("signing out with it: %+v", e)
	}
	for _, others := range []string{"others", "all"} {
		request.Sessions = others
		if _, err := o.server.Revoke(t.Context(), request); server.CodeOf(err) != server.Malformed {
			t.Errorf("signing out %s with it: %v", others, err)
		}
	}
	o.mustRefresh(answer.RefreshToken)
	for _, err := range []error{
		func() error { _, err := o.inspector.List(t.Context(), token); return err }(),
		func() error { _, err := o.inspector.Show(t.Context(), token); return err }(),
		func() error { _, err := o.inspector.Revoke(t.Context(), token); return err }(),
	} {
		if server.CodeOf(err) != server.NothingFound || !strings.Contains(err.Error(), "an access token of the shop's own") {
			t.Errorf("asked for its session: %v", err)
		}
	}
	for after, until := range map[time.Duration]string{0: "By itself it is good until 2026-01-31T20:00:00Z.", 9 * time.Hour: "It expired at 2026-01-31T20:00:00Z by itself."} {
		o.pass(after)
		story, err := o.inspector.Explain(t.Context(), token)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.Join(story.Lines, "\n")
		for _, want := range []string{"an access token of the shop's own", until, "issued at 2026-01-31T12:00:00Z: the shop refuses it once"} {
			if !strings.Contains(text, want) {
				t.Errorf("after %s: the story\n%s\nlacks %q", after, text, want)
			}
		}
		o.pass(-after)
	}
}
