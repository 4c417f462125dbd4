package sqlstore

import "strings"

// relation is what customers are read from: a table or a query, and what its columns are called.
type relation struct {
	from                           string
	id, reference, email, password string
	columns                        string // all of a customer, as [Shop] scans them
}

func (r relation) find(by condition) string {
	return "SELECT " + r.columns + " FROM " + r.from + " WHERE " + by(r)
}

// newest takes the number of rows as its parameter.
func (r relation) newest(d *dialect) string {
	return r.hashes() + " ORDER BY " + r.id + " DESC LIMIT " + d.parameter(1)
}

// hashesFrom takes the lowest id and the number of rows.
func (r relation) hashesFrom(d *dialect) string {
	return r.hashes() + " AND " + r.id + " >= " + d.parameter(1) + " ORDER BY " + r.id + " LIMIT " + d.parameter(2)
}

func (r relation) hashes() string {
	return "SELECT " + r.id + ", " + r.password + " FROM " + r.from + " WHERE " + r.password + " IS NOT NULL"
}

// padded tells in a row, if there is a customer, whether a space at the end of his address matters to the database.
func (r relation) padded() string {
	return "SELECT " + r.email + " = CONCAT(" + r.email + ", ' ') FROM " + r.from + " LIMIT 1"
}

// sprykerShop is which optional parts a shop has.
type sprykerShop struct {
	uuid, anonymized        bool // columns of spy_customer
	company, companyDefault bool // the table spy_company_user, and its column is_default
}

// relation reads spy_customer. A customer's company user is his one active one, or among several the one default.
func (p sprykerShop) relation(d *dialect) relation {
	r := relation{from: "spy_customer c", id: "c.id_customer", reference: "c.customer_reference", email: "c.email", password: "c.password"}
	uuid, anonymised, company := "NULL", "FALSE", "NULL"
	if p.uuid {
		uuid = "c.uuid"
	}
	if p.anonymized {
		anonymised = "c.anonymized_at IS NOT NULL"
	}
	if p.company {
		company = companyUser(d, p.companyDefault)
	}
	r.columns = strings.Join([]string{r.id, r.reference, r.email, uuid, r.password, "c.registered IS NOT NULL", "FALSE", anonymised, company}, ", ")
	return r
}

// companyUser is a subquery and no join, so that a customer stays one row.
func companyUser(d *dialect, hasDefault bool) string {
	uuid := "MIN(CAST(u.uuid AS " + d.text + "))"
	other := ""
	if hasDefault {
		other = " WHEN COUNT(CASE WHEN u.is_default THEN 1 END) = 1 THEN MIN(CASE WHEN u.is_default THEN CAST(u.uuid AS " + d.text + ") END)"
	}
	return "(SELECT CASE WHEN COUNT(*) = 1 THEN " + uuid + other + " END FROM spy_company_user u WHERE u.fk_customer = c.id_customer AND u.is_active)"
}

// queried is the operator's own query, whose columns have our names.
func queried(query string) relation {
	r := relation{
		from: "(\n" + query + "\n) c", // in lines of its own, for it may end in a comment
		id:   "c.id", reference: "c.reference", email: "c.email", password: "c.password_hash",
	}
	r.columns = strings.Join([]string{r.id, r.reference, r.email, "NULL", r.password, "c.confirmed", "c.blocked", "FALSE", "NULL"}, ", ")
	return r
}
