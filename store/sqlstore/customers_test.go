package sqlstore_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/store"
	"github.com/glueauth/glueauth/store/sqlitefile"
	"github.com/glueauth/glueauth/store/sqlstore"
)

const (
	bcryptA = "$2y$10$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234"
	bcryptB = "$2b$12$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01235"
	argon   = "$argon2id$v=19$m=65536,t=4,p=1$YWJjZGVmZ2hpamtsbW5vcA$YWJjZGVmZ2hpamtsbW5vcGFiY2RlZmdoaWprbG1ub3A"
)

// noon is what the clock of these tests says.
func noon() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

func openFile(tb testing.TB, path string) *sqlitefile.File {
	tb.Helper()
	f, err := sqlitefile.Open(context.Background(), path, sqlitefile.Options{Create: true})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := f.Close(); err != nil {
			tb.Error(err)
		}
	})
	return f
}

// open returns the customers of a new database, none, and the database itself.
func open(tb testing.TB) (*sqlstore.Customers, *sqlitefile.File) {
	tb.Helper()
	f := openFile(tb, filepath.Join(tb.TempDir(), "glueauth.db"))
	return sqlstore.New(f, noon, rand.NewChaCha8([32]byte{})), f
}

func sonia() sqlstore.NewCustomer {
	return sqlstore.NewCustomer{Reference: "DE--21", Email: "Sonia@spryker.com", PasswordHash: bcryptA, Confirmed: true}
}

// person returns the n-th of many customers who differ.
func person(n int) sqlstore.NewCustomer {
	return sqlstore.NewCustomer{Reference: fmt.Sprintf("DE--%d", n), Email: fmt.Sprintf("p%d@example.com", n), PasswordHash: bcryptA, Confirmed: true}
}

