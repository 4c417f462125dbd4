// Package config is the one table of settings, and the typed, validated [Config] that comes out of it.
//
// settings.go is the table: parser, environment names, flags, `config print` and the README's list are all made from it.
// A value comes from the last of these layers that gives one: built-in, the shop's environment (spryker.go), file,
// environment, flags. Whatever is given and not understood is an error that says where it stands and what to write instead;
// nothing is ignored, but variables of the shop's that mean nothing to us.
package config

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/pflag"

	"github.com/glueauth/glueauth/config/secret"
)

// Config is the result of [Load]. It is complete and valid, and nobody changes it.
type Config struct {
	File        string      // the configuration file; empty for none
	Listen      string      // HOST:PORT of the public listener
	AdminListen string      // HOST:PORT of the management listener; empty: there is none
	AdminSecret secret.Text // bearer secret of the management API; empty: there is none
	Data        string      // the data folder
	Demo        bool
	Revocations bool   // what has ended is published
	Issuer      string // the iss claim, byte for byte; empty for none

	Log struct {
		Level  slog.Level
		Format string // json or text
	}
	Keys struct {
		Shared      bool        // the signing keys are in Redis, which has a URL then
		Dir         string      // folder of the signing keys otherwise
		Master      secret.Text // the master key itself; empty: it stands in MasterFile
		MasterFile  string      // empty when Master is given
		ShopPrivate secret.Text // the shop's own key, in the forms of keys.ReadShopKey; empty for none
		ShopPublic  string      // likewise

		JWKSCache   time.Duration // for how long others may keep the key set; whole seconds
		RotateEvery time.Duration // how long a key signs; 0: until an operator rotates
	}
	CORS struct {
		Origins []string // scheme://host[:port], as browsers send them
	}
	Customers struct {
		Source      string      // file, spryker or sql
		File        string      // the SQLite database, of the source file
		URL         secret.Text // the shop's database, of the sources spryker and sql
		Query       string      // the operator's own, of the source sql
		DoubleOptIn bool        // refuse customers who have not confirmed their registration
	}
	Redis struct {
		URL          secret.Text // empty: sessions are kept in the data folder
		WaitReplicas int
	}
	Store struct {
		PowerLossSafe bool
	}
	Access struct { // what clients have that do not say otherwise
		Lifetime time.Duration // whole seconds
		Type     string        // JWT or at+jwt
	}
	TLS      TLS
	HTTP     HTTP
	Legacy   Legacy
	Guessing Guessing
	Refresh  Refresh
	Password struct {
		Workers int // passwords verified at the same time; 0: auto
	}
	Shutdown struct {
		Drain   time.Duration // from readiness 503 to closing the listeners
		Timeout time.Duration // for requests in flight, after that
	}
	Clients  []Client // at least one; the first is the default client
	FromShop []string // settings whose value the shop's environment gave, in the order of the table
	// SecretFiles are the files out of which secrets were read, but for those of keys, which whoever opens them looks at.
	SecretFiles []string

	redisFile       string  // file of Redis.URL; empty for none
	customersFile   string  // file of Customers.URL; empty for none
	adminSecretFile string  // file of AdminSecret; empty for none
	legacyKeyFile   string  // file of Legacy.EncryptionKey; empty for none
	entries         []entry // for Print, secrets masked
}

// Refresh is what holds for the refresh sessions of all clients. Durations are whole seconds, 0 or more.
type Refresh struct {
	Lifetime             Period // what clients have that do not say otherwise
	MaxLifetime          Period // likewise
	ReplayWindow         time.Duration
	RejoinWindow         time.Duration
	LateRetry            time.Duration
	ConcurrencyAllowance time.Duration
	MaxSessions          int
	MACKey               int  // number of the key that refresh tokens are made with, 1 to 255
	ReuseObserved        bool // refresh.reuse: observe
	CheckObserved        bool // refresh.customer_check: observe
}

// Client is one client, with every default filled in.
type Client struct {
	ID              string
	Secret          secret.Text // empty: a public client
	Introspect      bool        // may ask about tokens; it has a secret then
	Dialect         string      // glue or rfc6749
	Scopes          []string
	AccessLifetime  time.Duration // whole seconds
	RefreshLifetime Period
	RefreshMax      Period // end of a session
	RefreshExpiry   bool   // answers say for how long their refresh token is good
	Profile         string // glue or rfc9068; what it means is in the next fields
	Type            string // JWT or at+jwt
	Algorithm       string // RS256, PS256, ES256 or EdDSA
	Subject         string // glue, reference or uuid
	Claims          []string
}

