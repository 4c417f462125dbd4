package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
)

// endpoints asks all endpoints but /token about tokens, and exchanges one that the shop gave out. It returns a session that lives.
func (s *secrets) endpoints(p *process) answer {
	s.t.Helper()
	legacy := s.legacyToken()
	if a := s.send(p, "", "grant_type", "refresh_token", "refresh_token", legacy); a.status != http.StatusOK {
		s.t.Errorf("the shop's token is not taken over: %s", a)
	}
	s.send(p, "", "grant_type", "refresh_token", "refresh_token", legacy[:len(legacy)-2]+"00")
	session := s.send(p, "", "grant_type", "password", "username", "a@shop.example", "password", s.values["password"])
	if session.status != http.StatusOK {
		s.t.Fatalf("sign-in: %s", session)
	}
	shop := basic("shop", s.values["client secret"])
	for _, path := range []string{"/introspect", "/revoke"} {
		for _, authorization := range []string{shop, "", basic("shop", s.make("wrong Basic secret at "+path)), basic(s.make("client id at "+path), "x")} {
			s.post(p.public+path, p, authorization, "token", s.make("token at "+path))
			s.post(p.public+path, p, authorization, "token", session.RefreshToken+"x", "token_type_hint", s.make("hint at "+path))
			s.post(p.public+path, p, authorization, "token", "a."+s.make("JWT at "+path)+".b")
		}
	}
	s.post(p.public+"/introspect", p, shop, "token", session.AccessToken)
	s.post(p.public+"/introspect", p, shop, "token", session.RefreshToken)
	session = s.post(p.public+"/revoke", p, "", "token", session.RefreshToken, "sessions", "others")
	if session.status != http.StatusOK || session.RefreshToken == "" {
		s.t.Fatalf("signing out others: %s", session)
	}
	for _, path := range []string{"/verify", "/verify?active=1", "/verify?access_token=" + s.make("query of verify"), revocationsPath + "?x=" + s.make("query of the revocations")} {
		for _, token := range []string{session.AccessToken, session.AccessToken + "x", s.make("bearer at " + path), session.RefreshToken} {
			s.get(p, p.public+path, "Bearer "+token)
		}
	}
	return session
}

// legacyToken is a refresh token of the shop's own.
func (s *secrets) legacyToken() string {
	s.t.Helper()
	plain, err1 := json.Marshal(map[string]any{
		"client_id": "frontend", "refresh_token_id": strings.Repeat("e7", 40), "access_token_id": strings.Repeat("e8", 40), "scopes": []string{"customer"},
		"user_id":     `{"id_company_user":null,"id_agent":null,"customer_reference":"DE--1","id_customer":1,"permissions":null}`,
		"expire_time": time.Now().Add(shopTokenLife).Unix(),
	})
	token, err2 := (&reference{encryption: s.values["shop's encryption key"]}).seal(plain)
	if err1 != nil || err2 != nil {
		s.t.Fatal(err1, err2)
	}
	s.values["shop's refresh token"] = token
	return token
}

