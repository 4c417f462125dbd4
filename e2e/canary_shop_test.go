package e2e_test

import (
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/glueauth/glueauth/store/storetest"
)

func TestNothingSecretOfTheShopsDatabaseIsWritten(t *testing.T) {
	t.Parallel()
	for kind, begin := range shops() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s, dir := newSecrets(t), t.TempDir()
			db := newShopDatabase(t, begin)
			s.values["password of the database"] = storetest.ShopPassword
			url := strings.TrimPrefix(db.settings[1], "GLUEAUTH_CUSTOMERS_URL=")
			env := []string{db.settings[0], "GLUEAUTH_CUSTOMERS_URL_FILE=" + write(t, dir, "database.url", url, 0o600), "GOTRACEBACK=system"}
			p := startAt(t, dir, append(env, "--log-level=debug")...)
			if a := s.send(p, "", "grant_type", "password", "username", "sonia@spryker.com", "password", demoPassword); a.status != http.StatusOK {
				t.Errorf("sign-in: %s", a)
			}
			s.strangers(p)
			s.must(dir, env, "config", "print")
			s.must(dir, env, "sessions", "list", "sonia@spryker.com")
			s.run(dir, "", env, "doctor", "--estimate=false")
			s.refusedByDatabase(dir, db, url)
			db.Do(t, shopName, "ALTER TABLE spy_customer RENAME TO away")
			s.send(p, "", "grant_type", "password", "username", "sonia@spryker.com", "password", s.make("password without a table"))
			db.Kill()
			s.send(p, "", "grant_type", "password", "username", "sonia@spryker.com", "password", s.make("password without a database"))
			eventually(t, startLimit, func() error { return p.expect(p.public+"/readyz", http.StatusServiceUnavailable) })
			for _, args := range [][]string{{"serve"}, {"sessions", "list", "sonia@spryker.com"}, {"doctor", "--estimate=false"}} {
				if r := s.run(dir, "", append(env, "GLUEAUTH_LISTEN=127.0.0.1:0", "GLUEAUTH_DATA=other"), args...); r.code != 1 {
					t.Errorf("%s without the database: exit code %d\n%s%s", args, r.code, r.stdout, r.stderr)
				}
			}
			s.search(s.views(p))
			s.crash(p, syscall.SIGQUIT)
		})
	}
}

// refusedByDatabase starts servers that the database, or what comes out of it, stops.
func (s *secrets) refusedByDatabase(dir string, db shopDatabase, url string) {
	s.t.Helper()
	scheme, _, _ := strings.Cut(url, "://")
	wrong := func(name string) string { return scheme + "://shop:" + s.make(name) + "@" + db.Addr + "/shop" }
	query := func(id, confirmed string) string {
		return "SELECT " + id + " AS id, customer_reference AS reference, email, password AS password_hash, " + confirmed + " AS confirmed, FALSE AS blocked FROM spy_customer WHERE id_customer = 21"
	}
	engine := map[string]string{"postgres": "pgsql", "mysql": "mysql"}[scheme]
	host, port, _ := strings.Cut(db.Addr, ":")
	for what, env := range map[string][]string{
		"a wrong password":           {"GLUEAUTH_CUSTOMERS_SOURCE=spryker", "GLUEAUTH_CUSTOMERS_URL=" + wrong("wrong password of the database")},
		"a wrong password of a shop": {"SPRYKER_DB_HOST=" + host, "SPRYKER_DB_PORT=" + port, "SPRYKER_DB_ENGINE=" + engine, "SPRYKER_DB_DATABASE=shop", "SPRYKER_DB_USERNAME=shop", "SPRYKER_DB_PASSWORD=" + s.make("SPRYKER_DB_PASSWORD")},
		"a database that is not":     {"GLUEAUTH_CUSTOMERS_SOURCE=spryker", "GLUEAUTH_CUSTOMERS_URL=" + url + "x"},
		"hashes as ids":              {"GLUEAUTH_CUSTOMERS_SOURCE=sql", "GLUEAUTH_CUSTOMERS_URL=" + url, "GLUEAUTH_CUSTOMERS_QUERY=" + query("password", "TRUE")},
		"hashes as truth":            {"GLUEAUTH_CUSTOMERS_SOURCE=sql", "GLUEAUTH_CUSTOMERS_URL=" + url, "GLUEAUTH_CUSTOMERS_QUERY=" + query("id_customer", "password")},
	} {
		r := s.run(dir, "", append(env, "GLUEAUTH_LISTEN=127.0.0.1:0", "GLUEAUTH_ADMIN_LISTEN=", "GLUEAUTH_DATA=another"), "serve")
		if r.code != 1 {
			s.t.Errorf("%s: exit code %d\n%s%s", what, r.code, r.stdout, r.stderr)
		}
	}
}
