package sqlstore_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/store"
	"github.com/glueauth/glueauth/store/sqlstore"
	"github.com/glueauth/glueauth/store/storetest"
)

// shopServer is a database server that the tests of one kind share; each has a database of its own.
type shopServer struct {
	*storetest.SQLServer
	postgres bool
}

// pick returns what is right for this kind of server.
func (s shopServer) pick(postgres, mariadb string) string {
	if s.postgres {
		return postgres
	}
	return mariadb
}

func TestShops(t *testing.T) {
	t.Parallel()
	for kind, start := range map[string]func(testing.TB, ...string) *storetest.SQLServer{"PostgreSQL": storetest.Postgres, "MariaDB": storetest.MariaDB} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := shopServer{start(t), kind == "PostgreSQL"}
			t.Run("beside each other", func(t *testing.T) {
				for name, test := range map[string]func(*testing.T, shopServer){
					"finding customers":              testFindingCustomers,
					"what a customer is":             testShopCustomer,
					"texts that no column can have":  testImpossibleTexts,
					"a sample of hashes":             testShopSampleHashes,
					"a sample has old hashes too":    testOlderHashes,
					"one address in two spellings":   testTwoSpellings,
					"what a shop lacks":              testFindings,
					"what keeps it from starting":    testRefusals,
					"a url of the other kind":        testOtherKind,
					"what keeps a query from it":     testQueryRefusals,
					"a query of the operator's own":  testQuery,
					"the connection only reads":      testOnlyReads,
					"the shop's own refresh tokens":  testShopTokens,
					"who may not write":              testReadOnlyTokens,
					"ids":                            testShopIDs,
					"many more than there are lines": testManyAtOnce,
				} {
					t.Run(name, func(t *testing.T) {
						t.Parallel()
						test(t, s)
					})
				}
			})
			t.Run("a replica", func(t *testing.T) { testReplica(t, s) })
			t.Run("outage", func(t *testing.T) { testOutage(t, s) })
		})
	}
}

// mustOpenShop opens a shop with patience.
func mustOpenShop(tb testing.TB, url, query string) *sqlstore.Shop {
	tb.Helper()
	shop := mustOpenHastyShop(tb, url, query)
	shop.BePatient()
	return shop
}

// mustOpenHastyShop opens a shop as in production.
func mustOpenHastyShop(tb testing.TB, url, query string) *sqlstore.Shop {
	tb.Helper()
	shop, err := openShop(tb, url, query)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(shop.Close)
	return shop
}

// openShop opens a shop. On a machine that is so busy that connecting takes too long, it is tried again.
func openShop(tb testing.TB, url, query string) (shop *sqlstore.Shop, err error) {
	tb.Helper()
	for range 5 {
		shop, err = sqlstore.OpenShop(tb.Context(), sqlstore.ShopOptions{URL: secret.Text(url), Query: query})
		if !errors.Is(err, context.DeadlineExceeded) {
			break
		}
	}
	return shop, err
}

const (
	insertCustomer = "INSERT INTO spy_customer (id_customer, customer_reference, email, password, registered, anonymized_at, uuid) VALUES "
	insertCompany  = "INSERT INTO spy_company_user (id_company_user, fk_customer, is_active, is_default, uuid) VALUES "
	soniaRow       = "(21, 'DE--21', 'sonia@spryker.com', '" + bcryptA + "', '2020-01-02', NULL, 'b6b4')"
)

