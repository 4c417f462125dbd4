package config

import (
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// setting is one row of the table.
type setting struct {
	key     string // in the file, its parts nested
	env     string // variable, where it is not made from the key
	flag    string // empty: none
	builtin string
	from    string // key of the setting that the built-in value is taken from
	meaning string // for the README and --help
	secret  bool   // never shown
	quoted  bool   // a YAML number is refused, since YAML changes how it is written
	list    bool   // may be a YAML list
	must    bool   // must be given
	read    reader // nil: read elsewhere
}

const (
	configKey  = "config"
	clientsKey = "clients"
	envPrefix  = "GLUEAUTH_"
)

// variable returns the environment variable of the setting, empty where there is none.
func (s setting) variable() string {
	if s.key == clientsKey || s.env != "" {
		return s.env
	}
	return envPrefix + strings.ToUpper(strings.ReplaceAll(s.key, ".", "_"))
}

// settings is the table; its readers write into c.
func settings(c *Config) []setting {
	return slices.Concat(serverSettings(c), tlsSettings(c), httpSettings(c), legacySettings(c), guessingSettings(c), tokenSettings(c))
}

func serverSettings(c *Config) []setting {
	return []setting{
		{key: configKey, flag: "config", read: text(&c.File), meaning: "the configuration file, in YAML"},
		{key: "listen", flag: "listen", builtin: ":8080", read: address(&c.Listen), meaning: "address of the public listener"},
		{key: "admin_listen", flag: "admin-listen", builtin: "127.0.0.1:8081", read: optional(address(&c.AdminListen)), meaning: "address of the management listener: metrics, health and the management API; empty turns it off"},
		{key: "admin_secret", secret: true, read: required("write at least 16 characters, or leave it out to turn the management API off", adminSecret(&c.AdminSecret)), meaning: "bearer secret of the management API on that listener (`/keys`, `/sessions/list`, `show`, `revoke`, `explain`), at least 16 characters; without one there is no such API"},
		{key: "admin_secret_file", read: optional(secretPath(&c.adminSecretFile)), meaning: "file that holds `admin_secret` instead"},
		{key: "data", flag: "data", builtin: "./data", read: required("give it a path, or leave it out for the built-in one", text(&c.Data)), meaning: "the data folder, made on first start"},
		{key: shopEnvironmentKey, builtin: "true", read: boolean(new(bool)), meaning: "settings that are given nowhere else are taken from the shop's own variables `SPRYKER_*` (below); `false`: those are not looked at"},
		{key: "demo", flag: "demo", builtin: "false", read: boolean(&c.Demo), meaning: "adds a demo customer with a public password to an empty embedded database"},
		{key: "log.level", flag: "log-level", builtin: "info", read: level(&c.Log.Level), meaning: "`debug`, `info`, `warn` or `error`"},
		{key: "log.format", flag: "log-format", builtin: "json", read: oneOf(&c.Log.Format, "json", "text"), meaning: "`json` or `text`"},
		{key: "issuer", read: optional(issuer(&c.Issuer)), meaning: "the URL that clients reach this server at: the `iss` claim, byte for byte, and where the metadata's endpoints are; empty: no such claim, as the reference, and no metadata"},
		{key: "keys.store", builtin: "folder", read: either(&c.Keys.Shared, "redis", "folder"), meaning: "where the signing keys are: `folder`, in `keys.dir`; `redis`, beside the sessions, sealed by the master key, for all replicas"},
		{key: "revocations", builtin: "false", read: boolean(&c.Revocations), meaning: "publish at `/.well-known/revocations` which sessions have ended, for gateways that cut off access tokens before they expire; it shows ids of customers and when they signed out everywhere, so let only gateways reach it"},
		{key: "keys.dir", read: optional(path(&c.Keys.Dir)), meaning: "folder of the signing keys; empty: `keys` in the data folder"},
		{key: "keys.jwks_cache", builtin: "1h", read: duration(&c.Keys.JWKSCache, time.Second, 30*24*time.Hour), meaning: "for how long gateways may keep the key set (`Cache-Control`); a new key is published that long, and up to a minute more, before it signs"},
		{key: "keys.rotate_every", builtin: "0s", read: duration(&c.Keys.RotateEvery, 0, 10*366*24*time.Hour), meaning: "how long a key signs before the servers, which must share `keys.dir` or have `keys.store: redis`, replace it by a new one, like `90d`; `0s`: keys are rotated by `glueauth keys rotate` only"},
		{key: "keys.shop_private", secret: true, read: required("give the key, or leave it out", secretText(&c.Keys.ShopPrivate)), meaning: "the RSA private key that the shop has signed with: PEM, its line breaks perhaps written as `__LINE__`, or `file://` and a path; it is published, verifies the shop's tokens, and signs while `keys.dir` is empty"},
		{key: "keys.shop_public", read: optional(text(&c.Keys.ShopPublic)), meaning: "the shop's public key in the same forms: a private key that does not belong to it stops the start"},
		{key: "master_key", secret: true, read: required("give the key, or leave it out to have it in a file", secretText(&c.Keys.Master)), meaning: "the master key, 32 bytes as hex or base64, or several with their numbers, `10:NEW,1:OLD`; without it, it stands in the master key file"},
		{key: "master_key_file", read: required("give a path, or leave it out for the built-in one", secretPath(&c.Keys.MasterFile)), meaning: "file of the master key; without it, `master.key` in the data folder"},
		{key: "cors.origins", list: true, read: origins(&c.CORS.Origins), meaning: "web origins that may call from a browser, like `https://shop.example`; comma-separated or a YAML list"},
		{key: "customers.source", builtin: "file", read: oneOf(&c.Customers.Source, "file", "spryker", "sql"), meaning: "where the customers are: `file`, the embedded database; `spryker`, the shop's own `spy_customer`; `sql`, what `customers.query` returns"},
		{key: "customers.file", read: optional(path(&c.Customers.File)), meaning: "SQLite database of the customers; empty: `glueauth.db` in the data folder"},
		{key: "customers.url", secret: true, read: required("give it a URL, or leave it out with customers.source: file", secretText(&c.Customers.URL)), meaning: "the shop's database, which is only read: `postgres://USER:PASSWORD@HOST:5432/DATABASE?sslmode=verify-full` (`sslrootcert=FILE`, `search_path=SCHEMA`) or `mysql://USER:PASSWORD@HOST:3306/DATABASE?tls=true` (`tls_ca=FILE`, `tls=skip-verify`, `preferred` or `false`, `socket=PATH`), also `mariadb://`; without a word about TLS it is used where the server has it, and no certificate is checked"},
		{key: "customers.url_file", read: optional(secretPath(&c.customersFile)), meaning: "file that holds `customers.url` instead"},
		{key: "customers.query", read: required("write a SELECT, or leave it out unless customers.source is sql", text(&c.Customers.Query)), meaning: "with `customers.source: sql`: one SELECT without ORDER BY that returns `id` (a whole number), `reference`, `email`, `password_hash`, `confirmed` and `blocked` of all customers"},
		{key: "customers.double_opt_in", builtin: "true", read: boolean(&c.Customers.DoubleOptIn), meaning: "refuse customers who have not confirmed their registration"},
		{key: "redis.url", env: envPrefix + "REDIS", flag: "redis", secret: true, read: required("give it a URL, or leave it out to keep sessions in the data folder", secretText(&c.Redis.URL)), meaning: "sessions are kept there, for any number of replicas: `redis://`, `rediss://`, `unix://`, `redis+sentinel://h1,h2/0?master=NAME` or `redis+cluster://h1,h2`; without it, in the data folder"},
		{key: "redis.url_file", env: envPrefix + "REDIS_FILE", read: optional(secretPath(&c.redisFile)), meaning: "file that holds `redis.url` instead"},
		{key: "redis.wait_replicas", builtin: "0", read: count(&c.Redis.WaitReplicas, 0, 10), meaning: "replicas of Redis that must confirm a sign-in and an ended session before it is answered"},
		{key: "store.durability", builtin: "process-crash-safe", read: either(&c.Store.PowerLossSafe, "power-loss-safe", "process-crash-safe"), meaning: "`process-crash-safe`: a killed process loses nothing; `power-loss-safe`: a power cut neither, at one disk sync for each group of writes"},
		{key: "password.workers", builtin: "auto", read: workers(&c.Password.Workers), meaning: "passwords verified at the same time, at low priority; `auto`: one for each core, and one fewer where a quota or GOMAXPROCS limits the cores"},
		{key: "shutdown.drain", builtin: "0s", read: duration(&c.Shutdown.Drain, 0, time.Hour), meaning: "how long readiness says no before the listeners close"},
		{key: "shutdown.timeout", builtin: "10s", read: duration(&c.Shutdown.Timeout, time.Second, time.Hour), meaning: "how long requests in flight may take after that"},
	}
}

func tokenSettings(c *Config) []setting {
	const year = 366 * 24 * time.Hour
	r := &c.Refresh
	return []setting{
		{key: "access.lifetime", builtin: "8h", read: duration(&c.Access.Lifetime, time.Second, year), meaning: "lifetime of an access token"},
		{key: "access.typ", builtin: "JWT", read: oneOf(&c.Access.Type, "JWT", "at+jwt"), meaning: "`typ` in the header of access tokens: `JWT` or `at+jwt` (RFC 9068)"},
		{key: "refresh.lifetime", builtin: "1mo", read: period(&r.Lifetime), meaning: "lifetime of a refresh token, `refresh.max_lifetime` at most; each refresh starts it anew"},
		{key: "refresh.max_lifetime", builtin: "1y", read: period(&r.MaxLifetime), meaning: "end of a session, however often it is refreshed"},
		{key: "refresh.replay_window", builtin: "60s", read: duration(&r.ReplayWindow, 0, year), meaning: "within it a used refresh token gets the same successor again: lost answers, racing tabs"},
		{key: "refresh.rejoin_window", builtin: "7d", read: duration(&r.RejoinWindow, 0, year), meaning: "within it a second copy on the same device gets the newest token; `0` turns it off"},
		{key: "refresh.late_retry", builtin: "7d", read: duration(&r.LateRetry, 0, year), meaning: "within it an answer that was lost for long is replaced"},
		{key: "refresh.concurrency_allowance", builtin: "10s", read: duration(&r.ConcurrencyAllowance, 0, year), meaning: "how long after a refresh a tab may still come one refresh late"},
		{key: "refresh.max_sessions", builtin: "200", read: count(&r.MaxSessions, 1, 10_000), meaning: "sessions of one customer; the longest unused end first"},
		{key: "refresh.mac_key", builtin: "1", read: count(&r.MACKey, 1, 255), meaning: "number of the key that refresh tokens are made with, 1 to 255; raise it, replica by replica, to roll: tokens of smaller numbers stay good until they expire"},
		{key: "refresh.reuse", builtin: "revoke", read: either(&r.ReuseObserved, "observe", "revoke"), meaning: "a stolen or copied refresh token ends its session (`revoke`), or is refused and counted (`observe`; one that was replaced unused still ends it)"},
		{key: "refresh.customer_check", builtin: "enforce", read: either(&r.CheckObserved, "observe", "enforce"), meaning: "a blocked, unconfirmed or re-passworded customer is signed out at refresh (`enforce`), or goes on and is counted (`observe`; a changed password is not looked at then, and one who is gone is signed out all the same)"},
		{key: clientsKey, meaning: "list of clients, in the file only, the first is the default client; empty: the public client `frontend`"},
	}
}

// Flags registers the flags of the table, with the built-in values as their defaults.
func Flags(fs *pflag.FlagSet) {
	for _, s := range settings(&Config{}) {
		usage := strings.ReplaceAll(s.meaning, "`", "")
		switch {
		case s.flag == "":
		case s.builtin == "true" || s.builtin == "false":
			fs.Bool(s.flag, s.builtin == "true", usage)
		default:
			fs.String(s.flag, s.builtin, usage)
		}
	}
}
