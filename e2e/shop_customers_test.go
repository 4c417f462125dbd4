package e2e_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/glueauth/glueauth/store/storetest"
)

// shopDatabase is a server with a shop's database, and what glueauth must be told to use it.
type shopDatabase struct {
	*storetest.SQLServer
	settings []string
}

const (
	shopName       = "shop"
	shopCustomers  = "INSERT INTO spy_customer (id_customer, customer_reference, email, password, registered, anonymized_at) VALUES "
	shopCompanies  = "INSERT INTO spy_company_user (id_company_user, fk_customer, is_active, is_default, uuid) VALUES "
	refusedSignIn  = "The user credentials were incorrect."
	refusedRefresh = "The refresh token is invalid."
)

func newShopDatabase(t *testing.T, start func(testing.TB, ...string) *storetest.SQLServer) shopDatabase {
	t.Helper()
	s := shopDatabase{SQLServer: start(t)}
	s.settings = []string{"GLUEAUTH_CUSTOMERS_SOURCE=spryker", "GLUEAUTH_CUSTOMERS_URL=" + s.Shop(t, shopName)}
	const person = ", '" + cheapHash + "', "
	s.Do(t, shopName, shopCustomers+
		"(21, 'DE--21', 'Sonia@spryker.com'"+person+"'2020-01-02', NULL), (22, 'DE--22', 'company@shop.example'"+person+"'2020-01-02', NULL),"+
		"(23, 'DE--23', 'unconfirmed@shop.example'"+person+"NULL, NULL), (24, 'DE--24', 'anonymised@shop.example'"+person+"'2020-01-02', '2021-01-01'),"+
		"(25, 'DE--25', 'nothing@shop.example', NULL, '2020-01-02', NULL), (26, 'DE--26', 'changes@shop.example'"+person+"'2020-01-02', NULL),"+
		"(27, 'DE--27', 'leaves@shop.example'"+person+"'2020-01-02', NULL), (28, 'DE--28', 'goes@shop.example'"+person+"'2020-01-02', NULL)",
		shopCompanies+"(1, 22, TRUE, FALSE, '4c677a6b-0001'), (2, 22, FALSE, FALSE, '4c677a6b-0002')")
	return s
}

func shops() map[string]func(testing.TB, ...string) *storetest.SQLServer {
	return map[string]func(testing.TB, ...string) *storetest.SQLServer{"PostgreSQL": storetest.Postgres, "MariaDB": storetest.MariaDB}
}

func TestCustomersOfTheShopsOwnDatabase(t *testing.T) {
	t.Parallel()
	for kind, start := range shops() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := newShopDatabase(t, start)
			s.signIns(t)
			s.changes(t)
			s.replicasAgree(t)
		})
	}
}

// signIns plays who may sign in, and what his token says.
func (s shopDatabase) signIns(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	p := start(t, dir, s.settings...)
	for email, subject := range map[string]string{
		"sonia@SPRYKER.com":    `{"id_company_user":null,"id_agent":null,"customer_reference":"DE--21","id_customer":21,"permissions":null}`,
		"Company@shop.example": `{"id_company_user":"4c677a6b-0001","id_agent":null,"customer_reference":"DE--22","id_customer":22,"permissions":null}`,
	} {
		first := p.signIn(t, email)
		second := p.mustRefresh(t, first.RefreshToken)
		for _, a := range []answer{first, second} {
			if got := subjectOf(t, a); got != subject {
				t.Errorf("%s: subject %s, want %s", email, got, subject)
			}
		}
	}
	for _, email := range []string{
		"unconfirmed@shop.example", "anonymised@shop.example", "nothing@shop.example", "nobody@shop.example", " sonia@spryker.com", "😀@shop.example", "' OR 1=1 -- ",
	} {
		p.mustNotSignIn(t, email, demoPassword)
	}
	p.mustNotSignIn(t, "sonia@spryker.com", "wrong")
	p.mustNotSignIn(t, "nothing@shop.example", "")
	if out := succeedWith(t, dir, s.settings, "sessions", "list", "SONIA@spryker.com"); !strings.Contains(out, "DE--21") {
		t.Errorf("sessions list says\n%s", out)
	}
	start(t, t.TempDir(), append(s.settings, "GLUEAUTH_CUSTOMERS_DOUBLE_OPT_IN=false")...).signIn(t, "unconfirmed@shop.example")
}

