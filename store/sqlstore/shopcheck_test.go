package sqlstore_test

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/store/sqlstore"
	"github.com/glueauth/glueauth/store/storetest"
)

const upperIndex = "CREATE INDEX anything ON spy_customer (UPPER(email))"

// lack is a change of a shop's database, and words of the finding that follows from it.
type lack struct{ change, what, remedy string }

func testFindings(t *testing.T, s shopServer) {
	t.Helper()
	for i, lacks := range [][]lack{
		{},
		{
			{"DROP TABLE spy_company_user", "no table spy_company_user: tokens name no company user", ""},
			{"DROP TABLE spy_oauth_refresh_token", "no table spy_oauth_refresh_token", ""},
			{"ALTER TABLE spy_customer DROP COLUMN uuid", "spy_customer has no column uuid", "another subject"},
			{"ALTER TABLE spy_customer DROP COLUMN anonymized_at", "no column anonymized_at", "sessions revoke"},
			{"GRANT UPDATE ON spy_customer TO ACCOUNT", "may write to spy_customer", "only SELECT"},
			{
				s.pick("DROP INDEX anything", "DROP INDEX email ON spy_customer"), "reads the whole table",
				s.pick("CREATE INDEX CONCURRENTLY glueauth_email ON spy_customer (UPPER(email))", "CREATE INDEX glueauth_email ON spy_customer (email)"),
			},
		},
		{
			{"ALTER TABLE spy_company_user DROP COLUMN is_default", "no column is_default", ""},
			{s.pick("GRANT ALL ON ALL TABLES IN SCHEMA public TO ACCOUNT", "GRANT ALL ON ACCOUNT.* TO ACCOUNT"), "may write to spy_customer", "only SELECT"},
			{s.pick("DROP INDEX anything; CREATE INDEX anything ON spy_customer (UPPER(email)) WHERE password IS NOT NULL",
				"DROP INDEX email ON spy_customer; CREATE INDEX email ON spy_customer (email(3))"), "reads the whole table", "CREATE INDEX"},
		},
		{
			{"ALTER TABLE spy_company_user DROP COLUMN uuid", "spy_company_user has no column uuid: tokens name no company user", ""},
			{s.pick("ALTER USER ACCOUNT SUPERUSER", "GRANT DELETE ON *.* TO ACCOUNT"), "may write to spy_customer", "only SELECT"},
			{s.pick("DROP INDEX anything; CREATE INDEX anything ON spy_customer (UPPER(first_name), UPPER(email))",
				"DROP INDEX email ON spy_customer; CREATE INDEX email ON spy_customer (first_name, email)"), "reads the whole table", "CREATE INDEX"},
		},
		{
			{"REVOKE SELECT ON spy_company_user FROM ACCOUNT", "may not read fk_customer of spy_company_user", "GRANT SELECT ON spy_company_user TO " + s.pick(`"ACCOUNT"`, "'ACCOUNT'@'%'")},
			{"REVOKE SELECT ON spy_oauth_refresh_token FROM ACCOUNT", "may not read identifier of spy_oauth_refresh_token", "GRANT SELECT ON spy_oauth_refresh_token"},
		},
		{
			{
				"REVOKE UPDATE (revoked_at) ON spy_oauth_refresh_token FROM ACCOUNT", "still works at the shop",
				"GRANT UPDATE (revoked_at) ON spy_oauth_refresh_token TO " + s.pick(`"ACCOUNT"`, "'ACCOUNT'@'%'"),
			},
		},
	} {
		database := fmt.Sprintf("lacks%d", i)
		url := s.Shop(t, database)
		changes := []string{s.pick(upperIndex, "SELECT 1")}
		for _, l := range lacks {
			changes = append(changes, strings.ReplaceAll(l.change, "ACCOUNT", database))
		}
		s.Do(t, database, changes...)
		wantFindings(t, database, mustOpenShop(t, url, ""), lacks)
	}
	if s.postgres {
		return
	}
	url := s.Shop(t, "binary_case")
	s.Do(t, "binary_case", "ALTER TABLE spy_customer MODIFY email VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL")
	wantFindings(t, "binary_case", mustOpenShop(t, url, ""), []lack{{"", "utf8mb4_bin", "_ci"}})
}

// testReplica has a server that only reads, as far as one that is no replica can do so.
func testReplica(t *testing.T, s shopServer) {
	t.Helper()
	if s.postgres { // where transactions may say that they write nevertheless
		return
	}
	url := s.Shop(t, "replica")
	s.Do(t, "", "SET GLOBAL read_only = ON")
	wantFindings(t, "replica", mustOpenShop(t, url, ""), []lack{{"SET GLOBAL read_only = ON", "can only be read", "that the shop writes to"}})
	s.Do(t, "", "SET GLOBAL read_only = OFF")
}

// wantFindings demands one finding for each lack and no other; a remedy only where there is one.
func wantFindings(t *testing.T, database string, shop *sqlstore.Shop, lacks []lack) {
	t.Helper()
	got := shop.Findings()
	if len(got) != len(lacks) {
		t.Errorf("%s: %d findings, want %d: %v", database, len(got), len(lacks), got)
	}
	for _, l := range lacks {
		remedy := strings.ReplaceAll(l.remedy, "ACCOUNT", database)
		if !slices.ContainsFunc(got, func(f sqlstore.Finding) bool {
			return strings.Contains(f.What, l.what) && strings.Contains(f.Remedy, remedy) && (remedy == "") == (f.Remedy == "")
		}) {
			t.Errorf("%s: none of %v is %s: %s", l.change, got, l.what, remedy)
		}
	}
}

