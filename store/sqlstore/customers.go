// Package sqlstore finds customers in a database, through database/sql: those that are ours, in an embedded file
// ([Customers]), or those of a shop, in its own PostgreSQL or MariaDB/MySQL ([Shop]; dialect.go has what differs).
//
// A customer is found by id, or by e-mail address without regard to case (emailkey.go says what that means). What the
// database refuses to say is an error that wraps [store.ErrUnavailable], whatever the reason: only a clean answer
// without a row is [store.ErrNotFound].
//
// Looking up is all that a running server does here. In a file of ours, adding, blocking and importing are the
// operator's commands, from another process beside it, so they hold its write lock for short times only.
package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/store"
	"github.com/glueauth/glueauth/store/sqlitefile"
)

const (
	selectCustomers = `SELECT id_customer, customer_reference, email, uuid, password,
		registered IS NOT NULL, blocked_at IS NOT NULL, anonymized_at IS NOT NULL FROM customers `
	listPage = 500 // customers read at once by List
)

// Customers are the customers in a database. It is safe for concurrent use.
type Customers struct {
	read, write *sql.DB
	now         func() time.Time
	random      io.Reader
}

// New returns the customers in f. The clock dates new customers, the random source gives them their UUIDs.
func New(f *sqlitefile.File, now func() time.Time, random io.Reader) *Customers {
	return &Customers{read: f.Read, write: f.Write, now: now, random: random}
}

// ByEmail returns the customer with an e-mail address, without regard to case and without trimming. No such customer is
// [store.ErrNotFound].
func (c *Customers) ByEmail(ctx context.Context, email string) (store.Customer, error) {
	return found("find customer by e-mail", c.read.QueryRowContext(ctx, selectCustomers+`WHERE email_key = ?`, emailKey(email)))
}

// EmailKey returns what the e-mail addresses by which ByEmail finds the same customer have in common.
func (c *Customers) EmailKey(email string) string { return emailKey(email) }

// ByID returns the customer with an id. No such customer is [store.ErrNotFound].
func (c *Customers) ByID(ctx context.Context, id int64) (store.Customer, error) {
	return found("find customer by id", c.read.QueryRowContext(ctx, selectCustomers+`WHERE id_customer = ?`, id))
}

// ByReference returns the customer with a customer reference, written as the shop has it. No such customer is
// [store.ErrNotFound].
func (c *Customers) ByReference(ctx context.Context, reference string) (store.Customer, error) {
	return found("find customer by reference", c.read.QueryRowContext(ctx, selectCustomers+`WHERE customer_reference = ?`, reference))
}

// SampleHashes returns password hashes of up to n customers who have one: half of the newest, and half from all over the others.
func (c *Customers) SampleHashes(ctx context.Context, n int) ([]secret.Text, error) {
	const hashes = `SELECT id_customer, password FROM customers WHERE password IS NOT NULL `
	return sampler{
		newest: func(n int) (*sql.Rows, error) {
			return c.read.QueryContext(ctx, hashes+`ORDER BY id_customer DESC LIMIT ?`, n)
		},
		from: func(id int64, n int) (*sql.Rows, error) {
			return c.read.QueryContext(ctx, hashes+`AND id_customer >= ? ORDER BY id_customer LIMIT ?`, id, n)
		},
	}.sample(n)
}

// Count returns how many customers there are.
func (c *Customers) Count(ctx context.Context) (int, error) {
	var n int
	if err := c.read.QueryRowContext(ctx, `SELECT count(*) FROM customers`).Scan(&n); err != nil {
		return 0, unavailable("count customers", err)
	}
	return n, nil
}

// Ping returns an error that wraps [store.ErrUnavailable] unless customers can be looked up now.
func (c *Customers) Ping(ctx context.Context) error {
	if _, err := c.ByID(ctx, 0); !errors.Is(err, store.ErrNotFound) {
		return err
	}
	return nil
}

// List yields all customers in the order of their ids. It reads them in pages, so that a slow reader holds nothing open,
// and ends after the first error.
func (c *Customers) List(ctx context.Context) iter.Seq2[store.Customer, error] {
	return func(yield func(store.Customer, error) bool) {
		for last := int64(0); ; {
			page, err := c.page(ctx, last)
			if err != nil {
				yield(store.Customer{}, err)
				return
			}
			for _, customer := range page {
				if !yield(customer, nil) {
					return
				}
				last = customer.ID
			}
			if len(page) < listPage {
				return
			}
		}
	}
}

// page returns the next customers after an id.
func (c *Customers) page(ctx context.Context, after int64) ([]store.Customer, error) {
	const what = "list customers"
	rows, err := c.read.QueryContext(ctx, selectCustomers+`WHERE id_customer > ? ORDER BY id_customer LIMIT ?`, after, listPage)
	if err != nil {
		return nil, unavailable(what, err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err has what there is to say
	var page []store.Customer
	for rows.Next() {
		customer, err := scan(rows)
		if err != nil {
			return nil, unavailable(what, err)
		}
		page = append(page, customer)
	}
	if err := rows.Err(); err != nil {
		return nil, unavailable(what, err)
	}
	return page, nil
}

// found returns the customer of a row that may not be there.
func found(what string, row *sql.Row) (store.Customer, error) {
	customer, err := scan(row)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return store.Customer{}, fmt.Errorf("%s: %w", what, store.ErrNotFound)
	case err != nil:
		return store.Customer{}, unavailable(what, err)
	default:
		return customer, nil
	}
}

func scan(row interface{ Scan(into ...any) error }) (store.Customer, error) {
	var c store.Customer
	var password sql.NullString
	err := row.Scan(&c.ID, &c.Reference, &c.Email, &c.UUID, &password, &c.Confirmed, &c.Blocked, &c.Anonymised)
	c.PasswordHash = secret.Text(password.String)
	return c, err
}

// unavailable wraps any failure of the database, a deadline that passed among them.
func unavailable(what string, err error) error {
	return fmt.Errorf("%s: %w: %w", what, store.ErrUnavailable, err)
}
