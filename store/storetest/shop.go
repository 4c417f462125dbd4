package storetest

import (
	"strings"
	"testing"
)

// ShopPassword is the password of the accounts that [SQLServer.Shop] makes.
const ShopPassword = "pass/word@:"

// shopTables are Spryker's, as far as anybody here looks at them.
const shopTables = `
CREATE TABLE spy_customer (
	id_customer INTEGER NOT NULL PRIMARY KEY, customer_reference VARCHAR(255) NOT NULL UNIQUE, email VARCHAR(255) NOT NULL UNIQUE,
	first_name VARCHAR(100), password VARCHAR(255), registered DATE, registration_key VARCHAR(150), restore_password_key VARCHAR(150),
	restore_password_date DATETIME, anonymized_at DATETIME, uuid VARCHAR(36), created_at DATETIME, updated_at DATETIME);
CREATE TABLE spy_company_user (
	id_company_user INTEGER NOT NULL PRIMARY KEY, fk_company INTEGER, fk_customer INTEGER NOT NULL REFERENCES spy_customer (id_customer),
	is_active BOOLEAN DEFAULT TRUE, is_default BOOLEAN DEFAULT FALSE, uuid VARCHAR(255) UNIQUE);
CREATE INDEX spy_company_user_fk_customer ON spy_company_user (fk_customer);
CREATE TABLE spy_oauth_client (
	id_oauth_client INTEGER NOT NULL PRIMARY KEY, identifier VARCHAR(255) NOT NULL UNIQUE, name VARCHAR(255), secret VARCHAR(255), is_confidential BOOLEAN);
CREATE TABLE spy_oauth_refresh_token (
	id_oauth_refresh_token BIGINT NOT NULL PRIMARY KEY, identifier VARCHAR(128) NOT NULL, scopes VARCHAR(1024), customer_reference VARCHAR(255),
	user_identifier VARCHAR(1024) NOT NULL, fk_oauth_client VARCHAR(255) NOT NULL REFERENCES spy_oauth_client (identifier),
	expires_at DATETIME, revoked_at DATETIME, created_at DATETIME, updated_at DATETIME);
CREATE INDEX spy_oauth_refresh_token_identifier ON spy_oauth_refresh_token (identifier);
INSERT INTO spy_oauth_client VALUES (1, 'frontend', 'frontend', 'hash', TRUE);
`

// Shop makes a database with the tables of a shop, and an account of the same name that may read them and mark refresh tokens
// as revoked. It returns the account's URL. As in a shop, PostgreSQL has no index on UPPER(email).
func (s *SQLServer) Shop(t testing.TB, name string) string {
	t.Helper()
	tables := shopTables
	if s.kind.scheme == "postgres" {
		s.Do(t, "", "CREATE DATABASE "+name, "CREATE USER "+name+" PASSWORD '"+ShopPassword+"'")
		tables = strings.ReplaceAll(tables, "DATETIME", "TIMESTAMP")
	} else {
		s.Do(t, "", "CREATE DATABASE "+name+" CHARACTER SET utf8mb3 COLLATE utf8mb3_unicode_ci", "CREATE USER "+name+" IDENTIFIED BY '"+ShopPassword+"'")
	}
	s.Do(t, name, tables+"GRANT SELECT ON spy_customer TO "+name, "GRANT SELECT ON spy_company_user TO "+name,
		"GRANT SELECT ON spy_oauth_refresh_token TO "+name, "GRANT UPDATE (revoked_at) ON spy_oauth_refresh_token TO "+name)
	return s.URL(name, ShopPassword, name)
}
