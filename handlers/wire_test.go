package handlers_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/glueauth/glueauth/server"
	"github.com/glueauth/glueauth/store"
)

var update = flag.Bool("update", false, "rewrite the golden files with what is answered")

// TestWire sends the requests of testdata/wire/NAME.http over TCP and compares the answers byte by byte. A file is
//
//	# what it shows
//	>>> request          or: >>> request after 1h, which moves the clock first
//	POST /token HTTP/1.1
//	...
//	<<< response
//	HTTP/1.1 200 OK
//	...
//
// and may hold several of these pairs. All stands there as it is sent, but for: line ends (CRLF in headers and multipart
// bodies), Content-Length, which is added where there is neither it nor Transfer-Encoding, Date, which is taken out, and
//
//	{{refresh_token}} {{access_token}}  of the latest sign-in or refresh in this file
//	{{refresh_token N}}                 of the N-th one
//	{{base64 TEXT}}                     encoded; TEXT may have escapes as in Go
//	{{bytes TEXT}}                      the same, not encoded
//	{{repeat N TEXT}}
//
// Files whose shop is another than usual stand in wireSetups.
func TestWire(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/wire/*.http")
	if err != nil || len(files) == 0 {
		t.Fatal("no golden files", err)
	}
	setups := wireSetups()
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".http")
		special := setups[name]
		delete(setups, name)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			runWire(t, file, special)
		})
	}
	if len(setups) > 0 {
		t.Errorf("setups without a file: %v", slices.Sorted(maps.Keys(setups)))
	}
}

type wireSetup struct {
	setup
	before func(*shop) // each request but the first
	first  bool        // the first one too
}

func wireSetups() map[string]wireSetup {
	strict := wireSetup{setup: setup{clients: append(clients()[2:3], clients()...)[:2]}}
	cors := wireSetup{setup: setup{origins: []string{"https://shop.example"}}}
	customersDown := func(x *shop) { _ = x.file.Read.Close() }
	sessionsDown := func(x *shop) { x.sessions.Close() }
	told := wireSetup{setup: setup{clients: clients()}}
	for i := range told.clients {
		told.clients[i].RefreshExpiry = true
	}
	issued := func(issuer string) wireSetup { return wireSetup{setup: setup{issuer: issuer}} }
	const login = "https://login.shop.example"
	corsIssued := wireSetup{setup: setup{origins: cors.origins, issuer: login}}
	var oneGuess server.Guessing
	oneGuess.Limits.Pair = store.GuessLimit{Most: 1, Window: 10 * time.Minute, Lock: 5 * time.Minute}
	return map[string]wireSetup{
		"limited":                       {setup: setup{guessing: oneGuess}},
		"metadata":                      issued(login),
		"metadata_slash":                issued(login + "/"),
		"metadata_path":                 issued("https://shop.example:8443/auth/v1/"),
		"metadata_public_clients":       {setup: setup{issuer: login, clients: clients()[:1]}},
		"metadata_secret_clients":       {setup: setup{issuer: login, clients: clients()[3:4]}},
		"metadata_openid":               issued(login),
		"metadata_host":                 issued(login),
		"metadata_head":                 issued(login),
		"metadata_not_modified":         issued(login),
		"metadata_post":                 issued(login),
		"cors_metadata":                 corsIssued,
		"introspect_issuer":             issued(login),
		"introspect_unavailable":        {before: sessionsDown},
		"introspect_unavailable_own":    {before: sessionsDown},
		"introspect_garbage_down":       {before: sessionsDown, first: true},
		"verify_unavailable":            {before: sessionsDown},
		"cors_verify_preflight":         cors,
		"refresh_expiry_glue":           told,
		"refresh_expiry_rfc6749":        told,
		"revoke_unavailable_this":       {before: sessionsDown},
		"revoke_unavailable_access":     {before: sessionsDown},
		"revoke_unavailable_others":     {before: sessionsDown},
		"revoke_unavailable_all":        {before: sessionsDown},
		"revoke_unavailable_customers":  {before: customersDown},
		"cors_revoke":                   cors,
		"cors_revoke_preflight":         cors,
		"unavailable_customers":         {before: customersDown, first: true},
		"unavailable_customers_rfc6749": {before: customersDown, first: true},
		"unavailable_customers_refresh": {before: customersDown},
		"unavailable_sessions":          {before: sessionsDown, first: true},
		"unavailable_sessions_refresh":  {before: sessionsDown},
		"internal_glue":                 {before: func(x *shop) { x.random.fail() }, first: true},
		"internal_rfc6749":              {before: func(x *shop) { x.random.fail() }, first: true},
		"readyz_down":                   {setup: setup{ready: notReady}},
		"default_rfc6749_grant":         strict,
		"default_rfc6749_client":        strict,
		"default_rfc6749_empty_client":  strict,
		"cors_preflight":                cors,
		"cors_preflight_stranger":       cors,
		"cors_preflight_header":         cors,
		"cors_preflight_method":         cors,
		"cors_token":                    cors,
		"cors_token_stranger":           cors,
		"cors_failure":                  cors,
		"cors_jwks":                     cors,
	}
}

func runWire(t *testing.T, file string, special wireSetup) {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want := string(raw)
	if !strings.HasPrefix(want, "# ") || !strings.Contains(want, "\n>>> request") {
		t.Fatal("a golden file starts with a comment and has at least one request")
	}
	got := answerWire(t, openShop(t, special.setup), want, special)
	if *update {
		err = os.WriteFile(file, []byte(got), 0o600)
	} else if got != want {
		err = fmt.Errorf("(-want +got, run with -update to take it over):\n%s", cmp.Diff(want, got))
	}
	if err != nil {
		t.Error(file, err)
	}
}

// answerWire sends the requests of a golden file and returns the file with the answers that came.
func answerWire(t *testing.T, x *shop, text string, special wireSetup) string {
	t.Helper()
	exchanges := strings.Split(text, "\n>>> request")
	got := exchanges[0]
	latest := map[string]string{}
	for i, exchange := range exchanges[1:] {
		request, _, _ := strings.Cut(exchange, "\n<<< response\n")
		title, request, _ := strings.Cut(request, "\n")
		if after, moves := strings.CutPrefix(title, " after "); moves {
			d, err := time.ParseDuration(after)
			if err != nil {
				t.Fatal(err)
			}
			x.clock.advance(d)
		}
		if special.before != nil && (i > 0 || special.first) {
			special.before(x)
		}
		answer := sendWire(t, x.address, expand(t, request, latest))
		remember(answer, latest)
		got += "\n>>> request" + title + "\n" + request + "\n<<< response\n" + answer + "\n"
	}
	return got
}

// sendWire sends the text of a request and returns the text of its answer.
func sendWire(t *testing.T, address, request string) string {
	t.Helper()
	head, body, _ := strings.Cut(request, "\n\n")
	if strings.Contains(head, "multipart/") || strings.Contains(head, "Transfer-Encoding") {
		body = strings.ReplaceAll(body, "\n", "\r\n")
	}
	if !strings.Contains(head, "Transfer-Encoding:") && !strings.Contains(head, "Content-Length:") {
		head += "\nContent-Length: " + strconv.Itoa(len(body))
	}
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // read to its end
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, strings.ReplaceAll(head, "\n", "\r\n")+"\r\n\r\n"+body); err != nil {
		t.Fatal(err)
	}
	var raw bytes.Buffer
	method, _, _ := strings.Cut(head, " ")
	answer, err := http.ReadResponse(bufio.NewReader(io.TeeReader(conn, &raw)), &http.Request{Method: method})
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close() //nolint:errcheck // read to its end
	if _, err := io.Copy(io.Discard, answer.Body); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatal(err)
	}
	text := regexp.MustCompile(`(?m)^Date: .*\r\n`).ReplaceAllString(raw.String(), "")
	answerHead, answerBody, _ := strings.Cut(text, "\r\n\r\n")
	return strings.TrimSuffix(strings.ReplaceAll(answerHead, "\r\n", "\n")+"\n\n"+answerBody, "\n\n")
}

// remember keeps the tokens of a successful answer.
func remember(answer string, latest map[string]string) {
	_, body, _ := strings.Cut(answer, "\n\n")
	var tokens struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
	}
	if json.Unmarshal([]byte(body), &tokens) == nil && tokens.Refresh != "" {
		latest["access_token"], latest["refresh_token"] = tokens.Access, tokens.Refresh
		latest[fmt.Sprintf("refresh_token %d", len(latest)-1)] = tokens.Refresh
	}
}

func expand(t *testing.T, request string, latest map[string]string) string {
	t.Helper()
	return regexp.MustCompile(`\{\{(\w+)(?: ([^}]*))?\}\}`).ReplaceAllStringFunc(request, func(m string) string {
		word, text, _ := strings.Cut(strings.Trim(m, "{}"), " ")
		switch word {
		case "base64", "bytes":
			plain, err := strconv.Unquote(`"` + text + `"`)
			if err != nil {
				t.Fatal(m, err)
			}
			if word == "bytes" {
				return plain
			}
			return base64.StdEncoding.EncodeToString([]byte(plain))
		case "repeat":
			var n int
			var what string
			if _, err := fmt.Sscan(text, &n, &what); err != nil {
				t.Fatal(m, err)
			}
			return strings.Repeat(what, n)
		default:
			token := latest[strings.Trim(m, "{}")]
			if token == "" {
				t.Fatalf("%s has no value here", m)
			}
			return token
		}
	})
}
