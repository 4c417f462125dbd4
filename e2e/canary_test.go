package e2e_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The two formats at the noisiest level, and what is left at the others.
func TestNoSecretIsWrittenAnywhere(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		format, level, guessing string
		end                     syscall.Signal
	}{
		{"json", "debug", "enforce", syscall.SIGQUIT},
		{"text", "debug", "observe", syscall.SIGQUIT},
		{"json", "info", "enforce", syscall.SIGABRT},
		{"text", "warn", "enforce", syscall.SIGSEGV},
		{"json", "error", "enforce", syscall.SIGBUS},
	} {
		t.Run(c.format+" "+c.level, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			s := newSecrets(t)
			env := s.settings(dir)
			s.customer(dir)
			p := startAt(t, dir, append(env, "--log-level="+c.level, "--log-format="+c.format, "GLUEAUTH_GUESSING_MODE="+c.guessing, "GOTRACEBACK=system")...)
			s.files(filepath.Join(dir, "data"))

			s.tokens(p)
			s.strangers(p)
			if c.level == "debug" {
				s.everywhere(p, dir, env)
				s.overload(p, dir)
			}
			s.crash(p, c.end)
		})
	}
}

// settings writes every secret that a server of the embedded store can have into files of dir.
func (s *secrets) settings(dir string) (env []string) {
	s.t.Helper()
	config := "clients:\n  - id: frontend\n  - id: shop\n    secret: %s\n    introspect: true\n  - id: erp\n    secret_file: %s\n"
	config = fmt.Sprintf(config, s.make("client secret"), write(s.t, dir, "erp", s.make("client secret of a file"), 0o600))
	return []string{
		"GLUEAUTH_CONFIG=" + write(s.t, dir, "glueauth.yaml", config, 0o600),
		"GLUEAUTH_ADMIN_SECRET_FILE=" + write(s.t, dir, "admin", s.make("secret of the management API"), 0o600),
		"GLUEAUTH_LEGACY_ENCRYPTION_KEY_FILE=" + write(s.t, dir, "encryption", s.make("shop's encryption key"), 0o600),
		"GLUEAUTH_LEGACY_UNTIL=" + time.Now().Add(day).UTC().Format(time.DateOnly), "GLUEAUTH_REVOCATIONS=true",
		"GLUEAUTH_REFRESH_REPLAY_WINDOW=0s", "GLUEAUTH_REFRESH_REJOIN_WINDOW=0s", "GLUEAUTH_REFRESH_LATE_RETRY=0s",
		"GLUEAUTH_GUESSING_PAIR_FAILURES=3", "GLUEAUTH_PASSWORD_WORKERS=1",
	}
}

// cheapCanary is the hash of "cAnArYsecret of a customer" at the lowest cost.
const cheapCanary = "$2y$04$I1f97229ymTr2Lh0ore8eeMiNpp69lW0V29BnsILz1ZZGOIXw.S9O"

// customer adds one whose password is a secret and cheap to verify.
func (s *secrets) customer(dir string) {
	s.t.Helper()
	s.values["password"] = mark + " of a customer"
	succeed(s.t, dir, "customer_reference,email,password\nDE--1,a@shop.example,"+cheapCanary+"\n", "customers", "import", "-")
}

// startAt is start for a server whose log may be too quiet to tell its addresses.
func startAt(t *testing.T, dir string, options ...string) *process {
	t.Helper()
	public, admin := freeAddress(t), freeAddress(t)
	p := launch(t, dir, append([]string{"GLUEAUTH_LISTEN=" + public, "GLUEAUTH_ADMIN_LISTEN=" + admin}, options...)...)
	p.public, p.admin = "http://"+public, "http://"+admin
	eventually(t, startLimit, func() error {
		if p.hasExited() {
			t.Fatalf("serve ended by itself: %v\n%s", p.cmd.ProcessState, p.tail())
		}
		return errors.Join(p.expect(p.public+"/readyz", http.StatusOK), p.expect(p.admin+"/readyz", http.StatusOK))
	})
	return p
}

// everywhere goes through all that a server does, and looks at what it shows and keeps meanwhile.
func (s *secrets) everywhere(p *process, dir string, env []string) {
	s.t.Helper()
	session := s.endpoints(p)
	s.management(p, session)
	s.broken(p)
	s.guesses(p)
	release := hold(s.t, filepath.Join(dir, "data"))
	s.tokens(p)
	release()
	s.commands(dir, append(env, "GLUEAUTH_ADMIN_LISTEN="+strings.TrimPrefix(p.admin, "http://")), session)
	places := s.views(p)
	for _, name := range []string{"cmdline", "environ"} {
		places[name] = string(content(s.t, fmt.Sprintf("/proc/%d/%s", p.cmd.Process.Pid, name)))
	}
	s.search(places) // and the database with its journal, while it is in use
	s.search(read3(s.t, filepath.Join(dir, "data")))
}

// views is what the management listener shows to everybody.
func (s *secrets) views(p *process) map[string]string {
	s.t.Helper()
	places := map[string]string{}
	for _, name := range []string{"/metrics", "/readyz?verbose", "/keys.pem"} {
		a, err := p.get(p.admin + name)
		if err != nil {
			s.t.Fatal(err)
		}
		places[name] = a.body
	}
	return places
}

// crash ends the process so that it writes every stack, and looks at all that it and others have written.
func (s *secrets) crash(p *process, by syscall.Signal) {
	s.t.Helper()
	p.signal(s.t, by)
	p.wait(s.t)
	s.values["password's hash"], s.values["other customers' hash"] = cheapCanary[7:], cheapHash[7:]
	places := map[string]string{"stdout": p.stdout.String(), "stderr": p.stderr.String(), "an answer or a command": s.told.String()}
	if !strings.Contains(places["stderr"], "\ngoroutine 1 gp=") || strings.Count(places["stderr"], "\n") < 50 {
		s.t.Errorf("the log is too short to prove anything:\n%s", places["stderr"])
	}
	s.search(places)
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

// files remembers the private key and the master key of a data folder.
func (s *secrets) files(data string) {
	s.t.Helper()
	s.values["master key"] = string(content(s.t, filepath.Join(data, "master.key")))
	s.addPEM("private key", content(s.t, one(s.t, filepath.Join(data, "keys", "*.pem"))))
}

// send posts a form, with an Authorization header if there is one.
func (s *secrets) send(p *process, authorization string, pairs ...string) answer {
	s.t.Helper()
	return s.post(p.public+"/token", p, authorization, pairs...)
}

// post posts a form to another address; what refusals say is kept.
func (s *secrets) post(address string, p *process, authorization string, pairs ...string) answer {
	s.t.Helper()
	form := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		form.Add(pairs[i], pairs[i+1])
	}
	r, err := http.NewRequest(http.MethodPost, address, strings.NewReader(form.Encode()))
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
	if a.status >= http.StatusBadRequest {
		fmt.Fprintln(&s.told, a.header, a.body)
	}
	return a
}

func basic(id, secret string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(id+":"+secret))
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
