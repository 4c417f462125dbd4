package config_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/spf13/pflag"

	"github.com/glueauth/glueauth/config"
)

func claims() []string { return []string{"client_id", "customer_reference", "email", "scope", "uuid"} }

// load writes file, where it is not empty, and loads it with the environment and the command line given.
func load(t *testing.T, file string, environ, args []string) (*config.Config, error) {
	t.Helper()
	if file != "" {
		path := filepath.Join(t.TempDir(), "glueauth.yaml")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		environ = append(environ, "GLUEAUTH_CONFIG="+path)
	}
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	flags.Bool("json", false, "a flag that is no setting")
	config.Flags(flags)
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	return config.Load(flags, environ, claims())
}

func mustLoad(t *testing.T, file string, environ, args []string) *config.Config {
	t.Helper()
	c, err := load(t, file, environ, args)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// row is what Print says of one setting.
type row struct{ Value, Source string }

func printed(t *testing.T, c *config.Config) map[string]row {
	t.Helper()
	var b strings.Builder
	if err := c.Print(&b); err != nil {
		t.Fatal(err)
	}
	rows := map[string]row{}
	for line := range strings.Lines(b.String()) {
		fields := strings.Fields(line)
		if fields[0] == "SETTING" {
			continue
		}
		rows[fields[0]] = row{fields[1], strings.Join(fields[2:], " ")}
	}
	return rows
}

// equal compares settings; periods, whose fields are nobody's business, by what they do.
func equal(t *testing.T, want, got any) {
	t.Helper()
	periods := cmp.Comparer(func(a, b config.Period) bool {
		for _, start := range []time.Time{time.Unix(1_700_000_000, 0), time.Date(2028, time.January, 31, 0, 0, 0, 0, time.UTC)} {
			if !a.After(start).Equal(b.After(start)) {
				return false
			}
		}
		return true
	})
	if diff := cmp.Diff(want, got, periods, cmpopts.IgnoreUnexported(config.Config{}), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// lasting returns a period as a client gets it.
func lasting(t *testing.T, text string) config.Period {
	t.Helper()
	return mustLoad(t, "", []string{"GLUEAUTH_REFRESH_LIFETIME=" + text}, nil).Clients[0].RefreshLifetime
}

// builtIn is what Load gives when it is given nothing.
func builtIn(t *testing.T) *config.Config {
	t.Helper()
	c := &config.Config{Listen: ":8080", AdminListen: "127.0.0.1:8081", Data: "./data"}
	c.Log.Format = "json"
	c.Keys.Dir, c.Keys.MasterFile, c.Customers.File = "data/keys", "data/master.key", "data/glueauth.db"
	c.Customers.Source, c.Customers.DoubleOptIn = "file", true
	c.Keys.JWKSCache = time.Hour
	c.Access.Lifetime, c.Access.Type = 28800*time.Second, "JWT"
	c.Refresh = config.Refresh{
		Lifetime: lasting(t, "1mo"), MaxLifetime: lasting(t, "1y"), ReplayWindow: time.Minute, RejoinWindow: 7 * 24 * time.Hour,
		LateRetry: 7 * 24 * time.Hour, ConcurrencyAllowance: 10 * time.Second, MaxSessions: 200, MACKey: 1,
	}
	c.Guessing = config.Guessing{
		Preset: "glueauth", Pair: config.GuessLimit{Most: 10, Window: 600 * time.Second, Lock: 300 * time.Second},
		Account: config.GuessLimit{Most: 100, Window: time.Hour}, Address: config.GuessLimit{Most: 300, Window: 600 * time.Second},
	}
	c.Shutdown.Timeout = 10 * time.Second
	c.HTTP.MaxConnections = 10000
	c.Clients = []config.Client{{
		ID: "frontend", Dialect: "glue", Scopes: []string{"customer"}, AccessLifetime: c.Access.Lifetime,
		RefreshLifetime: c.Refresh.Lifetime, RefreshMax: c.Refresh.MaxLifetime, Profile: "glue", Type: "JWT", Algorithm: "RS256", Subject: "glue",
	}}
	return c
}

func TestLoadNeedsNothing(t *testing.T) {
	t.Parallel()
	equal(t, builtIn(t), mustLoad(t, "", nil, nil))
}

// inOrder has, for every setting, a value for each layer that it can stand in: file, environment, flag.
func inOrder() map[string][]string {
	return map[string][]string{
		"listen":                        {"h:1", "h:2", "h:3"},
		"admin_listen":                  {"h:4", "h:5", "h:6"},
		"data":                          {"f", "e", "fl"},
		"demo":                          {"true", "false", "true"},
		"spryker_environment":           {"false", "true"},
		"keys.store":                    {"folder", "folder"},
		"keys.shop_public":              {"f", "e"},
		"keys.jwks_cache":               {"10m", "5m"},
		"keys.rotate_every":             {"90d", "30d"},
		"log.level":                     {"debug", "warn", "error"},
		"log.format":                    {"text", "json", "text"},
		"guessing.mode":                 {"observe", "enforce"},
		"guessing.preset":               {"spryker", "glueauth"},
		"guessing.pair_failures":        {"9", "0"},
		"guessing.pair_window":          {"900s", "15m"},
		"guessing.pair_lock":            {"360s", "6m"},
		"guessing.account_failures":     {"50", "1000"},
		"guessing.account_window":       {"1d", "2h"},
		"guessing.address_failures":     {"100", "30"},
		"guessing.address_window":       {"1m", "2m"},
		"issuer":                        {"https://f.example/", "https://e.example"},
		"revocations":                   {"true", "false"},
		"keys.dir":                      {"f", "e"},
		"master_key_file":               {"f", "e"},
		"cors.origins":                  {"https://f.example", "https://e.example"},
		"customers.source":              {"file", "file"},
		"customers.file":                {"f", "e"},
		"customers.double_opt_in":       {"false", "true"},
		"redis.wait_replicas":           {"1", "2"},
		"legacy.until":                  {"2027-01-31", "2027-01-31T04:00:00+01:00"},
		"store.durability":              {"power-loss-safe", "process-crash-safe"},
		"tls.self_signed":               {"true", "false", "true"},
		"http.max_connections":          {"100", "200"},
		"trusted_proxies":               {"10.0.0.0/8", "192.0.2.7"},
		"password.workers":              {"3", "auto"},
		"shutdown.drain":                {"1s", "2s"},
		"shutdown.timeout":              {"3s", "4s"},
		"access.lifetime":               {"1h", "30m"},
		"access.typ":                    {"at+jwt", "JWT"},
		"refresh.lifetime":              {"2mo", "1y"},
		"refresh.max_lifetime":          {"2y", "90d"},
		"refresh.replay_window":         {"30s", "45s"},
		"refresh.rejoin_window":         {"0", "1d"},
		"refresh.late_retry":            {"1d", "2d"},
		"refresh.concurrency_allowance": {"1s", "2s"},
		"refresh.max_sessions":          {"5", "6"},
		"refresh.mac_key":               {"2", "3"},
		"refresh.reuse":                 {"observe", "revoke"},
		"refresh.customer_check":        {"observe", "enforce"},
	}
}

func envName(key string) string {
	return "GLUEAUTH_" + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
}

// yaml writes a setting as the file has it.
func yaml(key, value string) string {
	if section, name, nested := strings.Cut(key, "."); nested {
		return section + ":\n  " + name + ": " + value + "\n"
	}
	return key + ": " + value + "\n"
}

func TestPrecedenceIsProvedForEverySetting(t *testing.T) {
	t.Parallel()
	all := inOrder()
	for key := range printed(t, mustLoad(t, "", nil, nil)) {
		if _, ok := all[key]; !ok && !hasItsOwnTest(key) {
			t.Errorf("%s is a setting that this test does not know", key)
		}
	}
}

// hasItsOwnTest is of the settings that cannot stand alone, and of secrets.
func hasItsOwnTest(key string) bool {
	return key == "config" || slices.ContainsFunc([]string{
		"admin_secret", "clients[0].", "customers.query", "customers.url", "keys.shop_private", "legacy.encryption_key", "redis.url",
		"tls.admin_", "tls.cert", "tls.key",
	}, func(prefix string) bool { return strings.HasPrefix(key, prefix) }) || key == "master_key"
}

func TestPrecedence(t *testing.T) {
	t.Parallel()
	for key, values := range inOrder() {
		t.Run(key, func(t *testing.T) {
			t.Parallel()
			inFile := yaml(key, values[0])
			inEnv := []string{envName(key) + "=" + values[1]}
			unset := printed(t, mustLoad(t, "", nil, nil))[key]
			equal(t, "built-in", unset.Source)
			c := mustLoad(t, inFile, nil, nil)
			equal(t, row{values[0], "file " + c.File}, printed(t, c)[key])
			equal(t, row{values[1], "environment " + envName(key)}, printed(t, mustLoad(t, inFile, inEnv, nil))[key])
			if len(values) < 3 {
				return
			}
			flag := "--" + strings.NewReplacer(".", "-", "_", "-").Replace(key)
			for _, value := range []string{values[2], unset.Value} { // a flag given its built-in value counts too
				equal(t, row{value, "flag " + flag}, printed(t, mustLoad(t, inFile, inEnv, []string{flag + "=" + value}))[key])
			}
		})
	}
}

func TestConfigFileIsFoundByFlagOverEnvironment(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "flag.yaml")
	if err := os.WriteFile(path, []byte("data: by-flag\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := mustLoad(t, "data: by-environment\n", nil, []string{"--config", path})
	if c.Data != "by-flag" || c.File != path {
		t.Errorf("data %q from %q", c.Data, c.File)
	}
	if c := mustLoad(t, "data: by-environment\n", nil, []string{"--config="}); c.Data != "./data" {
		t.Errorf("an empty --config read a file: data %q", c.Data)
	}
}

func TestValuesReachTheirFields(t *testing.T) {
	t.Parallel()
	c := mustLoad(t, `
admin_listen: ""
log: {level: warn, format: text}
issuer: https://login.example/a/
master_key: "0123"
cors: {origins: ["https://shop.example", "capacitor://localhost"]}
customers: {double_opt_in: false}
store: {durability: power-loss-safe}
password: {workers: 3}
refresh: {reuse: observe, customer_check: observe, max_sessions: 7, rejoin_window: 0}
shutdown:
  # drain: 5s
clients:
  - {id: shop, secret: "s3", introspect: true, dialect: rfc6749, scopes: [customer, "orders:read"], access_lifetime: 5m, refresh_lifetime: 7d, refresh_max_lifetime: 90d, refresh_token_expires_in: true, typ: at+jwt, alg: PS256, subject: uuid, claims: [email, uuid]}
  - id: second
    claims: []
    scopes:
`, []string{"PATH=/bin", "GLUEAUTH_ACCESS_LIFETIME=1h"}, nil)
	want := builtIn(t)
	want.File, want.AdminListen, want.Issuer = c.File, "", "https://login.example/a/"
	want.Log.Level, want.Log.Format = slog.LevelWarn, "text"
	want.Keys.Master, want.Keys.MasterFile = "0123", ""
	want.CORS.Origins = []string{"https://shop.example", "capacitor://localhost"}
	want.Customers.DoubleOptIn, want.Store.PowerLossSafe, want.Password.Workers = false, true, 3
	want.Refresh.ReuseObserved, want.Refresh.CheckObserved, want.Refresh.MaxSessions, want.Refresh.RejoinWindow = true, true, 7, 0
	want.Access.Lifetime = time.Hour
	want.Clients = []config.Client{{
		ID: "shop", Secret: "s3", Introspect: true, Dialect: "rfc6749", Scopes: []string{"customer", "orders:read"}, AccessLifetime: 5 * time.Minute,
		RefreshLifetime: lasting(t, "7d"), RefreshMax: lasting(t, "90d"), RefreshExpiry: true, Profile: "glue", Type: "at+jwt", Algorithm: "PS256", Subject: "uuid", Claims: []string{"email", "uuid"},
	}, {
		ID: "second", Dialect: "glue", Scopes: []string{"customer"}, AccessLifetime: time.Hour,
		RefreshLifetime: want.Refresh.Lifetime, RefreshMax: want.Refresh.MaxLifetime, Profile: "glue", Type: "JWT", Algorithm: "RS256", Subject: "glue",
	}}
	equal(t, want, c)
	rows := printed(t, c)
	equal(t, row{"1h", "access.lifetime"}, rows["clients[1].access_lifetime"])
	equal(t, row{"5m", "file " + c.File}, rows["clients[0].access_lifetime"])
}

func TestKubernetesServiceLinksAreNoSettings(t *testing.T) {
	t.Parallel()
	mustLoad(t, "", []string{
		"GLUEAUTH_SERVICE_HOST=10.0.0.1", "GLUEAUTH_SERVICE_PORT=8080", "GLUEAUTH_SERVICE_PORT_HTTP=8080",
		"GLUEAUTH_PORT=tcp://10.0.0.1:8080", "GLUEAUTH_PORT_8080_TCP=tcp://10.0.0.1:8080", "GLUEAUTH_PORT_8080_TCP_ADDR=10.0.0.1",
		"GLUEAUTH_REDIS_SERVICE_HOST=10.0.0.2", "GLUEAUTH_REDIS_PORT=tcp://10.0.0.2:6379",
	}, nil)
	if _, err := load(t, "", []string{"GLUEAUTH_PORT=8080"}, nil); err == nil {
		t.Error("GLUEAUTH_PORT=8080 was ignored: it is a mistake that must be named")
	}
}

func TestLoadWithoutFlags(t *testing.T) {
	t.Parallel()
	c, err := config.Load(nil, []string{"GLUEAUTH_DATA=d"}, nil)
	if err != nil || c.Data != "d" {
		t.Errorf("%v, %v", c, err)
	}
}

func TestRedisURLIsASecret(t *testing.T) {
	t.Parallel()
	const url = "redis://:canary@h:6379/0"
	file := filepath.Join(t.TempDir(), "url")
	for _, path := range []string{file, file + "x"} {
		if err := os.WriteFile(path, []byte(url+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]*config.Config{
		"file":                  mustLoad(t, "redis:\n  url: "+url+"\n", nil, nil),
		"environment":           mustLoad(t, "redis:\n  url: redis://other\n", []string{"GLUEAUTH_REDIS=" + url}, nil),
		"flag":                  mustLoad(t, "", []string{"GLUEAUTH_REDIS=redis://other"}, []string{"--redis=" + url}),
		"file of its own":       mustLoad(t, "redis:\n  url_file: "+file+"\n", nil, nil),
		"environment to a file": mustLoad(t, "", []string{"GLUEAUTH_REDIS_FILE=" + file}, nil),
	} {
		if c.Redis.URL.Reveal() != url {
			t.Errorf("%s: the URL did not arrive", name)
		}
		var out strings.Builder
		if err := c.Print(&out); err != nil || strings.Contains(out.String(), "canary") {
			t.Errorf("%s: printed %s (%v)", name, out.String(), err)
		}
	}
	others := mustLoad(t, "{redis: {url_file: "+file+"}, clients: [{id: a, secret_file: "+file+"x}, {id: b}]}\n", nil, nil)
	if diff := cmp.Diff([]string{file, file + "x"}, others.SecretFiles); diff != "" {
		t.Errorf("files of secrets (-want +got):\n%s", diff)
	}
	for _, environ := range [][]string{{"GLUEAUTH_REDIS="}, {"GLUEAUTH_REDIS=" + url, "GLUEAUTH_REDIS_FILE=" + file}, {"GLUEAUTH_REDIS_FILE=" + file + "y"}} {
		if _, err := config.Load(nil, environ, nil); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", strings.Split(environ[0], "=")[0], err)
		}
	}
}

func TestTheManagementSecretComesByItselfOrByItsFile(t *testing.T) {
	t.Parallel()
	const given = "0123456789abcdef"
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(given+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]*config.Config{
		"file":                  mustLoad(t, "admin_secret: "+given+"\n", nil, nil),
		"environment":           mustLoad(t, "", []string{"GLUEAUTH_ADMIN_SECRET=" + given}, nil),
		"file of its own":       mustLoad(t, "admin_secret_file: "+file+"\n", nil, nil),
		"environment to a file": mustLoad(t, "", []string{"GLUEAUTH_ADMIN_SECRET_FILE=" + file}, nil),
	} {
		if c.AdminSecret.Reveal() != given {
			t.Errorf("%s: another secret", name)
		}
		if row := printed(t, c)["admin_secret"]; strings.Contains(row.Value, given) {
			t.Errorf("%s: shown as %v", name, row)
		}
	}
}
