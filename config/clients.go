package config

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// clientSettings is the table of a client's fields; its readers write into c.
func clientSettings(c *Client, claims []string) []setting {
	const year = 366 * 24 * time.Hour
	return []setting{
		{key: "id", must: true, quoted: true, read: required("give every client an id", visible(&c.ID)), meaning: "its id, and the audience of its access tokens"},
		{key: "secret", secret: true, read: required("write the secret, or leave it out for a public client", secretText(&c.Secret)), meaning: "its secret; without one it is a public client"},
		{key: "introspect", builtin: "false", read: boolean(&c.Introspect), meaning: "`true`: it may ask about tokens at `/introspect`; it needs a secret"},
		{key: "dialect", builtin: "glue", read: oneOf(&c.Dialect, "glue", "rfc6749"), meaning: "`glue`: answers as Spryker's; `rfc6749`: strictly standard ones"},
		{key: "scopes", builtin: "customer", list: true, read: scopes(&c.Scopes), meaning: "list of the scopes it may ask for; `customer`, or else the first one, is granted when a sign-in asks for none"},
		{key: "access_lifetime", from: "access.lifetime", read: duration(&c.AccessLifetime, time.Second, year), meaning: "lifetime of its access tokens"},
		{key: "refresh_lifetime", from: "refresh.lifetime", read: period(&c.RefreshLifetime), meaning: "lifetime of its refresh tokens"},
		{key: "refresh_max_lifetime", from: "refresh.max_lifetime", read: period(&c.RefreshMax), meaning: "end of its sessions, however often they are refreshed"},
		{key: "refresh_token_expires_in", builtin: "false", read: boolean(&c.RefreshExpiry), meaning: "`true`: answers say in `refresh_token_expires_in` for how many seconds their refresh token is good"},
		{key: "profile", builtin: "glue", read: oneOf(&c.Profile, "glue", profileRFC9068), meaning: "`glue`: access tokens as Spryker's; `rfc9068`: as RFC 9068 says, for strict validators: `typ: at+jwt`, `subject: reference` and `claims: [client_id, scope]` unless given otherwise; it needs `issuer`"},
		{key: "typ", from: "access.typ", read: oneOf(&c.Type, "JWT", "at+jwt"), meaning: "`typ` in the header of its access tokens"},
		{key: "alg", builtin: "RS256", read: oneOf(&c.Algorithm, "RS256", "PS256", "ES256", "EdDSA"), meaning: "how its access tokens are signed: `RS256`, `PS256`, `ES256` or `EdDSA`"},
		{key: "subject", builtin: "glue", read: oneOf(&c.Subject, "glue", "reference", "uuid"), meaning: "what `sub` holds: `glue`: Spryker's JSON text; `reference`: the customer reference; `uuid`"},
		{key: "claims", list: true, read: subset(&c.Claims, claims), meaning: "list of extra claims: `client_id`, `customer_reference`, `email`, `id_customer`, `scope`, `uuid`"},
	}
}

// readClients fills in c.Clients; everything else is in place already, since clients inherit from it.
func (c *Config) readClients(v value, claims []string) error {
	if v.raw == nil {
		v = value{raw: []any{map[string]any{"id": "frontend"}}, source: builtIn}
	}
	list, ok := v.raw.([]any)
	if !ok || len(list) == 0 {
		return noClientList(v.source)
	}
	seen := map[string]bool{}
	for i, item := range list {
		fields, ok := item.(map[string]any)
		if !ok {
			return fmt.Errorf("clients[%d] (%s) must be a client: write \"- id: frontend\"", i, v.source)
		}
		var client Client
		if err := c.readClient(&client, fmt.Sprintf("clients[%d].", i), fields, v.source, claims); err != nil {
			return err
		}
		if seen[client.ID] {
			return fmt.Errorf("clients[%d].id: %s (%s) is the id of an earlier client: give each its own", i, plain(client.ID), v.source)
		}
		seen[client.ID] = true
		c.Clients = append(c.Clients, client)
	}
	return nil
}

func noClientList(source string) error {
	return fmt.Errorf("clients (%s) must be a list of at least one client: write \"- id: frontend\" under it, or leave it out", source)
}

