package config_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/glueauth/glueauth/config"
)

// shopVariables is an environment as Spryker's docker-sdk makes it.
func shopVariables() []string {
	return []string{
		"SPRYKER_OAUTH_KEY_PRIVATE=-----BEGIN PRIVATE KEY-----__LINE__" + canary + "__LINE__-----END PRIVATE KEY-----__LINE__",
		"SPRYKER_OAUTH_KEY_PUBLIC=-----BEGIN PUBLIC KEY-----__LINE__MIIB__LINE__-----END PUBLIC KEY-----__LINE__",
		"SPRYKER_OAUTH_ENCRYPTION_KEY=" + canary,
		"SPRYKER_OAUTH_CLIENT_IDENTIFIER=frontend",
		"SPRYKER_OAUTH_CLIENT_SECRET=" + canary,
		`SPRYKER_OAUTH_CLIENT_CONFIGURATION=[{"identifier":"frontend","secret":"` + canary + `","isConfidential":true,"name":"Customer client","redirectUri":null,"isDefault":true}]`,
		"SPRYKER_KEY_VALUE_STORE_ENGINE=redis",
		"SPRYKER_KEY_VALUE_STORE_HOST=key_value_store",
		"SPRYKER_KEY_VALUE_STORE_PORT=6379",
		"SPRYKER_KEY_VALUE_STORE_SOURCE_NAMES=",
		"SPRYKER_KEY_VALUE_STORE_CONNECTION_OPTIONS=[]",
		"SPRYKER_GLUE_APPLICATION_CORS_ALLOW_ORIGIN=https://shop.example",
		"SPRYKER_DB_ENGINE=mysql", "SPRYKER_DB_HOST=database", "SPRYKER_DB_PORT=3306", "SPRYKER_DB_DATABASE=eu-docker",
		"SPRYKER_DB_USERNAME=spryker", "SPRYKER_DB_PASSWORD=" + canary, "SPRYKER_DB_ROOT_USERNAME=root",
		"SPRYKER_SMTP_HOST=mail_catcher", "APPLICATION_ENV=docker",
	}
}

func TestAShopsEnvironmentGivesWhatNothingElseGives(t *testing.T) {
	t.Parallel()
	c := mustLoad(t, "", shopVariables(), nil)
	if got := c.Keys.ShopPrivate.Reveal(); !strings.Contains(got, "__LINE__"+canary) {
		t.Errorf("keys.shop_private is %q", got)
	}
	if !strings.HasPrefix(c.Keys.ShopPublic, "-----BEGIN PUBLIC KEY-----__LINE__MIIB") {
		t.Errorf("keys.shop_public is %q", c.Keys.ShopPublic)
	}
	equal(t, []string{"https://shop.example"}, c.CORS.Origins)
	equal(t, "redis://key_value_store:6379/1", c.Redis.URL.Reveal())
	want := builtIn(t).Clients
	want[0].Secret = canary
	equal(t, want, c.Clients)
	for _, key := range []string{"keys.shop_private", "keys.shop_public", "cors.origins", "redis.url", "clients"} {
		if !strings.Contains(strings.Join(c.FromShop, " ")+" ", key+" ") {
			t.Errorf("FromShop lacks %s: %v", key, c.FromShop)
		}
	}
	rows := printed(t, c)
	for key, want := range map[string]row{
		"keys.shop_private":   {"[redacted]", "environment SPRYKER_OAUTH_KEY_PRIVATE"},
		"cors.origins":        {"https://shop.example", "environment SPRYKER_GLUE_APPLICATION_CORS_ALLOW_ORIGIN"},
		"redis.url":           {"[redacted]", "environment SPRYKER_KEY_VALUE_STORE_HOST"},
		"clients[0].id":       {"frontend", "environment SPRYKER_OAUTH_CLIENT_CONFIGURATION"},
		"clients[0].secret":   {"[redacted]", "environment SPRYKER_OAUTH_CLIENT_CONFIGURATION"},
		"clients[0].dialect":  {"glue", "built-in"},
		"spryker_environment": {"true", "built-in"},
	} {
		equal(t, want, rows[key])
	}
	var out strings.Builder
	if err := c.Print(&out); err != nil || strings.Contains(out.String(), canary) {
		t.Errorf("printed %v:\n%s", err, out.String())
	}
}

func TestAShopsEnvironmentComesLast(t *testing.T) {
	t.Parallel()
	const file = `
cors: {origins: ["https://file.example"]}
redis: {url: "redis://file"}
keys: {shop_private: mine}
clients: [{id: mine}]
`
	c := mustLoad(t, file, shopVariables(), nil)
	equal(t, []string{"https://file.example"}, c.CORS.Origins)
	equal(t, "redis://file", c.Redis.URL.Reveal())
	equal(t, "mine", c.Clients[0].ID)
	if c.Keys.ShopPrivate != "mine" || c.Keys.ShopPublic != "" {
		t.Error("the shop's public key was put beside a private one of our own")
	}
	c = mustLoad(t, "", append(shopVariables(), "GLUEAUTH_REDIS=redis://environment", "GLUEAUTH_CORS_ORIGINS="), nil)
	equal(t, "redis://environment", c.Redis.URL.Reveal())
	if c.CORS.Origins != nil {
		t.Errorf("an empty setting of our own did not count: %v", c.CORS.Origins)
	}
	c = mustLoad(t, "", shopVariables(), []string{"--redis=redis://flag"})
	equal(t, "redis://flag", c.Redis.URL.Reveal())
}