// Load reads the settings: the variables SPRYKER_* of environ (in the form of os.Environ), the file that --config or
// GLUEAUTH_CONFIG names, the variables GLUEAUTH_* of environ, and those of the flags registered by [Flags] that were set.
// flags may be nil. claims are the names that a client may list under claims. The error is one line: the setting, where it
// stands, its value unless secret, the remedy.
func Load(flags *pflag.FlagSet, environ, claims []string) (*Config, error) {
	c := &Config{}
	table := settings(c)
	given, err := layers(table, flags, environ)
	if err != nil {
		return nil, err
	}
	if err := addShop(table, given, environ); err != nil {
		return nil, err
	}
	for _, s := range table {
		v, ok := given[s.key]
		if v.shop {
			c.FromShop = append(c.FromShop, s.key)
		}
		if s.read == nil {
			continue
		}
		e, err := s.take(v, ok)
		if err != nil {
			return nil, v.instead(s, err)
		}
		c.entries = append(c.entries, e)
	}
	if err := c.complete(given); err != nil {
		return nil, err
	}
	if err := c.readClients(given[clientsKey], claims); err != nil {
		return nil, given[clientsKey].instead(setting{key: clientsKey}, err)
	}
	return c, nil
}

// complete fills in what hangs on other settings, and looks at what must fit together.
func (c *Config) complete(given map[string]value) error {
	for _, step := range []func(map[string]value) error{
		c.checkListeners, c.readTLS, c.readMasterKey, c.checkRotation, c.checkRefresh, c.readStores, c.readAdminSecret, c.readCustomers, c.readLegacy,
	} {
		if err := step(given); err != nil {
			return err
		}
	}
	c.fillGuessing(given)
	c.inData("keys.dir", &c.Keys.Dir, "keys")
	if c.Customers.Source == sourceFile {
		c.inData("customers.file", &c.Customers.File, "glueauth.db")
	}
	return nil
}

// readMasterKey looks where the master key is.
func (c *Config) readMasterKey(given map[string]value) error {
	if c.Keys.Master == "" {
		c.inData("master_key_file", &c.Keys.MasterFile, "master.key")
	}
	return notBoth(given, "master_key", "master_key_file")
}

// readStores reads the URL of Redis, which the keys may be kept in too.
func (c *Config) readStores(given map[string]value) error {
	if err := c.fromFile(given, "redis.url", "redis.url_file", c.redisFile, secretText(&c.Redis.URL)); err != nil {
		return err
	}
	if c.Keys.Shared && c.Redis.URL == "" {
		return errors.New("keys.store is redis, but redis.url is not set: give it the URL, or set the store to folder")
	}
	return nil
}

// readAdminSecret reads the secret of the management API, which needs its listener.
func (c *Config) readAdminSecret(given map[string]value) error {
	const key = "admin_secret"
	if err := c.fromFile(given, key, key+"_file", c.adminSecretFile, adminSecret(&c.AdminSecret)); err != nil {
		return err
	}
	if c.AdminSecret != "" && c.AdminListen == "" {
		return errors.New("admin_secret is set, but admin_listen turns the management listener off: give it an address, or leave the secret out")
	}
	return nil
}

const sourceFile = "file"

// readCustomers reads the URL of the shop's database, and looks whether everything is there that the source needs, and
// nothing that it would ignore.
func (c *Config) readCustomers(given map[string]value) error {
	if err := c.fromFile(given, "customers.url", "customers.url_file", c.customersFile, secretText(&c.Customers.URL)); err != nil {
		return err
	}
	people, inFile, queried := c.Customers, c.Customers.Source == sourceFile, c.Customers.Source == "sql"
	for _, m := range []struct {
		wrong           bool
		mistake, remedy string
	}{
		{inFile && people.URL != "", "customers.url is set", "set the source to spryker or sql, or leave the url out"},
		{!inFile && people.URL == "", "customers.url is not set", "give it the URL of the shop's database"},
		{!inFile && people.File != "", "customers.file is set", "leave it out"},
		{!inFile && c.Demo, "demo is set, which adds a customer", "leave it out, or set the source to file"},
		{queried && people.Query == "", "customers.query is not set", "write the SELECT that returns the customers, or set the source to spryker"},
		{!queried && people.Query != "", "customers.query is set", "set the source to sql, or leave the query out"},
	} {
		if m.wrong {
			return fmt.Errorf("customers.source is %s, but %s: %s", people.Source, m.mistake, m.remedy)
		}
	}
	return nil
}

// fromFile reads a secret from its file, where there is one.
func (c *Config) fromFile(given map[string]value, key, fileKey, path string, read reader) error {
	if err := notBoth(given, key, fileKey); err != nil || path == "" {
		return err
	}
	text, err := readSecret(path, fmt.Sprintf("write %s into it, or leave %s out", key, fileKey))
	if err == nil {
		err = read(text)
	}
	if err != nil {
		return setting{key: fileKey}.mistake(given[fileKey], err)
	}
	c.SecretFiles = append(c.SecretFiles, path)
	return nil
}

// inData gives a path that was left open its place in the data folder.
func (c *Config) inData(key string, path *string, name string) {
	if *path != "" {
		return
	}
	*path = filepath.Join(c.Data, name)
	c.entry(key).value = *path
}

// entry returns what Print says of a setting.
func (c *Config) entry(key string) *entry {
	i := slices.IndexFunc(c.entries, func(e entry) bool { return e.key == key })
	return &c.entries[i]
}
