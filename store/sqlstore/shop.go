package sqlstore

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"database/sql/driver"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/store"
)

const (
	shopDeadline    = 1500 * time.Millisecond // for a look-up, with connecting where it has to
	connectDeadline = 5 * time.Second         // for connecting where no look-up waits
	sampleDeadline  = 10 * time.Second        // for what may read a whole table
	shopConnections = 16
	shopIdle        = 5 * time.Minute
	shopLife        = 30 * time.Minute // so that a database that moved is found by its name
)

// ShopOptions say where a shop's customers are.
type ShopOptions struct {
	// URL is postgres://, mysql:// or mariadb://.
	URL secret.Text
	// Query is the operator's own, which returns the columns id, reference, email, password_hash, confirmed and blocked of all
	// customers. Empty: the tables are Spryker's.
	Query string
}

// Shop is the customers in the database of a shop, PostgreSQL or MariaDB/MySQL. It only reads, but for
// [Shop.RevokeShopToken]. Each look-up is one statement that ends within a second and a half, with an error that wraps
// [store.ErrUnavailable] if need be; connections come back by themselves. It is safe for concurrent use.
type Shop struct {
	db       *sql.DB
	kind     *dialect
	id       string
	findings []Finding
	tokens   bool
	patience time.Duration // for a look-up

	padded bool // e-mail addresses are compared without regard to spaces at their ends

	byEmail, byID, byReference, newest, from statement
}

// Finding is something that a shop's database lacks or has too much of.
type Finding struct {
	What   string // a sentence
	Remedy string // what to do about it; empty when nothing need be done
}

// OpenShop connects to a shop's database and looks whether everything is there. Its error says what is missing, and the
// remedy; it never shows the URL.
func OpenShop(ctx context.Context, o ShopOptions) (_ *Shop, err error) {
	a, err := parseShopURL(o.URL.Reveal())
	if err != nil {
		return nil, err
	}
	s := &Shop{db: sql.OpenDB(a.connector), kind: a.kind, id: a.id(), patience: shopDeadline}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	s.db.SetMaxOpenConns(shopConnections)
	s.db.SetMaxIdleConns(shopConnections)
	s.db.SetConnMaxIdleTime(shopIdle)
	s.db.SetConnMaxLifetime(shopLife)
	ctx, cancel := context.WithTimeout(ctx, 2*sampleDeadline)
	defer cancel()
	if err := s.db.PingContext(ctx); err != nil {
		return nil, cannotConnect(a.host, err)
	}
	var people relation
	if o.Query == "" {
		people, err = s.checkSpryker(ctx)
	} else {
		people, err = s.checkQuery(ctx, o.Query)
	}
	if err != nil {
		return nil, err
	}
	return s, s.prepare(ctx, people)
}

// CheckShopURL reports what is wrong with a URL, without showing it. It connects to nothing.
func CheckShopURL(url secret.Text) error {
	_, err := parseShopURL(url.Reveal())
	return err
}

// id tells two databases apart; it holds no secret.
func (a shopAddress) id() string {
	sum := sha256.Sum256([]byte(a.kind.name + "\x00" + a.host + "\x00" + a.database))
	return hex.EncodeToString(sum[:16])
}

// prepare makes the statements and runs each of them once, so that what cannot work is told at start.
func (s *Shop) prepare(ctx context.Context, people relation) error {
	for _, p := range []struct {
		to   *statement
		text string
	}{
		{&s.byEmail, people.find(s.kind.sameEmail)},
		{&s.byID, people.find(s.kind.sameID)},
		{&s.byReference, people.find(s.kind.sameReference)},
		{&s.newest, people.newest(s.kind)},
		{&s.from, people.hashesFrom(s.kind)},
	} {
		var err error
		if *p.to, err = s.statement(ctx, p.text); err != nil {
			return fmt.Errorf("the customers cannot be looked up: %w", err)
		}
	}
	_, err1 := s.ByEmail(ctx, "")
	_, err2 := s.ByReference(ctx, "")
	_, err3 := s.SampleHashes(ctx, 2)
	for _, err := range []error{err1, err2, s.Ping(ctx), err3, s.lookWhetherPadded(ctx, people)} {
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("the customers cannot be looked up: %w", err)
		}
	}
	return nil
}

// ID tells this database from others: it is made from the kind of the database, its host and its name.
func (s *Shop) ID() string { return s.id }

// Findings returns what the database lacked when it was opened, and what could be better.
func (s *Shop) Findings() []Finding { return s.findings }

// Close closes all connections. What the database says to that matters to nobody: nothing is under way.
func (s *Shop) Close() { _ = s.db.Close() }

// ByEmail returns the customer with an e-mail address, compared as the shop does: without regard to case. On MariaDB the
// column's collation decides, which may ignore trailing spaces. No such customer is [store.ErrNotFound].
func (s *Shop) ByEmail(ctx context.Context, email string) (store.Customer, error) {
	return s.find(ctx, "find customer by e-mail", s.byEmail, email)
}

