package sqlstore_test

import (
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/glueauth/glueauth/store/sqlstore"
)

func readCSV(t *testing.T, text string) []sqlstore.Row {
	t.Helper()
	rows, err := sqlstore.ReadCSV(iotest.OneByteReader(strings.NewReader(text)))
	if err != nil {
		t.Fatal(err)
	}
	var all []sqlstore.Row
	for row, err := range rows {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, row)
	}
	return all
}

func TestReadCSV(t *testing.T) {
	t.Parallel()
	day := func(y, m, d int) time.Time { return time.Date(y, time.Month(m), d, 0, 0, 0, 0, time.UTC) }
	x := sqlstore.NewCustomer{Reference: "r", Email: "e", PasswordHash: "p", Confirmed: true}
	with := func(change func(*sqlstore.NewCustomer)) sqlstore.NewCustomer {
		n := x
		change(&n)
		return n
	}
	for name, tc := range map[string]struct {
		text string
		want []sqlstore.Row
	}{
		"header only":             {"customer_reference,email,password", nil},
		"no line end":             {"customer_reference,email,password\nr,e,p", []sqlstore.Row{{Line: 2, Customer: x}}},
		"CRLF":                    {"customer_reference,email,password\r\nr,e,p\r\n", []sqlstore.Row{{Line: 2, Customer: x}}},
		"byte order mark":         {"\uFEFFcustomer_reference,email,password\nr,e,p\n", []sqlstore.Row{{Line: 2, Customer: x}}},
		"mark and quoted header":  {"\uFEFF\"customer_reference\",\"email\",\"password\"\nr,e,p\n", []sqlstore.Row{{Line: 2, Customer: x}}},
		"any order, more columns": {"a,password,b,email,c,customer_reference\n1,p,2,e,3,r\n", []sqlstore.Row{{Line: 2, Customer: x}}},
		"empty lines":             {"\ncustomer_reference,email,password\n\nr,e,p\n\n", []sqlstore.Row{{Line: 4, Customer: x}}},
		"quoted line end":         {"customer_reference,email,password,x\nr,e,p,\"a\r\nb\"\nr,e,p,\n", []sqlstore.Row{{Line: 2, Customer: x}, {Line: 4, Customer: x}}},
		"quotes and commas":       {"customer_reference,email,password\n\"r\"\"1,2\",e,p\n", []sqlstore.Row{{Line: 2, Customer: with(func(n *sqlstore.NewCustomer) { n.Reference = `r"1,2` })}}},
		"nothing is trimmed":      {"customer_reference,email,password\n r ,e,p\n", []sqlstore.Row{{Line: 2, Customer: with(func(n *sqlstore.NewCustomer) { n.Reference = " r " })}}},
		"an id":                   {"id_customer,customer_reference,email,password\n21,r,e,p\n", []sqlstore.Row{{Line: 2, Customer: with(func(n *sqlstore.NewCustomer) { n.ID = 21 })}}},
		"dates": {
			"registered,customer_reference,email,password\n2020-02-29,r,e,p\n2020-02-29 23:59:59,r,e,p\n2020-02-29 00:00:00.000000,r,e,p\n,r,e,p\n",
			[]sqlstore.Row{
				{Line: 2, Customer: with(func(n *sqlstore.NewCustomer) { n.Registered = day(2020, 2, 29) })},
				{Line: 3, Customer: with(func(n *sqlstore.NewCustomer) { n.Registered = day(2020, 3, 1).Add(-time.Second) })},
				{Line: 4, Customer: with(func(n *sqlstore.NewCustomer) { n.Registered = day(2020, 2, 29) })},
				{Line: 5, Customer: with(func(n *sqlstore.NewCustomer) { n.Confirmed = false })},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tc.want, readCSV(t, tc.text), plain()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAHeaderThatLacksAColumnSaysWhich(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ text, want string }{
		"empty file":        {"", "the file is empty: its first line must name the columns customer_reference, email, password"},
		"only a mark":       {"\uFEFF", "the file is empty"},
		"only line ends":    {"\n\r\n\n", "the file is empty"},
		"one is missing":    {"customer_reference,e-mail,password\n", `column "email" is missing among ["customer_reference" "e-mail" "password"]: rename or add it`},
		"two are missing":   {"Customer-Reference,email,passwort\n", `column "customer_reference" and "password" is missing among ["Customer-Reference" "email" "passwort"]`},
		"other case":        {"customer_reference,Email,password\n", `missing among ["customer_reference" "Email" "password"]`},
		"one twice":         {"customer_reference,email,password,email\n", `column "email" is there twice: remove one`},
		"optional twice":    {"id_customer,customer_reference,email,password,id_customer\n", `column "id_customer" is there twice`},
		"semicolons":        {"customer_reference;email;password\n", "names none of the columns customer_reference, email, password: add the line, and separate columns by commas"},
		"no header":         {"DE--21,a@b.com,passw0rd\n", "names none of the columns"},
		"UTF-16":            {"\xff\xfec\x00u\x00", "the file is UTF-16: save it as UTF-8"},
		"UTF-16, big":       {"\xfe\xff\x00c\x00u", "the file is UTF-16"},
		"broken quotes":     {"customer_reference,\"email\n", "read CSV header: "},
		"a single long row": {strings.Repeat("x", 2<<20), "longer than 1 MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := sqlstore.ReadCSV(strings.NewReader(tc.text))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %s", err, tc.want)
			}
			if err != nil && (strings.Contains(err.Error(), "passw0rd") || len(err.Error()) > 400) {
				t.Errorf("the error shows too much of the file: %.500v", err)
			}
		})
	}
}

func TestAQuoteThatIsNotClosed(t *testing.T) {
	t.Parallel()
	const start = "customer_reference,email,password\n\"r,e,p\n"
	rows := readCSV(t, start+strings.Repeat("r,e,p\n", 10))
	if len(rows) != 1 || rows[0].Line != 2 || !strings.Contains(rows[0].Refused, "lines 2 to 12 were taken for one row") {
		t.Errorf("%+v", rows)
	}
	long, err := sqlstore.ReadCSV(strings.NewReader(start + strings.Repeat("r,e,p\n", 1<<20)))
	if err != nil {
		t.Fatal(err)
	}
	var last error
	for row, err := range long {
		if last != nil || err == nil {
			t.Fatalf("%+v, error %v, want one error and the end", row, err)
		}
		last = err
	}
	if last == nil || !strings.Contains(last.Error(), "longer than 1 MiB") {
		t.Errorf("got %v, want an error about a long row", last)
	}
}

func TestLongFilesAreNotLongRows(t *testing.T) {
	t.Parallel()
	rows := readCSV(t, "customer_reference,email,password\n"+strings.Repeat(strings.Repeat("r", 99_990)+",e,p\n", 12))
	if len(rows) != 12 {
		t.Errorf("%d rows, want 12", len(rows))
	}
}
