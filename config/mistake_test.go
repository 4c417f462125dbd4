package config_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// mistakes has, for every way to go wrong, the whole message; FILE stands for the path of the configuration file.
func mistakes() []struct{ name, file, env, want string } {
	return []struct{ name, file, env, want string }{
		// Names.
		{"unknown key", "log:\n  leevl: debug\n", "", `unknown setting log.leevl in file FILE: did you mean log.level?`},
		{"unknown section", "refesh: {lifetime: 1mo}\n", "", `unknown setting refesh.lifetime in file FILE: did you mean refresh.lifetime?`},
		{"empty unknown section", "lgo:\n", "", `unknown setting lgo in file FILE: did you mean log?`},
		{"key with a dot", "log.level: debug\n", "", `log.level in file FILE has a dot in its name: write level indented under log`},
		{"key for a section", "log: debug\n", "", `log in file FILE is a section: write its settings indented under it`},
		{"section for a key", "listen: {port: 8080}\n", "", `listen (file FILE) must be one value: write it on the line of its key, in quotes`},
		{"unknown key with a line break", "\"a\\nb\": 1\n", "", `unknown setting "a\nb" in file FILE: did you mean data?`},
		{"unknown variable", "", "GLUEAUTH_LISTN=:80", `unknown environment variable GLUEAUTH_LISTN: did you mean GLUEAUTH_LISTEN?`},
		{"variable of a clients' list", "", "GLUEAUTH_CLIENTS=a", `GLUEAUTH_CLIENTS: clients cannot stand in the environment: list them under clients in the file of --config`},
		{"unknown client field", "clients: [{id: a, scope: x}]\n", "", `unknown setting clients[0].scope in file FILE: did you mean scopes?`},
		// The file.
		{"file that is missing", "", "GLUEAUTH_CONFIG=/nowhere/glueauth.yaml", `configuration file /nowhere/glueauth.yaml cannot be read: no such file or directory; correct the path given by --config or GLUEAUTH_CONFIG`},
		{"file that is a folder", "", "GLUEAUTH_CONFIG=/", `configuration file / cannot be read: is a directory; correct the path given by --config or GLUEAUTH_CONFIG`},
		{"broken YAML", "listen: :8080\n  data: x\n", "", `file FILE cannot be read as YAML settings (line 2): look there for a tab, a key that stands twice, an open quote or bracket; settings are lines like "listen: :8080"`},
		{"YAML that is a list", "- listen\n", "", `file FILE cannot be read as YAML settings (line 1): look there for a tab, a key that stands twice, an open quote or bracket; settings are lines like "listen: :8080"`},
		{"broken YAML on the first line", "listen: c4n4ry: c4n4ry\n", "", `file FILE cannot be read as YAML settings (line 1): look there for a tab, a key that stands twice, an open quote or bracket; settings are lines like "listen: :8080"`},
		{"tab on the first line", "\tlisten: c4n4ry\n", "", `file FILE cannot be read as YAML settings (line 1): look there for a tab, a key that stands twice, an open quote or bracket; settings are lines like "listen: :8080"`},
		{"broken YAML on no line of its own", "listen: *c4n4ry\n", "", `file FILE cannot be read as YAML settings: look there for a tab, a key that stands twice, an open quote or bracket; settings are lines like "listen: :8080"`},
		{"duplicate key", "data: a\ndata: b\n", "", `file FILE cannot be read as YAML settings (line 2): look there for a tab, a key that stands twice, an open quote or bracket; settings are lines like "listen: :8080"`},
		{"two documents", "# one\n---\ndata: a\n---\ndata: b\n", "", `file FILE holds several YAML documents: keep one, with no line --- after its beginning`},
		// Kinds of values.
		{"list for one value", "listen: [\":80\"]\n", "", `listen (file FILE) must be one value: write it on the line of its key, in quotes`},
		{"one value for a list", "cors: {origins: 7}\n", "", `cors.origins (file FILE) has "7", which is no origin: write scheme://host or scheme://host:port`},
		{"list with a number", "cors: {origins: [7]}\n", "", `cors.origins (file FILE) must be a list of texts: write each in quotes, none empty and none with a comma`},
		{"fraction", "password: {workers: 1.5}\n", "", `password.workers (file FILE) must be one value: write it on the line of its key, in quotes`},
		{"address without a colon", "listen: 8080\n", "", `listen (file FILE) is not an address: write HOST:PORT, or :PORT for all interfaces`},
		{"URL for an address", "", "GLUEAUTH_LISTEN=http://0.0.0.0:8080", `listen: "http://0.0.0.0:8080" (environment GLUEAUTH_LISTEN) is not an address: write HOST:PORT, or :PORT for all interfaces`},
		{"port too large", "", "GLUEAUTH_ADMIN_LISTEN=:65536", `admin_listen: ":65536" (environment GLUEAUTH_ADMIN_LISTEN) must have a port from 0 to 65535: write HOST:PORT`},
		{"empty public address", "", "GLUEAUTH_LISTEN=", `listen: "" (environment GLUEAUTH_LISTEN) is not an address: write HOST:PORT, or :PORT for all interfaces`},
		{"both listeners on one address", "admin_listen: :8080\n", "", `admin_listen: ":8080" (file FILE) is the address of listen too: give it another port`},
		{"empty data folder", "", "GLUEAUTH_DATA=", `data: "" (environment GLUEAUTH_DATA) is empty: give it a path, or leave it out for the built-in one`},
		{"not a boolean", "demo: maybe\n", "", `demo: "maybe" (file FILE) must be true or false`},
		{"word misspelt", "log: {level: inof}\n", "", `log.level: "inof" (file FILE) must be debug, info, warn or error: did you mean info?`},
		{"word unknown", "log: {format: logfmt2000}\n", "", `log.format: "logfmt2000" (file FILE) must be json or text`},
		{"value with line breaks", "log: {format: \"a\\nb\"}\n", "", `log.format: "a\nb" (file FILE) must be json or text`},
		{"durability", "store: {durability: safe}\n", "", `store.durability: "safe" (file FILE) must be power-loss-safe or process-crash-safe`},
		{"too many workers", "password: {workers: 4096}\n", "", `password.workers (file FILE) must be a whole number from 1 to 1024, or auto`},
		{"mac key zero", "refresh: {mac_key: 0}\n", "", `refresh.mac_key (file FILE) must be a whole number from 1 to 255`},
		{"mac key of two bytes", "", "GLUEAUTH_REFRESH_MAC_KEY=256", `refresh.mac_key: "256" (environment GLUEAUTH_REFRESH_MAC_KEY) must be a whole number from 1 to 255`},
		{"no sessions", "refresh: {max_sessions: 0}\n", "", `refresh.max_sessions (file FILE) must be a whole number from 1 to 10000`},
		// Issuer and origins.
		{"issuer without a scheme", "", "GLUEAUTH_ISSUER=login.example.com", `issuer: "login.example.com" (environment GLUEAUTH_ISSUER) must be an absolute URL, like https://login.example.com`},
		{"issuer with a query", "issuer: https://a.example/?x=1\n", "", `issuer: "https://a.example/?x=1" (file FILE) must have no query, fragment or space: leave it out`},
		{"issuer with a user", "issuer: https://u@a.example\n", "", `issuer: "https://u@a.example" (file FILE) must not hold a user or password: leave out what stands before the @`},
		{"any origin", "", "GLUEAUTH_CORS_ORIGINS=*", `cors.origins: "*" (environment GLUEAUTH_CORS_ORIGINS) has a wildcard, with which any website could sign customers in: list each origin, like https://shop.example`},
		{"any subdomain", "cors: {origins: [\"https://*.example\"]}\n", "", `cors.origins (file FILE) has a wildcard, with which any website could sign customers in: list each origin, like https://shop.example`},
		{"null origin", "", "GLUEAUTH_CORS_ORIGINS=null", `cors.origins: "null" (environment GLUEAUTH_CORS_ORIGINS) has "null", which is no origin: write scheme://host or scheme://host:port`},
		{"origin with a path", "", "GLUEAUTH_CORS_ORIGINS=https://a.example,https://b.example/", `cors.origins: "https://a.example,https://b.example/" (environment GLUEAUTH_CORS_ORIGINS) has "https://b.example/", which is more than an origin: write https://b.example`},
		{"origin in capitals", "", "GLUEAUTH_CORS_ORIGINS=https://Shop.example", `cors.origins: "https://Shop.example" (environment GLUEAUTH_CORS_ORIGINS) has "https://Shop.example", but browsers send origins in lower case: write https://shop.example`},
		{"origin with its default port", "", "GLUEAUTH_CORS_ORIGINS=https://a.example:443", `cors.origins: "https://a.example:443" (environment GLUEAUTH_CORS_ORIGINS) has "https://a.example:443", but browsers leave out the port of the scheme: write https://a.example`},
		// Times.
		{"duration in words", "", "GLUEAUTH_ACCESS_LIFETIME=8 hours", `access.lifetime: "8 hours" (environment GLUEAUTH_ACCESS_LIFETIME) is not a duration: write it like 90s, 30m, 8h or 7d`},
		{"duration without unit", "access: {lifetime: 3600}\n", "", `access.lifetime (file FILE) has no unit: write 3600s for seconds`},
		{"duration of a month", "access: {lifetime: 1mo}\n", "", `access.lifetime: "1mo" (file FILE) has no fixed length in months or years: write days, like 30d`},
		{"no access lifetime", "access: {lifetime: 0s}\n", "", `access.lifetime: "0s" (file FILE) is too short: write 1s or more`},
		{"access lifetime of years", "access: {lifetime: 400d}\n", "", `access.lifetime: "400d" (file FILE) is too long: write 366d or less`},
		{"duration beyond counting", "access: {lifetime: 99999d99999d}\n", "", `access.lifetime: "99999d99999d" (file FILE) is too long: write 366d or less`},
		{"part of a second", "access: {lifetime: 1500ms}\n", "", `access.lifetime: "1500ms" (file FILE) must be whole seconds, like 90s`},
		{"negative window", "refresh: {replay_window: -1s}\n", "", `refresh.replay_window: "-1s" (file FILE) must not be negative: write 0s or more`},
		{"drain of a day", "shutdown: {drain: 1d}\n", "", `shutdown.drain: "1d" (file FILE) is too long: write 1h0m0s or less`},
		{"period in words", "refresh: {lifetime: one month}\n", "", `refresh.lifetime: "one month" (file FILE) is not a period: write it like 1mo, 7d, 1y or 12h30m`},
		{"empty period", "", "GLUEAUTH_REFRESH_LIFETIME=", `refresh.lifetime: "" (environment GLUEAUTH_REFRESH_LIFETIME) is not a period: write it like 1mo, 7d, 1y or 12h30m`},
		{"period with a minus inside", "refresh: {lifetime: 1d-5h}\n", "", `refresh.lifetime: "1d-5h" (file FILE) is not a period: write it like 1mo, 7d, 1y or 12h30m`},
		{"period without unit", "refresh: {lifetime: 30}\n", "", `refresh.lifetime (file FILE) has no unit: write 30s for seconds, 30d for days`},
		{"no period", "refresh: {max_lifetime: 0d}\n", "", `refresh.max_lifetime: "0d" (file FILE) is too short: write 1s or more, like 1mo`},
		{"period of decades", "refresh: {max_lifetime: 11y}\n", "", `refresh.max_lifetime: "11y" (file FILE) is too long: write 10y or less`},
		{"period beyond counting", "refresh: {max_lifetime: 99999999999999999999y}\n", "", `refresh.max_lifetime: "99999999999999999999y" (file FILE) is too long: write at most 100000 of a unit`},
		// Secrets.
		{"two master keys", "master_key_file: m\n", "GLUEAUTH_MASTER_KEY=k", `master_key (environment GLUEAUTH_MASTER_KEY) and master_key_file (file FILE) are both given: keep one of them`},
		{"empty master key", "", "GLUEAUTH_MASTER_KEY=", `master_key (environment GLUEAUTH_MASTER_KEY) is empty: give the key, or leave it out to have it in a file`},
		{"master key left open", "master_key:\n", "", `master_key (file FILE) is empty: give the key, or leave it out to have it in a file`},
		{"master key as a number", "master_key: 1234567890\n", "", `master_key (file FILE) must be text: write it in quotes`},
		{"empty management secret", "", "GLUEAUTH_ADMIN_SECRET=", `admin_secret (environment GLUEAUTH_ADMIN_SECRET) is empty: write at least 16 characters, or leave it out to turn the management API off`},
		{"short management secret", "", "GLUEAUTH_ADMIN_SECRET=0123456789abcde", `admin_secret (environment GLUEAUTH_ADMIN_SECRET) is too short to be safe: write at least 16 characters, like the output of openssl rand -hex 32`},
		{"management secret with a space", "admin_secret: 0123456789 abcdef\n", "", `admin_secret (file FILE) must be printable ASCII without spaces: write it like the output of openssl rand -hex 32`},
		{"two management secrets", "admin_secret_file: f\n", "GLUEAUTH_ADMIN_SECRET=0123456789abcdef", `admin_secret (environment GLUEAUTH_ADMIN_SECRET) and admin_secret_file (file FILE) are both given: keep one of them`},
		{"management secret without its listener", "admin_listen: \"\"\n", "GLUEAUTH_ADMIN_SECRET=0123456789abcdef", `admin_secret is set, but admin_listen turns the management listener off: give it an address, or leave the secret out`},
		{"management secret file that is missing", "admin_secret_file: /nowhere/s\n", "", `admin_secret_file: "/nowhere/s" (file FILE) cannot be read: no such file or directory; correct the path or its permissions`},
		{"empty key of the shop", "", "GLUEAUTH_LEGACY_ENCRYPTION_KEY=", `legacy.encryption_key (environment GLUEAUTH_LEGACY_ENCRYPTION_KEY) is empty: give the shop's key, or leave it out to take nothing over`},
		{"two keys of the shop", "legacy: {encryption_key_file: f}\n", "GLUEAUTH_LEGACY_ENCRYPTION_KEY=k", `legacy.encryption_key (environment GLUEAUTH_LEGACY_ENCRYPTION_KEY) and legacy.encryption_key_file (file FILE) are both given: keep one of them`},
		{"a day that is none", "legacy: {until: 2027-02-31}\n", "", `legacy.until: "2027-02-31" (file FILE) must be a day like 2027-01-31, or a time like 2027-01-31T04:00:00+01:00`},
		{"a word for a day", "", "GLUEAUTH_LEGACY_UNTIL=tomorrow", `legacy.until: "tomorrow" (environment GLUEAUTH_LEGACY_UNTIL) must be a day like 2027-01-31, or a time like 2027-01-31T04:00:00+01:00`},
		// Clients.
		{"no client", "clients: []\n", "", `clients (file FILE) must be a list of at least one client: write "- id: frontend" under it, or leave it out`},
		{"client without its dash", "clients:\n  id: a\n", "", `clients (file FILE) must be a list of at least one client: write "- id: frontend" under it, or leave it out`},
		{"client by its name", "clients:\n  shop: {secret: c4n4ry}\n", "", `clients (file FILE) must be a list of at least one client: write "- id: frontend" under it, or leave it out`},
		{"clients as names", "clients: [frontend]\n", "", `clients[0] (file FILE) must be a client: write "- id: frontend"`},
		{"client without an id", "clients: [{dialect: glue}]\n", "", `clients[0].id (file FILE) is empty: give every client an id`},
		{"client id as a number", "clients: [{id: 007}]\n", "", `clients[0].id (file FILE) must be text: write it in quotes`},
		{"client id with an umlaut", "clients: [{id: ä}]\n", "", `clients[0].id: "ä" (file FILE) must be printable ASCII`},
		{"one id twice", "clients: [{id: a}, {id: b}, {id: a}]\n", "", `clients[2].id: a (file FILE) is the id of an earlier client: give each its own`},
		{"client secret left open", "clients: [{id: a, secret: }]\n", "", `clients[0].secret (file FILE) is empty: write the secret, or leave it out for a public client`},
		{"client secret as a number", "clients: [{id: a, secret: 12345}]\n", "", `clients[0].secret (file FILE) must be text: write it in quotes`},
		{"public client that introspects", "clients: [{id: a, introspect: true}]\n", "", `clients[0].introspect is true (file FILE), but the client has no secret: give it one, or leave introspect out`},
		{"two client secrets", "clients: [{id: a, secret: s, secret_file: f}]\n", "", `clients[0].secret and clients[0].secret_file (file FILE) are both given: keep one of them`},
		{"secret file that is missing", "clients: [{id: a, secret_file: /nowhere/s}]\n", "", `clients[0].secret_file: "/nowhere/s" (file FILE) cannot be read: no such file or directory; correct the path or its permissions`},
		{"secret file that is a folder", "clients: [{id: a, secret_file: /}]\n", "", `clients[0].secret_file: "/" (file FILE) cannot be read: is a directory; give the path of a file`},
		{"unknown dialect", "clients: [{id: a, dialect: rfc6479}]\n", "", `clients[0].dialect: "rfc6479" (file FILE) must be glue or rfc6749: did you mean rfc6749?`},
		{"scopes in one text", "clients: [{id: a, scopes: [\"a b\"]}]\n", "", `clients[0].scopes (file FILE) has the scope "a b", which cannot be: a scope is printable ASCII without space, quote and backslash; list each on its own`},
		{"scope twice", "clients: [{id: a, scopes: [a, a]}]\n", "", `clients[0].scopes (file FILE) has a twice: keep one`},
		{"unknown claim", "clients: [{id: a, claims: [e-mail]}]\n", "", `clients[0].claims (file FILE) has the unknown claim e-mail: did you mean email?`},
		{"keys in no Redis", "keys: {store: redis}\n", "", `keys.store is redis, but redis.url is not set: give it the URL, or set the store to folder`},
		{"rotation within a cache time", "keys: {rotate_every: 2h}\n", "", `keys.rotate_every: "2h" (file FILE) is too short beside keys.jwks_cache: write 2h0m2s or more, or 0s for never`},
		{"client signs otherwise", "clients: [{id: a, alg: ES265}]\n", "", `clients[0].alg: "ES265" (file FILE) must be RS256, PS256, ES256 or EdDSA: did you mean ES256?`},
		{"profile without an issuer", "clients: [{id: a, profile: rfc9068}]\n", "", `clients[0].profile is rfc9068 (file FILE), but issuer is not set: set it to the URL that clients reach this server at`},
		{"profile with another type", "clients: [{id: a, profile: rfc9068, typ: JWT}]\n", "GLUEAUTH_ISSUER=https://x.example", `clients[0].profile is rfc9068 (file FILE), but clients[0].typ is JWT: leave it out`},
		{"profile with a subject of JSON", "clients: [{id: a, profile: rfc9068, subject: glue}]\n", "GLUEAUTH_ISSUER=https://x.example", `clients[0].profile is rfc9068 (file FILE), but clients[0].subject is glue: write reference or uuid, or leave it out`},
		{"profile without one of its claims", "clients: [{id: a, profile: rfc9068, claims: [scope, email]}]\n", "GLUEAUTH_ISSUER=https://x.example", `clients[0].profile is rfc9068 (file FILE), but clients[0].claims lacks client_id or scope: list both, or leave it out`},
		{"unknown profile", "clients: [{id: a, profile: rfc9086}]\n", "", `clients[0].profile: "rfc9086" (file FILE) must be glue or rfc9068: did you mean rfc9068?`},
		{"refresh tokens beyond the session", "refresh: {lifetime: 2y}\n", "", `refresh.lifetime: "2y" (file FILE) is longer than refresh.max_lifetime (1y), which ends the session: write a shorter one, or raise that`},
		{"refresh tokens beyond a shorter session", "refresh: {lifetime: 31d, max_lifetime: 30d}\n", "GLUEAUTH_REFRESH_LIFETIME=721h", `refresh.lifetime: "721h" (environment GLUEAUTH_REFRESH_LIFETIME) is longer than refresh.max_lifetime (30d), which ends the session: write a shorter one, or raise that`},
		{"client's refresh tokens beyond the session", "clients: [{id: a, refresh_lifetime: 13mo}]\n", "", `clients[0].refresh_lifetime: "13mo" (file FILE) is longer than clients[0].refresh_max_lifetime (1y), which ends the session: write a shorter one, or raise that`},
		{"client's refresh tokens beyond its session", "clients: [{id: a, refresh_lifetime: 8d, refresh_max_lifetime: 7d}]\n", "", `clients[0].refresh_lifetime: "8d" (file FILE) is longer than clients[0].refresh_max_lifetime (7d), which ends the session: write a shorter one, or raise that`},
		{"client lifetime", "clients: [{id: a, access_lifetime: 0s}]\n", "", `clients[0].access_lifetime: "0s" (file FILE) is too short: write 1s or more`},
	}
}

