package sqlstore_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/store"
	"github.com/glueauth/glueauth/store/sqlstore"
)

func TestAddRefuses(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(*sqlstore.NewCustomer)
		want   string
	}{
		"the same id":             {func(n *sqlstore.NewCustomer) { n.ID = 1 }, "customer 1 has the same id_customer with another customer_reference, email"},
		"the same reference":      {func(n *sqlstore.NewCustomer) { n.Reference = "DE--21" }, "customer 1 has the same customer_reference with another email"},
		"the same e-mail":         {func(n *sqlstore.NewCustomer) { n.Email = "Sonia@spryker.com" }, "customer 1 has the same email with another customer_reference"},
		"an e-mail in other case": {func(n *sqlstore.NewCustomer) { n.Email = "SONIA@spryker.com" }, "customer 1 has the same email with another customer_reference, email"},
		"everything the same":     {func(n *sqlstore.NewCustomer) { *n = sonia() }, "customer 1 has the same customer_reference, email: adding never"},
		"a negative id":           {func(n *sqlstore.NewCustomer) { n.ID = -1 }, "id_customer must be a whole number"},
		"an id the shop lacks":    {func(n *sqlstore.NewCustomer) { n.ID = 1 << 31 }, "id_customer must be a whole number"},
		"no reference":            {func(n *sqlstore.NewCustomer) { n.Reference = "" }, "customer_reference is empty"},
		"no e-mail":               {func(n *sqlstore.NewCustomer) { n.Email = "" }, "email is empty"},
		"no @":                    {func(n *sqlstore.NewCustomer) { n.Email = "x" }, "email has no @"},
		"a long reference":        {func(n *sqlstore.NewCustomer) { n.Reference = strings.Repeat("ü", 256) }, "customer_reference is longer"},
		"a NUL":                   {func(n *sqlstore.NewCustomer) { n.Email = "a\x00@b" }, "email holds a control character"},
		"a line end":              {func(n *sqlstore.NewCustomer) { n.Reference = "a\nb" }, "customer_reference holds a control character"},
		"Latin-1":                 {func(n *sqlstore.NewCustomer) { n.Email = "\xfcnal@b" }, "email is not UTF-8"},
		"a plain password":        {func(n *sqlstore.NewCustomer) { n.PasswordHash = "change123" }, "password is not a hash"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, _ := open(t)
			add(t, c, sonia())
			n := person(2)
			tc.change(&n)
			_, err := c.Add(t.Context(), n)
			if !errors.Is(err, sqlstore.ErrRefused) || errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want refused: %s", err, tc.want)
			}
			if hash := n.PasswordHash.Reveal(); strings.Contains(fmt.Sprint(err), hash) {
				t.Errorf("the error shows the password: %v", err)
			}
			if count, err := c.Count(t.Context()); err != nil || count != 1 {
				t.Errorf("%d customers, error %v, want still 1", count, err)
			}
		})
	}
}

func TestHashesThatCanMatchAreKnown(t *testing.T) {
	t.Parallel()
	c, _ := open(t)
	cost := func(text string) string { return strings.Replace(argon, "m=65536,t=4,p=1", text, 1) }
	for i, tc := range []struct {
		hash string
		good bool
	}{
		{"", true},
		{bcryptA, true},
		{bcryptB, true},
		{"$2a$04$" + strings.Repeat("./", 26) + "9", true},
		{"$2y$16" + bcryptA[6:], true},
		{argon, true},
		{strings.Replace(argon, "argon2id", "argon2i", 1), true},
		{cost("m=1048576,t=64,p=255"), true},
		{"$2x$10" + bcryptA[6:], false},
		{"$2y$03" + bcryptA[6:], false},
		{"$2y$17" + bcryptA[6:], false},
		{"$2y$1x" + bcryptA[6:], false},
		{"$2y$10." + bcryptA[7:], false},
		{bcryptA + "a", false},
		{bcryptA[:59], false},
		{bcryptA[:59] + "+", false},
		{" " + bcryptA, false},
		{bcryptA + "\n", false},
		{strings.Replace(argon, "argon2id", "argon2d", 1), false},
		{strings.Replace(argon, "v=19", "v=16", 1), false},
		{cost("m=1048577,t=4,p=1"), false},
		{cost("m=65536,t=65,p=1"), false},
		{cost("m=65536,t=0,p=1"), false},
		{cost("m=65536,t=4,p=256"), false},
		{cost("m=65536,t=4"), false},
		{cost("t=4,m=65536,p=1"), false},
		{cost("m=+5,t=4,p=1"), false},
		{argon[:len(argon)-30], false},
		{argon + "=", false},
		{argon + "$", false},
		{argon + "\n", false},
		{"$argon2id", false},
		{"x" + argon, false},
		{"$5$rounds=5000$abc$def", false},
		{"$", false},
		{"NULL", false},
		{"5f4dcc3b5aa765d61d8327deb882cf99", false},
		{"change123", false},
	} {
		n := person(i)
		n.PasswordHash = secret.Text(tc.hash)
		_, err := c.Add(t.Context(), n)
		if tc.good && err != nil || !tc.good && !errors.Is(err, sqlstore.ErrRefused) {
			t.Errorf("%s: %v, want good: %t", tc.hash, err, tc.good)
		}
	}
}

