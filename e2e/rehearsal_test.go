package e2e_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/glueauth/glueauth/store/storetest"
)

const (
	shopEncryptionKey = "lxZFUEsBCJ2Yb14IF2ygAHI5N4+ZAUXXaSeeJm6+twsUmIen" // the public example of league/oauth2-server
	evening           = "../docs/switch-over.md"
)

// rehearsal is the evening of docs/switch-over.md, its blocks run as printed but for addresses.
type rehearsal struct {
	shop    *reference
	dir     string
	blocks  map[string]string
	glue    string // URL of the proxy in front
	server  *process
	replace *strings.Replacer
	env     []string
}

// shopper is a customer with what his browser holds.
type shopper struct {
	email, sub, access, refresh string
}

func TestTheEveningOfTheSwitchSignsNobodyOut(t *testing.T) {
	t.Parallel()
	for kind, start := range shops() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			r := newRehearsal(t, kind, start)
			all := r.shoppers(t, 10)
			seen, unseen := all[:7], all[7:]
			r.shopRotates(t, seen[:2])
			r.prepare(t, kind, all[0])
			r.over(t, seen)
			r.back(t, seen, unseen)
			r.overAgain(t, seen, unseen)
		})
	}
}

func newRehearsal(t *testing.T, kind string, start func(testing.TB, ...string) *storetest.SQLServer) *rehearsal {
	t.Helper()
	page, err := os.ReadFile(evening)
	if err != nil {
		t.Fatal(err)
	}
	r := &rehearsal{dir: t.TempDir(), blocks: map[string]string{}}
	for _, block := range regexp.MustCompile("(?s)<!-- tested: (\\w+) -->\\s*```\\w+\n(.*?)```").FindAllStringSubmatch(string(page), -1) {
		r.blocks[block[1]] += block[2]
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	r.shop = &reference{t: t, db: start(t), key: key, encryption: shopEncryptionKey}
	r.shop.db.Shop(t, shopName)
	r.shop.db.Do(t, shopName, r.block(t, map[string]string{"PostgreSQL": "postgres", "MariaDB": "mariadb"}[kind]))
	shop, proxy := r.shop.listen(t), freeAddress(t)
	r.glue = "http://" + proxy
	r.env = append(environment(r.dir), "GLUE_LISTEN="+proxy)
	r.files(t)
	r.replace = strings.NewReplacer("10.0.0.5:80", shop)
	r.run(t, r.block(t, "front"))
	t.Cleanup(func() { r.stopProxy(t) })
	r.env = append(r.env, "SHOP="+shop) // which that block has exported
	return r
}

// block returns what the page prints, and notes that it was tried.
func (r *rehearsal) block(t *testing.T, name string) string {
	t.Helper()
	if r.blocks[name] == "" {
		t.Fatalf("%s has no block %q", evening, name)
	}
	return r.blocks[name]
}

func (r *rehearsal) files(t *testing.T) {
	t.Helper()
	private := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(r.shop.key)})
	config, err := os.ReadFile("../deploy/switch-over/haproxy.cfg")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(binary, filepath.Join(r.dir, "glueauth")); err != nil {
		t.Fatal(err)
	}
	r.env = append(r.env, "PATH="+r.dir+":"+os.Getenv("PATH")+":/usr/sbin")
	write(t, r.dir, "private.pem", strings.ReplaceAll(string(private), "\n", "__LINE__"), 0o600)
	write(t, r.dir, "public.pem", string(pemOf(t, &r.shop.key.PublicKey)), 0o600)
	write(t, r.dir, "haproxy.cfg", string(config), 0o600)
	write(t, r.dir, "database.url", r.shop.db.URL("glueauth", "choose-one", shopName)+"\n", 0o600)
	write(t, r.dir, "encryption.key", shopEncryptionKey+"\n", 0o600)
	write(t, r.dir, "glueauth.yaml", r.block(t, "settings"), 0o600)
}

// run runs commands of the page and returns what they print.
func (r *rehearsal) run(t *testing.T, script string, env ...string) string {
	t.Helper()
	if r.replace != nil {
		script = r.replace.Replace(script)
	}
	out, err := said(t, func() *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", script)
		cmd.Dir, cmd.Env, cmd.WaitDelay = r.dir, append(slices.Clip(r.env), env...), commandLimit
		return cmd
	})
	if err != nil {
		t.Fatalf("%s\n%v\n%s", script, err, out)
	}
	return out
}

func (r *rehearsal) stopProxy(t *testing.T) {
	t.Helper()
	pid, err := os.ReadFile(filepath.Join(r.dir, "haproxy.pid"))
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(pid)))
	if err != nil || syscall.Kill(n, syscall.SIGTERM) != nil {
		t.Errorf("stop HAProxy %q: %v", pid, err)
	}
}