func testFindingCustomers(t *testing.T, s shopServer) {
	t.Helper()
	url := s.Shop(t, "finding")
	s.Do(t, "finding", insertCustomer+soniaRow+", (22, 'DE--22', 'Jörg.Ünal@Shop.example', NULL, NULL, NULL, NULL)")
	shop := mustOpenShop(t, url, "")
	for _, c := range []struct {
		email             string
		postgres, mariadb int64 // 0: not found
	}{
		{"sonia@spryker.com", 21, 21},
		{"SONIA@Spryker.COM", 21, 21},
		{"jörg.ünal@shop.example", 22, 22},
		{"JÖRG.ÜNAL@SHOP.EXAMPLE", 22, 22},
		{"sonia@spryker.com ", 0, 21}, // a padded collation
		{" sonia@spryker.com", 0, 0},
		{"sonia@spryker.co", 0, 0},
		{"", 0, 0},
		{"%", 0, 0},
		{"_onia@spryker.com", 0, 0},
		{`' OR 1=1 -- `, 0, 0},
		{`\' OR 1=1 #`, 0, 0},
	} {
		want := c.mariadb
		if s.postgres {
			want = c.postgres
		}
		got, err := shop.ByEmail(t.Context(), c.email)
		wantFound(t, c.email, got, err, want)
	}
	if padded := shop.EmailKey("sonia@spryker.com  ") == shop.EmailKey("Sonia@spryker.COM"); padded == s.postgres {
		t.Errorf("spaces at the end are nothing: %t", padded)
	}
	if shop.EmailKey(" a") == shop.EmailKey("a") || shop.EmailKey("\u00e9") == shop.EmailKey("e") {
		t.Error("addresses have one key that are not meant to be the same")
	}
	for id, want := range map[int64]int64{21: 21, 22: 22, 0: 0, -1: 0, 1 << 31: 0, 1<<63 - 1: 0, -1 << 63: 0} {
		got, err := shop.ByID(t.Context(), id)
		wantFound(t, id, got, err, want)
	}
	for reference, want := range map[string]int64{"DE--22": 22, "DE--2": 0, "": 0} {
		got, err := shop.ByReference(t.Context(), reference)
		wantFound(t, reference, got, err, want)
	}
	if err := shop.Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

// wantFound demands this customer of a look-up, or with 0 that there is none.
func wantFound(t *testing.T, key any, got store.Customer, err error, want int64) {
	t.Helper()
	if got.ID != want || want == 0 && !errors.Is(err, store.ErrNotFound) || want != 0 && err != nil {
		t.Errorf("%v: customer %d, error %v, want %d", key, got.ID, err, want)
	}
}

func testShopCustomer(t *testing.T, s shopServer) {
	t.Helper()
	url := s.Shop(t, "fields")
	s.Do(t, "fields", insertCustomer+soniaRow+`,
		(1, 'DE--1', 'unconfirmed@shop.example', 'hash', NULL, NULL, NULL), (2, 'DE--2', 'gone@shop.example', 'hash', '2020-01-02', '2021-01-01 10:00:00', NULL),
		(3, 'DE--3', 'without@shop.example', NULL, '2020-01-02', NULL, NULL), (4, 'DE--4', 'one@company.example', 'hash', '2020-01-02', NULL, NULL),
		(5, 'DE--5', 'two@company.example', 'hash', '2020-01-02', NULL, NULL), (6, 'DE--6', 'default@company.example', 'hash', '2020-01-02', NULL, NULL),
		(7, 'DE--7', 'inactive@company.example', 'hash', '2020-01-02', NULL, NULL), (8, 'DE--8', 'defaults@company.example', 'hash', '2020-01-02', NULL, NULL),
		(9, 'DE--9', 'former@company.example', 'hash', '2020-01-02', NULL, NULL)`,
		insertCompany+`(1, 4, TRUE, FALSE, 'c1'), (2, 4, FALSE, TRUE, 'c2'), (3, 5, TRUE, FALSE, 'c3'), (4, 5, TRUE, NULL, 'c4'),
		(5, 6, TRUE, FALSE, 'c5'), (6, 6, TRUE, TRUE, 'c6'), (7, 7, FALSE, TRUE, 'c7'), (8, 8, TRUE, TRUE, 'c8'), (9, 8, TRUE, TRUE, 'c9'),
		(10, 9, NULL, FALSE, 'c10')`)
	shop := mustOpenShop(t, url, "")
	plain := func(id int64, email string) store.Customer {
		return store.Customer{ID: id, Reference: fmt.Sprintf("DE--%d", id), Email: email, PasswordHash: "hash", Confirmed: true}
	}
	change := func(c store.Customer, do func(*store.Customer)) store.Customer {
		do(&c)
		return c
	}
	for _, want := range []store.Customer{
		{ID: 21, Reference: "DE--21", Email: "sonia@spryker.com", UUID: "b6b4", PasswordHash: bcryptA, Confirmed: true},
		change(plain(1, "unconfirmed@shop.example"), func(c *store.Customer) { c.Confirmed = false }),
		change(plain(2, "gone@shop.example"), func(c *store.Customer) { c.Anonymised = true }),
		change(plain(3, "without@shop.example"), func(c *store.Customer) { c.PasswordHash = "" }),
		change(plain(4, "one@company.example"), func(c *store.Customer) { c.CompanyUser = "c1" }),
		plain(5, "two@company.example"),
		change(plain(6, "default@company.example"), func(c *store.Customer) { c.CompanyUser = "c6" }),
		plain(7, "inactive@company.example"),
		plain(8, "defaults@company.example"),
		plain(9, "former@company.example"),
	} {
		byID, err1 := shop.ByID(t.Context(), want.ID)
		byEmail, err2 := shop.ByEmail(t.Context(), want.Email)
		if diff := cmp.Diff([]store.Customer{want, want}, []store.Customer{byID, byEmail}); diff != "" || err1 != nil || err2 != nil {
			t.Errorf("%s: %v %v (-want +got):\n%s", want.Email, err1, err2, diff)
		}
	}
}

func testImpossibleTexts(t *testing.T, s shopServer) {
	t.Helper()
	url := s.Shop(t, "texts")
	s.Do(t, "texts", insertCustomer+soniaRow)
	shop := mustOpenShop(t, url, "")
	for _, text := range []string{
		"😀@shop.example", "a@shop.example\x00", "\x00", "\xff@shop.example", "sonia\xc3@spryker.com", "\xed\xa0\x80", "\ufffd",
		strings.Repeat("ü", 40_000), "a\nb", "\u202e", "ſ", "\\", "$1",
	} {
		if _, err := shop.ByEmail(t.Context(), text); !errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrUnavailable) {
			t.Errorf("e-mail %.40q: %v, want not found", text, err)
		}
		if _, err := shop.ByReference(t.Context(), text); !errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrUnavailable) {
			t.Errorf("reference %.40q: %v, want not found", text, err)
		}
	}
}