func testRefusals(t *testing.T, s shopServer) {
	t.Helper()
	url := s.Shop(t, "refused")
	s.Do(t, "", "CREATE DATABASE empty_one")
	s.Do(t, "", s.pick("SELECT 1", "GRANT SELECT ON empty_one.* TO refused"))
	host := strings.Replace(url, s.Addr, "127.0.0.1:1", 1)
	silent := strings.Replace(url, s.Addr, silentPort(t), 1)
	if _, err := sqlstore.OpenShop(t.Context(), sqlstore.ShopOptions{URL: secret.Text(silent)}); !strings.Contains(fmt.Sprint(err), "does not answer in time") {
		t.Errorf("nobody answers: %v", err)
	}
	for name, c := range map[string]struct{ url, want string }{
		"a wrong password":    {s.URL("refused", "c4n4ry", "refused"), "correct user and password"},
		"an unknown user":     {s.URL("nobody", "c4n4ry", "refused"), "correct user and password"},
		"an unknown database": {s.URL("refused", storetest.ShopPassword, "nowhere"), "correct the name"},
		"nobody there":        {host, "start the database"},
		"TLS is not offered":  {url + s.pick("?sslmode=verify-full", "?tls=true"), "TLS"},
		"another database":    {s.URL("refused", storetest.ShopPassword, "empty_one"), "no table spy_customer"},
	} {
		refused(t, name, c.url, c.want)
	}
	for _, c := range []struct{ change, want string }{
		{"ALTER TABLE spy_customer RENAME COLUMN registered TO registriert", "has no column registered"},
		{"ALTER TABLE spy_customer RENAME COLUMN password TO passwort", "has no column password"},
		{"REVOKE SELECT ON spy_customer FROM refused", "GRANT SELECT ON spy_customer TO " + s.pick(`"refused"`, "'refused'@'%'")},
	} {
		s.Do(t, "refused", c.change)
		refused(t, c.change, url, c.want)
	}
}

func refused(t *testing.T, name, url, want string) {
	t.Helper()
	_, err := openShop(t, url, "")
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%s: %v, want %s", name, err, want)
	}
	if text := fmt.Sprint(err); strings.Contains(text, "c4n4ry") || strings.Contains(text, storetest.ShopPassword) {
		t.Errorf("%s: the error shows a password: %s", name, text)
	}
}

// silentPort is an address that accepts connections and never answers.
func silentPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}

func TestURLsOfShops(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"postgres://u:c4n4ry@h:5432/shop":                  "",
		"postgresql://u:c4n4ry@h/shop?sslmode=verify-full": "",
		"postgres://u:c4n4ry@h1:5432,h2:5433/shop":         "",
		"postgres://u@/shop?host=/run/postgresql":          "",
		"mysql://u:c4n4ry@h:3306/shop":                     "",
		"mariadb://u:c4n4ry%2F%40@h/shop?tls=true":         "",
		"mysql://u@/shop?socket=/run/mysqld/mysqld.sock":   "",
		"mysql://u:c4n4ry@[::1]:3307/shop?tls=skip-verify": "",
		"":                          "none of the forms",
		"u:c4n4ry@tcp(h:3306)/shop": "none of the forms",
		"sqlite://c4n4ry":           "none of the forms",
		"postgres://u:c4n4ry@h/shop?sslmode=c4n4ry":                 "none of the forms",
		"postgres://u:c4n4ry#@h/shop":                               "none of the forms",
		"postgres://u:c4n4ry%@h/shop":                               "none of the forms",
		"postgres://u:c4n4ry@h:5432":                                "none of the forms",
		"postgres://u:c4n4ry@h/shop?sslrootcert=/not/there":         "/not/there",
		"postgres://u:12/c4n4ry@h:5432/shop":                        "none of the forms",
		"mysql://u:12/c4n4ry@h:3306/shop":                           "none of the forms",
		"mysql://u:c4n4ry#@h/shop":                                  "none of the forms",
		"mysql://u:c4n4ry%@h/shop":                                  "none of the forms",
		"mysql://u:c4n4ry@h:3306/":                                  "none of the forms",
		"mysql://u:c4n4ry@/shop":                                    "none of the forms",
		"mysql://u:c4n4ry@h/shop?tls=c4n4ry":                        "knows the parameters",
		"mysql://u:c4n4ry@h/shop?sslmode=verify-full":               "knows the parameters",
		"mysql://u:c4n4ry@h/shop?multiStatements=true":              "knows the parameters",
		"mysql://u:c4n4ry@h/shop?tls=true&tls_ca=/not/there.pem":    "/not/there.pem",
		"mysql://u:c4n4ry@h/shop?tls_ca=/not/there.pem":             "without tls=true",
		"mysql://u:c4n4ry@h/shop?tls=true&tls_ca=shopcheck_test.go": "no certificate",
	} {
		err := sqlstore.CheckShopURL(secret.Text(url))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", url, err, want)
		}
		if strings.Contains(fmt.Sprint(err), "c4n4ry") {
			t.Errorf("%s: the error shows it: %v", url, err)
		}
	}
}

func testShopIDs(t *testing.T, s shopServer) {
	t.Helper()
	one, two := s.Shop(t, "id_one"), s.Shop(t, "id_two")
	ids := []string{mustOpenShop(t, one, "").ID(), mustOpenShop(t, two, "").ID()}
	s.Do(t, "id_one", s.pick("CREATE USER other PASSWORD 'c4n4ry'; GRANT SELECT ON spy_customer TO other", "CREATE USER other IDENTIFIED BY 'c4n4ry'; GRANT SELECT ON spy_customer TO other"))
	again := mustOpenShop(t, s.URL("other", "c4n4ry", "id_one"), "").ID()
	if ids[0] == ids[1] || again != ids[0] || len(again) != 32 {
		t.Errorf("ids %v, by another account %s", ids, again)
	}
}