func (c *Config) readClient(client *Client, at string, fields map[string]any, source string, claims []string) error {
	fields, err := c.secretFromFile(at, fields, source)
	if err != nil {
		return err
	}
	table := clientSettings(client, claims)
	var names []string
	for _, s := range table {
		names = append(names, s.key)
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if !slices.Contains(names, name) {
			return fmt.Errorf("unknown setting %s%s in %s: did you mean %s?", at, plain(name), source, nearest(name, append(names, secretFile)))
		}
	}
	for _, s := range table {
		raw, given := fields[s.key]
		if s.from != "" {
			s.builtin = c.entry(s.from).value
		}
		s = client.underProfile(s, at)
		s.key = at + s.key
		e, err := s.take(value{raw: raw, source: source}, given)
		if err != nil {
			return err
		}
		c.entries = append(c.entries, e)
	}
	const lifetime = "refresh_lifetime"
	if err := c.outlasts(value{raw: fields[lifetime], source: source}, at+lifetime, at+"refresh_max_lifetime", client.RefreshLifetime, client.RefreshMax); err != nil {
		return err
	}
	if client.Introspect && client.Secret == "" {
		return fmt.Errorf("%sintrospect is true (%s), but the client has no secret: give it one, or leave introspect out", at, source)
	}
	return c.checkProfile(client, at, source)
}

const secretFile = "secret_file"

// secretFromFile replaces secret_file by the content of that file, as secret.
func (c *Config) secretFromFile(at string, fields map[string]any, source string) (map[string]any, error) {
	raw, given := fields[secretFile]
	if !given {
		return fields, nil
	}
	if _, both := fields["secret"]; both {
		return nil, fmt.Errorf("%ssecret and %[1]ssecret_file (%s) are both given: keep one of them", at, source)
	}
	s := setting{key: at + secretFile, quoted: true}
	text, err := s.text(raw)
	var path, content string
	if err == nil {
		err = secretPath(&path)(text)
	}
	if err == nil {
		content, err = readSecret(path, "write the secret into it, or leave it out for a public client")
	}
	if err != nil {
		return nil, s.mistake(value{raw: raw, source: source}, err)
	}
	c.SecretFiles = append(c.SecretFiles, path)
	fields = maps.Clone(fields)
	delete(fields, secretFile)
	fields["secret"] = content
	return fields, nil
}

// readSecret returns the content of a file without its last line break. The remedy is for an empty one.
func readSecret(path, remedy string) (string, error) {
	const most = 4096
	f, err := os.Open(path) //nolint:gosec // G304: the operator names the file.
	if err != nil {
		return "", fmt.Errorf("cannot be read: %w; correct the path or its permissions%s", cause(err), counted(path))
	}
	defer f.Close() //nolint:errcheck // It is only read.
	content, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return "", fmt.Errorf("cannot be read: %w; give the path of a file", cause(err))
	}
	text := strings.TrimSuffix(strings.TrimSuffix(string(content), "\n"), "\r")
	switch {
	case len(content) > most:
		return "", fmt.Errorf("is longer than %d bytes: it must hold the secret alone", most)
	case text == "":
		return "", errors.New("is empty: " + remedy)
	}
	return text, nil
}

// counted says where a relative path begins. The path itself may be the secret, in the wrong place.
func counted(path string) string {
	folder, err := os.Getwd()
	if filepath.IsAbs(path) || err != nil {
		return ""
	}
	return "; a relative path counts from the working directory (" + plain(folder) + "), not from the configuration file"
}

// visible reads text of VSCHAR (RFC 6749 appendix A.1).
func visible(to *string) reader {
	return func(s string) error {
		if strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r > 0x7e }) {
			return errors.New("must be printable ASCII")
		}
		*to = s
		return nil
	}
}

// scopes reads scope-tokens (RFC 6749 appendix A.4), comma-separated.
func scopes(to *[]string) reader {
	return func(s string) error {
		list, err := words(s)
		for _, scope := range list {
			if strings.ContainsFunc(scope, func(r rune) bool { return r <= 0x20 || r == '"' || r == '\\' || r > 0x7e }) {
				return fmt.Errorf("has the scope %s, which cannot be: a scope is printable ASCII without space, quote and backslash; list each on its own", quote(scope))
			}
		}
		*to = list
		return err
	}
}

// subset reads words out of a list.
func subset(to *[]string, known []string) reader {
	return func(s string) error {
		list, err := words(s)
		for _, word := range list {
			if !slices.Contains(known, word) {
				return fmt.Errorf("has the unknown claim %s: did you mean %s?", plain(word), nearest(word, known))
			}
		}
		*to = list
		return err
	}
}

func words(s string) ([]string, error) {
	if s == "" {
		return nil, nil
	}
	list := strings.Split(s, ",")
	for i, word := range list {
		if slices.Contains(list[:i], word) {
			return nil, fmt.Errorf("has %s twice: keep one", plain(word))
		}
	}
	return list, nil
}