// get asks with a header; what refusals say is kept.
func (s *secrets) get(p *process, address, authorization string) answer {
	s.t.Helper()
	r, err := http.NewRequest(http.MethodGet, address, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Authorization", authorization)
	a, err := p.do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	fmt.Fprintln(&s.told, a.header, a.body)
	return a
}

// management asks the management API, as one who may and as one who may not.
func (s *secrets) management(p *process, session answer) {
	s.t.Helper()
	admin := "Bearer " + s.values["secret of the management API"]
	for _, path := range []string{"/sessions/list", "/sessions/show", "/sessions/explain", "/sessions/revoke"} {
		for _, who := range []string{session.RefreshToken + "x", s.make("who at " + path), "grt_" + s.make("token at "+path), "a." + s.make("JWT at "+path) + ".b"} {
			s.post(p.admin+path, p, admin, "who", who)
			s.post(p.admin+path, p, "Bearer "+s.make("wrong secret at "+path), "who", who)
		}
		if path != "/sessions/revoke" {
			a := s.post(p.admin+path, p, admin, "who", session.RefreshToken)
			fmt.Fprintln(&s.told, a)
			if a = s.post(p.admin+path, p, admin, "who", session.AccessToken); a.status != http.StatusOK {
				s.t.Errorf("%s: %s", path, a)
			}
			fmt.Fprintln(&s.told, a)
		}
	}
	if a := s.get(p, p.admin+"/keys", admin); a.status != http.StatusOK {
		s.t.Errorf("/keys: %s", a)
	}
	s.get(p, p.admin+"/keys?secret="+s.make("query of the keys"), "Bearer "+s.make("wrong secret at /keys"))
}

// guesses tries passwords until no more are taken, also such as stand in the place of the name, and the right one then.
func (s *secrets) guesses(p *process) {
	s.t.Helper()
	limited := 0
	elsewhere := p.from(s.t, "127.0.0.9")
	for _, name := range []string{"a@shop.example", s.make("password in the place of a name"), s.make("name of nobody") + "@shop.example"} {
		for range 5 {
			if s.send(elsewhere, "", "grant_type", "password", "username", name, "password", s.make("guess at "+name)).status == http.StatusTooManyRequests {
				limited++
			}
		}
	}
	right := s.send(elsewhere, "", "grant_type", "password", "username", "a@shop.example", "password", s.values["password"])
	want := map[int]int{0: http.StatusOK, 6: http.StatusTooManyRequests}[limited] // observed, or enforced
	if right.status != want {
		s.t.Errorf("%d guesses were limited, and the right password is %s", limited, right)
	}
}

// overload signs so many in at once that some are refused unseen, and returns while others still wait.
func (s *secrets) overload(p *process, dir string) {
	s.t.Helper()
	const flood = 20
	csv := &strings.Builder{}
	csv.WriteString("customer_reference,email,password\n")
	for i := range flood {
		fmt.Fprintf(csv, "DE--5%02d,dear%d@shop.example,%s\n", i, i, dearHash)
	}
	succeed(s.t, dir, csv.String(), "customers", "import", "-")
	var group sync.WaitGroup
	refused, over := make(chan struct{}, flood), make(chan struct{})
	for i := range flood {
		password := s.make("password in the flood")
		group.Go(func() {
			a, err := p.token("grant_type", "password", "username", fmt.Sprintf("dear%d@shop.example", i), "password", password)
			if err == nil && a.status == http.StatusServiceUnavailable {
				refused <- struct{}{}
			}
		})
	}
	s.t.Cleanup(group.Wait)
	go func() { group.Wait(); close(over) }()
	select {
	case <-refused:
	case <-over:
		s.t.Error("nobody was refused")
	}
}

// commands runs what an operator looks at a server with, beside it.
func (s *secrets) commands(dir string, env []string, session answer) {
	s.t.Helper()
	for _, c := range []struct {
		stdin string
		code  int
		args  []string
	}{
		{"", 0, []string{"config", "print"}},
		{"", 0, []string{"customers", "list"}},
		{"", 0, []string{"keys", "list"}},
		{"", 0, []string{"keys", "export", "--format", "jwks"}},
		{"", 0, []string{"sessions", "list", "a@shop.example"}},
		{session.RefreshToken, 0, []string{"sessions", "explain", "--json", "-"}},
		{"", 0, []string{"sessions", "show", session.AccessToken}},
		{"", 1, []string{"sessions", "show", "grt_" + s.make("token of a command")}},
		{"", 1, []string{"sessions", "explain", s.make("who of a command")}},
		{s.values["shop's refresh token"], 0, []string{"doctor", "--estimate=false", "--shop-token", "-"}},
	} {
		r := s.run(dir, c.stdin, env, c.args...)
		if r.code != c.code {
			s.t.Errorf("%s: exit code %d\n%s%s", c.args[:2], r.code, r.stdout, r.stderr)
		}
	}
}

// run runs a command, and keeps what it says.
func (s *secrets) run(dir, stdin string, env []string, args ...string) ran {
	s.t.Helper()
	r := finish(s.t, dir, stdin, env, args...)
	fmt.Fprintln(&s.told, r.stdout, r.stderr)
	return r
}
