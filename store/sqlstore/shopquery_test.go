package sqlstore_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/glueauth/glueauth/store"
	"github.com/glueauth/glueauth/store/storetest"
)

// strangers are a table that is not Spryker's.
const strangers = `CREATE TABLE people (no BIGINT PRIMARY KEY, code VARCHAR(20), mail VARCHAR(100), pw VARCHAR(100), active BOOLEAN, locked INTEGER)`

const peopleQuery = `SELECT no AS id, code AS reference, mail AS email, pw AS password_hash, active AS confirmed, locked AS blocked FROM people`

func testQuery(t *testing.T, s shopServer) {
	t.Helper()
	s.Shop(t, "query")
	url := s.URL("query", storetest.ShopPassword, "query")
	s.Do(t, "query", strangers, "INSERT INTO people VALUES (5000000000, 'K5', 'Ann@shop.example', 'hash', TRUE, 0), (6, 'K6', 'bob@shop.example', NULL, FALSE, 1), (7, 'K7', 'eve@shop.example', 'x', NULL, NULL)",
		"GRANT SELECT ON people TO query")
	for name, query := range map[string]string{
		"plain":                    peopleQuery,
		"with a semicolon":         peopleQuery + " ;\n",
		"with a comment at an end": peopleQuery + " -- all of them",
		"with a condition":         peopleQuery + " WHERE no > 0",
		"of two":                   peopleQuery + " WHERE no > 6 UNION ALL " + peopleQuery + " WHERE no <= 6",
		"with more columns":        "SELECT 'x' AS more, p.* FROM (" + peopleQuery + ") p",
	} {
		shop := mustOpenShop(t, url, query)
		for email, want := range map[string]store.Customer{
			"ANN@shop.example": {ID: 5_000_000_000, Reference: "K5", Email: "Ann@shop.example", PasswordHash: "hash", Confirmed: true},
			"bob@shop.example": {ID: 6, Reference: "K6", Email: "bob@shop.example", Blocked: true},
			"eve@shop.example": {ID: 7, Reference: "K7", Email: "eve@shop.example", PasswordHash: "x"},
		} {
			byEmail, err1 := shop.ByEmail(t.Context(), email)
			byID, err2 := shop.ByID(t.Context(), want.ID)
			byReference, err3 := shop.ByReference(t.Context(), want.Reference)
			if diff := cmp.Diff([]store.Customer{want, want, want}, []store.Customer{byEmail, byID, byReference}); diff != "" {
				t.Errorf("%s: %s: %v (-want +got):\n%s", name, email, errors.Join(err1, err2, err3), diff)
			}
		}
		if hashes, err := shop.SampleHashes(t.Context(), 1); err != nil || len(hashes) != 1 || hashes[0] != "hash" {
			t.Errorf("%s: %d hashes, error %v", name, len(hashes), err)
		}
		if shop.KeepsTokens() || len(shop.Findings()) > 0 {
			t.Errorf("%s: it has tokens: %t, findings %v", name, shop.KeepsTokens(), shop.Findings())
		}
	}
}

