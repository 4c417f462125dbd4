package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/store"
)

// ErrRefused says that a customer cannot be taken in as described; the text around it says why and what to do.
var ErrRefused = errors.New("customer refused")

// NewCustomer describes a customer to add.
type NewCustomer struct {
	ID           int64 // 0: the next one that no customer ever had
	Reference    string
	Email        string
	PasswordHash secret.Text // bcrypt or argon2 as the shop has it; empty for none
	Confirmed    bool        // the double opt-in is finished
	Registered   time.Time   // the day on which it was, zero for today; means nothing unless Confirmed
}

// Add adds a customer and returns his id. A customer with a broken value, or with a reference, e-mail address or id that
// another one has, is an error that wraps [ErrRefused].
func (c *Customers) Add(ctx context.Context, n NewCustomer) (int64, error) {
	if reason := n.invalid(); reason != "" {
		return 0, fmt.Errorf("%w: %s", ErrRefused, reason)
	}
	var id int64
	err := c.change(ctx, "add customer", func(tx *sql.Tx) error {
		a, err := c.adder(ctx, tx)
		if err != nil {
			return err
		}
		var clash *record
		if id, clash, err = a.add(ctx, n); clash != nil {
			return fmt.Errorf("%w: %s", ErrRefused, clash.reason(n))
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	return id, nil
}

// SetBlocked blocks the customer with an e-mail address or a customer reference, or lets him in again. A customer who is
// blocked already stays blocked since then. No such customer is [store.ErrNotFound]; a name that is one customer's e-mail
// address and another's reference is an error that wraps [ErrRefused].
func (c *Customers) SetBlocked(ctx context.Context, emailOrReference string, blocked bool) error {
	const what = "block customer"
	return c.change(ctx, what, func(tx *sql.Tx) error {
		var id, others sql.NullInt64
		row := tx.QueryRowContext(ctx, `SELECT min(id_customer), count(*) - 1 FROM customers WHERE email_key = ? OR customer_reference = ?`,
			emailKey(emailOrReference), emailOrReference)
		if err := row.Scan(&id, &others); err != nil {
			return unavailable(what, err)
		}
		if !id.Valid {
			return fmt.Errorf("find customer by e-mail or reference: %w", store.ErrNotFound)
		}
		if others.Int64 > 0 {
			return fmt.Errorf("%w: one customer has this e-mail address and another this reference; name him by the other value", ErrRefused)
		}
		since := sql.NullInt64{Int64: c.now().Unix(), Valid: true}
		statement := `UPDATE customers SET blocked_at = coalesce(blocked_at, ?) WHERE id_customer = ?`
		if !blocked {
			since.Valid = false
			statement = `UPDATE customers SET blocked_at = ? WHERE id_customer = ?`
		}
		if _, err := tx.ExecContext(ctx, statement, since, id); err != nil {
			return unavailable(what, err)
		}
		return nil
	})
}

// change runs do in one transaction, which holds the write lock from its beginning. do names and wraps its own errors.
func (c *Customers) change(ctx context.Context, what string, do func(*sql.Tx) error) error {
	tx, err := c.write.BeginTx(ctx, nil)
	if err != nil {
		return unavailable(what, err)
	}
	defer tx.Rollback() //nolint:errcheck // after a commit there is nothing to roll back, and otherwise the error is known
	if err := do(tx); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return unavailable(what, err)
	}
	return nil
}

// adder adds customers within one transaction.
type adder struct {
	customers    *Customers
	insert, find *sql.Stmt // the transaction closes them
}

func (c *Customers) adder(ctx context.Context, tx *sql.Tx) (adder, error) {
	insert, err := tx.PrepareContext(ctx, `INSERT INTO customers
		(id_customer, customer_reference, email, email_key, uuid, password, registered, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT DO NOTHING`)
	if err != nil {
		return adder{}, unavailable("add customers", err)
	}
	find, err := tx.PrepareContext(ctx, findHolder)
	if err != nil {
		return adder{}, unavailable("add customers", err)
	}
	return adder{customers: c, insert: insert, find: find}, nil
}

// add adds a customer who was found valid and returns his id, or the one who holds a value that only one may have.
func (a adder) add(ctx context.Context, n NewCustomer) (int64, *record, error) {
	uuid, err := newUUID(a.customers.random)
	if err != nil {
		return 0, nil, err
	}
	now := a.customers.now()
	result, err := a.insert.ExecContext(ctx,
		sql.NullInt64{Int64: n.ID, Valid: n.ID != 0}, n.Reference, n.Email, emailKey(n.Email), uuid,
		nullable(n.PasswordHash.Reveal()), nullable(n.day(now)), now.Unix())
	if err != nil {
		return 0, nil, unavailable("add customer", err)
	}
	added, errAdded := result.RowsAffected()
	id, errID := result.LastInsertId()
	if err := errors.Join(errAdded, errID); err != nil {
		return 0, nil, unavailable("add customer", err)
	}
	if added > 0 {
		return id, nil, nil
	}
	clash, err := holder(ctx, a.find, n)
	if err == nil && clash == nil {
		err = errors.New("add customer: the new uuid is taken: the random source repeats itself")
	}
	return 0, clash, err
}

// day returns what stands in the column registered of a customer who is added now; empty is NULL.
func (n NewCustomer) day(now time.Time) string {
	switch {
	case !n.Confirmed:
		return ""
	case n.Registered.IsZero():
		return now.UTC().Format(time.DateOnly)
	default:
		return n.Registered.Format(time.DateOnly)
	}
}

func nullable(text string) sql.NullString { return sql.NullString{String: text, Valid: text != ""} }

// newUUID returns a random UUID (version 4, RFC 9562 §5.4).
func newUUID(random io.Reader) (string, error) {
	var b [16]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return "", fmt.Errorf("make uuid: %w", err)
	}
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:]), nil
}
