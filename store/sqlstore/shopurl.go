package sqlstore

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// shopAddress is a parsed URL.
type shopAddress struct {
	kind           *dialect
	host, database string // for messages, and to tell databases apart
	connector      driver.Connector
}

var (
	errShopForm = errors.New("the url has none of the forms postgres://USER:PASSWORD@HOST:5432/DATABASE?sslmode=verify-full and " +
		"mysql://USER:PASSWORD@HOST:3306/DATABASE?tls=true: correct it, and write special characters in the password as %XX")
	errMySQLParameter = errors.New("a mysql or mariadb url knows the parameters tls=true, skip-verify, preferred or false, tls_ca=FILE and " +
		"socket=PATH: correct it")
)

// parseShopURL reads a URL. Its errors never show it.
func parseShopURL(text string) (shopAddress, error) {
	switch scheme, _, _ := strings.Cut(text, "://"); scheme {
	case "postgres", "postgresql":
		return parsePostgres(text)
	case "mysql", "mariadb":
		return parseMySQL(text)
	default:
		return shopAddress{}, errShopForm
	}
}

func parsePostgres(text string) (shopAddress, error) {
	cfg, err := pgx.ParseConfig(text)
	if file, ok := errors.AsType[*fs.PathError](err); ok { // of a certificate
		return shopAddress{}, fmt.Errorf("%w: correct the path, or let this user read it", file)
	}
	if err != nil || !isDatabase(cfg.Database) || cfg.Host == "" || strings.Contains(text, "#") {
		return shopAddress{}, errShopForm
	}
	// In place of statements of its own, so that nothing stays behind on a connection that a pooler gives to others.
	for name, value := range map[string]string{
		"default_transaction_read_only": "on", "statement_timeout": fmt.Sprint(sampleDeadline.Milliseconds()), "application_name": "glueauth",
	} {
		if _, given := cfg.RuntimeParams[name]; !given {
			cfg.RuntimeParams[name] = value
		}
	}
	return shopAddress{
		kind: postgres(), host: net.JoinHostPort(cfg.Host, fmt.Sprint(cfg.Port)), database: cfg.Database,
		connector: &shopConnector{Connector: stdlib.GetConnector(*cfg)},
	}, nil
}

// isDatabase reports whether a name can be a database's. One with an @ is the end of a password with a slash, which messages must not show.
func isDatabase(name string) bool { return name != "" && !strings.Contains(name, "@") }

func parseMySQL(text string) (shopAddress, error) {
	u, err := url.Parse(text)
	if err != nil || u.Fragment != "" {
		return shopAddress{}, errShopForm
	}
	cfg := mysql.NewConfig()
	cfg.User = u.User.Username()
	cfg.Passwd, _ = u.User.Password()
	cfg.DBName = strings.TrimPrefix(u.Path, "/")
	cfg.Net, cfg.Addr = "tcp", u.Host
	if u.Port() == "" {
		cfg.Addr = net.JoinHostPort(u.Hostname(), "3306")
	}
	cfg.ParseTime, cfg.Logger = true, &mysql.NopLogger{}
	cfg.ReadTimeout, cfg.WriteTimeout = sampleDeadline+time.Second, shopDeadline
	if err := mysqlParameters(cfg, u); err != nil {
		return shopAddress{}, err
	}
	if !isDatabase(cfg.DBName) || u.Hostname() == "" && cfg.Net == "tcp" {
		return shopAddress{}, errShopForm
	}
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return shopAddress{}, errShopForm
	}
	return shopAddress{
		kind: mariadb(), host: cfg.Addr, database: cfg.DBName,
		connector: &shopConnector{Connector: connector, setUp: "SET SESSION TRANSACTION READ ONLY"},
	}, nil
}

// mysqlParameters reads what stands behind the question mark. Without a word about TLS it is used where the server has it,
// as with PostgreSQL.
func mysqlParameters(cfg *mysql.Config, u *url.URL) error {
	cfg.TLSConfig = "preferred"
	parameters, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return errShopForm
	}
	for name, values := range parameters {
		value := values[len(values)-1]
		switch {
		case name == "tls" && slices.Contains([]string{"true", "false", "preferred", "skip-verify"}, value):
			cfg.TLSConfig = value
		case name == "tls_ca":
		case name == "socket" && value != "":
			cfg.Net, cfg.Addr = "unix", value
		default:
			return errMySQLParameter
		}
	}
	if path := parameters.Get("tls_ca"); path != "" {
		return mysqlAuthority(cfg, path)
	}
	return nil
}

// mysqlAuthority has certificates checked against those in a file instead of the machine's.
func mysqlAuthority(cfg *mysql.Config, path string) error {
	if cfg.TLSConfig != "true" {
		return errors.New("tls_ca stands in the url without tls=true: add it, or no certificate is checked")
	}
	pem, err := os.ReadFile(path) //nolint:gosec // the operator names the file
	if err != nil {
		return fmt.Errorf("tls_ca: %w: correct the path, or let this user read it", err)
	}
	authority := x509.NewCertPool()
	if !authority.AppendCertsFromPEM(pem) {
		return fmt.Errorf("tls_ca: %s holds no certificate in PEM: give it the authority's", path)
	}
	cfg.TLS = &tls.Config{RootCAs: authority, MinVersion: tls.VersionTLS12}
	return nil
}

// shopConnector connects within a time however long the caller would wait, and sets each connection up. While connecting
// fails, one connection is tried at a time: MariaDB locks a host out after a hundred connections that were not finished.
type shopConnector struct {
	driver.Connector
	setUp string // a statement; empty for none

	failing atomic.Bool
	trying  sync.Mutex
}

var errConnecting = errors.New("connecting failed, and is being tried again")

// Connect implements [driver.Connector].
func (c *shopConnector) Connect(ctx context.Context) (driver.Conn, error) {
	if c.failing.Load() {
		if !c.trying.TryLock() {
			return nil, errConnecting
		}
		defer c.trying.Unlock()
	}
	conn, err := c.connect(ctx)
	if !errors.Is(err, context.Canceled) { // by him who asked
		c.failing.Store(err != nil)
	}
	return conn, err
}

func (c *shopConnector) connect(ctx context.Context) (driver.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectDeadline)
	defer cancel()
	conn, err := c.Connector.Connect(ctx)
	if err != nil || c.setUp == "" {
		return conn, err
	}
	session, ok := conn.(driver.ExecerContext)
	if !ok {
		return nil, errors.Join(errors.New("the driver cannot set a connection up"), conn.Close())
	}
	if _, err := session.ExecContext(ctx, c.setUp, nil); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}
