package e2e_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNoSecretIsWrittenAnywhere(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"json", "text"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			s := secrets{t: t, values: map[string]string{}}
			config := fmt.Sprintf("clients:\n  - id: frontend\n  - id: shop\n    secret: %s\n", s.make("client secret"))
			p := start(t, dir, "--config="+write(t, dir, "glueauth.yaml", config, 0o600), "--log-level=debug", "--log-format="+format,
				"GLUEAUTH_REFRESH_REPLAY_WINDOW=0s", "GLUEAUTH_REFRESH_REJOIN_WINDOW=0s", "GLUEAUTH_REFRESH_LATE_RETRY=0s")
			succeed(t, dir, s.make("password"), "customers", "add", "--email", "a@shop.example", "--reference", "DE--1", "--password-stdin")

			s.tokens(p)
			s.strangers(p)
			s.broken(p)
			release := hold(t, filepath.Join(dir, "data"))
			s.tokens(p)
			release()
			s.files(filepath.Join(dir, "data"))

			places := map[string]string{
				"commands": succeed(t, dir, "", "config", "print", "--config", "glueauth.yaml") + succeed(t, dir, "", "customers", "list"),
			}
			for _, name := range []string{"/metrics", "/readyz?verbose"} {
				a, err := p.get(p.admin + name)
				if err != nil {
					t.Fatal(err)
				}
				places[name] = a.body
			}
			for _, name := range []string{"cmdline", "environ"} {
				content, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", p.cmd.Process.Pid, name))
				if err != nil {
					t.Fatal(err)
				}
				places[name] = string(content)
			}
			s.search(places) // and the database with its journal, while it is in use
			s.search(read3(t, filepath.Join(dir, "data")))

			p.signal(t, syscall.SIGQUIT) // every stack, too
			p.wait(t)
			places = map[string]string{"stdout": p.stdout.String(), "stderr": p.stderr.String()}
			if !strings.Contains(places["stderr"], "SIGQUIT") || strings.Count(places["stderr"], "\n") < 50 {
				t.Errorf("the log is too short to prove anything:\n%s", places["stderr"])
			}
			s.search(places)
		})
	}
}

// secrets collects what must never be written, by name.
type secrets struct {
	t      *testing.T
	values map[string]string
}

// make makes a secret and remembers it under its name.
func (s *secrets) make(name string) string {
	s.values[name] = "cAnArY" + rand.Text()
	return s.values[name]
}

// add remembers secrets that an answer holds. Of a refresh token, neither its bytes nor the session id in it may be found.
func (s *secrets) add(a answer) {
	s.t.Helper()
	n := len(s.values)
	if a.AccessToken != "" {
		s.values[fmt.Sprintf("access token %d", n)] = a.AccessToken[strings.LastIndex(a.AccessToken, ".")+1:]
	}
	if a.RefreshToken != "" {
		raw := decode(s.t, strings.TrimPrefix(a.RefreshToken, "grt_"))
		s.values[fmt.Sprintf("refresh token %d", n)] = a.RefreshToken
		s.values[fmt.Sprintf("refresh token %d, decoded", n)] = raw
		s.values[fmt.Sprintf("refresh token %d, session id", n)] = raw[10:26]
		s.values[fmt.Sprintf("refresh token %d, MAC", n)] = raw[34:]
	}
}

// tokens signs in and refreshes, well and badly, a reuse among it; the answers may be refusals.
func (s *secrets) tokens(p *process) {
	s.t.Helper()
	first := s.send(p, "", "grant_type", "password", "username", "a@shop.example", "password", s.values["password"])
	second := s.send(p, "", "grant_type", "refresh_token", "refresh_token", first.RefreshToken, "retry_key", s.make("retry key"))
	s.send(p, "", "grant_type", "refresh_token", "refresh_token", second.RefreshToken, "scope", "admin")
	s.send(p, "", "grant_type", "refresh_token", "refresh_token", second.RefreshToken)
	s.send(p, "", "grant_type", "refresh_token", "refresh_token", first.RefreshToken) // reuse
	s.send(p, "", "grant_type", "refresh_token", "refresh_token", second.RefreshToken)
	shop := basic("shop", s.values["client secret"])
	s.send(p, shop, "grant_type", "password", "username", "a@shop.example", "password", s.values["password"])
	s.send(p, "", "grant_type", "password", "username", "a@shop.example", "password", s.values["password"],
		"client_id", "shop", "client_secret", s.values["client secret"])
}

