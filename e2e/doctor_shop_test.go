package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/glueauth/glueauth/store/storetest"
)

// shopPatient is a database of a shop with one customer, and the settings that lead to it.
type shopPatient struct {
	*storetest.SQLServer
	name, url string
}

func newShopPatient(t *testing.T, server *storetest.SQLServer, name string) shopPatient {
	t.Helper()
	s := shopPatient{server, name, server.Shop(t, name)}
	s.Do(t, name, fmt.Sprintf(`INSERT INTO spy_customer (id_customer, customer_reference, email, password, registered) VALUES (21, 'DE--21', 'a@shop.example', '%s', '2020-01-01')`, dearHash))
	return s
}

// examine is examine with customers in the shop's database, at a URL with these parameters.
func (s shopPatient) examine(t *testing.T, dir, parameters string) []diagnosis {
	t.Helper()
	found := examine(t, dir, []string{"GLUEAUTH_CUSTOMERS_SOURCE=spryker", "GLUEAUTH_CUSTOMERS_URL=" + s.url + parameters})
	for _, d := range found {
		if strings.Contains(d.Seen+d.Remedy, storetest.ShopPassword) || strings.Contains(d.Seen+d.Remedy, "pass%2Fword") {
			t.Errorf("a password is shown: %+v", d)
		}
	}
	return found
}

func TestDoctorOfAShopOnPostgreSQL(t *testing.T) {
	t.Parallel()
	dir := patient(t)
	server := storetest.Postgres(t)
	s := newShopPatient(t, server, "doctor")

	index := mustFind(t, s.examine(t, dir, ""), diagnosis{"customers", "warn", "no index for its e-mail addresses", "CREATE INDEX CONCURRENTLY glueauth_email ON spy_customer"})
	s.Do(t, s.name, index)
	mustBeFine(t, s.examine(t, dir, ""))
	mustFind(t, s.examine(t, dir, "?sslmode=require"), diagnosis{"customers", "fail", "offers no TLS", "turn TLS on there"})

	s.Do(t, s.name, "REVOKE SELECT ON spy_customer FROM doctor")
	grant := mustFind(t, s.examine(t, dir, ""), diagnosis{"customers", "fail", "the account may not read spy_customer", `GRANT SELECT ON spy_customer TO "doctor"`})
	s.Do(t, s.name, grant)
	mustBeFine(t, s.examine(t, dir, ""))

	s.revokesTokens(t, dir)
	s.asksForTheEnd(t, dir)

	s.Do(t, s.name, "ALTER TABLE spy_customer RENAME COLUMN registered TO since")
	mustFind(t, s.examine(t, dir, ""), diagnosis{"customers", "fail", "the table spy_customer has no column registered", "set customers.source to sql"})
	s.Do(t, s.name, "ALTER TABLE spy_customer RENAME COLUMN since TO registered", "ALTER TABLE spy_customer DROP COLUMN anonymized_at")
	mustFind(t, s.examine(t, dir, ""), diagnosis{"customers", "warn", "the table spy_customer has no column anonymized_at", "glueauth sessions revoke"})

	cert, key := certificate(t, time.Now().Add(-time.Hour))
	giveTo(t, server, filepath.Dir(cert), cert, key)
	s.Do(t, "", "ALTER SYSTEM SET ssl_cert_file = '"+cert+"'", "ALTER SYSTEM SET ssl_key_file = '"+key+"'", "ALTER SYSTEM SET ssl = on", "SELECT pg_reload_conf()")
	storetest.Eventually(t, "it speaks TLS", func() bool { return s.Do(t, "", "SHOW ssl") == "on" })
	mustFind(t, s.examine(t, dir, "?sslmode=verify-full&sslrootcert="+cert), diagnosis{"customers", "fail", "has expired", "renew it"})
}

// revokesTokens : an account that may not revoke the shop's refresh tokens is told how it may.
func (s shopPatient) revokesTokens(t *testing.T, dir string) {
	t.Helper()
	s.Do(t, s.name, "REVOKE UPDATE (revoked_at) ON spy_oauth_refresh_token FROM doctor")
	grant := mustFind(t, s.examine(t, dir, ""), diagnosis{"customers", "warn", "token that was taken over still works", "GRANT UPDATE (revoked_at) ON spy_oauth_refresh_token"})
	s.Do(t, s.name, grant)
	mustBeFine(t, s.examine(t, dir, ""))
}

