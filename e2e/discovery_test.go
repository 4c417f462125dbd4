package e2e_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

const introspecting = `clients:
  - id: frontend
  - id: gateway
    secret: gateway-secret
    introspect: true
`

// located starts a server that has its own address, with a path, as its issuer.
func located(t *testing.T, path string, options ...string) (p *process, issuer, email string) {
	t.Helper()
	dir, address := t.TempDir(), freeAddress(t)
	issuer = "http://" + address + path
	p = start(t, dir, append(options, "GLUEAUTH_LISTEN="+address, "GLUEAUTH_ISSUER="+issuer, "--config="+write(t, dir, "glueauth.yaml", introspecting, 0o600))...)
	return p, issuer, customers(t, dir, 1)[0]
}

func TestGoOIDCFindsEverythingByTheIssuer(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"", "/", "/auth/v1"} {
		t.Run("path "+path, func(t *testing.T) {
			t.Parallel()
			p, issuer, email := located(t, path)
			ctx := oidc.ClientContext(t.Context(), p.client)
			provider, err := oidc.NewProvider(ctx, issuer)
			if err != nil {
				t.Fatal(err)
			}
			c := oauth2.Config{ClientID: "gateway", ClientSecret: "gateway-secret", Endpoint: provider.Endpoint()}
			token, err := c.PasswordCredentialsToken(context.WithValue(ctx, oauth2.HTTPClient, p.client), email, demoPassword)
			if err != nil {
				t.Fatal(err)
			}
			verifier := provider.Verifier(&oidc.Config{ClientID: "gateway"})
			verified, err := verifier.Verify(ctx, token.AccessToken)
			if err != nil || verified.Issuer != issuer {
				t.Errorf("our token: %+v %v", verified, err)
			}
			stranger, err := rsa.GenerateKey(rand.Reader, 2048)
			if err != nil {
				t.Fatal(err)
			}
			parts := strings.Split(token.AccessToken, ".")
			if _, err := verifier.Verify(ctx, rs256(t, stranger, decode(t, parts[0]), decode(t, parts[1]))); err == nil {
				t.Error("a forged token passed")
			}
			alias := strings.Replace(issuer, "127.0.0.1", "localhost", 1)
			if _, err := oidc.NewProvider(ctx, alias); err == nil || !strings.Contains(err.Error(), "issuer") {
				t.Errorf("by another name of the host: %v", err)
			}
		})
	}
}

func TestOAuth4WebAPIFindsEverythingByTheIssuer(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"", "/auth/v1"} {
		t.Run("path "+path, func(t *testing.T) {
			t.Parallel()
			p, issuer, email := located(t, path)
			own := p.must(t, "grant_type", "password", "username", email, "password", demoPassword, "client_id", "gateway", "client_secret", "gateway-secret")
			other := p.signIn(t, email)
			type verdict struct {
				Active   bool   `json:"active"`
				Client   string `json:"client_id"`
				Audience string `json:"aud"`
				Issuer   string `json:"iss"`
				Scope    string `json:"scope"`
				Type     string `json:"token_type"`
			}
			got := map[string]verdict{}
			judge(t, &got, map[string]string{
				"a: refresh token": own.RefreshToken, "b: its own": own.AccessToken, "c: another's refresh token": other.RefreshToken, "d: garbage": "x",
				"e: another's": other.AccessToken, "f: its own": own.AccessToken,
			}, "discover.js", issuer, "gateway", "gateway-secret")
			access := func(client string) verdict { return verdict{true, client, client, issuer, "customer", "Bearer"} }
			want := map[string]verdict{"f: its own after it was revoked": {}}
			for _, by := range []string{" by basic", " by post"} {
				want["a: refresh token"+by] = verdict{true, "gateway", "", issuer, "customer", ""}
				want["b: its own"+by], want["f: its own"+by], want["e: another's"+by] = access("gateway"), access("gateway"), access("frontend")
				want["c: another's refresh token"+by], want["d: garbage"+by] = verdict{}, verdict{}
			}
			for name, verdict := range want {
				if got[name] != verdict {
					t.Errorf("%s: %+v, want %+v", name, got[name], verdict)
				}
			}
			if len(got) != len(want) {
				t.Errorf("%d verdicts, want %d: %v", len(got), len(want), got)
			}
		})
	}
}

// judge runs a program of the folder witness; the tokens reach it in the order of their names.
func judge(t *testing.T, to any, tokens map[string]string, argv ...string) {
	t.Helper()
	stdin, err := json.Marshal(tokens)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program(t, "node"), argv...)
	var stderr bytes.Buffer
	cmd.Dir, cmd.Env, cmd.Stdin, cmd.Stderr = "witness", environment(t.TempDir()), bytes.NewReader(stdin), &stderr
	out, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(out, to)
	}
	if err != nil {
		t.Fatalf("%s: %v: if a package is missing, run make deps\n%s\n%s", cmd, err, out, &stderr)
	}
}

// verify asks as a gateway does before it lets a request with this token through.
func (p *process) verify(t *testing.T, query, token string) answer {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, p.public+"/verify"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	a, err := p.do(r)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// refusedAs demands 401 with this challenge.
func refusedAs(t *testing.T, a answer, challenge string) {
	t.Helper()
	if a.status != http.StatusUnauthorized || a.header.Get("WWW-Authenticate") != challenge {
		t.Errorf("%s %v, want 401 and %s", a, a.header, challenge)
	}
}

func TestASignedOutCustomerIsCutOffBeforeHisTokenExpires(t *testing.T) {
	t.Parallel()
	p, _, email := located(t, "")
	s := p.signIn(t, email)
	for _, query := range []string{"", "?active=1"} {
		a := p.verify(t, query, s.AccessToken)
		got := [4]string{a.header.Get("X-Customer-Reference"), a.header.Get("X-Customer-Id"), a.header.Get("X-Scopes"), a.header.Get("Cache-Control")}
		if want := [4]string{"DE--1000", "1", "customer", "no-store"}; a.status != http.StatusOK || got != want {
			t.Errorf("verify%s: %d %q, want 200 %q", query, a.status, got, want)
		}
		refusedAs(t, p.verify(t, query, ""), `Bearer realm="glueauth"`)
	}
	r, err := http.NewRequest(http.MethodPost, p.public+"/revoke", strings.NewReader("sessions=all&token="+s.RefreshToken))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if a, err := p.do(r); err != nil || a.status != http.StatusOK {
		t.Fatal(a, err)
	}
	refusedAs(t, p.verify(t, "?active=1", s.AccessToken), `Bearer realm="glueauth", error="invalid_token"`)
	eventually(t, cutOffLimit, func() error {
		if a := p.verify(t, "", s.AccessToken); a.status != http.StatusUnauthorized {
			return fmt.Errorf("without a look-up: %s", a)
		}
		return nil
	})
}

func TestTheManagementListenerHandsOutWhatKeysExportDoes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := start(t, dir)
	a, err := p.get(p.admin + "/keys.pem")
	if want := succeed(t, dir, "", "keys", "export", "--format", "pem"); err != nil || a.status != http.StatusOK || a.body != want {
		t.Errorf("%v %v, want\n%s", a, err, want)
	}
	if err := p.expect(p.public+"/keys.pem", http.StatusNotFound); err != nil {
		t.Error(err)
	}
	if err := p.expect(p.public+"/.well-known/oauth-authorization-server", http.StatusNotFound); err != nil { // there is no issuer
		t.Error(err)
	}
}