// ask sends a form to the proxy in front.
func (r *rehearsal) ask(t *testing.T, pairs ...string) answer {
	t.Helper()
	fresh := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // the proxy hangs up when it is started anew
	a, err := (&process{public: r.glue, client: fresh}).post("/token", pairs...)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (r *rehearsal) refresh(t *testing.T, token string) answer {
	t.Helper()
	return r.ask(t, "grant_type", "refresh_token", "refresh_token", token)
}

func (r *rehearsal) signIn(t *testing.T, s *shopper) {
	t.Helper()
	s.got(t, r, r.ask(t, "grant_type", "password", "username", s.email, "password", demoPassword))
}

// got takes an answer that must have tokens, for the subject that the shop knows.
func (s *shopper) got(t *testing.T, r *rehearsal, a answer) {
	t.Helper()
	if a.status != http.StatusOK {
		t.Fatalf("%s was signed out: %v", s.email, a)
	}
	s.access, s.refresh = a.AccessToken, a.RefreshToken
	if sub := r.shopAccepts(t, s.access); s.sub == "" {
		s.sub = sub
	} else if sub != s.sub {
		t.Errorf("%s: subject %s, want %s", s.email, sub, s.sub)
	}
}

// shopAccepts verifies an access token as the shop does, by its own public key, and returns its subject.
func (r *rehearsal) shopAccepts(t *testing.T, access string) string {
	t.Helper()
	token, err := jwt.Parse(access, func(*jwt.Token) (any, error) { return &r.shop.key.PublicKey, nil },
		jwt.WithValidMethods([]string{"RS256"}), jwt.WithAudience("frontend"), jwt.WithExpirationRequired())
	if err != nil {
		t.Fatalf("the shop refuses an access token: %v", err)
	}
	sub, err := token.Claims.GetSubject()
	if err != nil {
		t.Fatal(err)
	}
	return sub
}

// shoppers are customers who sign in while the shop still answers.
func (r *rehearsal) shoppers(t *testing.T, n int) []*shopper {
	t.Helper()
	var all []*shopper
	for i := range n {
		s := &shopper{email: fmt.Sprintf("Customer-%d@shop.example", i)}
		r.shop.db.Do(t, shopName, fmt.Sprintf("INSERT INTO spy_customer (id_customer, customer_reference, email, password, registered) VALUES (%d, 'DE--%d', '%s', '%s', '2020-01-02')",
			i+1, i+1, s.email, cheapHash))
		r.signIn(t, s)
		all = append(all, s)
	}
	return all
}

// shopRotates has the shop itself exchange refresh tokens before the switch; the old ones are refused from then on.
func (r *rehearsal) shopRotates(t *testing.T, some []*shopper) {
	t.Helper()
	for _, s := range some {
		old := s.refresh
		s.got(t, r, r.refresh(t, old))
		if a := r.refresh(t, old); a.status != http.StatusBadRequest {
			t.Errorf("the shop takes a token twice: %v", a)
		}
	}
}

// prepare is the afternoon.
func (r *rehearsal) prepare(t *testing.T, kind string, s *shopper) {
	t.Helper()
	write(t, r.dir, "refresh-token.txt", s.refresh+"\n", 0o600)
	r.run(t, r.block(t, "sh"))
	if r.block(t, "serve") != "glueauth --config glueauth.yaml serve\n" {
		t.Fatal("the page serves in another way than this test")
	}
	r.server = start(t, r.dir, "--config=glueauth.yaml")
	public, admin := strings.TrimPrefix(r.server.public, "http://"), strings.TrimPrefix(r.server.admin, "http://")
	r.replace = strings.NewReplacer("localhost:8080", public, "127.0.0.1:8080", public, "localhost:8081", admin)
	if log := r.server.stderr.String(); strings.Contains(log, "0001-01-01") || strings.Contains(log, `"level":"WARN"`) {
		t.Errorf("%s: the log tells of times that nobody has given, or warns:\n%s", kind, log)
	}
	if out := r.run(t, r.block(t, "curl"), "CUSTOMER="+s.email, "PASSWORD="+demoPassword); !strings.Contains(out, `"refresh_token":"grt_`) {
		t.Errorf("%s: curl prints no tokens: %s", kind, out)
	}
}

// over is the switch. Everybody goes on; tokens that the shop has revoked stay so.
func (r *rehearsal) over(t *testing.T, seen []*shopper) {
	t.Helper()
	revoked := seen[0].refresh
	seen[0].got(t, r, r.refresh(t, revoked)) // still at the shop
	r.run(t, r.block(t, "switch"))
	r.publishesTheShopsKey(t)
	eventually(t, startLimit, func() error { // the proxy's old process hands over
		if a := r.refresh(t, revoked); a.status != http.StatusBadRequest || a.Description != refusedRefresh {
			return fmt.Errorf("a token that the shop has revoked: %v", a)
		}
		return nil
	})
	for _, s := range seen {
		shops := s.refresh
		s.got(t, r, r.refresh(t, shops))
		if tab := r.refresh(t, shops); tab.RefreshToken != s.refresh {
			t.Errorf("%s: a second tab got another token: %v", s.email, tab)
		}
		s.got(t, r, r.refresh(t, s.refresh))
		r.shopRefuses(t, shops)
	}
	out := r.run(t, r.block(t, "metrics"))
	if want := fmt.Sprintf(`event="taken_over"} %d`, len(seen)); !strings.Contains(out, want) {
		t.Errorf("no %s in\n%s", want, out)
	}
	r.signIn(t, &shopper{email: strings.ToUpper(seen[1].email)})
	r.limitsGuessesByAddress(t, seen[2].email, seen[3].email)
}

// limitsGuessesByAddress : behind the proxy too, who guesses locks himself out, whatever he says where he comes from, and
// nobody else.
func (r *rehearsal) limitsGuessesByAddress(t *testing.T, one, other string) {
	t.Helper()
	front := &process{public: r.glue}
	for attacker, victim := range map[string]string{"127.0.0.7": one, "127.0.0.8": other} {
		p := front.from(t, attacker)
		for i := range 11 { // guessing.pair_failures, and one
			a, err := p.do(forged(t, r.glue, victim, fmt.Sprint("guess ", i), attacker == "127.0.0.8", i))
			if want := map[bool]int{true: http.StatusBadRequest, false: http.StatusTooManyRequests}[i < 10]; err != nil || a.status != want {
				t.Errorf("guess %d from %s: %v %v, want %d", i, attacker, a, err, want)
			}
		}
		if a := front.from(t, "127.0.0.9").try(t, victim, demoPassword); a.status != http.StatusOK {
			t.Errorf("%s, whom somebody at %s wants to lock out: %v", victim, attacker, a)
		}
	}
}

// forged signs in, as if on the way from addresses that are another one each time.
func forged(t *testing.T, glue, name, password string, claims bool, i int) *http.Request {
	t.Helper()
	form := url.Values{"grant_type": {"password"}, "username": {name}, "password": {password}}
	q, err := http.NewRequestWithContext(t.Context(), http.MethodPost, glue+"/token", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if claims {
		q.Header.Add("X-Forwarded-For", fmt.Sprintf("4.4.4.%d, 4.4.5.%d", i, i))
		q.Header.Add("X-Forwarded-For", fmt.Sprintf("4.4.6.%d", i))
	}
	return q
}

// publishesTheShopsKey : whoever validates by JWKS goes on accepting what the shop has signed.
func (r *rehearsal) publishesTheShopsKey(t *testing.T) {
	t.Helper()
	a, err := r.server.get(r.server.public + "/.well-known/jwks.json")
	var set struct {
		Keys []struct {
			Modulus string `json:"n"`
		} `json:"keys"`
	}
	if err = errors.Join(err, json.Unmarshal([]byte(a.body), &set)); err != nil {
		t.Fatal(err)
	}
	if len(set.Keys) != 1 || set.Keys[0].Modulus != base64.RawURLEncoding.EncodeToString(r.shop.key.N.Bytes()) {
		t.Errorf("the JWKS is not the shop's key alone: %s", a.body)
	}
}

// shopRefuses : what was taken over is revoked in the shop's own table.
func (r *rehearsal) shopRefuses(t *testing.T, token string) {
	t.Helper()
	if r.shop.exchange(token) != "" {
		t.Error("the shop still takes a token that was taken over")
	}
}

// back is the way back: nobody who was not seen meanwhile notices, and the others sign in once more, at the end of their
// access tokens.
func (r *rehearsal) back(t *testing.T, seen, unseen []*shopper) {
	t.Helper()
	r.run(t, r.block(t, "back"))
	eventually(t, startLimit, func() error {
		if a := r.refresh(t, seen[0].refresh); a.Description != "refused by the shop" {
			return fmt.Errorf("glueauth still answers: %v", a)
		}
		return nil
	})
	for _, s := range unseen[1:] {
		s.got(t, r, r.refresh(t, s.refresh))
	}
	for _, s := range seen {
		r.shopAccepts(t, s.access)
	}
	for _, s := range seen[:len(seen)/2] {
		r.signIn(t, s)
	}
}

// overAgain : who still has one of our refresh tokens goes on, and who has one of the shop's comes over.
func (r *rehearsal) overAgain(t *testing.T, seen, unseen []*shopper) {
	t.Helper()
	r.run(t, r.block(t, "switch"))
	eventually(t, startLimit, func() error {
		if a := r.refresh(t, "def502"); a.Description != refusedRefresh {
			return fmt.Errorf("the shop still answers: %v", a)
		}
		return nil
	})
	for _, s := range append(seen, unseen...) {
		s.got(t, r, r.refresh(t, s.refresh))
	}
}