func TestIDsAreNeverReused(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "glueauth.db")
	f := openFile(t, path)
	c := sqlstore.New(f, noon, zeros{})
	n := person(1)
	n.ID = 41
	add(t, c, n)
	if _, err := f.Write.ExecContext(t.Context(), "DELETE FROM customers"); err != nil {
		t.Fatal(err)
	}
	again := sqlstore.New(openFile(t, path), noon, zeros{})
	if id := add(t, again, person(1)); id != 42 {
		t.Errorf("the next customer has id %d, want 42", id)
	}
}

func TestUUIDsAreRandomVersion4(t *testing.T) {
	t.Parallel()
	c, _ := open(t)
	form := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	seen := map[string]bool{}
	for i := range 50 {
		customer, err := c.ByID(t.Context(), add(t, c, person(i)))
		if err != nil || !form.MatchString(customer.UUID) || seen[customer.UUID] {
			t.Fatalf("uuid %q, error %v", customer.UUID, err)
		}
		seen[customer.UUID] = true
	}
}

func TestWithoutRandomnessNobodyIsAdded(t *testing.T) {
	t.Parallel()
	f := openFile(t, filepath.Join(t.TempDir(), "glueauth.db"))
	c := sqlstore.New(f, noon, strings.NewReader("short"))
	if _, err := c.Add(t.Context(), sonia()); err == nil || errors.Is(err, sqlstore.ErrRefused) {
		t.Errorf("got %v, want an error that is no refusal", err)
	}
	if count, err := c.Count(t.Context()); err != nil || count != 0 {
		t.Errorf("%d customers, error %v, want none", count, err)
	}
	repeats := sqlstore.New(f, noon, zeros{})
	add(t, repeats, person(1))
	if _, err := repeats.Add(t.Context(), person(2)); err == nil || errors.Is(err, sqlstore.ErrRefused) {
		t.Errorf("a repeated uuid: %v, want an error that is no refusal", err)
	}
}

func TestBlocking(t *testing.T) {
	t.Parallel()
	f := openFile(t, filepath.Join(t.TempDir(), "glueauth.db"))
	now := noon()
	c := sqlstore.New(f, func() time.Time { return now }, zeros{})
	id := add(t, c, sonia())
	for _, step := range []struct {
		name  string
		block bool
		since int64 // 0: not blocked
	}{
		{"SONIA@spryker.COM", true, 0}, {"DE--21", true, 0}, {"DE--21", false, 0}, {"sonia@spryker.com", false, 0}, {"DE--21", true, 3},
	} {
		now = now.Add(time.Hour)
		if err := c.SetBlocked(t.Context(), step.name, step.block); err != nil {
			t.Fatal(err)
		}
		if customer, err := c.ByID(t.Context(), id); err != nil || customer.Blocked != step.block {
			t.Errorf("%v: blocked %t, error %v", step, customer.Blocked, err)
		}
	}
	var since int64
	if err := f.Read.QueryRowContext(t.Context(), "SELECT blocked_at FROM customers").Scan(&since); err != nil || since != now.Unix() {
		t.Errorf("blocked since %d, error %v, want %d", since, err, now.Unix())
	}
	now = now.Add(time.Hour)
	if err := c.SetBlocked(t.Context(), "DE--21", true); err != nil {
		t.Fatal(err)
	}
	if err := f.Read.QueryRowContext(t.Context(), "SELECT blocked_at FROM customers").Scan(&since); err != nil || since != now.Add(-time.Hour).Unix() {
		t.Errorf("blocking again moved the time to %d, error %v", since, err)
	}
}

func TestBlockingNobodyOrTwo(t *testing.T) {
	t.Parallel()
	c, _ := open(t)
	add(t, c, sonia())
	confusing := person(2)
	confusing.Reference = "sonia@spryker.com"
	add(t, c, confusing)
	for name, want := range map[string]error{
		"de--21": store.ErrNotFound, "": store.ErrNotFound, "%": store.ErrNotFound, "sonia@spryker.com ": store.ErrNotFound,
		"sonia@spryker.com": sqlstore.ErrRefused,
	} {
		if err := c.SetBlocked(t.Context(), name, true); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", name, err, want)
		}
	}
	for customer, err := range c.List(t.Context()) {
		if err != nil || customer.Blocked {
			t.Errorf("customer %d: blocked %t, error %v", customer.ID, customer.Blocked, err)
		}
	}
}

func TestABusyDatabase(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "glueauth.db")
	c := sqlstore.New(openFile(t, path), noon, zeros{})
	tx, err := openFile(t, path).Write.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.ByEmail(t.Context(), "x"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("reading beside a writer: %v, want not found", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := c.Add(ctx, sonia()); !errors.Is(err, store.ErrUnavailable) || ctx.Err() != nil {
		t.Errorf("writing beside a writer: %v (%v), want unavailable", err, ctx.Err())
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	add(t, c, sonia())
}

func TestADeadlineEndsTheWaitForAConnection(t *testing.T) {
	t.Parallel()
	c, f := open(t)
	for range f.Read.Stats().MaxOpenConnections {
		conn, err := f.Read.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close() //nolint:errcheck // it was only there to be in the way
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := c.ByID(ctx, 1); !errors.Is(err, store.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want unavailable by the deadline", err)
	}
}
