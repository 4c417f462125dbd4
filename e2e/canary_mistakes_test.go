package e2e_test

import (
	"encoding/pem"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// What an operator does wrong is told in words that anybody may read: in a log of the start, in a ticket.
func TestNoMistakeOfAnOperatorShowsASecret(t *testing.T) {
	t.Parallel()
	s, dir := newSecrets(t), t.TempDir()
	s.customer(dir)
	all := slices.Concat(s.wrongFiles(dir), s.wrongVariables(dir), s.wrongArguments(dir))
	said := make([]string, len(all))
	var group sync.WaitGroup
	gate := make(chan struct{}, 4)
	for i, m := range all {
		group.Go(func() {
			gate <- struct{}{}
			defer func() { <-gate }()
			r := finish(t, dir, m.stdin, append(m.env, "GLUEAUTH_LISTEN=127.0.0.1:0", "GLUEAUTH_ADMIN_LISTEN="), m.args...)
			if said[i] = r.stdout + r.stderr; r.code == 0 || said[i] == "" {
				t.Errorf("%s: exit code %d\n%s", m.what, r.code, said[i])
			}
		})
	}
	group.Wait()
	for i, m := range all {
		s.search(map[string]string{m.what: said[i]})
	}
}

// wrong is a command that cannot succeed, in settings that hold a secret.
type wrong struct {
	what, stdin string
	env, args   []string
}

func (s *secrets) wrongFiles(dir string) (all []wrong) {
	s.t.Helper()
	for what, text := range map[string]string{
		"a tab":                  "listen: :1\n\tadmin_secret: %s\n",
		"an open quote":          "admin_secret: \"%s\n",
		"no space":               "listen: :1\nadmin_secret:%s\n",
		"a list":                 "admin_secret: [%s]\n",
		"a mapping":              "admin_secret: {%s: x}\n",
		"a key twice":            "admin_secret: %[1]s\nadmin_secret: %[1]s\n",
		"a URL for a section":    "redis: redis://:%s@h\n",
		"a URL with a slash":     "redis: {url: \"redis://:12/%s@h:6379/0\"}\n",
		"a database URL":         "customers: {source: spryker, url: \"postgres://shop:12/%s@h:5432/shop\"}\n",
		"a MariaDB URL":          "customers: {source: spryker, url: \"mysql://shop:12/%s@h:3306/shop\"}\n",
		"a URL with a hash":      "customers: {source: spryker, url: \"postgres://shop:12#%s@h:5432/shop\"}\n",
		"a parameter":            "customers: {source: spryker, url: \"mysql://shop:%s@h:3306/shop?tls=perhaps\"}\n",
		"an unknown setting":     "admin_secert: %s\n",
		"a client's list":        "clients: [%s]\n",
		"a client's typo":        "clients: [{id: a, secrt: %s}]\n",
		"a client's two secrets": "clients: [{id: a, secret: %s, secret_file: x}]\n",
		"a client's file":        "clients: [{id: a, secret_file: %s}]\n",
		"a client's number":      "clients: [{id: a, introspect: true, secret: !!binary %s}]\n",
	} {
		file := write(s.t, dir, strings.ReplaceAll(what, " ", "-")+".yaml", strings.NewReplacer("%s", s.make(what), "%[1]s", mark).Replace(text), 0o600)
		all = append(all, wrong{what: what, args: []string{"config", "validate", "--config", file}})
	}
	return all
}

func (s *secrets) wrongVariables(dir string) (all []wrong) {
	s.t.Helper()
	a := newAuthority(s.t)
	a.issue(s.t, dir, "pair", day)
	key := content(s.t, filepath.Join(dir, "pair/tls.key"))
	s.addPEM("TLS key", key)
	line := strings.ReplaceAll(string(key), "\n", "__LINE__")
	shop := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: []byte(s.make("shop's key"))})
	for variable, value := range map[string]string{
		"GLUEAUTH_ADMIN_SECRET": mark, "GLUEAUTH_MASTER_KEY": "", "GLUEAUTH_REDIS": "redis://:%s@h:port", "GLUEAUTH_REDIS_FILE": "redis://:%s@h:6379",
		"GLUEAUTH_CUSTOMERS_URL_FILE": "postgres://shop:%s@h/shop", "GLUEAUTH_ADMIN_SECRET_FILE": "", "GLUEAUTH_LEGACY_ENCRYPTION_KEY_FILE": "",
		"GLUEAUTH_KEYS_SHOP_PRIVATE": string(shop), "SPRYKER_OAUTH_KEY_PRIVATE": string(shop[:40]), "GLUEAUTH_KEYS_SHOP_PUBLIC": string(key),
		"SPRYKER_OAUTH_CLIENT_CONFIGURATION": `[{"identifier":"frontend","secret":"%s"`, "GLUEAUTH_CLIENTS": "", "GLUEAUTH_REDISURL": "",
	} {
		if value == "" {
			value = "%s"
		}
		all = append(all, wrong{what: variable, env: []string{variable + "=" + strings.ReplaceAll(value, "%s", s.make(variable))}, args: []string{"config", "validate"}})
	}
	for _, value := range []string{string(key), line} {
		for _, pair := range [][]string{{"GLUEAUTH_TLS_KEY=" + value, "GLUEAUTH_TLS_CERT=c"}, {"GLUEAUTH_TLS_KEY=k", "GLUEAUTH_TLS_CERT=" + value}} {
			all = append(all, wrong{what: "a key for its file", env: pair, args: []string{"config", "print"}})
		}
	}
	master := "cAnArYsecretcAnArYsecretcAnArYsecretcAnArY0"
	s.values["master key for its file"] = master
	port := freeAddress(s.t)[len("127.0.0.1:"):]
	return append(all,
		wrong{what: "a master key for its file", env: []string{"GLUEAUTH_MASTER_KEY_FILE=" + master}, args: []string{"serve"}},
		wrong{what: "a shop's Redis", env: []string{"SPRYKER_KEY_VALUE_STORE_HOST=127.0.0.1", "SPRYKER_KEY_VALUE_STORE_PORT=" + port, "SPRYKER_KEY_VALUE_STORE_PASSWORD=" + s.make("password of a shop's Redis")}, args: []string{"serve"}},
		wrong{what: "a shop's host", env: []string{"SPRYKER_DB_HOST=h/x", "SPRYKER_DB_DATABASE=shop", "SPRYKER_DB_PASSWORD=" + s.make("password of a shop's database")}, args: []string{"config", "print"}},
	)
}