func TestEveryMistakeNamesItsRemedy(t *testing.T) {
	t.Parallel()
	for _, m := range mistakes() {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			var environ []string
			if m.env != "" {
				environ = []string{m.env}
			}
			path := filepath.Join(t.TempDir(), "glueauth.yaml")
			if m.file != "" {
				if err := os.WriteFile(path, []byte(m.file), 0o600); err != nil {
					t.Fatal(err)
				}
				environ = append(environ, "GLUEAUTH_CONFIG="+path)
			}
			_, err := load(t, "", environ, nil)
			if err == nil {
				t.Fatal("no error")
			}
			if got := strings.ReplaceAll(err.Error(), path, "FILE"); got != m.want {
				t.Errorf("got  %s\nwant %s", got, m.want)
			}
		})
	}
}

// What holds the secret may be empty, or not be there; the text in its place may be the secret itself.
func TestAFileOfASecretThatHoldsNone(t *testing.T) {
	folder := t.TempDir()
	t.Chdir(folder)
	if err := os.WriteFile("empty.key", []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	relative := `cannot be read: no such file or directory; correct the path or its permissions; a relative path counts from the working directory (` +
		folder + `), not from the configuration file`
	for file, want := range map[string]string{
		"legacy: {encryption_key_file: empty.key}":        `legacy.encryption_key_file (file FILE) is empty: write legacy.encryption_key into it, or leave legacy.encryption_key_file out`,
		"redis: {url_file: ./empty.key}":                  `redis.url_file: "./empty.key" (file FILE) is empty: write redis.url into it, or leave redis.url_file out`,
		"clients: [{id: a, secret_file: empty.key}]":      `clients[0].secret_file (file FILE) is empty: write the secret into it, or leave it out for a public client`,
		"legacy: {encryption_key_file: c4n4ry}":           `legacy.encryption_key_file (file FILE) ` + relative,
		"customers: {url_file: ../c4n4ry}":                `customers.url_file: "../c4n4ry" (file FILE) ` + relative,
		"clients: [{id: a, secret_file: sub/c4n4ry.key}]": `clients[0].secret_file (file FILE) ` + relative,
	} {
		_, err := load(t, file+"\n", nil, nil)
		if err == nil {
			t.Errorf("%s: no error", file)
			continue
		}
		if got := regexp.MustCompile(`file /\S+glueauth.yaml`).ReplaceAllString(err.Error(), "file FILE"); got != want {
			t.Errorf("%s\ngot  %s\nwant %s", file, got, want)
		}
	}
}

func TestAShorterSessionNeedsNoOtherLifetime(t *testing.T) {
	t.Parallel()
	for _, file := range []string{
		"refresh: {max_lifetime: 7d}", "refresh: {lifetime: 1y}", "refresh: {lifetime: 12mo, max_lifetime: 1y}",
		"refresh: {lifetime: 1y}\nclients: [{id: a, refresh_max_lifetime: 7d}]",
	} {
		mustLoad(t, file+"\n", nil, nil)
	}
}

func TestAFlagsMistakeNamesTheFlag(t *testing.T) {
	t.Parallel()
	_, err := load(t, "", nil, []string{"--log-level", "loud"})
	if want := `log.level: "loud" (flag --log-level) must be debug, info, warn or error`; err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}