func TestAShopsEnvironmentCanBeLeftAlone(t *testing.T) {
	t.Parallel()
	broken := []string{"SPRYKER_KEY_VALUE_STORE_HOST=a b", "SPRYKER_OAUTH_CLIENT_CONFIGURATION=x"}
	for _, c := range []*config.Config{
		mustLoad(t, "", append(shopVariables(), "GLUEAUTH_SPRYKER_ENVIRONMENT=false"), nil),
		mustLoad(t, "spryker_environment: false\n", append(shopVariables(), broken...), nil),
		mustLoad(t, "", []string{"SPRYKER_KEY_VALUE_STORE_HOST=", "SPRYKER_OAUTH_CLIENT_CONFIGURATION=", "SPRYKER_UNKNOWN=x", "SPRYKER_DB_HOST="}, nil),
		mustLoad(t, "", []string{"SPRYKER_OAUTH_CLIENT_CONFIGURATION=[]", "SPRYKER_KEY_VALUE_STORE_ENGINE=dynamodb", "SPRYKER_KEY_VALUE_STORE_HOST=h"}, nil),
	} {
		want := builtIn(t)
		want.File = c.File
		equal(t, want, c)
	}
}

func TestAShopsClientsBecomeOurs(t *testing.T) {
	t.Parallel()
	type client struct{ ID, Secret string }
	for list, want := range map[string][]client{
		`[{"identifier":"a","secret":"s","isConfidential":true},{"identifier":"b","isDefault":true}]`: {{"a", "s"}, {"b", ""}},
		`[{"identifier":"a","isDefault":false},{"identifier":"b","secret":"s"},{"identifier":"c"}]`:   {{"b", "s"}, {"a", ""}, {"c", ""}},
		`[{"identifier":"a","secret":"unused","isConfidential":false}]`:                               {{"a", ""}},
		`[{"identifier":"a","secret":null,"isConfidential":null,"isDefault":false}]`:                  {{"a", ""}},
	} {
		var got []client
		for _, c := range mustLoad(t, "", []string{"SPRYKER_OAUTH_CLIENT_CONFIGURATION=" + list}, nil).Clients {
			got = append(got, client{c.ID, c.Secret.Reveal()})
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got)\n%s", list, diff)
		}
	}
}

func TestAShopsServersBecomeURLs(t *testing.T) {
	t.Parallel()
	const redis, db = "SPRYKER_KEY_VALUE_STORE_", "SPRYKER_DB_"
	both := map[string]string{"customers.source": "spryker", "customers.url": "mysql://database:3306/shop"}
	for name, c := range map[string]struct {
		environ []string
		given   map[string]string
		want    map[string]string
	}{
		"redis with a password": {
			[]string{redis + "HOST=h", redis + "PORT=7000", redis + "PASSWORD=a:/?#@,%b", redis + "NAMESPACE=3"},
			nil,
			map[string]string{"redis.url": "redis://:a%3A%2F%3F%23%40,%25b@h:7000/3"},
		},
		"redis with user and TLS": {
			[]string{redis + "HOST=::1", redis + "ENGINE=VALKEY", redis + "PROTOCOL=tls", redis + "USERNAME=u", redis + "PASSWORD=p", redis + "SOURCE_NAMES=[]"},
			nil,
			map[string]string{"redis.url": "rediss://u:p@[::1]:6379/1"},
		},
		"redis beside a file of its own": {[]string{redis + "HOST=h"}, map[string]string{"redis.url_file": "f"}, nil},
		"MariaDB":                        {[]string{db + "HOST=database", db + "DATABASE=shop"}, nil, both},
		"PostgreSQL": {
			[]string{db + "HOST=h", db + "ENGINE=pgsql", db + "PORT=5433", db + "DATABASE=eu-docker", db + "USERNAME=shop user", db + "PASSWORD=p@ss/w"},
			nil,
			map[string]string{"customers.source": "spryker", "customers.url": "postgres://shop%20user:p%40ss%2Fw@h:5433/eu-docker"},
		},
		"database of a source that is given": {
			[]string{db + "HOST=database", db + "DATABASE=shop"},
			map[string]string{"customers.source": "spryker"},
			map[string]string{"customers.url": both["customers.url"]},
		},
		"database beside another source":    {[]string{db + "HOST=database", db + "DATABASE=shop"}, map[string]string{"customers.source": "file"}, nil},
		"database beside another database":  {[]string{db + "HOST=database", db + "DATABASE=shop"}, map[string]string{"customers.url": "x"}, nil},
		"database beside a file of its URL": {[]string{db + "HOST=database", db + "DATABASE=shop"}, map[string]string{"customers.url_file": "x"}, nil},
		"database beside a customers' file": {[]string{db + "HOST=database", db + "DATABASE=shop"}, map[string]string{"customers.file": "x"}, nil},
		"encryption key":                    {[]string{"SPRYKER_OAUTH_ENCRYPTION_KEY=k"}, nil, map[string]string{"legacy.encryption_key": "k"}},
		"encryption key beside its file":    {[]string{"SPRYKER_OAUTH_ENCRYPTION_KEY=k"}, map[string]string{"legacy.encryption_key_file": "f"}, nil},
	} {
		got, err := config.ShopValues(c.environ, c.given, "redis.url", "customers.source", "customers.url", "legacy.encryption_key")
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		equal(t, c.want, got)
	}
}