// asksForTheEnd : where the shop's refresh tokens cannot be looked up, take-over must have an end, or the account the right.
func (s shopPatient) asksForTheEnd(t *testing.T, dir string) {
	t.Helper()
	env := []string{"GLUEAUTH_CUSTOMERS_SOURCE=spryker", "GLUEAUTH_CUSTOMERS_URL=" + s.url, "GLUEAUTH_LEGACY_ENCRYPTION_KEY=" + vectorKey}
	mustBeFine(t, examine(t, dir, env))
	s.Do(t, s.name, "REVOKE SELECT ON spy_oauth_refresh_token FROM doctor")
	const seen, remedy = "legacy.until is not set, and the shop's database cannot be asked", "GRANT SELECT ON spy_oauth_refresh_token TO"
	if found := examine(t, dir, env); !slices.ContainsFunc(found, func(d diagnosis) bool {
		return d.Check == "encryption key" && d.Result == "fail" && strings.Contains(d.Seen, seen) && strings.Contains(d.Remedy, remedy)
	}) {
		t.Errorf("no end is asked for: %+v", found)
	}
	if r := finish(t, dir, "", env, "serve"); r.code != 1 || !strings.Contains(r.stderr, seen) || !strings.Contains(r.stderr, remedy) {
		t.Errorf("serve: exit code %d\n%s", r.code, r.stderr)
	}
	s.Do(t, s.name, "GRANT SELECT ON spy_oauth_refresh_token TO doctor")
}

// giveTo gives files to the account that a server runs as.
func giveTo(t *testing.T, server *storetest.SQLServer, files ...string) {
	t.Helper()
	info, err := os.Stat(server.Do(t, "", "SHOW data_directory"))
	if err != nil {
		t.Fatal(err)
	}
	owner := info.Sys().(*syscall.Stat_t)
	for _, file := range files {
		if err := os.Chown(file, int(owner.Uid), int(owner.Gid)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDoctorOfAShopOnMariaDB(t *testing.T) {
	t.Parallel()
	dir := patient(t)
	server := storetest.MariaDB(t)
	s := newShopPatient(t, server, "doctor")
	mustBeFine(t, s.examine(t, dir, ""))
	mustFind(t, s.examine(t, dir, "?tls=true"), diagnosis{"customers", "fail", "offers no TLS", "turn TLS on there"})

	s.Do(t, s.name, "GRANT DELETE ON spy_customer TO doctor")
	mustFind(t, s.examine(t, dir, ""), diagnosis{"customers", "warn", "may write to spy_customer", "only SELECT"})
	s.Do(t, s.name, "REVOKE DELETE ON spy_customer FROM doctor")
	s.revokesTokens(t, dir)

	s.Do(t, s.name, "UPDATE spy_customer SET password = 'plain text'")
	mustFind(t, s.examine(t, dir, ""), diagnosis{"passwords", "fail", "1 of 1 looked at cannot be verified", "ask for a new password"})
	s.Do(t, s.name, "UPDATE spy_customer SET password = '"+dearHash+"'")

	s.Do(t, "", "SET GLOBAL init_connect = 'SET timestamp = UNIX_TIMESTAMP(NOW(6)) - 10'") // not for the administrator
	mustFind(t, s.examine(t, dir, ""), diagnosis{"clock of the database", "fail", "behind this machine's", "NTP"})
	s.Do(t, "", "SET GLOBAL init_connect = 'SET timestamp = UNIX_TIMESTAMP(NOW(6)) + 4.5'")
	mustFind(t, s.examine(t, dir, ""), diagnosis{"clock of the database", "warn", "ahead of this machine's", "NTP"})

	s.Kill()
	mustFind(t, s.examine(t, dir, ""), diagnosis{"customers", "fail", "cannot be used", "start the database"})
	mustFind(t, examine(t, dir, []string{"GLUEAUTH_CUSTOMERS_SOURCE=spryker", "GLUEAUTH_CUSTOMERS_URL=mysql://doctor:" + secretWord + "@db.invalid/doctor"}),
		diagnosis{"customers", "fail", "cannot be used", "start the database"})
}
