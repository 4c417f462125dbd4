package redisstore_test

import (
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/store"
	"github.com/glueauth/glueauth/store/redisstore"
	"github.com/glueauth/glueauth/store/storetest"
)

// TestStart : what keeps a store from starting is one line that names the remedy and no secret.
func TestStart(t *testing.T) {
	t.Parallel()
	plain := storetest.RedisPort(t)
	_, port, _ := net.SplitHostPort(plain.Addr)
	locked := storetest.Redis(t, strings.Fields("--requirepass battery-staple --user limited on >"+password+" ~* +@all -set")...)
	replica := storetest.RedisReplica(t, plain)
	full := storetest.Redis(t, "--maxmemory", "1")
	node := storetest.RedisPort(t, "--cluster-enabled", "yes")
	closed := "127.0.0.1:1"
	for name, c := range map[string]struct{ url, want string }{
		"refused":                   {"redis://user:" + password + "@" + closed, "dial: no connection (connection refused); check that it runs"},
		"no such socket":            {"unix:///nowhere/redis.sock", "dial: no connection (no such file or directory)"},
		"no such host":              {"redis://nowhere.invalid", "dial: no connection (no such host)"},
		"password missing":          {locked.URL(), "noauth: it wants a password; give it in the url"},
		"password wrong":            {"unix://:" + password + "@" + locked.Socket, "wrongpass: user or password in the url are wrong"},
		"user not allowed":          {"unix://limited:" + password + "@" + locked.Socket, "noperm: its user may not"},
		"a replica":                 {replica.URL(), "readonly: it is a replica; give the address of the master"},
		"no memory":                 {full.URL(), "oom: it has no memory left"},
		"a node of a cluster":       {node.URL(), "clusterdown"},
		"no cluster":                {"redis+cluster://" + plain.Addr, "it must be"},
		"no sentinel":               {"redis+sentinel://" + plain.Addr + "/0?master=main", "it must be"},
		"sentinels gone":            {"redis+sentinel://" + closed + "/0?master=main", "dial: no connection"},
		"no TLS":                    {"rediss://" + plain.Addr, "timeout: it does not answer in time"},
		"a database that is not":    {plain.URL() + "/99", "it must be"},
		"not Redis":                 {"redis://" + webServer(t), "protocol: the answer is not one of Redis"},
		"certificate of a stranger": {"rediss://" + tlsRedis(t, "stranger").Addr, "tls: its certificate is for another host or from an unknown authority"},

		"nothing":                  {"", "url"},
		"no scheme":                {"127.0.0.1:6379", "url"},
		"another scheme":           {"http://127.0.0.1:" + port, "url"},
		"no host":                  {"redis://:" + password + "@/0", "url"},
		"two hosts":                {"redis://a:1,b:2", "url"},
		"bad port":                 {"redis://a:seven/0", "url"},
		"port nought":              {"redis://a:0/0", "url"},
		"bad database":             {"redis://a/x", "url"},
		"unknown setting":          {"redis://a/0?pool=" + password, "url"},
		"no path":                  {"unix://:" + password + "@", "url"},
		"a host and a path":        {"unix://host/redis.sock", "url"},
		"no master":                {"redis+sentinel://a,b/0", "url"},
		"a master for no sentinel": {"redis://a/0?master=main", "url"},
		"a database of a cluster":  {"redis+cluster://a,b/1", "url"},
		"an empty host":            {"redis+cluster://a,,b", "url"},
		"password not escaped":     {"redis://:" + password + "/%zz@a", "url"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var s *redisstore.Store
			err := timely(t, func() (err error) {
				s, err = redisstore.Open(t.Context(), redisstore.Options{URL: secret.Text(c.url)})
				return err
			})
			if err == nil {
				t.Fatal("it started", s.Close())
			}
			text := err.Error()
			if !strings.Contains(text, c.want) || strings.Contains(text, "\n") {
				t.Errorf("%q does not say %q", text, c.want)
			}
			for _, word := range []string{password, "battery-staple"} {
				if strings.Contains(text, word) {
					t.Errorf("%q shows a password", text)
				}
			}
			if errors.Is(err, store.ErrUnavailable) != (c.want != "url") {
				t.Errorf("%v: unavailable or not", err)
			}
		})
	}
}

// TestForms : each way to write where a server is, finds it.
func TestAPlaceIsNamedWithoutItsPassword(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"redis://user:canary@h":                                           "redis at h:6379, database 0",
		"rediss://:can@ry@h:1/3":                                          "redis at h:1, database 3",
		"unix://:canary@/run/r.sock?db=2":                                 "redis at /run/r.sock, database 2",
		"redis+cluster://:canary@h1,h2:7000":                              "redis at h1:6379,h2:7000, database 0",
		"redis+sentinel://:canary@h1/1?master=m&sentinel_password=canary": "redis at h1:26379, database 1",
		"redis://:can/ary@h":                                              "redis",
	} {
		if got := redisstore.Place(secret.Text(url)); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestForms(t *testing.T) {
	t.Parallel()
	server := storetest.RedisPort(t, strings.Fields("--requirepass p@ss/w:rd --user glue on >p@ss/w:rd ~* +@all")...)
	_, port, _ := net.SplitHostPort(server.Addr)
	var sessions atomic.Int32
	for name, url := range map[string]string{
		"password":            "redis://:p%40ss%2Fw%3Ard@127.0.0.1:" + port,
		"user and password":   "redis://glue:p%40ss%2Fw%3Ard@127.0.0.1:" + port + "/3",
		"at sign not escaped": "redis://glue:p@ss%2Fw:rd@localhost:" + port + "/",
		"socket":              "unix://:p%40ss%2Fw%3Ard@" + server.Socket,
		"socket and database": "unix://glue:p%40ss%2Fw%3Ard@" + server.Socket + "?db=15",
		"TLS":                 "rediss://" + tlsRedis(t, "trusted").Addr + "/1",
		"TLS and a name":      strings.Replace("rediss://"+tlsRedis(t, "trusted").Addr, "127.0.0.1", "localhost", 1),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			opened(t, open(t, redisstore.Options{URL: secret.Text(url)}), byte(sessions.Add(1)))
		})
	}
}
