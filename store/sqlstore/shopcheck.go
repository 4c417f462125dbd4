package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

const (
	customerTable = "spy_customer"
	companyTable  = "spy_company_user"
	tokenTable    = "spy_oauth_refresh_token" //nolint:gosec // its name, no credential
)

// checkSpryker looks at the shop's tables. It returns how customers are read from them, or what keeps that from working.
func (s *Shop) checkSpryker(ctx context.Context) (relation, error) {
	account := s.account(ctx)
	for _, column := range []string{"id_customer", "customer_reference", "email", "password", "registered"} {
		err := s.has(ctx, customerTable, column)
		switch troubleOf(err) {
		case noTable:
			return relation{}, fmt.Errorf("the database has no table %s: name the shop's database in customers.url, and its schema with search_path if need be; for another shop set customers.source to sql: %w", customerTable, err)
		case noColumn:
			return relation{}, fmt.Errorf("the table %s has no column %s: set customers.source to sql, and write a query of your own: %w", customerTable, column, err)
		case noPrivilege:
			return relation{}, fmt.Errorf("the account may not read %s: GRANT SELECT ON %[1]s TO %s: %w", customerTable, account, err)
		default:
		}
		if err != nil {
			return relation{}, unavailable("look at "+customerTable, err)
		}
	}
	shop, err := s.optional(ctx, account)
	if err != nil {
		return relation{}, err
	}
	if err := s.checkEmailIndex(ctx); err != nil {
		return relation{}, err
	}
	if err := s.checkPrivileges(ctx, account); err != nil {
		return relation{}, err
	}
	return shop.relation(s.kind), s.checkTokens(ctx, account)
}

// optional looks for what not every shop has.
func (s *Shop) optional(ctx context.Context, account string) (shop sprykerShop, err error) {
	if shop.uuid, err = s.told(ctx, account, customerTable, []string{"uuid"}, "clients whose subject is uuid get no tokens", "give those clients another subject"); err != nil {
		return shop, err
	}
	if shop.anonymized, err = s.told(ctx, account, customerTable, []string{"anonymized_at"}, "customers whom the shop has anonymised keep the sessions they have", "end them with glueauth sessions revoke"); err != nil {
		return shop, err
	}
	if shop.company, err = s.told(ctx, account, companyTable, []string{"fk_customer", "is_active", "uuid"}, "tokens name no company user", ""); err != nil || !shop.company {
		return shop, err
	}
	shop.companyDefault, err = s.told(ctx, account, companyTable, []string{"is_default"}, "tokens of customers with several active company users name none of them", "")
	return shop, err
}

// told reports whether the columns can be read; what is missing becomes a finding with its consequence. The remedy is for a
// missing column.
func (s *Shop) told(ctx context.Context, account, table string, columns []string, so, remedy string) (bool, error) {
	for _, column := range columns {
		err := s.has(ctx, table, column)
		switch troubleOf(err) {
		case noTable:
			s.finding("", "the database has no table %s: %s", table, so)
		case noColumn:
			s.finding(remedy, "the table %s has no column %s: %s", table, column, so)
		case noPrivilege:
			s.finding("if the shop has that table, GRANT SELECT ON "+table+" TO "+account, "the account may not read %s of %s: %s", column, table, so)
		default:
			if err != nil {
				return false, unavailable("look at "+table, err)
			}
			continue
		}
		return false, nil
	}
	return true, nil
}

// checkTokens looks for the shop's own refresh tokens, which are taken over.
func (s *Shop) checkTokens(ctx context.Context, account string) (err error) {
	s.tokens, err = s.told(ctx, account, tokenTable, []string{"identifier", "customer_reference", "fk_oauth_client", "expires_at", "revoked_at"},
		"whether the shop has revoked a refresh token of its own is not known", "")
	if err != nil || !s.tokens {
		return err
	}
	return s.checkRevoking(ctx, account)
}

// checkRevoking looks whether refresh tokens can be revoked in the shop's table: to ask how that is done takes the same rights
// as to do it, and writes nothing.
func (s *Shop) checkRevoking(ctx context.Context, account string) error {
	const so = "a refresh token that was taken over still works at the shop"
	err := s.write(ctx, "EXPLAIN UPDATE "+tokenTable+" SET revoked_at = NULL WHERE identifier = ''")
	switch troubleOf(err) {
	case noPrivilege:
		s.finding("GRANT UPDATE (revoked_at) ON "+tokenTable+" TO "+account, "the account may not write revoked_at of %s: %s", tokenTable, so)
	case noWriting:
		s.finding("name the database that the shop writes to in customers.url", "the database can only be read: %s", so)
	default:
		if err != nil {
			return unavailable("look at "+tokenTable, err)
		}
	}
	return nil
}