// strangers sends secrets of people who are mistaken.
func (s *secrets) strangers(p *process) {
	s.t.Helper()
	s.send(p, "", "grant_type", "password", "username", "a@shop.example", "password", s.make("wrong password"))
	s.send(p, "", "grant_type", "password", "username", "b@shop.example", "password", s.make("password of an unknown customer"))
	s.send(p, "", "grant_type", "refresh_token", "refresh_token", "grt_"+s.make("forged refresh token"))
	s.send(p, "", "grant_type", s.make("grant type"))
	s.send(p, "", "grant_type", "refresh_token", "refresh_token", "x", "retry_key", s.make("long retry key")+strings.Repeat("x", 128))
	s.send(p, "", "grant_type", "password", "password", s.make("password without a user"))
	s.send(p, "", "grant_type", "password", "password", s.make("password twice"), "password", s.make("password twice more"))
	s.send(p, "", "grant_type", "password", "client_id", "shop", "client_secret", s.make("wrong client secret"))
	s.send(p, basic("shop", s.make("wrong Basic secret")), "grant_type", "password")
	s.send(p, "Basic "+s.make("malformed Basic"), "grant_type", "password")
	s.send(p, "Bearer "+s.make("bearer token"), "grant_type", "password")
	s.send(p, "Digest username="+s.make("other scheme"), "grant_type", "password")
}

// broken sends what is not even a request for a token.
func (s *secrets) broken(p *process) {
	s.t.Helper()
	const form = "application/x-www-form-urlencoded"
	for _, b := range []struct{ method, path, contentType, body string }{
		{http.MethodGet, "/token?password=" + s.make("password in the query"), "", ""},
		{http.MethodPost, "/token?refresh_token=" + s.make("refresh token in the query"), form, "grant_type=refresh_token"},
		{http.MethodPost, "/nowhere?access_token=" + s.make("query elsewhere"), form, ""},
		{http.MethodGet, "/.well-known/jwks.json?token=" + s.make("query of the key set"), "", ""},
		{http.MethodPost, "/token", form, "grant_type=password&password=%zz" + s.make("malformed escape")},
		{http.MethodPost, "/token", form, s.make("name of a field") + "=1"},
		{http.MethodPost, "/token", "application/json", `{"password":"` + s.make("JSON") + `"}`},
		{http.MethodPost, "/token", "text/" + s.make("content type"), "x"},
		{http.MethodPost, "/token", "multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=password\r\n\r\n" + s.make("cut multipart")},
		{http.MethodPost, "/token", form, "password=" + s.make("huge body") + strings.Repeat("x", 1<<17)},
	} {
		r, err := http.NewRequest(b.method, p.public+b.path, strings.NewReader(b.body))
		if err != nil {
			s.t.Fatal(err)
		}
		r.Header.Set("Content-Type", b.contentType)
		r.Header.Set("Cookie", "session="+s.make("cookie"+b.path+b.contentType))
		r.Header.Set("Authorization", "Bearer "+s.make("header"+b.path+b.contentType))
		if _, err := p.do(r); err != nil && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
			s.t.Error(err)
		}
	}
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.public, "http://"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_, err = fmt.Fprintf(conn, "POST /token HTTP/1.1\r\n%s: : \x01 %s\r\n\r\n", s.make("header name"), s.make("broken header"))
	if answer, readErr := io.ReadAll(conn); err != nil || readErr != nil || !bytes.Contains(answer, []byte(" 400 ")) {
		s.t.Errorf("garbage is answered %q %v %v", answer, err, readErr)
	}
}