func add(t *testing.T, c *sqlstore.Customers, n sqlstore.NewCustomer) int64 {
	t.Helper()
	id, err := c.Add(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestACustomerIsFoundAsAdded(t *testing.T) {
	t.Parallel()
	const uuid = "00000000-0000-4000-8000-000000000000" // of a random source that yields zeros
	for name, tc := range map[string]struct {
		add  sqlstore.NewCustomer
		want store.Customer
	}{
		"id by the database": {
			sonia(),
			store.Customer{ID: 1, Reference: "DE--21", Email: "Sonia@spryker.com", UUID: uuid, PasswordHash: bcryptA, Confirmed: true},
		},
		"id of the shop": {
			sqlstore.NewCustomer{ID: 1<<31 - 1, Reference: "x", Email: "x@y", PasswordHash: argon, Confirmed: true, Registered: noon()},
			store.Customer{ID: 1<<31 - 1, Reference: "x", Email: "x@y", UUID: uuid, PasswordHash: argon, Confirmed: true},
		},
		"unconfirmed, without password": {
			sqlstore.NewCustomer{ID: 7, Reference: "x", Email: "x@y", Registered: noon()},
			store.Customer{ID: 7, Reference: "x", Email: "x@y", UUID: uuid},
		},
		"hostile text": {
			sqlstore.NewCustomer{Reference: `'; DROP TABLE customers; --`, Email: `"a'b?1:x\%_"@[]`, Confirmed: true},
			store.Customer{ID: 1, Reference: `'; DROP TABLE customers; --`, Email: `"a'b?1:x\%_"@[]`, UUID: uuid, Confirmed: true},
		},
		"longest text": {
			sqlstore.NewCustomer{Reference: strings.Repeat("ü", 255), Email: "@" + strings.Repeat("漢", 254)},
			store.Customer{ID: 1, Reference: strings.Repeat("ü", 255), Email: "@" + strings.Repeat("漢", 254), UUID: uuid},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := openFile(t, filepath.Join(t.TempDir(), "glueauth.db"))
			c := sqlstore.New(f, noon, zeros{})
			if id := add(t, c, tc.add); id != tc.want.ID {
				t.Errorf("Add says id %d, want %d", id, tc.want.ID)
			}
			byEmail, err := c.ByEmail(t.Context(), tc.add.Email)
			if diff := cmp.Diff(tc.want, byEmail, plain()); err != nil || diff != "" {
				t.Errorf("ByEmail: %v\n%s", err, diff)
			}
			byReference, err := c.ByReference(t.Context(), tc.add.Reference)
			if diff := cmp.Diff(tc.want, byReference, plain()); err != nil || diff != "" {
				t.Errorf("ByReference: %v\n%s", err, diff)
			}
			byID, err := c.ByID(t.Context(), tc.want.ID)
			if diff := cmp.Diff(tc.want, byID, plain()); err != nil || diff != "" {
				t.Errorf("ByID: %v\n%s", err, diff)
			}
		})
	}
}

// plain compares secrets as what they are.
func plain() cmp.Option {
	return cmp.Transformer("reveal", func(s secret.Text) string { return s.Reveal() })
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestEmailIsFoundWithoutRegardToCaseAndNothingElse(t *testing.T) {
	t.Parallel()
	c, _ := open(t)
	ids := map[string]int64{}
	for i, email := range []string{
		"sonia@spryker.com", "son\u0131a@spryker.com", "SON\u0130A@spryker.com", "\u017fonia@spryker.com",
		"Straße@example.com", "strasse@example.com", "Ünal.Çelik@example.com", "ΟΔΥΣΣΕΥΣ@example.com", " space@example.com",
	} {
		ids[email] = add(t, c, sqlstore.NewCustomer{Reference: fmt.Sprint(i), Email: email})
	}
	for typed, stored := range map[string]string{
		"sonia@spryker.com":                   "sonia@spryker.com",
		"SONIA@SPRYKER.COM":                   "sonia@spryker.com",
		"SoNiA@sPrYkEr.CoM":                   "sonia@spryker.com",
		"SON\u0131A@spryker.com":              "son\u0131a@spryker.com",
		"son\u0130a@spryker.com":              "SON\u0130A@spryker.com",
		"\u017fONIA@spryker.com":              "\u017fonia@spryker.com",
		"STRAßE@EXAMPLE.COM":                  "Straße@example.com",
		"STRASSE@EXAMPLE.COM":                 "strasse@example.com",
		"üNAL.çELIK@example.com":              "Ünal.Çelik@example.com",
		"οδυσσευς@example.com":                "ΟΔΥΣΣΕΥΣ@example.com",
		" SPACE@example.com":                  " space@example.com",
		"space@example.com":                   "",
		"sonia@spryker.com ":                  "",
		" sonia@spryker.com":                  "",
		"sonia@spryker.com\x00":               "",
		"sonia@spryker.com\x00' OR ''='":      "",
		"sonia@spryker.co_":                   "",
		"sonia@%":                             "",
		"' OR 1=1 --":                         "",
		"?":                                   "",
		"u\u0308nal.çelik@example.com":        "", // decomposed
		"\uff53onia@spryker.com":              "", // full width
		"sonia@spryker.com\xff":               "",
		"\xff":                                "",
		"":                                    "",
		strings.Repeat("a", 1<<20) + "@b.com": "",
	} {
		got, err := c.ByEmail(t.Context(), typed)
		switch {
		case stored == "" && (!errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrUnavailable)):
			t.Errorf("%.40q found customer %d, error %v; want not found", typed, got.ID, err)
		case stored != "" && (err != nil || got.ID != ids[stored]):
			t.Errorf("%q found customer %d, error %v; want %d", typed, got.ID, err, ids[stored])
		}
	}
}

func TestNoLetterChangesIntoAnotherCustomersAddress(t *testing.T) {
	t.Parallel()
	c, _ := open(t)
	add(t, c, sqlstore.NewCustomer{Reference: "1", Email: "\u212Aelvin@example.com"}) // the Kelvin sign, whose lower case is k
	for _, email := range []string{"kelvin@example.com", "KELVIN@example.com"} {
		if _, err := c.ByEmail(t.Context(), email); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s: %v, want not found", email, err)
		}
	}
}

func TestReferenceIsFoundAsItIsWritten(t *testing.T) {
	t.Parallel()
	c, _ := open(t)
	add(t, c, sonia())
	for _, reference := range []string{"", "de--21", "DE--21 ", "DE--2", "DE--%", "DE--21\x00", "\xff", "' OR 1=1 --", "sonia@spryker.com"} {
		if _, err := c.ByReference(t.Context(), reference); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%q: %v, want not found", reference, err)
		}
	}
}

func TestUnknownIDs(t *testing.T) {
	t.Parallel()
	c, _ := open(t)
	add(t, c, sonia())
	for _, id := range []int64{-1 << 63, -1, 0, 2, 1<<63 - 1} {
		if _, err := c.ByID(t.Context(), id); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%d: %v, want not found", id, err)
		}
	}
}