func (s *secrets) wrongArguments(dir string) (all []wrong) {
	s.t.Helper()
	key := string(content(s.t, filepath.Join(dir, "pair/tls.key")))
	csv := "customer_reference,email,password\nDE--1,a@shop.example,%s\n%s,b@shop.example,\nDE--2,%s,\"x\nDE--3,c@shop.example,%s,y\n"
	for _, args := range [][]string{
		{"%s"},
		{"serve", "%s"},
		{"serve", "redis://:%s@h"},
		{"redis://:%s@h"},
		{"serve", "-p%s"},
		{"serve", "--admin-secret=%s"},
		{"serve", "--admin-secret", "%s"},
		{"serve", "--redis", "redis://:%s@h:port"},
		{"serve", "--redis", ":%s@h"},
		{"sessions", "move", "redis://:%s@h", "data"},
		{"sessions", "move", "--from", ":%s@h:6379", "--to", "data"},
		{"sessions", "move", "--from", "redis://:%s@127.0.0.1:1", "--to", "copy"},
		{"sessions", "move", "--from", "data", "--to", "redis://:%s@h:port"},
		{"sessions", "explain", "grt_%s", "x"},
		{"sessions", "show", "%s"},
		{"doctor", "--shop-token", "def50200%s"},
		{"keys", "import", "--file", key},
		{"customers", "add", "--email", "x@shop.example", "--password", "%s"},
		{"keys", "%s"},
		{"customers", "block", "a@shop.example", "%s"},
	} {
		what := strings.Join(args[:min(len(args), 3)], " ")
		secret := s.make(what)
		for i := range args {
			args[i] = strings.ReplaceAll(args[i], "%s", secret)
		}
		all = append(all, wrong{what: what, args: args})
	}
	return append(all,
		wrong{what: "a password as a hash", stdin: strings.ReplaceAll(csv, "%s", s.make("password as a hash")), args: []string{"customers", "import", "-"}},
		wrong{what: "a file without a header", stdin: "DE--1,a@shop.example," + s.make("hash in the place of the header") + "\n", args: []string{"customers", "import", "-"}},
		wrong{what: "a long password", stdin: s.make("long password") + strings.Repeat("x", 5000), args: []string{"customers", "add", "--email", "y@shop.example", "--reference", "DE--9", "--password-stdin"}},
		wrong{what: "a key on standard input", stdin: s.make("key on standard input"), args: []string{"keys", "import", "--file", "-"}},
		wrong{what: "a URL on standard input", stdin: ":" + s.make("URL on standard input") + "@h", args: []string{"sessions", "move", "--from", "-", "--to", "data"}},
	)
}
