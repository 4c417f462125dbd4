package sqlstore_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/glueauth/glueauth/store"
	"github.com/glueauth/glueauth/store/sqlstore"
)

// people yields the first customers of [person].
func people(count int) iter.Seq2[sqlstore.Row, error] {
	return func(yield func(sqlstore.Row, error) bool) {
		for i := range count {
			if !yield(sqlstore.Row{Line: i + 2, Customer: person(i)}, nil) {
				return
			}
		}
	}
}

func importPeople(t *testing.T, c *sqlstore.Customers, count int) {
	t.Helper()
	if r, err := c.Import(t.Context(), people(count), false); err != nil || r.Added != count {
		t.Fatalf("%+v, error %v", r, err)
	}
}

func importCSV(t *testing.T, c *sqlstore.Customers, text string, dryRun bool) sqlstore.ImportResult {
	t.Helper()
	rows, err := sqlstore.ReadCSV(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	result, err := c.Import(t.Context(), rows, dryRun)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

const demoShop = "\uFEFF" + `customer_reference,locale_name,email,salutation,first_name,password,registered,id_customer
DE--1,en_US,spencor.hopkin@spryker.com,Mr,"Spencor ""the"" Hopkin",` + bcryptA + `,2013-08-01,1` + "\r\n" +
	`DE--2,en_US,maria.williams@spryker.com,Mrs,"Maria
Williams","` + argon + `",2014-09-02 10:11:12,2
DE--3,en_US,maggie.may@spryker.com,Ms,Maggie,,,3
`

func TestImportTakesAShopsFile(t *testing.T) {
	t.Parallel()
	c, f := open(t)
	if diff := cmp.Diff(sqlstore.ImportResult{Added: 3}, importCSV(t, c, demoShop, false)); diff != "" {
		t.Fatal(diff)
	}
	var got []store.Customer
	for customer, err := range c.List(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		customer.UUID = ""
		got = append(got, customer)
	}
	want := []store.Customer{
		{ID: 1, Reference: "DE--1", Email: "spencor.hopkin@spryker.com", PasswordHash: bcryptA, Confirmed: true},
		{ID: 2, Reference: "DE--2", Email: "maria.williams@spryker.com", PasswordHash: argon, Confirmed: true},
		{ID: 3, Reference: "DE--3", Email: "maggie.may@spryker.com"},
	}
	if diff := cmp.Diff(want, got, plain()); diff != "" {
		t.Error(diff)
	}
	var registered string
	if err := f.Read.QueryRowContext(t.Context(), "SELECT registered FROM customers WHERE id_customer = 2").Scan(&registered); err != nil || registered != "2014-09-02" {
		t.Errorf("registered %q, error %v", registered, err)
	}
}

func TestWithoutRegisteredEverybodyIsConfirmedToday(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "glueauth.db")
	f := openFile(t, path)
	const text = "customer_reference,email,password\nDE--1,a@b.com,\n"
	importCSV(t, sqlstore.New(f, noon, zeros{}), text, false)
	var registered string
	if err := f.Read.QueryRowContext(t.Context(), "SELECT registered FROM customers").Scan(&registered); err != nil || registered != "2026-03-01" {
		t.Errorf("registered %q, error %v, want the day of the import", registered, err)
	}
	tomorrow := sqlstore.New(f, func() time.Time { return noon().AddDate(0, 0, 1) }, zeros{})
	if diff := cmp.Diff(sqlstore.ImportResult{Unchanged: 1}, importCSV(t, tomorrow, text, false)); diff != "" {
		t.Errorf("the same file a day later:\n%s", diff)
	}
}

func TestImportRefusesRowsAndTakesTheRest(t *testing.T) {
	t.Parallel()
	const text = `id_customer,customer_reference,email,password,registered
1,DE--1,a@b.com,` + bcryptA + `,2020-01-01
1,DE--1,a@b.com,` + bcryptA + `,2020-01-01
1,DE--1,a@b.com,` + bcryptB + `,
2,DE--2,A@B.COM,,2020-01-01
2,DE--1,c@b.com,,2020-01-01
1,DE--2,c@b.com,,2020-01-01
2,DE--2,c@b.com,change123,2020-01-01
2,DE--2,c@b.com,$1$md5$crypt,2020-01-01
2,DE--2,c@b.com,,01.02.2020
2,DE--2,c@b.com,,0000-00-00
,DE--2,c@b.com,,2020-01-01
0,DE--2,c@b.com,,2020-01-01
1.5,DE--2,c@b.com,,2020-01-01
2,,c@b.com,,2020-01-01
2,DE--2,,,2020-01-01
2,DE--2,c@b.com,
2,DE--2,c@b.com,,2020-01-01,more
2,DE "2",c@b.com,,2020-01-01
2,"DE"2,c@b.com,,2020-01-01
2,DE--2,c@b.com,,2020-01-01
3,"DE
`
	want := []struct {
		line   int
		reason string
	}{
		{4, "has the same id_customer, customer_reference, email with another password, registered: adding never changes a customer"},
		{5, "has the same email with another id_customer, customer_reference, email, password: adding"},
		{6, "has the same customer_reference with another id_customer, email, password: adding"},
		{7, "has the same id_customer with another customer_reference, email, password: adding"},
		{8, "password is not a hash: export the hashes of the shop"},
		{9, "password is a broken hash or one of an unknown kind"},
		{10, "registered is not a date: write it as 2006-01-31"},
		{11, "registered is not a date"},
		{12, "id_customer must be a whole number from 1 to 2147483647"},
		{13, "id_customer must be a whole number"},
		{14, "id_customer must be a whole number"},
		{15, "customer_reference is empty"},
		{16, "email is empty"},
		{17, "the row has 4 fields and the header 5"},
		{18, "the row has 6 fields and the header 5"},
		{19, "a quote is not closed or not doubled: quote the field"},
		{20, "a quote is not closed or not doubled: quote the field"},
		{22, "a quote is not closed or not doubled"},
	}
	for _, dryRun := range []bool{true, false} {
		t.Run(fmt.Sprintf("dry run %t", dryRun), func(t *testing.T) {
			t.Parallel()
			c, _ := open(t)
			result := importCSV(t, c, text, dryRun)
			counts := [4]int{result.Added, result.Unchanged, result.Refused, len(result.Refusals)}
			if counts != [4]int{2, 1, len(want), len(want)} {
				t.Fatalf("%+v", result)
			}
			for i, r := range result.Refusals {
				if r.Line != want[i].line || !strings.Contains(r.Reason, want[i].reason) {
					t.Errorf("line %d: %s\nwant %d: %s", r.Line, r.Reason, want[i].line, want[i].reason)
				}
			}
			for _, password := range []string{"change123", bcryptB, "$1$md5$crypt"} {
				if text := fmt.Sprint(result); strings.Contains(text, password) {
					t.Errorf("the result shows %s: %s", password, text)
				}
			}
			count, err := c.Count(t.Context())
			if wanted := map[bool]int{true: 0, false: 2}; err != nil || count != wanted[dryRun] {
				t.Errorf("%d customers, error %v, want %d", count, err, wanted[dryRun])
			}
		})
	}
}

func TestADryRunSaysWhatTheImportDoes(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "glueauth.db")
	c := sqlstore.New(openFile(t, path), noon, rand.Reader)
	add(t, c, person(0))
	text := "customer_reference,email,password\n" + "DE--2,P0@example.com,\n" +
		"DE--0,p0@example.com," + bcryptA + "\n" + "DE--7,p7@example.com," + bcryptA + "\n" + "DE--7,p7@example.com," + bcryptA + "\n" + "DE--8,P7@example.com," + bcryptA + "\n"
	before, err := os.ReadFile(path + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	dry := importCSV(t, c, text, true)
	if after, err := os.ReadFile(path + "-wal"); err != nil || !bytes.Equal(before, after) {
		t.Errorf("a dry run wrote to the database, error %v", err)
	}
	wet := importCSV(t, c, text, false)
	for _, r := range []sqlstore.ImportResult{dry, wet} {
		if r.Added != 1 || r.Unchanged != 2 || r.Refused != 2 {
			t.Errorf("%+v", r)
		}
	}
	if want := "the customer of line 4 has the same email with another customer_reference, email: adding never changes a customer"; dry.Refusals[1].Reason != want {
		t.Errorf("got %q", dry.Refusals[1].Reason)
	}
}

func TestALargeFile(t *testing.T) {
	t.Parallel()
	c, _ := open(t)
	const count = 20_000
	var text strings.Builder
	text.WriteString("email,password,customer_reference\n")
	for i := range count {
		fmt.Fprintf(&text, "p%d@example.com,%s,DE--%d\n", i, bcryptA, i)
	}
	if diff := cmp.Diff(sqlstore.ImportResult{Added: count}, importCSV(t, c, text.String(), false)); diff != "" {
		t.Fatal(diff)
	}
	last, err := c.ByEmail(t.Context(), "P19999@example.com")
	if err != nil || last.ID != count || last.Reference != "DE--19999" {
		t.Errorf("the last customer is %d, %s, error %v", last.ID, last.Reference, err)
	}
}

func TestRefusalsAreCountedBeyondTheList(t *testing.T) {
	t.Parallel()
	c, _ := open(t)
	result := importCSV(t, c, "customer_reference,email,password\n"+strings.Repeat("DE--1,a@b.com,plain\n", 1700), false)
	if result.Refused != 1700 || len(result.Refusals) != 1000 || result.Refusals[999].Line != 1001 {
		t.Errorf("%d refused, %d listed", result.Refused, len(result.Refusals))
	}
}

func TestABrokenReaderEndsTheImportButKeepsWhatCameBefore(t *testing.T) {
	t.Parallel()
	c, _ := open(t)
	gone := errors.New("the disk is gone")
	in := strings.NewReader("customer_reference,email,password\nDE--1,a@b.com,\n")
	rows, err := sqlstore.ReadCSV(io.MultiReader(in, iotest.ErrReader(gone)))
	if err != nil {
		t.Fatal(err)
	}
	result, err := c.Import(t.Context(), rows, false)
	if !errors.Is(err, gone) || result.Added != 1 {
		t.Errorf("%+v, error %v", result, err)
	}
	if count, err := c.Count(t.Context()); err != nil || count != 1 {
		t.Errorf("%d customers, error %v, want 1", count, err)
	}
}

func TestAnImportThatIsStoppedCanBeRepeated(t *testing.T) {
	t.Parallel()
	c, _ := open(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	const count = 1000
	rows := func(yield func(sqlstore.Row, error) bool) {
		for row, err := range people(count) {
			if row.Line == 650 {
				cancel()
			}
			if !yield(row, err) {
				return
			}
		}
	}
	stopped, err := c.Import(ctx, rows, false)
	if !errors.Is(err, store.ErrUnavailable) || !errors.Is(err, context.Canceled) || stopped.Added == 0 || stopped.Added > 650 {
		t.Errorf("%+v, error %v", stopped, err)
	}
	if n, err := c.Count(t.Context()); err != nil || n != stopped.Added {
		t.Errorf("%d customers, error %v, want the %d that the result says", n, err, stopped.Added)
	}
	again, err := c.Import(t.Context(), people(count), false)
	if diff := cmp.Diff(sqlstore.ImportResult{Added: count - stopped.Added, Unchanged: stopped.Added}, again); err != nil || diff != "" {
		t.Errorf("again: %v\n%s", err, diff)
	}
}

func TestAnImportLetsAnotherProcessWrite(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "glueauth.db")
	c := sqlstore.New(openFile(t, path), time.Now, rand.Reader)
	beside := sqlstore.New(openFile(t, path), time.Now, rand.Reader)
	done := make(chan error, 1)
	const count = 1000
	go func() {
		_, err := c.Import(t.Context(), people(count), false)
		done <- err
	}()
	// A server gathers what it writes for ten milliseconds.
	for tick, written := time.Tick(10*time.Millisecond), 0; ; {
		select {
		case <-tick:
			if _, err := beside.Add(t.Context(), person(count+written)); err != nil { // by two seconds without the lock
				t.Errorf("write %d beside the import: %v", written, err)
			}
			written++
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			if n, err := c.Count(t.Context()); err != nil || n != count+written || written == 0 {
				t.Errorf("%d customers, %d written beside, error %v", n, written, err)
			}
			return
		}
	}
}
