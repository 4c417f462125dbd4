package sqlstore_test

import (
	"context"
	"encoding/csv"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/glueauth/glueauth/store"
	"github.com/glueauth/glueauth/store/sqlstore"
)

// FuzzReadCSV holds that no file breaks the reader or the check of what it read, that lines only go forward, that no
// refusal shows a password, and that what was read says the same when it is written and read again.
func FuzzReadCSV(f *testing.F) {
	f.Add(demoShop)
	f.Add("customer_reference,email,password\nDE--1,a@b.com,change123\nDE--1,a@b.com,\"" + argon + "\"\n")
	f.Add("customer_reference,email,password\r\n\"DE\r\n--1\",\"a\"\"@b.com\",\n\"")
	f.Add("id_customer,customer_reference,email,password,registered\n0,,,,x\n1,a,b@c,$2y$,0001-01-01\n2,a,b@c,,2020-01-01T00:00:00+23:59\n")
	f.Add("password,email,customer_reference,email\n")
	f.Add("\xff\xfe")
	c, _ := open(f)
	over, cancel := context.WithCancel(f.Context())
	cancel() // so that Add checks its customer and then finds no database
	f.Fuzz(func(t *testing.T, text string) {
		rows, err := sqlstore.ReadCSV(strings.NewReader(text))
		if err != nil {
			return
		}
		var whole []sqlstore.NewCustomer
		line := 1
		for row, err := range rows {
			if err != nil { // a row that is too long
				break
			}
			if row.Line <= line {
				t.Fatalf("line %d after line %d", row.Line, line)
			}
			line = row.Line
			_, err := c.Add(over, row.Customer)
			if !errors.Is(err, sqlstore.ErrRefused) && !errors.Is(err, store.ErrUnavailable) {
				t.Fatalf("line %d: %v", line, err)
			}
			// A short password may be a word of the reason.
			if p := row.Customer.PasswordHash.Reveal(); len(p) > 24 && strings.Contains(err.Error()+row.Refused, p) {
				t.Fatalf("line %d: the reason shows a password: %v %s", line, err, row.Refused)
			}
			if row.Refused == "" {
				whole = append(whole, row.Customer)
			}
		}
		checkAgain(t, whole)
	})
}

// checkAgain writes all columns, so it leaves out customers whose file had not all of them, and those with a line end,
// for reading makes every CRLF a LF.
func checkAgain(t *testing.T, customers []sqlstore.NewCustomer) {
	t.Helper()
	records := [][]string{{"id_customer", "customer_reference", "email", "password", "registered"}}
	var want []sqlstore.NewCustomer
	for _, n := range customers {
		if n.ID <= 0 || n.Confirmed && n.Registered.IsZero() || strings.Contains(n.Reference+n.Email+n.PasswordHash.Reveal(), "\r") {
			continue
		}
		n.Registered = n.Registered.Truncate(time.Second)
		want = append(want, n)
		registered := ""
		if n.Confirmed {
			registered = n.Registered.Format(time.RFC3339)
		}
		records = append(records, []string{strconv.FormatInt(n.ID, 10), n.Reference, n.Email, n.PasswordHash.Reveal(), registered})
	}
	var text strings.Builder
	if err := csv.NewWriter(&text).WriteAll(records); err != nil {
		t.Fatal(err)
	}
	var got []sqlstore.NewCustomer
	for _, row := range readCSV(t, text.String()) {
		if row.Refused != "" {
			t.Fatalf("line %d: %s", row.Line, row.Refused)
		}
		got = append(got, row.Customer)
	}
	if diff := cmp.Diff(want, got, plain()); diff != "" {
		t.Fatal(diff)
	}
}
