package handlers_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/handlers"
	"github.com/glueauth/glueauth/server"
	"github.com/glueauth/glueauth/store"
	"github.com/glueauth/glueauth/store/sqlstore"
)

const managementSecret = "0123456789abcdef"

// backOffice is the management listener of a shop.
type backOffice struct {
	*shop
	public string // address of the other listener
}

func openBackOffice(t *testing.T, bearer secret.Text) *backOffice {
	t.Helper()
	x := openShop(t, setup{origins: []string{"https://shop.example"}})
	fixed, err := fixtures()
	if err != nil {
		t.Fatal(err)
	}
	c := x.config
	c.AdminSecret = bearer
	c.Inspector, err = server.NewInspector(server.Config{
		Keys: fixed.keys, Master: fixed.master, RequireConfirmed: true, Now: x.clock.Now, Random: x.random,
		Event: handlers.Events(c.Logger, c.Metrics),
		Refresh: server.RefreshPolicy{MACKey: 1, Windows: store.Windows{
			Replay: time.Minute, Rejoin: 7 * 24 * time.Hour, LateRetry: 7 * 24 * time.Hour, Concurrency: 10 * time.Second,
		}},
	}, sqlstore.New(x.file, x.clock.Now, x.random), x.sessions)
	if err != nil {
		t.Fatal(err)
	}
	x.config = c
	o := &backOffice{shop: x, public: x.address}
	x.address = x.listen(t, handlers.Admin(c))
	return o
}

// ask asks the management API with its secret.
func (o *backOffice) ask(t *testing.T, call, who string) answer {
	t.Helper()
	return o.do(t, http.MethodPost, "/sessions/"+call, strings.NewReader(url.Values{"who": {who}}.Encode()),
		"Content-Type", "application/x-www-form-urlencoded", "Authorization", "Bearer "+managementSecret)
}

// signIn signs a customer in at the public listener.
func (o *backOffice) signIn(t *testing.T) (access, refresh string) {
	t.Helper()
	there := *o.shop
	there.address = o.public
	a := there.post(t, signIn, "User-Agent", "browser")
	var tokens struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
	}
	if err := json.Unmarshal([]byte(a.body), &tokens); err != nil || tokens.Refresh == "" {
		t.Fatal(a.status, a.body, err)
	}
	return tokens.Access, tokens.Refresh
}

func (o *backOffice) refresh(t *testing.T, token string) answer {
	t.Helper()
	there := *o.shop
	there.address = o.public
	return there.post(t, "grant_type=refresh_token&refresh_token="+token, "User-Agent", "browser")
}