// files remembers the private key, line by line, and the master key.
func (s *secrets) files(data string) {
	s.t.Helper()
	master, err := os.ReadFile(filepath.Join(data, "master.key"))
	if err != nil {
		s.t.Fatal(err)
	}
	s.values["master key"] = string(master)
	key, err := os.ReadFile(one(s.t, filepath.Join(data, "keys", "*.pem")))
	if err != nil {
		s.t.Fatal(err)
	}
	for i, line := range strings.Fields(string(key)) {
		if len(line) >= 32 {
			s.values[fmt.Sprintf("private key, line %d", i)] = line
		}
	}
}

// send posts a form, with an Authorization header if there is one.
func (s *secrets) send(p *process, authorization string, pairs ...string) answer {
	s.t.Helper()
	form := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		form.Add(pairs[i], pairs[i+1])
	}
	r, err := http.NewRequest(http.MethodPost, p.public+"/token", strings.NewReader(form.Encode()))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	a, err := p.do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	s.add(a)
	return a
}

func basic(id, secret string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(id+":"+secret))
}

// search fails the test for every secret that stands in one of the places, in any form.
func (s *secrets) search(places map[string]string) {
	s.t.Helper()
	for place, text := range places {
		for _, name := range found(text, s.values) {
			s.t.Errorf("%s holds the %s", place, name)
		}
	}
}

// found returns the names of the secrets that stand in text: raw, hexadecimal, URL-escaped, or in base64 at any offset.
func found(text string, secrets map[string]string) (names []string) {
	for name, secret := range secrets {
		for _, form := range forms(secret) {
			if strings.Contains(text, form) {
				names = append(names, name)
				break
			}
		}
	}
	return names
}

func forms(secret string) []string {
	out := []string{secret, url.QueryEscape(secret), hex.EncodeToString([]byte(secret)), strings.ToUpper(hex.EncodeToString([]byte(secret)))}
	for offset := range 3 { // of the secret in what was encoded
		raw := append(make([]byte, offset), secret...)
		raw = raw[:len(raw)/3*3]
		skip := min(offset, 1) * 4
		out = append(out, base64.StdEncoding.EncodeToString(raw)[skip:], base64.URLEncoding.EncodeToString(raw)[skip:])
	}
	return out
}

// read3 reads the database, its journal and its index.
func read3(t *testing.T, data string) map[string]string {
	t.Helper()
	content := map[string]string{}
	for _, name := range []string{"glueauth.db", "glueauth.db-wal", "glueauth.db-shm"} {
		text, err := os.ReadFile(filepath.Join(data, name))
		if err != nil {
			t.Fatal(err)
		}
		content[name] = string(text)
	}
	return content
}

func TestTheSearchFindsEveryFormOfASecret(t *testing.T) {
	t.Parallel()
	secret := "cAnArY" + rand.Text() + "/&\x00\xff"
	quoted := []byte(secret)
	hidden := map[string]string{
		"raw": secret, "hexadecimal": fmt.Sprintf("%x", quoted), "upper case": fmt.Sprintf("%X", quoted), "URL": "p=" + url.QueryEscape(secret),
		"base64": base64.StdEncoding.EncodeToString(quoted), "base64url": base64.RawURLEncoding.EncodeToString(quoted),
		"Basic of one": basic("a", secret), "Basic of two": basic("ab", secret), "Basic of three": basic("abc", secret),
	}
	for name := range maps.Keys(hidden) {
		if diff := cmp.Diff([]string{"it"}, found("x "+hidden[name]+" y", map[string]string{"it": secret})); diff != "" {
			t.Errorf("%s is not found", name)
		}
	}
	if names := found(strings.Repeat("nothing ", 9), map[string]string{"it": secret}); len(names) > 0 {
		t.Errorf("found in nothing: %v", names)
	}
}