func testShopSampleHashes(t *testing.T, s shopServer) {
	t.Helper()
	url := s.Shop(t, "newest")
	s.Do(t, "newest", insertCustomer+"(1, 'a', 'a', 'one', NULL, NULL, NULL), (3, 'c', 'c', 'three', NULL, NULL, NULL), (2, 'b', 'b', NULL, NULL, NULL, NULL)")
	shop := mustOpenShop(t, url, "")
	for n, want := range map[int][]secret.Text{-1: nil, 0: nil, 1: {"three"}, 2: {"three", "one"}, 1000: {"three", "one"}} {
		if got, err := shop.SampleHashes(t.Context(), n); err != nil || !slices.Equal(got, want) {
			t.Errorf("%d: %d hashes, error %v, want %d", n, len(got), err, len(want))
		}
	}
}

// testOlderHashes : of customers who came while hashes cost less there are some in a sample, wherever their ids begin.
func testOlderHashes(t *testing.T, s shopServer) {
	t.Helper()
	url := s.Shop(t, "older")
	var rows []string
	for n := range 300 {
		era := []string{"first", "second", "third"}[n/100]
		rows = append(rows, fmt.Sprintf("(%d, 'r%d', 'e%d', '%s', NULL, NULL, NULL)", 1_000_000+n, n, n, era))
	}
	s.Do(t, "older", insertCustomer+strings.Join(rows, ", "))
	got, err := mustOpenShop(t, url, "").SampleHashes(t.Context(), 64)
	eras := map[secret.Text]int{}
	for _, hash := range got {
		eras[hash]++
	}
	if err != nil || len(got) > 64 || eras["first"] < 8 || eras["second"] < 8 || eras["third"] < 32 {
		t.Errorf("%d hashes, %v of each time, error %v", len(got), eras, err)
	}
}

