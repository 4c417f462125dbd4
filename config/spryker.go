package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// fallback is how a shop's environment, as Spryker's docker-sdk and cloud make it, gives a setting that neither file, nor
// environment, nor a flag of our own gives.
type fallback struct {
	key       string
	beside    []string // settings that keep it out as well, since they say the same or the opposite
	variables []string // the first one alone decides whether there is anything to read
	read      func(shop shopEnvironment) (any, error)
}

type shopEnvironment struct {
	variables map[string]string
	given     map[string]value // what our own layers give
}

const (
	shopEnvironmentKey = "spryker_environment"
	shopPrefix         = "SPRYKER_"
)

func fallbacks() []fallback {
	const oauth, redis, db = shopPrefix + "OAUTH_", shopPrefix + "KEY_VALUE_STORE_", shopPrefix + "DB_"
	database := []string{db + "HOST", db + "ENGINE", db + "PORT", db + "DATABASE", db + "USERNAME", db + "PASSWORD"}
	return []fallback{
		single("keys.shop_private", oauth+"KEY_PRIVATE"),
		single("keys.shop_public", oauth+"KEY_PUBLIC", "keys.shop_private"),
		single("legacy.encryption_key", oauth+"ENCRYPTION_KEY", "legacy.encryption_key_file"),
		single("cors.origins", shopPrefix+"GLUE_APPLICATION_CORS_ALLOW_ORIGIN"),
		{key: clientsKey, variables: []string{oauth + "CLIENT_CONFIGURATION"}, read: shopClients},
		{
			key: "redis.url", beside: []string{"redis.url_file"}, read: shopRedis,
			variables: []string{redis + "HOST", redis + "ENGINE", redis + "PROTOCOL", redis + "PORT", redis + "NAMESPACE", redis + "USERNAME", redis + "PASSWORD", redis + "SOURCE_NAMES"},
		},
		{
			key: "customers.source", beside: []string{"customers.file", "customers.url", "customers.url_file", "customers.query"},
			variables: database[:1], read: func(shopEnvironment) (any, error) { return shopSource, nil },
		},
		{
			key: "customers.url", beside: []string{"customers.file", "customers.url_file", "customers.query"},
			variables: database, read: shopDatabase,
		},
	}
}

// single is a setting that one variable gives as it is.
func single(key, variable string, beside ...string) fallback {
	return fallback{key: key, beside: beside, variables: []string{variable}, read: func(shop shopEnvironment) (any, error) {
		return shop.variables[variable], nil
	}}
}

// addShop adds to given what only the shop's environment gives, for those settings that are in the table. An empty
// variable gives nothing, as in the shop.
func addShop(table []setting, given map[string]value, environ []string) error {
	if raw := given[shopEnvironmentKey].raw; raw != nil && fmt.Sprint(raw) == "false" {
		return nil
	}
	shop := shopEnvironment{variables: map[string]string{}, given: given}
	for _, variable := range environ {
		if name, text, _ := strings.Cut(variable, "="); strings.HasPrefix(name, shopPrefix) {
			shop.variables[name] = text
		}
	}
	found := map[string]value{}
	for _, f := range fallbacks() {
		i := slices.IndexFunc(table, func(s setting) bool { return s.key == f.key })
		if i < 0 || shop.variables[f.variables[0]] == "" || shop.gives(append(f.beside, f.key)) {
			continue
		}
		v := value{source: "environment " + f.variables[0], shop: true}
		raw, err := f.read(shop)
		if err != nil {
			return v.instead(table[i], table[i].mistake(v, err))
		}
		if raw != nil {
			v.raw = raw
			found[f.key] = v
		}
	}
	maps.Copy(given, found)
	return nil
}

// gives reports whether a layer of our own gives one of the settings.
func (e shopEnvironment) gives(keys []string) bool {
	return slices.ContainsFunc(keys, func(key string) bool {
		_, ok := e.given[key]
		return ok
	})
}

// instead adds to a mistake in the shop's environment how to do without that variable.
func (v value) instead(s setting, err error) error {
	if err == nil || !v.shop {
		return err
	}
	ours := s.variable()
	if ours == "" {
		ours = s.key + " in the file of --config"
	}
	return fmt.Errorf("%w; or set %s, which comes first", err, ours)
}

// shopClient is an entry of SPRYKER_OAUTH_CLIENT_CONFIGURATION. Names and redirect URIs mean nothing to us.
type shopClient struct {
	Identifier     string `json:"identifier"`
	Secret         string `json:"secret"`
	IsConfidential *bool  `json:"isConfidential"`
	IsDefault      *bool  `json:"isDefault"`
}