func (s *Shop) checkEmailIndex(ctx context.Context) error {
	var indexed bool
	if err := s.db.QueryRowContext(ctx, s.kind.emailIndex).Scan(&indexed); err != nil {
		return unavailable("look at the indexes of "+customerTable, err)
	}
	if !indexed {
		s.finding(s.kind.createIndex, "the table %s has no index for its e-mail addresses as they are compared: each sign-in reads the whole table", customerTable)
	}
	return s.checkCollation(ctx)
}

// checkCollation looks whether MariaDB compares e-mail addresses as PostgreSQL is asked to.
func (s *Shop) checkCollation(ctx context.Context) error {
	if s.kind.collation == "" {
		return nil
	}
	var collation string
	if err := s.db.QueryRowContext(ctx, s.kind.collation).Scan(&collation); err != nil {
		return unavailable("look at the collation of "+customerTable, err)
	}
	if strings.HasSuffix(collation, "_bin") || strings.HasSuffix(collation, "_cs") {
		s.finding("give the column email of "+customerTable+" a collation that ends in _ci", "e-mail addresses are compared by %s: customers must write theirs in the case that the shop has", collation)
	}
	return nil
}

// checkPrivileges tells when the account may do more than it needs.
func (s *Shop) checkPrivileges(ctx context.Context, account string) error {
	var may bool
	if err := s.db.QueryRowContext(ctx, s.kind.tooMuch, account).Scan(&may); err != nil {
		return unavailable("look at the account's privileges", err)
	}
	if may {
		s.finding("use an account that has only SELECT there", "the account may write to %s, which is never needed", customerTable)
	}
	return nil
}

// account is the account as GRANT wants it.
func (s *Shop) account(ctx context.Context) string {
	var name string
	if err := s.db.QueryRowContext(ctx, "SELECT CURRENT_USER").Scan(&name); err != nil {
		return "the account"
	}
	return s.kind.grantee(name)
}

// has returns why a column cannot be read, nil if it can.
func (s *Shop) has(ctx context.Context, table, column string) error {
	rows, err := s.db.QueryContext(ctx, "SELECT "+column+" FROM "+table+" WHERE 1 = 0") //nolint:gosec // names of ours
	if err != nil {
		return err
	}
	defer rows.Close() //nolint:errcheck // rows.Err has what there is to say
	rows.Next()
	return rows.Err()
}

func (s *Shop) finding(remedy, what string, args ...any) {
	s.findings = append(s.findings, Finding{What: fmt.Sprintf(what, args...), Remedy: remedy})
}

// checkQuery looks whether the operator's query is one, and has the columns. Their types show in a row, if there is one.
func (s *Shop) checkQuery(ctx context.Context, query string) (relation, error) {
	people := queried(strings.TrimRight(query, "; \t\r\n"))
	rows, err := s.db.QueryContext(ctx, "SELECT "+people.columns+" FROM "+people.from+" LIMIT 1") //nolint:gosec // the operator's query, as he wrote it
	if err == nil {
		defer rows.Close() //nolint:errcheck // rows.Err has what there is to say
		err = checkRow(rows)
	}
	const needs = "it must be one SELECT that returns id, reference, email, password_hash, confirmed and blocked"
	switch troubleOf(err) {
	case noPrivilege:
		return relation{}, fmt.Errorf("customers.query: the account may not read what it asks for: grant SELECT to %s: %w", s.account(ctx), err)
	case noColumn:
		return relation{}, fmt.Errorf("customers.query: a column is missing: %s: %w", needs, err)
	default:
	}
	if err != nil {
		return relation{}, fmt.Errorf("customers.query does not work: %s: %w", needs, err)
	}
	return people, nil
}

// checkRow scans a row, one column after the other, so that the error names it.
func checkRow(rows scannable) error {
	if !rows.Next() {
		return rows.Err()
	}
	var id whole
	var text string
	var password any
	var truth yes
	var ignored any
	names := []string{"id", "reference", "email", "", "password_hash", "confirmed", "blocked", "", ""}
	for i, into := range []any{&id, &text, &text, nil, &password, &truth, &truth} {
		if into == nil {
			continue
		}
		row := make([]any, len(names))
		for j := range row {
			row[j] = &ignored
		}
		row[i] = into
		if err := rows.Scan(row...); err != nil {
			return fmt.Errorf("%s is of another type: cast it in the query: %w", names[i], err)
		}
	}
	if id < 1 {
		return errors.New("id must be a whole number from 1 on")
	}
	return rows.Err()
}

type scannable interface {
	Next() bool
	Scan(into ...any) error
	Err() error
}
