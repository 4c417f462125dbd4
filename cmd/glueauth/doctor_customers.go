package main

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"time"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/server"
	"github.com/glueauth/glueauth/store"
	"github.com/glueauth/glueauth/store/sqlitefile"
	"github.com/glueauth/glueauth/store/sqlstore"
)

const (
	customersCheck = "customers"

	sampleSize     = 1000
	brokenUnknowns = 5 // percent of the sample that nobody can sign in with
)

func (d *doctor) checkCustomers(ctx context.Context) []finding {
	if d.cfg.Customers.Source == customersInFile {
		d.asksNobody = true
		return d.checkCustomerFile(ctx)
	}
	return d.checkShop(ctx)
}

func (d *doctor) checkCustomerFile(ctx context.Context) []finding {
	const remedy = "put customers in with glueauth customers import, or name the shop's database in customers.url"
	path := d.cfg.Customers.File
	if toBeMade(d.cfg, path) {
		return []finding{risky(customersCheck, remedy, "the first start makes %s, without any", path)}
	}
	file, err := sqlitefile.Open(ctx, path, sqlitefile.Options{Look: true})
	if err != nil {
		return []finding{failed(customersCheck, err)}
	}
	defer file.Close() //nolint:errcheck // it was only read
	customers := sqlstore.New(file, time.Now, rand.Reader)
	switch n, err := customers.Count(ctx); {
	case err != nil:
		return []finding{failed(customersCheck, err)}
	case n == 0:
		return []finding{risky(customersCheck, remedy, "there are none in %s", path)}
	default:
		return append([]finding{fine(customersCheck, "%d in %s", n, path)}, d.checkPasswords(ctx, customers)...)
	}
}

// checkShop looks at the shop's database as the start does.
func (d *doctor) checkShop(ctx context.Context) []finding {
	shop, err := sqlstore.OpenShop(ctx, sqlstore.ShopOptions{URL: d.cfg.Customers.URL, Query: d.cfg.Customers.Query})
	if err != nil {
		return []finding{shopFailed(err)}
	}
	defer shop.Close()
	d.asksNobody = !shop.KeepsTokens()
	found := []finding{fine(customersCheck, "the shop's database lets them be looked up")}
	for _, f := range shop.Findings() {
		if f.Remedy == "" {
			found = append(found, fine(customersCheck, "%s", f.What))
		} else {
			found = append(found, risky(customersCheck, f.Remedy, "%s", f.What))
		}
	}
	skew, err := shop.Skew(ctx, time.Now)
	found = append(found, clock("clock of the database", skew, err))
	return append(found, d.checkPasswords(ctx, shop)...)
}

// shopFailed makes a finding of why a shop's database cannot be used: the remedy, if there is one, stands before the cause.
func shopFailed(err error) finding {
	if errors.Is(err, store.ErrUnavailable) {
		return broken(customersCheck, "look into the log of the database", "%s", err)
	}
	text, cause := err.Error(), ""
	if inner := errors.Unwrap(err); inner != nil {
		if before, ok := strings.CutSuffix(text, ": "+inner.Error()); ok {
			text, cause = before, " ("+inner.Error()+")"
		}
	}
	seen, remedy := halves(text)
	return broken(customersCheck, remedy, "%s%s", seen, cause)
}

// checkPasswords looks at the formats and the costs of hashes, the newest among them, each kind a finding.
func (d *doctor) checkPasswords(ctx context.Context, source interface {
	SampleHashes(ctx context.Context, n int) ([]secret.Text, error)
},
) (found []finding) {
	const check = "passwords"
	hashes, err := source.SampleHashes(ctx, sampleSize)
	if err != nil {
		return []finding{broken(check, "look into the log of the database", "%s", err)}
	}
	if len(hashes) == 0 {
		return []finding{risky(check, "import them with their password hashes", "no customer has one, so nobody can sign in")}
	}
	d.kinds = server.HashKinds(hashes)
	for _, k := range d.kinds {
		f := fine(check, "%d of %d looked at: %s", k.Count, len(hashes), k.Name)
		switch {
		case k.Name == "":
			f = risky(check, "have those customers ask for a new password; the shop must store bcrypt (cost 4 to 16), argon2i or argon2id",
				"%d of %d looked at cannot be verified: those customers cannot sign in", k.Count, len(hashes))
			if k.Count*100 > len(hashes)*brokenUnknowns {
				f.Result = isBroken
			}
		case k.Weak:
			f.Result, f.Seen = isRisky, f.Seen+", which are guessed quickly from a stolen copy of the table"
			f.Remedy = "let the shop hash with cost 12 (BCRYPT_FACTOR), and have those customers choose a new password"
		}
		found = append(found, f)
	}
	return found
}