// shopClients returns the shop's list of OAuth clients as ours has it, its default client first.
func shopClients(shop shopEnvironment) (any, error) {
	var list []shopClient
	// The decoder's own error may show a part of a secret.
	if json.Unmarshal([]byte(shop.variables[shopPrefix+"OAUTH_CLIENT_CONFIGURATION"]), &list) != nil {
		return nil, errors.New(`must be JSON like [{"identifier":"frontend","secret":"…","isConfidential":true,"isDefault":true}]`)
	}
	var clients []any
	for _, c := range list {
		client, err := c.ours()
		if err != nil {
			return nil, err
		}
		clients = append(clients, client)
	}
	if len(clients) == 0 {
		return nil, nil
	}
	if i := slices.IndexFunc(list, func(c shopClient) bool { return c.IsDefault == nil || *c.IsDefault }); i > 0 {
		byDefault := clients[i]
		clients = slices.Insert(slices.Delete(clients, i, i+1), 0, byDefault)
	}
	return clients, nil
}

// ours returns the client's fields in our list. The secret of a public client means nothing to the shop either.
func (c shopClient) ours() (map[string]any, error) {
	client := map[string]any{"id": c.Identifier}
	confidential := c.Secret != ""
	if c.IsConfidential != nil {
		confidential = *c.IsConfidential
	}
	if confidential && c.Secret == "" {
		return nil, fmt.Errorf("has the confidential client %s without a secret: give it one", plain(c.Identifier))
	}
	if confidential {
		client["secret"] = c.Secret
	}
	return client, nil
}

// shopRedis returns the URL of the shop's key-value store, nil where that is no Redis.
func shopRedis(shop shopEnvironment) (any, error) {
	get := func(name string) string { return shop.variables[shopPrefix+"KEY_VALUE_STORE_"+name] }
	if engine := strings.ToLower(get("ENGINE")); engine != "" && engine != "redis" && engine != "valkey" {
		return nil, nil
	}
	if !slices.Contains([]string{"", "[]", "{}", "null"}, strings.Trim(get("SOURCE_NAMES"), `"' `)) {
		return nil, errors.New("stands beside SPRYKER_KEY_VALUE_STORE_SOURCE_NAMES, which names several servers: say whether they are Sentinels or a Cluster")
	}
	scheme := map[string]string{"": "redis", "tcp": "redis", "redis": "redis", "tls": "rediss", "rediss": "rediss", "ssl": "rediss"}[strings.ToLower(get("PROTOCOL"))]
	if scheme == "" {
		return nil, errors.New("stands beside SPRYKER_KEY_VALUE_STORE_PROTOCOL, which must be tcp or tls")
	}
	database := get("NAMESPACE")
	if database == "" || database == "0" { // PHP takes both for none
		database = "1"
	}
	if _, err := strconv.ParseUint(database, 10, 16); err != nil {
		return nil, errors.New("stands beside SPRYKER_KEY_VALUE_STORE_NAMESPACE, which must be the number of a database")
	}
	u := url.URL{Scheme: scheme, User: account(get("USERNAME"), get("PASSWORD")), Path: "/" + database}
	var err error
	u.Host, err = hostPort("SPRYKER_KEY_VALUE_STORE_", get("HOST"), get("PORT"), "6379")
	return u.String(), err
}

const shopSource = "spryker"

// shopDatabase returns the URL of the shop's database, nil where customers come from elsewhere.
func shopDatabase(shop shopEnvironment) (any, error) {
	if source, ok := shop.given["customers.source"]; ok && source.raw != shopSource {
		return nil, nil
	}
	get := func(name string) string { return shop.variables[shopPrefix+"DB_"+name] }
	u := url.URL{User: account(get("USERNAME"), get("PASSWORD")), Path: "/" + get("DATABASE")}
	var port string
	switch strings.ToLower(get("ENGINE")) {
	case "", "mysql", "mariadb": // the shop's own choice for none
		u.Scheme, port = "mysql", "3306"
	case "pgsql", "postgres", "postgresql":
		u.Scheme, port = "postgres", "5432"
	default:
		return nil, errors.New("stands beside SPRYKER_DB_ENGINE, which must be mysql or pgsql")
	}
	if u.Path == "/" {
		return nil, errors.New("stands without SPRYKER_DB_DATABASE: name the database")
	}
	var err error
	u.Host, err = hostPort("SPRYKER_DB_", get("HOST"), get("PORT"), port)
	return u.String(), err
}

func account(user, password string) *url.Userinfo {
	switch {
	case password != "":
		return url.UserPassword(user, password)
	case user != "":
		return url.User(user)
	default:
		return nil
	}
}

// hostPort joins two variables, where the second may be left out.
func hostPort(prefix, host, port, usual string) (string, error) {
	if strings.ContainsAny(host, "/@?#, ") {
		return "", errors.New("must be the name or address of one host, without scheme, user and path")
	}
	if port == "" {
		port = usual
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", fmt.Errorf("stands beside %sPORT, which must be a port from 1 to 65535", prefix)
	}
	return net.JoinHostPort(strings.Trim(host, "[]"), port), nil
}