func TestManagementAnswersAreJSON(t *testing.T) {
	t.Parallel()
	o := openBackOffice(t, managementSecret)
	_, token := o.signIn(t)
	o.clock.advance(time.Minute)
	if a := o.refresh(t, token); a.status != http.StatusOK {
		t.Fatal(a.status, a.body)
	}
	const (
		customer = `{"id":21,"reference":"DE--21","email":"sonia@spryker.com"}`
		head     = `"client":"frontend","scopes":["customer"],`
		alive    = `"alive":true,"started":"2026-03-01T12:00:00Z","refreshed":"2026-03-01T12:01:00Z","generation":2,"replays":0,` +
			`"expires":"2026-04-01T12:01:00Z","ends":"2027-03-01T12:00:00Z",`
		seen = `"first_seen":{"address":"127.0.0.1","user_agent":"browser"},"last_seen":{"address":"127.0.0.1","user_agent":"browser"}`
		line = `{"at":"2026-03-01T12:01:00Z","what":"rotated","generation":1,"address":"127.0.0.1","count":1}`
	)
	for _, c := range []struct {
		call, who string
		status    int
		body      string
	}{
		{"list", "SONIA@spryker.com", 200, `{"customer":` + customer + `,"sessions":[{"session":"NAME",` + head + alive + seen + `}]}`},
		{"show", token, 200, `{"session":"NAME","customer":` + customer + `,` + head + alive + seen + `,"timeline":[` + line + `]}`},
		{"explain", "DE--21", 200, `{"story":["Customer 21 (DE--21, sonia@spryker.com): 1 of his sessions live, 0 that ended are still remembered.","",` +
			`"Session NAME of customer 21 (DE--21, sonia@spryker.com) at client frontend",` +
			`"It is alive: refresh token 2 can be used until 2026-04-01T12:01:00Z, and the session ends at 2027-03-01T12:00:00Z at the latest.","",` +
			`"2026-03-01T12:00:00Z  signed in from 127.0.0.1 and was given refresh token 1",` +
			`"2026-03-01T12:01:00Z  refresh token 1 was used from 127.0.0.1 and exchanged for refresh token 2"]}`},
		{"revoke", token, 200, `{"ended":true,"customer":` + customer + `,"session":"NAME"}`},
		{"revoke", token, 200, `{"ended":false,"customer":` + customer + `,"session":"NAME"}`},
		{"show", token, 200, `{"session":"NAME","customer":` + customer + `,` + head +
			strings.Replace(alive, `"alive":true`, `"alive":false,"cause":"operator","since":"2026-03-01T12:01:00Z"`, 1) + seen +
			`,"timeline":[` + line + `,{"at":"2026-03-01T12:01:00Z","what":"ended","count":1}]}`},
		{"revoke", "DE--21", 200, `{"ended":true,"customer":` + customer + `}`},
		{"list", "DE--B", 200, `{"customer":{"id":22,"reference":"DE--B","email":"unconfirmed@spryker.com"},"sessions":[]}`},
		{"list", "nobody@spryker.com", 404, `{"error":"not_found","error_description":"no customer and no session of this server is known by that: ` +
			`give an e-mail address or a customer reference as it is in the database, the name of a session, or a token or jti of this server"}`},
		{"show", "DE--21", 400, `{"error":"invalid_request","error_description":"that is a customer, who may have several sessions: list them, and ask for one by its name"}`},
		{"list", "", 400, `{"error":"invalid_request","error_description":"nobody is named: ` +
			`give an e-mail address or a customer reference as it is in the database, the name of a session, or a token or jti of this server"}`},
	} {
		a := o.ask(t, c.call, c.who)
		body := regexp.MustCompile(`[0-9a-f]{32}`).ReplaceAllString(a.body, "NAME")
		if diff := cmp.Diff(c.body, body); a.status != c.status || diff != "" {
			t.Errorf("%s %s: %d (-want +got):\n%s", c.call, c.who, a.status, diff)
		}
		if a.header.Get("Cache-Control") != "no-store" || a.header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: header %v", c.call, a.header)
		}
	}
	if a := o.refresh(t, token); a.status != http.StatusBadRequest {
		t.Errorf("after it was revoked: %d %s", a.status, a.body)
	}
}

func TestManagementNeedsItsSecret(t *testing.T) {
	t.Parallel()
	o := openBackOffice(t, managementSecret)
	for name, header := range map[string][]string{
		"none":           nil,
		"empty":          {"Authorization", "Bearer "},
		"wrong":          {"Authorization", "Bearer c4n4ry-secret-of-nobody"},
		"a beginning":    {"Authorization", "Bearer 0123456789abcde"},
		"too much":       {"Authorization", "Bearer 0123456789abcdef0"},
		"another scheme": {"Authorization", "Basic " + managementSecret},
		"no scheme":      {"Authorization", managementSecret},
		"twice":          {"Authorization", "Bearer " + managementSecret, "Authorization", "Bearer " + managementSecret},
		"elsewhere":      {"X-Api-Key", managementSecret},
	} {
		for _, call := range []string{"list", "show", "revoke", "explain"} {
			a := o.do(t, http.MethodPost, "/sessions/"+call+"?access_token="+managementSecret, strings.NewReader("who=DE--21&access_token="+managementSecret),
				append(header, "Content-Type", "application/x-www-form-urlencoded")...)
			if a.status != http.StatusUnauthorized || a.header.Get("WWW-Authenticate") != `Bearer realm="glueauth management"` ||
				a.body != `{"error":"invalid_token","error_description":"Send admin_secret as a bearer token."}` {
				t.Errorf("%s %s: %d %v %s", call, name, a.status, a.header, a.body)
			}
		}
	}
	logs := o.logs.String()
	if n := strings.Count(logs, `"event":"management_refused"`); n != 36 || !strings.Contains(logs, `"level":"WARN","msg":"event","event":"management_refused"`) {
		t.Errorf("told %d times:\n%s", n, logs)
	}
	if strings.Contains(logs, "c4n4ry") || strings.Contains(logs, managementSecret) {
		t.Error("the log has a secret")
	}
	metrics := o.do(t, http.MethodGet, "/metrics", nil).body
	if !strings.Contains(metrics, `glueauth_events_total{cause="",event="management_refused"} 36`) {
		t.Error("it is not counted")
	}
	a := o.do(t, http.MethodPost, "/sessions/list", strings.NewReader("who=DE--21"), "Content-Type", "application/x-www-form-urlencoded",
		"Authorization", "bearer "+managementSecret)
	if a.status != http.StatusOK {
		t.Errorf("with the scheme in lower case: %d %s", a.status, a.body)
	}
}