func testQueryRefusals(t *testing.T, s shopServer) {
	t.Helper()
	s.Shop(t, "badquery")
	url := s.URL("badquery", storetest.ShopPassword, "badquery")
	s.Do(t, "badquery", strangers, "CREATE TABLE hidden (id INTEGER)", "GRANT SELECT ON people TO badquery",
		"INSERT INTO people VALUES (0, 'K0', 'zero@shop.example', 'hash', TRUE, 0), (1, 'K1', NULL, 'hash', TRUE, 2)")
	with := func(replace ...string) string {
		return strings.NewReplacer(replace...).Replace(peopleQuery + " WHERE no = 1 AND mail IS NULL")
	}
	good := []string{"mail AS", "'a' AS", "locked AS", "FALSE AS"}
	for name, c := range map[string]struct{ query, want string }{
		"no query":           {"people", "must be one SELECT"},
		"not SQL":            {"SELEKT", "must be one SELECT"},
		"two statements":     {peopleQuery + "; " + peopleQuery, "must be one SELECT"},
		"another statement":  {"DELETE FROM people", "must be one SELECT"},
		"a missing column":   {strings.Replace(peopleQuery, "AS confirmed", "AS konfirmed", 1), "a column is missing"},
		"a table not there":  {strings.Replace(peopleQuery, "people", "peeple", 1), s.pick("must be one SELECT", "grant SELECT")}, // MariaDB tells nobody what is not there
		"no privilege":       {"SELECT id, 'a' AS reference, 'a' AS email, NULL AS password_hash, TRUE AS confirmed, FALSE AS blocked FROM hidden", "grant SELECT"},
		"an address is NULL": {with("locked AS", "FALSE AS"), "email is of another type"},
		"an id in letters":   {with(append(good, "no AS", "'K1' AS")...), "id is of another type"},
		"a secret for an id": {with(append(good, "no AS", "'hash-of-one' AS")...), "id is of another type"},
		"an id of nothing":   {with(append(good, "no AS", "0 AS")...), "id must be a whole number"},
		"a date for yes":     {with(append(good, "active AS", "CURRENT_TIMESTAMP AS")...), "confirmed is of another type"},
		"yes in a word":      {with(append(good, "active AS", "'maybe' AS")...), "confirmed is of another type"},
		"two for yes":        {with("mail AS", "'a' AS"), "blocked is of another type"},
	} {
		_, err := openShop(t, url, c.query)
		if err == nil || !strings.Contains(err.Error(), "customers.query") || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hash-of-one") {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}

func testOnlyReads(t *testing.T, s shopServer) {
	t.Helper()
	s.Shop(t, "writes")
	s.Do(t, "writes", strangers, "INSERT INTO people VALUES (1, 'K1', 'a@b', 'hash', TRUE, 0)", "CREATE SEQUENCE trace",
		s.pick("GRANT ALL ON people, trace TO writes", "GRANT ALL ON writes.* TO writes"))
	_, err := openShop(t, s.URL("writes", storetest.ShopPassword, "writes"),
		strings.Replace(peopleQuery, "pw AS", s.pick("CAST(nextval('trace') AS text)", "CAST(NEXTVAL(trace) AS CHAR)")+" AS", 1))
	if text := strings.ToLower(strings.ReplaceAll(fmt.Sprint(err), "-", " ")); !strings.Contains(text, "read only transaction") {
		t.Errorf("%v, want a complaint about a read-only transaction", err)
	}
	if n := s.Do(t, "writes", s.pick("SELECT nextval('trace')", "SELECT NEXTVAL(trace)")); n != "1" {
		t.Errorf("the sequence is at %s, want it untouched", n)
	}
}

const insertToken = "INSERT INTO spy_oauth_refresh_token (id_oauth_refresh_token, identifier, customer_reference, user_identifier, fk_oauth_client, expires_at, revoked_at) VALUES "

func testShopTokens(t *testing.T, s shopServer) {
	t.Helper()
	url := s.Shop(t, "tokens")
	fresh, used, twice, agent := strings.Repeat("0a", 40), strings.Repeat("1b", 40), strings.Repeat("2c", 40), strings.Repeat("3d", 40)
	s.Do(t, "tokens", insertToken+fmt.Sprintf(`(1, '%s', 'DE--21', '{}', 'frontend', '2030-05-01 12:00:00', NULL), (2, '%s', 'DE--21', '{}', 'frontend', '2030-05-01 12:00:00', '2026-01-01 00:00:00'),
		(3, '%s', 'DE--21', '{}', 'frontend', '2030-05-01 12:00:00', NULL), (4, '%[3]s', 'DE--22', '{}', 'frontend', '2031-05-01 12:00:00', '2026-01-01 00:00:00'),
		(5, '%[4]s', NULL, '{}', 'frontend', NULL, NULL)`, fresh, used, twice, agent))
	shop := mustOpenShop(t, url, "")
	if !shop.KeepsTokens() {
		t.Error("the table is not seen")
	}
	may := time.Date(2030, time.May, 1, 12, 0, 0, 0, time.UTC)
	want := map[string]store.ShopToken{
		fresh: {CustomerReference: "DE--21", Client: "frontend", ExpiresAt: may},
		used:  {CustomerReference: "DE--21", Client: "frontend", ExpiresAt: may, Revoked: true},
		twice: {CustomerReference: "DE--22", Client: "frontend", ExpiresAt: may.AddDate(1, 0, 0), Revoked: true},
		agent: {Client: "frontend"},
	}
	check := func() {
		t.Helper()
		for id, token := range want {
			got, err := shop.ShopToken(t.Context(), id)
			if diff := cmp.Diff(token, got); diff != "" || err != nil {
				t.Errorf("%.2s: %v (-want +got):\n%s", id, err, diff)
			}
		}
	}
	check()
	for _, id := range []string{"", "ff", "' OR 1=1 -- ", "😀", "\x00"} {
		if _, err := shop.ShopToken(t.Context(), id); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%q: %v, want not found", id, err)
		}
	}
	at := time.Date(2026, time.November, 22, 8, 30, 15, 999, time.FixedZone("", 3600))
	for _, id := range []string{fresh, fresh, used, "ff"} {
		if err := shop.RevokeShopToken(t.Context(), id, at); err != nil {
			t.Errorf("%.2s: %v", id, err)
		}
	}
	want[fresh] = store.ShopToken{CustomerReference: "DE--21", Client: "frontend", ExpiresAt: may, Revoked: true}
	check()
	if got := s.Do(t, "tokens", "SELECT revoked_at FROM spy_oauth_refresh_token ORDER BY id_oauth_refresh_token LIMIT 2"); got != "2026-11-22 07:30:15\n2026-01-01 00:00:00" {
		t.Errorf("revoked at %q", got)
	}
	if _, err := shop.ByID(t.Context(), 1); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a look-up after a write: %v", err)
	}
}

func testReadOnlyTokens(t *testing.T, s shopServer) {
	t.Helper()
	url := s.Shop(t, "readonly")
	id := strings.Repeat("0a", 40)
	s.Do(t, "readonly", insertToken+"(1, '"+id+"', 'DE--21', '{}', 'frontend', '2030-05-01 12:00:00', NULL)", "REVOKE UPDATE (revoked_at) ON spy_oauth_refresh_token FROM readonly")
	shop := mustOpenShop(t, url, "")
	if err := shop.RevokeShopToken(t.Context(), id, time.Unix(1, 0)); !errors.Is(err, store.ErrReadOnly) || errors.Is(err, store.ErrUnavailable) {
		t.Errorf("%v, want read-only", err)
	}
	if got, err := shop.ShopToken(t.Context(), id); err != nil || got.Revoked {
		t.Errorf("revoked %t, error %v", got.Revoked, err)
	}
	s.Do(t, "readonly", "GRANT UPDATE (revoked_at) ON spy_oauth_refresh_token TO readonly", "DROP TABLE spy_oauth_refresh_token")
	if err := shop.RevokeShopToken(t.Context(), id, time.Unix(1, 0)); !errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrReadOnly) {
		t.Errorf("without its table: %v, want unavailable", err)
	}
}
