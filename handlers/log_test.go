package handlers_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/glueauth/glueauth/handlers"
	"github.com/glueauth/glueauth/server"
	"github.com/glueauth/glueauth/store"
)

func TestForeignTextCannotForgeALogLine(t *testing.T) {
	t.Parallel()
	x := openShop(t, setup{})
	public, err := handlers.Public(x.config)
	if err != nil {
		t.Fatal(err)
	}
	hostile := []string{
		"x\r\n{\"level\":\"INFO\",\"msg\":\"event\",\"event\":\"sign_in\"}", "\x1b[2J\x1b]0;owned\x07", `"},{"msg":"event`,
		"\u009b31m \u202e \u2028", "%0d%0aforged", strings.Repeat("A", 30_000), "\xff\xfe", "\x00",
	}
	requests := 0
	for _, text := range hostile {
		for _, key := range []string{"grant_type", "client_id", "scope", "refresh_token", "retry_key", "x"} {
			form := url.Values{"grant_type": {"password"}, "username": {text}, "password": {text}}
			form.Set(key, text)
			r := httptest.NewRequest(http.MethodPost, "/token?"+url.QueryEscape(text), strings.NewReader(form.Encode()))
			r.Header = http.Header{
				"Content-Type": {urlEncoded}, "User-Agent": {text}, "X-Request-Id": {text}, "Authorization": {text},
			}
			public.ServeHTTP(httptest.NewRecorder(), r)
			r.Method += text // net/http lets only letters through
			public.ServeHTTP(httptest.NewRecorder(), r)
			requests += 2
		}
	}
	access := 0
	for _, line := range logLines(t, x.logs.String()) {
		if line["event"] == "sign_in" {
			t.Errorf("forged: %v", line)
		}
		if line["msg"] == "request" {
			access++
		}
	}
	if access != requests {
		t.Errorf("%d access lines for %d requests", access, requests)
	}
	for line := range strings.Lines(x.logs.String()) {
		checkHarmless(t, line)
	}
}

func checkHarmless(t *testing.T, line string) {
	t.Helper()
	if len(line) > 1000 || strings.ContainsAny(line, "\x1b\u009b\u202e\u2028\x00") {
		t.Errorf("%.300q", line)
	}
}

func TestSecretsAppearNowhere(t *testing.T) {
	t.Parallel()
	x := openShop(t, setup{})
	var seen strings.Builder // all that comes out, but for the tokens where they belong
	badRequests(t, x, &seen)
	var tokens struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
	}
	if err := json.Unmarshal([]byte(x.post(t, signIn).body), &tokens); err != nil {
		t.Fatal(err)
	}
	for range 2 { // a refresh and a replay
		x.post(t, "grant_type=refresh_token&refresh_token="+tokens.Refresh)
	}
	seen.WriteString(x.post(t, "grant_type=refresh_token&client_id=gateway&refresh_token="+tokens.Refresh).body)
	for _, body := range []string{
		"token=" + url.QueryEscape(canary(4)), "token=" + tokens.Access + "&client_id=gateway", "token=" + tokens.Refresh + "x",
		"token=" + tokens.Access + "&sessions=all", "token=" + tokens.Refresh + "&sessions=" + url.QueryEscape(canary(5)),
		"token=" + tokens.Refresh + "&retry_key=0123456789abcdef", "token=" + tokens.Refresh + "&sessions=others", "token=" + tokens.Access,
	} {
		seen.WriteString(x.revoke(t, body).body)
	}
	askAbout(t, x, tokens.Access, tokens.Refresh, &seen)
	seen.WriteString(get(handlers.Admin(x.config), "/metrics").Body.String())
	seen.WriteString(x.logs.String())
	all := seen.String()

	secrets := []string{tokens.Access, tokens.Refresh, "change123"}
	for n := range 10 {
		secrets = append(secrets, canary(n))
	}
	for _, s := range secrets {
		for _, spelling := range spellings(s) {
			if strings.Contains(all, spelling) {
				t.Errorf("%q is in a log, a metric or an error", spelling)
			}
		}
	}
	if strings.Contains(all, "canary") || strings.Contains(all, "grt_") {
		t.Error("a part of a secret is in a log, a metric or an error")
	}
	for _, expected := range []string{"glueauth_events_total", `"level":"DEBUG"`, "invalid_client"} {
		if !strings.Contains(all, expected) {
			t.Errorf("%s is not in what was searched", expected)
		}
	}
}

// askAbout introspects and verifies.
func askAbout(t *testing.T, x *shop, access, refresh string, seen *strings.Builder) {
	t.Helper()
	for _, body := range []string{"token=" + url.QueryEscape(canary(6)), "token=" + access, "token=" + refresh} {
		seen.WriteString(x.do(t, http.MethodPost, "/introspect", strings.NewReader(body+"&client_id=middleware&client_secret=abc123"),
			"Content-Type", urlEncoded).body)
	}
	for _, token := range []string{canary(7), access, refresh} {
		a := x.do(t, http.MethodGet, "/verify?active=1&x="+url.QueryEscape(canary(8)), nil, "Authorization", "Bearer "+token)
		seen.WriteString(a.body + a.header.Get("WWW-Authenticate"))
	}
}

func canary(n int) string { return fmt.Sprintf("canary~%d~Zq/+&=", n) }

// spellings are the ways in which a secret could be written down.
func spellings(s string) []string {
	b := []byte(s)
	return []string{
		s, url.QueryEscape(s), url.PathEscape(s), hex.EncodeToString(b), base64.StdEncoding.EncodeToString(b),
		base64.RawURLEncoding.EncodeToString(b), strings.Trim(fmt.Sprintf("%q", s), `"`),
		strings.TrimPrefix(basicHeader("vault", s), "Basic "),
	}
}

