package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// record is what stands of a customer in the database, or would: all that a new one can clash with or repeat.
type record struct {
	id                                     int64
	line                                   int // of one that is only planned, else 0
	reference, email, password, registered string
}

const findHolder = `SELECT id_customer, customer_reference, email, password, registered FROM customers
	WHERE customer_reference = ? OR email_key = ? OR id_customer = ? ORDER BY id_customer LIMIT 1`

// holder returns the customer in the database who has the reference, the e-mail address or the id of n; nil when all are
// free. When there are several, whichever is returned differs from n. The statement is findHolder.
func holder(ctx context.Context, find *sql.Stmt, n NewCustomer) (*record, error) {
	var r record
	var password, registered sql.NullString
	err := find.QueryRowContext(ctx, n.Reference, emailKey(n.Email), n.ID).Scan(&r.id, &r.reference, &r.email, &password, &registered)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, unavailable("find customers with the same values", err)
	}
	r.password, r.registered = password.String, registered.String
	return &r, nil
}

// uniqueValues returns one key for each value of n that no other customer may have.
func (n NewCustomer) uniqueValues() []string {
	values := []string{columnReference + n.Reference, columnEmail + emailKey(n.Email)}
	if n.ID != 0 {
		values = append(values, columnID+strconv.FormatInt(n.ID, 10))
	}
	return values
}

// is reports whether n says nothing but what stands in the record.
func (r *record) is(n NewCustomer) bool {
	_, other := r.compare(n)
	return other == nil
}

// reason says which values keep n from being added beside the record. It shows none of them.
func (r *record) reason(n NewCustomer) string {
	same, other := r.compare(n)
	who := fmt.Sprintf("customer %d", r.id)
	if r.line > 0 {
		who = fmt.Sprintf("the customer of line %d", r.line)
	}
	text := fmt.Sprintf("%s has the same %s", who, strings.Join(same, ", "))
	if other != nil {
		text += " with another " + strings.Join(other, ", ")
	}
	return text + ": adding never changes a customer"
}

// compare returns the columns that are the same in n and the record, or would clash, and those that differ. What n leaves
// open (its id, the day of its confirmation) is in neither. An e-mail address in other case is in both.
func (r *record) compare(n NewCustomer) (same, other []string) {
	for _, c := range []struct {
		name           string
		isSet          bool
		equal, clashes bool
	}{
		{columnID, n.ID != 0, r.id == n.ID, r.id == n.ID},
		{columnReference, true, r.reference == n.Reference, r.reference == n.Reference},
		{columnEmail, true, r.email == n.Email, emailKey(r.email) == emailKey(n.Email)},
		{columnPassword, true, r.password == n.PasswordHash.Reveal(), false},
		{columnRegistered, true, r.registeredAs(n), false},
	} {
		if c.isSet && c.clashes {
			same = append(same, c.name)
		}
		if c.isSet && !c.equal {
			other = append(other, c.name)
		}
	}
	return same, other
}

// registeredAs reports whether the record is confirmed as n says: not at all, some day, or on a certain one.
func (r *record) registeredAs(n NewCustomer) bool {
	if n.Confirmed && n.Registered.IsZero() {
		return r.registered != ""
	}
	return r.registered == n.day(time.Time{})
}