// changes plays what happens to a session when the shop changes its customer.
func (s shopDatabase) changes(t *testing.T) {
	t.Helper()
	p := start(t, t.TempDir(), s.settings...)
	const otherHash = "$2y$04$zzzzzzzzzzzzzzzzzzzzzuMOrEIcgZFAAtSK1ALoezVjfi55sSKLY2"
	for email, change := range map[string]string{
		"changes@shop.example": "UPDATE spy_customer SET password = '" + otherHash + "' WHERE id_customer = 26",
		"leaves@shop.example":  "UPDATE spy_customer SET email = 'a1b2@c3.d4', anonymized_at = CURRENT_TIMESTAMP WHERE id_customer = 27",
		"goes@shop.example":    "DELETE FROM spy_customer WHERE id_customer = 28",
	} {
		token := p.mustRefresh(t, p.signIn(t, email).RefreshToken).RefreshToken
		s.Do(t, shopName, change)
		for range 2 {
			if a, err := p.refresh(token); err != nil || a.status != http.StatusBadRequest || a.Description != refusedRefresh {
				t.Errorf("%s: %v %v, want the end of his session", email, a, err)
			}
		}
		p.mustNotSignIn(t, email, demoPassword)
	}
	buyer := p.signIn(t, "company@shop.example")
	s.Do(t, shopName, "UPDATE spy_company_user SET is_active = TRUE, is_default = TRUE WHERE id_company_user = 2")
	if got := subjectOf(t, p.mustRefresh(t, buyer.RefreshToken)); !strings.Contains(got, `"id_company_user":"4c677a6b-0002"`) {
		t.Errorf("with a new default company user: %s", got)
	}
}

// replicasAgree plays that replicas on one Redis must have one shop.
func (s shopDatabase) replicasAgree(t *testing.T) {
	t.Helper()
	redis := storetest.Redis(t)
	dir := t.TempDir()
	p := start(t, dir, append(s.settings, "GLUEAUTH_REDIS="+redis.URL())...)
	keys := []string{
		"GLUEAUTH_REDIS=" + redis.URL(),
		"GLUEAUTH_KEYS_DIR=" + filepath.Join(dir, "data/keys"), "GLUEAUTH_MASTER_KEY_FILE=" + filepath.Join(dir, "data/master.key"),
	}
	other := start(t, t.TempDir(), append(keys, s.settings...)...)
	other.mustRefresh(t, p.signIn(t, "sonia@spryker.com").RefreshToken)
	second := s.Shop(t, "second")
	stranger := finish(t, t.TempDir(), "", append(keys, "GLUEAUTH_LISTEN=127.0.0.1:0", "GLUEAUTH_ADMIN_LISTEN=", s.settings[0], "GLUEAUTH_CUSTOMERS_URL="+second), "serve")
	if stranger.code != 1 || !strings.Contains(stranger.stderr, "the customers are others") {
		t.Errorf("a replica on another shop: exit code %d\n%s", stranger.code, stranger.stderr)
	}
}

func TestShopDatabaseThatFailsIsATemporaryAnswerAndHeals(t *testing.T) {
	t.Parallel()
	for kind, startDatabase := range shops() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := newShopDatabase(t, startDatabase)
			p := start(t, t.TempDir(), s.settings...)
			token := p.signIn(t, "sonia@spryker.com").RefreshToken
			for name, fault := range map[string]struct{ begin, end func() }{
				"halted":  {func() { s.Stop(t) }, func() { s.Continue(t) }},
				"stopped": {s.Kill, func() { s.Start(t) }},
				"a table that is away": {
					func() { s.Do(t, shopName, "ALTER TABLE spy_customer RENAME TO away") },
					func() { s.Do(t, shopName, "ALTER TABLE away RENAME TO spy_customer") },
				},
			} {
				fault.begin()
				for range 3 {
					a, err1 := p.refresh(token)
					b, err2 := p.token("grant_type", "password", "username", "sonia@spryker.com", "password", demoPassword)
					if err := errors.Join(temporary(a, err1, 3*time.Second), temporary(b, err2, 3*time.Second)); err != nil {
						t.Errorf("%s: %v", name, err)
					}
				}
				eventually(t, startLimit, func() error { return p.expect(p.public+"/readyz", http.StatusServiceUnavailable) })
				if err := p.expect(p.public+"/livez", http.StatusOK); err != nil {
					t.Errorf("%s: %v", name, err)
				}
				fault.end()
				eventually(t, startLimit, func() error { return p.expect(p.public+"/readyz", http.StatusOK) })
				token = p.mustRefresh(t, token).RefreshToken // nothing was consumed
				p.signIn(t, "sonia@spryker.com")
			}
			p.never(t, "refresh_reuse", "session_ended")
		})
	}
}

// mustNotSignIn demands the one answer that all have who may not.
func (p *process) mustNotSignIn(t *testing.T, email, password string) {
	t.Helper()
	a, err := p.token("grant_type", "password", "username", email, "password", password)
	if err != nil || a.status != http.StatusBadRequest || a.Error != "invalid_grant" || a.Description != refusedSignIn {
		t.Errorf("%q: %v %v, want refused", email, a, err)
	}
}

// subjectOf returns the sub of an access token.
func subjectOf(t *testing.T, a answer) string {
	t.Helper()
	var claims struct {
		Sub string `json:"sub"`
	}
	if err := json.Unmarshal([]byte(decode(t, strings.Split(a.AccessToken, ".")[1])), &claims); err != nil {
		t.Fatal(err)
	}
	return claims.Sub
}

// succeedWith is [succeed] with settings in the environment.
func succeedWith(t *testing.T, dir string, env []string, args ...string) string {
	t.Helper()
	r := finish(t, dir, "", env, args...)
	if r.code != 0 {
		t.Fatalf("glueauth %s: exit code %d\n%s%s", strings.Join(args, " "), r.code, r.stdout, r.stderr)
	}
	return r.stdout
}