func testTwoSpellings(t *testing.T, s shopServer) {
	t.Helper()
	url := s.Shop(t, "spellings")
	if !s.postgres {
		s.Do(t, "spellings", "DROP INDEX email ON spy_customer", "CREATE INDEX email ON spy_customer (email)")
	}
	s.Do(t, "spellings", insertCustomer+"(7, 'a', 'Ann@shop.example', NULL, NULL, NULL, NULL), (5, 'b', 'ann@shop.example', NULL, NULL, NULL, NULL)")
	shop := mustOpenShop(t, url, "")
	want := map[string]int64{"Ann@shop.example": 7, "ann@shop.example": 5, "ANN@SHOP.EXAMPLE": 5}
	if !s.postgres {
		want["Ann@shop.example"] = 5
	}
	for email, id := range want {
		if got, err := shop.ByEmail(t.Context(), email); err != nil || got.ID != id {
			t.Errorf("%s: customer %d, error %v, want %d", email, got.ID, err, id)
		}
	}
}

func testManyAtOnce(t *testing.T, s shopServer) {
	t.Helper()
	url := s.Shop(t, "many")
	s.Do(t, "many", insertCustomer+soniaRow)
	shop := mustOpenShop(t, url, "")
	var group sync.WaitGroup
	for range 64 {
		group.Go(func() {
			for range 10 {
				if c, err := shop.ByEmail(t.Context(), "sonia@spryker.com"); err != nil || c.ID != 21 {
					t.Errorf("customer %d, error %v", c.ID, err)
				}
			}
		})
	}
	group.Wait()
	if n := s.Do(t, "", s.pick("SELECT count(*) FROM pg_stat_activity WHERE usename = 'many'", "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER = 'many'")); len(n) > 2 || n > "16" && len(n) == 2 {
		t.Errorf("%s connections, want at most 16", n)
	}
}

func testOutage(t *testing.T, s shopServer) {
	t.Helper()
	url := s.Shop(t, "outage")
	s.Do(t, "outage", insertCustomer+soniaRow)
	shop := mustOpenHastyShop(t, url, "")
	ask := func() error {
		_, err := shop.ByEmail(t.Context(), "sonia@spryker.com")
		return err
	}
	for name, fault := range map[string]struct{ begin, end func() }{
		"halted":  {func() { s.Stop(t) }, func() { s.Continue(t) }},
		"stopped": {s.Kill, func() { s.Start(t) }},
	} {
		storetest.Eventually(t, "the look-up works", func() bool { return ask() == nil })
		fault.begin()
		var group sync.WaitGroup
		late := after(3 * time.Second)
		for range 40 { // more than there are connections
			group.Go(func() {
				if err := ask(); !errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrNotFound) {
					t.Errorf("%s: %v, want unavailable", name, err)
				}
				select {
				case <-late:
					t.Errorf("%s: the answer took more than three seconds", name)
				default:
				}
			})
		}
		group.Wait()
		if err := shop.Ping(t.Context()); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%s: ping: %v, want unavailable", name, err)
		}
		if _, err := shop.SampleHashes(t.Context(), 1); name == "stopped" && !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%s: newest hashes: %v, want unavailable", name, err)
		}
		fault.end()
		storetest.Eventually(t, "the look-up works again", func() bool { return ask() == nil })
	}
}

// after is like [time.After], of a time in which the machine ran: a ticker drops the beats that nobody could take.
func after(d time.Duration) <-chan struct{} {
	const beat = 10 * time.Millisecond
	over := make(chan struct{})
	go func() {
		defer close(over)
		tick := time.NewTicker(beat)
		defer tick.Stop()
		for range d / beat {
			<-tick.C
		}
	}()
	return over
}