func TestSampleHashes(t *testing.T) {
	t.Parallel()
	c, _ := open(t)
	for i, hash := range []secret.Text{bcryptA, "", argon, "", bcryptB, ""} {
		n := person(i)
		n.PasswordHash = hash
		add(t, c, n)
	}
	for n, want := range map[int][]secret.Text{-1: nil, 0: nil, 1: {bcryptB}, 2: {bcryptB, bcryptA}, 9: {bcryptB, argon, bcryptA}} {
		got, err := c.SampleHashes(t.Context(), n)
		if diff := cmp.Diff(want, got, plain()); err != nil || diff != "" {
			t.Errorf("%d: %v\n%s", n, err, diff)
		}
	}
}

func TestASampleHasOldHashesToo(t *testing.T) {
	t.Parallel()
	c, _ := open(t)
	for i := range 60 {
		n := person(i)
		n.PasswordHash = []secret.Text{bcryptA, argon, bcryptB}[i/20]
		add(t, c, n)
	}
	got, err := c.SampleHashes(t.Context(), 32)
	times := map[secret.Text]int{}
	for _, hash := range got {
		times[hash]++
	}
	if err != nil || len(got) > 32 || times[bcryptA] < 6 || times[argon] < 6 || times[bcryptB] < 16 {
		t.Errorf("%d hashes, of each time %d, %d, %d, error %v", len(got), times[bcryptA], times[argon], times[bcryptB], err)
	}
}

func TestListHasEverybodyInOrder(t *testing.T) {
	t.Parallel()
	for _, count := range []int{0, 1, 500, 501} {
		t.Run(fmt.Sprint(count), func(t *testing.T) {
			t.Parallel()
			c, _ := open(t)
			importPeople(t, c, count)
			next := int64(1)
			for customer, err := range c.List(t.Context()) {
				if err != nil || customer.ID != next || customer.PasswordHash == "" {
					t.Fatalf("customer %d, error %v; want %d", customer.ID, err, next)
				}
				next++
			}
			if n, err := c.Count(t.Context()); err != nil || n != count || next != int64(count)+1 {
				t.Errorf("counted %d, listed %d, error %v; want %d", n, next-1, err, count)
			}
		})
	}
}

func TestListEndsWhenItsReaderDoes(t *testing.T) {
	t.Parallel()
	c, f := open(t)
	importPeople(t, c, 600)
	for _, err := range c.List(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		break
	}
	if used := f.Read.Stats().InUse; used != 0 {
		t.Errorf("%d connections still in use", used)
	}
}

func TestAFailingDatabaseIsNoVerdict(t *testing.T) {
	t.Parallel()
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for name, tc := range map[string]struct {
		ctx    context.Context //nolint:containedctx // a table of contexts
		damage func(*sqlitefile.File) error
	}{
		"closed":           {t.Context(), func(f *sqlitefile.File) error { return f.Close() }},
		"context is over":  {canceled, func(*sqlitefile.File) error { return nil }},
		"table is missing": {t.Context(), func(f *sqlitefile.File) error { _, err := f.Write.Exec("DROP TABLE customers"); return err }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, f := open(t)
			add(t, c, sonia())
			if err := tc.damage(f); err != nil {
				t.Fatal(err)
			}
			for call, err := range everyCall(tc.ctx, c) {
				if !errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrNotFound) || errors.Is(err, sqlstore.ErrRefused) {
					t.Errorf("%s: %v, want unavailable", call, err)
				}
			}
		})
	}
}

func everyCall(ctx context.Context, c *sqlstore.Customers) map[string]error {
	errs := map[string]error{"Ping": c.Ping(ctx), "SetBlocked": c.SetBlocked(ctx, "DE--21", true)}
	_, errs["ByEmail"] = c.ByEmail(ctx, "sonia@spryker.com")
	_, errs["ByEmail of nobody"] = c.ByEmail(ctx, "nobody")
	_, errs["ByID"] = c.ByID(ctx, 1)
	_, errs["ByReference"] = c.ByReference(ctx, "DE--21")
	_, errs["SampleHashes"] = c.SampleHashes(ctx, 1)
	_, errs["Count"] = c.Count(ctx)
	_, errs["Add"] = c.Add(ctx, person(1))
	_, errs["Import"] = c.Import(ctx, people(1), false)
	_, errs["Import, dry"] = c.Import(ctx, people(1), true)
	for _, err := range c.List(ctx) {
		errs["List"] = err
	}
	return errs
}

func TestPingOfAGoodDatabase(t *testing.T) {
	t.Parallel()
	c, _ := open(t)
	if err := c.Ping(t.Context()); err != nil {
		t.Error(err)
	}
}