func TestManagementIsUnknownWithoutASecret(t *testing.T) {
	t.Parallel()
	o := openBackOffice(t, "")
	for _, call := range []string{"list", "show", "revoke", "explain"} {
		for _, bearer := range []string{"", managementSecret} {
			a := o.do(t, http.MethodPost, "/sessions/"+call, strings.NewReader("who=DE--21"), "Content-Type", "application/x-www-form-urlencoded",
				"Authorization", "Bearer "+bearer)
			if unknown := o.do(t, http.MethodPost, "/unknown", nil); a.status != http.StatusNotFound || a.body != unknown.body {
				t.Errorf("%s: %d %s", call, a.status, a.body)
			}
		}
	}
	open := openBackOffice(t, managementSecret)
	open.address = open.public
	if a := open.ask(t, "list", "DE--21"); a.status != http.StatusNotFound {
		t.Errorf("on the public listener: %d %s", a.status, a.body)
	}
}

func TestManagementTakesFormsByPOSTOnly(t *testing.T) {
	t.Parallel()
	o := openBackOffice(t, managementSecret)
	const form, bearer = "application/x-www-form-urlencoded", "Bearer " + managementSecret
	for name, c := range map[string]struct {
		method, path, body string
		header             []string
		status             int
		text               string
	}{
		"GET":         {http.MethodGet, "/sessions/list?who=DE--21", "", []string{"Authorization", bearer}, 405, "Use POST."},
		"query":       {http.MethodPost, "/sessions/list?who=DE--21", "", []string{"Authorization", bearer}, 400, "nobody is named"},
		"JSON":        {http.MethodPost, "/sessions/list", `{"who":"DE--21"}`, []string{"Authorization", bearer, "Content-Type", "application/json"}, 400, "Send application/x-www-form-urlencoded"},
		"two of them": {http.MethodPost, "/sessions/list", "who=DE--21&who=DE--22", []string{"Authorization", bearer, "Content-Type", form}, 400, "parameter who has two values"},
		"from a page": {http.MethodPost, "/sessions/list", "who=DE--21", []string{"Authorization", bearer, "Content-Type", form, "Origin", "https://shop.example"}, 200, `"sessions":[]`},
	} {
		var body io.Reader
		if c.body != "" {
			body = strings.NewReader(c.body)
		}
		a := o.do(t, c.method, c.path, body, c.header...)
		if a.status != c.status || !strings.Contains(a.body, c.text) || a.header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: %d %v %s", name, a.status, a.header, a.body)
		}
	}
	o.sessions.Close()
	if a := o.ask(t, "list", "DE--21"); a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" {
		t.Errorf("without a store: %d %s", a.status, a.body)
	}
}

// Whatever is asked about a token, good, forged or unreadable, no log line, no answer and no file has it, nor its session's
// secret half.
func TestPastedTokensAreNeverLoggedStoredOrAnswered(t *testing.T) {
	t.Parallel()
	o := openBackOffice(t, managementSecret)
	access, token := o.signIn(t)
	forged := token[:len(token)-8] + "c4n4ryAA"
	foreign := "eyJhbGciOiJub25lIn0.c4n4ryc4n4ryc4n4ry.c4n4ry"
	pasted := []string{access, token, forged, foreign, "grt_c4n4ryc4n4ryc4n4ry", "def50200c4n4ryc4n4ryc4n4ry", token[:40] + "%00"}
	var said strings.Builder
	for _, who := range pasted {
		for _, call := range []string{"explain", "show", "list", "revoke"} {
			a := o.ask(t, call, who)
			if a.status != 200 && a.status != 404 {
				t.Errorf("%s: %d %s", call, a.status, a.body)
			}
			said.WriteString(a.body)
		}
	}
	said.WriteString(o.logs.String())
	o.sessions.Close()
	files, err := filepath.Glob(filepath.Dir(o.path(t)) + "/*")
	if err != nil || len(files) == 0 {
		t.Fatal("no files", err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		said.Write(b)
	}
	// Pieces of 16 characters: of a refresh token after its first bytes, which are the customer's id, of a JWT its signature.
	for _, piece := range []string{"c4n4ry", token[20:36], token[44:60], token[60:], access[len(access)-40 : len(access)-24]} {
		if strings.Contains(said.String(), piece) {
			t.Errorf("%q came up again", piece)
		}
	}
}

// path returns where the shop's database is.
func (x *shop) path(t *testing.T) string {
	t.Helper()
	var n int
	var name, path string
	if err := x.file.Read.QueryRowContext(t.Context(), `PRAGMA database_list`).Scan(&n, &name, &path); err != nil {
		t.Fatal(err)
	}
	return path
}