// EmailKey returns what the e-mail addresses by which a customer is meant to be found have in common: all but the case, and
// spaces at the end where the database ignores them. A database may take more for the same, like letters with and without accents.
func (s *Shop) EmailKey(email string) string {
	if s.padded {
		email = strings.TrimRight(email, " ")
	}
	return emailKey(email)
}

// lookWhetherPadded asks the database. One without customers says nothing yet.
func (s *Shop) lookWhetherPadded(ctx context.Context, people relation) error {
	var padded yes
	err := s.db.QueryRowContext(ctx, people.padded()).Scan(&padded)
	if s.padded = bool(padded); err == nil || errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	return unavailable("look how addresses are compared", err)
}

// ByID returns the customer with an id. No such customer is [store.ErrNotFound].
func (s *Shop) ByID(ctx context.Context, id int64) (store.Customer, error) {
	return s.find(ctx, "find customer by id", s.byID, id)
}

// ByReference returns the customer with a customer reference. No such customer is [store.ErrNotFound].
func (s *Shop) ByReference(ctx context.Context, reference string) (store.Customer, error) {
	return s.find(ctx, "find customer by reference", s.byReference, reference)
}

// SampleHashes returns password hashes of up to n customers who have one: half of the newest, and half from all over the others.
func (s *Shop) SampleHashes(ctx context.Context, n int) ([]secret.Text, error) {
	ctx, cancel := context.WithTimeout(ctx, sampleDeadline)
	defer cancel()
	return sampler{
		newest: func(n int) (*sql.Rows, error) { return s.newest.query(ctx, n) },
		from:   func(id int64, n int) (*sql.Rows, error) { return s.from.query(ctx, id, n) },
	}.sample(n)
}

// Ping returns an error that wraps [store.ErrUnavailable] unless customers can be looked up now.
func (s *Shop) Ping(ctx context.Context) error {
	if _, err := s.ByID(ctx, 0); err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	return nil
}

func (s *Shop) find(ctx context.Context, what string, by statement, key any) (store.Customer, error) {
	ctx, cancel := context.WithTimeout(ctx, s.patience)
	defer cancel()
	rows, err := by.query(ctx, key)
	if err != nil {
		return store.Customer{}, notThere(what, key, err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err has what there is to say
	if !rows.Next() {
		return store.Customer{}, notThere(what, key, rows.Err())
	}
	var c store.Customer
	var uuid, password, company sql.NullString
	var confirmed, blocked, anonymised yes
	if err := rows.Scan((*whole)(&c.ID), &c.Reference, &c.Email, &uuid, &password, &confirmed, &blocked, &anonymised, &company); err != nil {
		return store.Customer{}, unavailable(what, err)
	}
	c.UUID, c.CompanyUser, c.PasswordHash = uuid.String, company.String, secret.Text(password.String)
	c.Confirmed, c.Blocked, c.Anonymised = bool(confirmed), bool(blocked), bool(anonymised)
	return c, nil
}

// notThere is the error of a look-up that found no row. A text that the database cannot have is in no row.
func notThere(what string, key any, err error) error {
	if text, ok := key.(string); err == nil || ok && cannotHave(err, text) {
		return fmt.Errorf("%s: %w", what, store.ErrNotFound)
	}
	return unavailable(what, err)
}

// whole reads a whole number of any database. Its error does not show what is none: it may be a password's hash.
type whole int64

// Scan implements [sql.Scanner].
func (w *whole) Scan(value any) error {
	var number sql.Null[int64]
	if err := number.Scan(value); err != nil || !number.Valid {
		return fmt.Errorf("not a whole number, but %T: return one", value)
	}
	*w = whole(number.V)
	return nil
}

// yes reads a truth value of any database; NULL is no.
type yes bool

// Scan implements [sql.Scanner].
func (y *yes) Scan(value any) error {
	if value == nil {
		*y = false
		return nil
	}
	truth, err := driver.Bool.ConvertValue(value)
	if err != nil {
		return fmt.Errorf("not a truth value, but %T: return true or false", value)
	}
	*y = yes(truth == true)
	return nil
}

// statement is one that is run again and again.
type statement struct {
	db   *sql.DB
	text string
	stmt *sql.Stmt // nil where the driver itself remembers the statement
}

func (s *Shop) statement(ctx context.Context, text string) (statement, error) {
	if !s.kind.prepares {
		return statement{db: s.db, text: text}, nil
	}
	stmt, err := s.db.PrepareContext(ctx, text)
	if err != nil {
		return statement{}, unavailable("prepare", err)
	}
	return statement{stmt: stmt}, nil
}

func (s statement) query(ctx context.Context, keys ...any) (*sql.Rows, error) {
	if s.stmt != nil {
		return s.stmt.QueryContext(ctx, keys...)
	}
	return s.db.QueryContext(ctx, s.text, keys...)
}
