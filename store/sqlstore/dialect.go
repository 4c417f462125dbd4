package sqlstore

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"
)

// dialect is what differs between the two kinds of databases.
type dialect struct {
	name     string
	prepares bool // statements are prepared by us; else the driver remembers them

	sameEmail, sameID, sameReference condition
	parameter                        func(n int) string
	text                             string // the type of a text, for CAST

	// emailIndex tells whether there is an index for sameEmail on spy_customer, in one row of one truth value. createIndex
	// makes it.
	emailIndex, createIndex string
	// collation tells likewise by what sameEmail compares, where the column says that; empty where it does not.
	collation string
	// tooMuch tells likewise whether the account may write to spy_customer; its one parameter is the account.
	tooMuch string
	// clock tells the time, in seconds since 1970.
	clock string
	// grantee is the account of SELECT CURRENT_USER as GRANT wants it.
	grantee func(account string) string
}

// condition makes what follows WHERE of the columns of a [relation].
type condition func(r relation) string

func postgres() *dialect {
	return &dialect{
		name: "PostgreSQL",
		// The address as it is written wins where the shop has it in two spellings.
		sameEmail: func(r relation) string {
			return "UPPER(" + r.email + ") = UPPER($1) ORDER BY " + r.email + " = $1 DESC, " + r.id + " LIMIT 1"
		},
		sameID:        func(r relation) string { return r.id + " = CAST($1 AS bigint)" },
		sameReference: func(r relation) string { return r.reference + " = $1" },
		parameter:     func(n int) string { return fmt.Sprintf("$%d", n) },
		text:          "text",
		emailIndex: `SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_index WHERE indrelid = to_regclass('spy_customer') AND indisvalid AND indpred IS NULL
			AND pg_catalog.pg_get_indexdef(indexrelid, 1, true) ~* '^upper\(\(?"?email"?\)?(::text)?\)$')`,
		createIndex: "CREATE INDEX CONCURRENTLY glueauth_email ON spy_customer (UPPER(email))",
		tooMuch:     `SELECT $1 <> '' AND has_table_privilege('spy_customer', 'INSERT, UPDATE, DELETE, TRUNCATE')`,
		clock:       "SELECT EXTRACT(EPOCH FROM clock_timestamp())",
		grantee:     func(account string) string { return `"` + account + `"` },
	}
}

func mariadb() *dialect {
	return &dialect{
		name: "MySQL", prepares: true, // the driver would prepare for each call
		// The sum keeps the primary key from being read in its order until an address fits.
		sameEmail:     func(r relation) string { return r.email + " = ? ORDER BY " + r.id + " + 0 LIMIT 1" },
		sameID:        func(r relation) string { return r.id + " = ?" },
		sameReference: func(r relation) string { return r.reference + " = ?" },
		parameter:     func(int) string { return "?" },
		text:          "CHAR",
		emailIndex: `SELECT EXISTS (SELECT 1 FROM information_schema.STATISTICS
			WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'spy_customer' AND COLUMN_NAME = 'email' AND SEQ_IN_INDEX = 1 AND SUB_PART IS NULL)`,
		createIndex: "CREATE INDEX glueauth_email ON spy_customer (email)",
		collation: `SELECT COALESCE(MIN(COLLATION_NAME), '') FROM information_schema.COLUMNS
			WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'spy_customer' AND COLUMN_NAME = 'email'`,
		tooMuch: `SELECT EXISTS (SELECT 1 FROM (
			SELECT GRANTEE, PRIVILEGE_TYPE FROM information_schema.USER_PRIVILEGES
			UNION ALL SELECT GRANTEE, PRIVILEGE_TYPE FROM information_schema.SCHEMA_PRIVILEGES WHERE DATABASE() LIKE TABLE_SCHEMA
			UNION ALL SELECT GRANTEE, PRIVILEGE_TYPE FROM information_schema.TABLE_PRIVILEGES
				WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'spy_customer') AS p
			WHERE GRANTEE = ? AND PRIVILEGE_TYPE IN ('INSERT', 'UPDATE', 'DELETE', 'DROP'))`,
		clock: "SELECT UNIX_TIMESTAMP(NOW(6))",
		grantee: func(account string) string {
			at := max(strings.LastIndex(account, "@"), 0)
			return "'" + account[:at] + "'@'" + strings.TrimPrefix(account[at:], "@") + "'"
		},
	}
}

// trouble is what a database complains about, as far as it matters here.
type trouble int

const (
	otherTrouble trouble = iota
	noAccess             // user or password
	noDatabase
	noTable
	noColumn
	noPrivilege
	noWriting
	noSuchText // a text has characters that the database cannot have
)

func troubleOf(err error) trouble {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return map[string]trouble{
			"28P01": noAccess, "28000": noAccess, "3D000": noDatabase, "42P01": noTable, "42703": noColumn, "42501": noPrivilege,
			"25006": noWriting, "0A000": noWriting, "22021": noSuchText, "22P05": noSuchText,
		}[e.Code]
	}
	if e, ok := errors.AsType[*mysql.MySQLError](err); ok {
		return map[uint16]trouble{
			1045: noAccess, 1698: noAccess, 1049: noDatabase, 1044: noDatabase, 1146: noTable, 1054: noColumn, 1142: noPrivilege, 1143: noPrivilege,
			1290: noWriting, 1792: noWriting, 1836: noWriting,
			1267: noSuchText, 1300: noSuchText, 1366: noSuchText, 1977: noSuchText, 3854: noSuchText,
		}[e.Number]
	}
	return otherTrouble
}

// cannotHave reports whether a look-up failed because of the text that was looked for. MariaDB says the same of columns
// whose collations do not fit, but then for ASCII too.
func cannotHave(err error, text string) bool {
	plain := strings.IndexFunc(text, func(r rune) bool { return r == 0 || r >= utf8.RuneSelf }) < 0
	return troubleOf(err) == noSuchText && !plain
}

// cannotConnect is why a database cannot be used from the beginning.
func cannotConnect(host string, err error) error {
	if strings.Contains(err.Error(), "received unexpected message") { // as pgx says it, and nothing else
		return fmt.Errorf("the customers' database at %s is no PostgreSQL: correct the host in customers.url, or begin that with mysql:// if it is MySQL or MariaDB", host)
	}
	return fmt.Errorf("the customers' database at %s cannot be used: %s: %w", host, connectRemedy(err), err)
}

// connectRemedy says what to do about a connection that cannot be had.
func connectRemedy(err error) string {
	switch troubleOf(err) {
	case noAccess:
		return "it refuses the account: correct user and password in customers.url"
	case noDatabase:
		return "it has no such database for the account: correct the name in customers.url, or grant the account access"
	default:
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "its certificate is not good: renew it, or name its authority in customers.url (sslrootcert=FILE, or tls_ca=FILE with mysql)"
	}
	if strings.Contains(err.Error(), "server refused TLS") { // as pgx says it
		return "it offers no TLS: turn TLS on there, or off in customers.url, or begin that with mysql:// if it is MySQL or MariaDB"
	}
	if errors.Is(err, mysql.ErrNoTLS) {
		return "it offers no TLS: turn TLS on there, or off in customers.url"
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "it does not answer in time: start it, or correct customers.url: its host, and its kind, postgres:// or mysql://"
	}
	return "correct customers.url, or start the database"
}