func TestMistakesInAShopsEnvironmentNameTheWayRound(t *testing.T) {
	t.Parallel()
	const redis, clients = "SPRYKER_KEY_VALUE_STORE_", "SPRYKER_OAUTH_CLIENT_CONFIGURATION="
	const form = `must be JSON like [{"identifier":"frontend","secret":"…","isConfidential":true,"isDefault":true}]; or set clients in the file of --config, which comes first`
	for _, m := range []struct {
		environ []string
		want    string
	}{
		{[]string{"SPRYKER_GLUE_APPLICATION_CORS_ALLOW_ORIGIN=*"}, `cors.origins: "*" (environment SPRYKER_GLUE_APPLICATION_CORS_ALLOW_ORIGIN) has a wildcard, with which any website could sign customers in: list each origin, like https://shop.example; or set GLUEAUTH_CORS_ORIGINS, which comes first`},
		{[]string{redis + "HOST=h", redis + "PORT=tcp://10.0.0.1:6379"}, `redis.url (environment SPRYKER_KEY_VALUE_STORE_HOST) stands beside SPRYKER_KEY_VALUE_STORE_PORT, which must be a port from 1 to 65535; or set GLUEAUTH_REDIS, which comes first`},
		{[]string{redis + "HOST=redis://" + canary + "@h", redis + "PASSWORD=" + canary}, `redis.url (environment SPRYKER_KEY_VALUE_STORE_HOST) must be the name or address of one host, without scheme, user and path; or set GLUEAUTH_REDIS, which comes first`},
		{[]string{redis + "HOST=h", redis + "PROTOCOL=unix"}, `redis.url (environment SPRYKER_KEY_VALUE_STORE_HOST) stands beside SPRYKER_KEY_VALUE_STORE_PROTOCOL, which must be tcp or tls; or set GLUEAUTH_REDIS, which comes first`},
		{[]string{redis + "HOST=h", redis + "NAMESPACE=de"}, `redis.url (environment SPRYKER_KEY_VALUE_STORE_HOST) stands beside SPRYKER_KEY_VALUE_STORE_NAMESPACE, which must be the number of a database; or set GLUEAUTH_REDIS, which comes first`},
		{[]string{redis + "HOST=h", redis + `SOURCE_NAMES=["tcp://10.0.0.1:6379"]`}, `redis.url (environment SPRYKER_KEY_VALUE_STORE_HOST) stands beside SPRYKER_KEY_VALUE_STORE_SOURCE_NAMES, which names several servers: say whether they are Sentinels or a Cluster; or set GLUEAUTH_REDIS, which comes first`},
		{[]string{clients + `{"` + canary}, `clients (environment SPRYKER_OAUTH_CLIENT_CONFIGURATION) ` + form},
		{[]string{clients + `[{"identifier":"a","secret":["` + canary + `"]}]`}, `clients (environment SPRYKER_OAUTH_CLIENT_CONFIGURATION) ` + form},
		{[]string{clients + `[{"identifier":"a","isConfidential":true}]`}, `clients (environment SPRYKER_OAUTH_CLIENT_CONFIGURATION) has the confidential client a without a secret: give it one; or set clients in the file of --config, which comes first`},
		{[]string{clients + `[{"secret":"` + canary + `"}]`}, `clients[0].id: "" (environment SPRYKER_OAUTH_CLIENT_CONFIGURATION) is empty: give every client an id; or set clients in the file of --config, which comes first`},
	} {
		if _, err := load(t, "", m.environ, nil); err == nil || err.Error() != m.want {
			t.Errorf("got  %v\nwant %s", err, m.want)
		}
	}
	for environ, want := range map[string]string{
		"SPRYKER_DB_HOST=h SPRYKER_DB_ENGINE=oracle":                              "SPRYKER_DB_ENGINE, which must be mysql or pgsql; or set GLUEAUTH_CUSTOMERS_URL",
		"SPRYKER_DB_HOST=h SPRYKER_DB_PASSWORD=" + canary:                         "without SPRYKER_DB_DATABASE",
		"SPRYKER_DB_HOST=h SPRYKER_DB_DATABASE=d SPRYKER_DB_PORT=0":               "SPRYKER_DB_PORT, which must be a port",
		"SPRYKER_DB_HOST=h/d SPRYKER_DB_DATABASE=d SPRYKER_DB_PASSWORD=" + canary: "must be the name or address of one host",
	} {
		_, err := config.ShopValues(strings.Fields(environ), nil, "customers.url")
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: got %v, want %s", environ, err, want)
		}
	}
}