func basicHeader(id, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(id)+":"+url.QueryEscape(password)))
}

// badRequests sends canaries in all places that should hold a secret, and in some that should not.
func badRequests(t *testing.T, x *shop, seen *strings.Builder) {
	t.Helper()
	esc := url.QueryEscape
	for _, body := range []string{
		"grant_type=password&username=sonia%40spryker.com&password=" + esc(canary(2)),
		"grant_type=password&username=nobody&password=" + esc(canary(2)),
		"grant_type=password&username=sonia%40spryker.com&password=" + esc(canary(2)) + "&password=" + esc(canary(3)),
		"grant_type=password&username=sonia%40spryker.com&password=" + canary(2) + "%zz;",
		"grant_type=refresh_token&refresh_token=" + esc(canary(4)),
		"grant_type=refresh_token&refresh_token=grt_" + esc(canary(4)) + "&retry_key=" + esc(canary(5)),
		"grant_type=refresh_token&refresh_token=x&retry_key=" + esc("short "+canary(5)),
		signIn + "&client_id=vault&client_secret=" + esc(canary(6)),
		"--b\r\n" + canary(9) + "\r\n",
	} {
		for _, header := range [][]string{
			{"Content-Type", urlEncoded},
			{"Content-Type", urlEncoded, "Authorization", basicHeader("vault", canary(7))},
			{"Content-Type", urlEncoded, "Authorization", "Basic " + canary(8)},
			{"Content-Type", urlEncoded, "Authorization", "Bearer " + canary(8)},
			{"Content-Type", "text/" + hex.EncodeToString([]byte(canary(9)))},
			{"Content-Type", "multipart/form-data; boundary=b"},
		} {
			a := x.do(t, http.MethodPost, "/token?password="+esc(canary(0)), strings.NewReader(body),
				append(header, "Cookie", "session="+canary(1))...)
			if a.status == http.StatusOK {
				t.Errorf("%s %v: accepted", body, header)
			}
			fmt.Fprint(seen, a.header, a.body)
		}
	}
}

func TestEventsAreCountedAndLoggedAtTheirLevel(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	m := handlers.NewMetrics()
	logger := slog.New(handlers.NewLogHandler(slog.NewJSONHandler(&b, &slog.HandlerOptions{Level: slog.LevelDebug}))).With("a", 1)
	event := handlers.Events(logger, m)
	levels := map[server.EventName]string{
		server.EventSignIn: "INFO", server.EventSignInRefused: "INFO", server.EventRotated: "DEBUG", server.EventReplayed: "DEBUG",
		server.EventHealed: "WARN", server.EventDisplaced: "INFO", server.EventReuse: "WARN", server.EventRefreshRefused: "INFO",
		server.EventSessionEnded: "INFO", server.EventObserved: "WARN", server.EventSignedOut: "INFO", server.EventRevokeIgnored: "INFO",
		server.EventOperatorEnded: "INFO", server.EventManagementRefused: "WARN", server.EventTakenOver: "INFO",
		server.EventShopUnmarked: "WARN", server.EventSignInLimited: "INFO", server.EventGuessLocal: "WARN",
	}
	for name := range server.EventCauses() {
		b.Reset()
		event(t.Context(), server.Event{
			Name: name, Cause: "why", Client: "a\nclient", Generation: 7,
			Subject: store.Subject{Kind: store.SubjectCustomer, ID: 21}, Session: store.SessionName{1, 2, 3},
			Other: netip.MustParseAddr("198.51.100.7"),
		})
		got := logLines(t, b.String())[0]
		delete(got, "time")
		want := map[string]any{
			"level": levels[name], "msg": "event", "a": 1.0, "event": string(name), "cause": "why", "client": "a?client",
			"generation": 7.0, "subject_kind": 1.0, "subject": 21.0, "session": "01020300000000000000000000000000", "address": "",
			"other_address": "198.51.100.7",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(name, diff)
		}
	}
	c := openShop(t, setup{}).config
	c.Metrics = m
	text := get(handlers.Admin(c), "/metrics").Body.String()
	for name, causes := range server.EventCauses() {
		lines := []string{`cause="why",event="` + string(name) + `"} 1`}
		for _, cause := range causes {
			lines = append(lines, `cause="`+cause+`",event="`+string(name)+`"} 0`)
		}
		for _, line := range lines {
			if !strings.Contains(text, "glueauth_events_total{"+line) {
				t.Errorf("no %s", line)
			}
		}
	}
}

func TestALostSessionIsAWarning(t *testing.T) {
	t.Parallel()
	x := openShop(t, setup{})
	var tokens struct {
		Refresh string `json:"refresh_token"`
	}
	if err := json.Unmarshal([]byte(x.post(t, signIn).body), &tokens); err != nil {
		t.Fatal(err)
	}
	if _, err := x.file.Write.ExecContext(t.Context(), "DELETE FROM sessions"); err != nil {
		t.Fatal(err)
	}
	x.post(t, "grant_type=refresh_token&refresh_token="+tokens.Refresh)
	for _, line := range logLines(t, x.logs.String()) {
		if line["event"] == "refresh_refused" && line["level"] == "WARN" && line["cause"] == "store_lost" {
			return
		}
	}
	t.Errorf("no warning in\n%s", x.logs.String())
}

func TestLogGroupsKeepTheRequestID(t *testing.T) {
	t.Parallel()
	x := openShop(t, setup{})
	c := x.config
	c.Logger = c.Logger.WithGroup("http")
	get(handlers.Admin(c), "/livez")
	if logs := x.logs.String(); !strings.Contains(logs, `"request_id"`) {
		t.Errorf("log:\n%s", logs)
	}
}
