package sqlstore_test

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql" // for the query by hand
	_ "github.com/jackc/pgx/v5/stdlib" // likewise

	"github.com/glueauth/glueauth/store/storetest"
)

// BenchmarkLookup compares our look-up by e-mail with a query for the same by hand, prepared with database/sql, at 100,000
// customers: the medians of both, taken in turn, and how many times ours is theirs.
func BenchmarkLookup(b *testing.B) {
	for kind, start := range map[string]func(testing.TB, ...string) *storetest.SQLServer{"PostgreSQL": storetest.Postgres, "MariaDB": storetest.MariaDB} {
		b.Run(kind, func(b *testing.B) {
			s := shopServer{start(b), kind == "PostgreSQL"}
			benchmarkLookup(b, s)
		})
	}
}

const customersOfBenchmark = 100_000

func benchmarkLookup(b *testing.B, s shopServer) {
	b.Helper()
	url := s.Shop(b, "bench")
	row := "'DE--' || n, 'Customer' || n || '@shop.example', '" + bcryptA + "', '2020-01-02' FROM generate_series(1, %d) AS n"
	if !s.postgres {
		row = "CONCAT('DE--', seq), CONCAT('Customer', seq, '@shop.example'), '" + bcryptA + "', '2020-01-02' FROM seq_1_to_%d"
	}
	s.Do(b, "bench", "INSERT INTO spy_customer (id_customer, customer_reference, email, password, registered) SELECT "+s.pick("n", "seq")+", "+
		strings.Replace(fmt.Sprintf(row, customersOfBenchmark), "'2020-01-02'", s.pick("DATE '2020-01-02'", "'2020-01-02'"), 1),
		insertCompany+"(1, 77, TRUE, TRUE, 'c1')", s.pick(upperIndex, "SELECT 1"), s.pick("VACUUM ANALYZE", "ANALYZE TABLE spy_customer"))
	shop := mustOpenShop(b, url, "")

	source, driver := url, "pgx"
	if !s.postgres {
		source, driver = fmt.Sprintf("bench:%s@tcp(%s)/bench", storetest.ShopPassword, s.Addr), "mysql"
	}
	db, err := sql.Open(driver, source)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = db.Close() })
	byHand, err := db.PrepareContext(b.Context(), `SELECT id_customer, customer_reference, email, password, registered IS NOT NULL, anonymized_at IS NOT NULL, u.uuid
		FROM spy_customer LEFT JOIN spy_company_user u ON fk_customer = id_customer AND is_active WHERE `+s.pick("UPPER(email) = UPPER($1)", "email = ?"))
	if err != nil {
		b.Fatal(err)
	}
	look := map[bool]func(context.Context, string) error{
		true: func(ctx context.Context, email string) error {
			_, err := shop.ByEmail(ctx, email)
			return err
		},
		false: func(ctx context.Context, email string) error {
			var id int64
			var reference, address, password string
			var confirmed, anonymised bool
			var company sql.NullString
			return byHand.QueryRowContext(ctx, email).Scan(&id, &reference, &address, &password, &confirmed, &anonymised, &company)
		},
	}
	took := map[bool][]time.Duration{}
	n := 0
	for b.Loop() {
		n++
		email := fmt.Sprintf("cusTOMer%d@shop.example", 1+n*7919%customersOfBenchmark)
		for _, ours := range []bool{n%2 == 0, n%2 != 0} {
			begun := time.Now()
			if err := look[ours](b.Context(), email); err != nil {
				b.Fatal(err)
			}
			took[ours] = append(took[ours], time.Since(begun))
		}
	}
	median := func(ours bool) float64 {
		slices.Sort(took[ours])
		return float64(took[ours][len(took[ours])/2].Microseconds())
	}
	b.ReportMetric(median(true), "ours-p50-µs")
	b.ReportMetric(median(false), "by-hand-p50-µs")
	b.ReportMetric(median(true)/median(false), "times")
	if median(true) > 2*median(false) {
		b.Error("our look-up takes more than twice the time of the same by hand")
	}
}
