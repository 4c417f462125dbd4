package redisstore

import (
	"crypto/tls"
	"errors"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/glueauth/glueauth/config/secret"
)

// poolSize is how many connections one process has to one node at most.
const poolSize = 32

// address is a parsed URL.
type address struct {
	form     string // "", "sentinel" or "cluster"
	network  string
	hosts    []string // host:port, or one path of a socket
	user     string
	password string
	db       int
	master   string // name of the master that the Sentinels watch
	sentinel url.Userinfo
	tls      bool
	patience time.Duration // of a call
}

var errForm = errors.New("redis: the url has none of the forms redis://HOST:6379/0, rediss://HOST:6379/0, unix:///PATH?db=0, " +
	"redis+sentinel://HOST1:26379,HOST2:26379/0?master=NAME and redis+cluster://HOST1:6379,HOST2:6379, each with USER:PASSWORD@ " +
	"before the hosts if need be; write special characters in the password as %XX")

// String returns where the address is, for messages.
func (a address) String() string { return strings.Join(a.hosts, ",") }

// Check reports what is wrong with a URL, without showing it. It connects to nothing.
func Check(url secret.Text) error {
	_, err := parse(url.Reveal())
	return err
}

// Place says for people where a URL leads, without its user and password.
func Place(url secret.Text) string {
	a, err := parse(url.Reveal())
	if err != nil {
		return "redis"
	}
	return "redis at " + a.String() + ", database " + strconv.Itoa(a.db)
}

// parse reads a URL. Its errors never show it.
func parse(text string) (address, error) {
	scheme, rest, _ := strings.Cut(text, "://")
	end := strings.IndexAny(rest+"/", "/?#")
	at := strings.LastIndex(rest[:end], "@") + 1
	hosts := rest[at:end]
	// net/url knows no list of hosts, so it reads the rest without them.
	u, err := url.Parse("redis://" + rest[:at] + "host" + rest[end:])
	if err != nil || u.Fragment != "" {
		return address{}, errForm
	}
	a := address{network: "tcp", user: u.User.Username()}
	a.password, _ = u.User.Password()
	port := "6379"
	switch scheme {
	case "redis", "rediss", "redis+cluster", "rediss+cluster":
		_, a.form, _ = strings.Cut(scheme, "+")
	case "redis+sentinel", "rediss+sentinel":
		a.form, port = "sentinel", "26379"
	case "unix":
		return a.socket(hosts, u)
	default:
		return address{}, errForm
	}
	a.tls = strings.HasPrefix(scheme, "rediss")
	for host := range strings.SplitSeq(hosts, ",") {
		host, ok := hostPort(host, port)
		if !ok {
			return address{}, errForm
		}
		a.hosts = append(a.hosts, host)
	}
	if len(a.hosts) > 1 && a.form == "" {
		return address{}, errForm
	}
	return a.query(u.Query(), strings.TrimPrefix(u.Path, "/"))
}

func (a address) socket(host string, u *url.URL) (address, error) {
	if host != "" || len(u.Path) < 2 {
		return address{}, errForm
	}
	a.network, a.hosts = "unix", []string{u.Path}
	q := u.Query()
	db := q.Get("db")
	q.Del("db")
	return a.query(q, db)
}

// query reads the number of the database and what a Sentinel needs.
func (a address) query(q url.Values, db string) (address, error) {
	if db != "" {
		n, err := strconv.Atoi(db)
		if err != nil || n < 0 {
			return address{}, errForm
		}
		a.db = n
	}
	if a.form == "sentinel" {
		a.master = q.Get("master")
		a.sentinel = *url.UserPassword(q.Get("sentinel_user"), q.Get("sentinel_password"))
		for _, known := range []string{"master", "sentinel_user", "sentinel_password"} {
			q.Del(known)
		}
	}
	if len(q) > 0 || (a.form == "sentinel") != (a.master != "") || a.form == "cluster" && a.db != 0 {
		return address{}, errForm
	}
	return a, nil
}

// hostPort adds the port where there is none, and reports whether the result is an address.
func hostPort(text, port string) (string, bool) {
	if _, _, err := net.SplitHostPort(text); err != nil {
		text = net.JoinHostPort(strings.Trim(text, "[]"), port)
	}
	host, port, err := net.SplitHostPort(text)
	n, numberErr := strconv.ParseUint(port, 10, 16)
	return text, err == nil && numberErr == nil && n > 0 && host != "" && !strings.ContainsAny(host, "/@ ")
}

func (a address) connect() servers {
	switch a.form {
	case "cluster":
		return servers{patience: a.patience, node: a.options, cluster: redis.NewClusterClient(a.cluster())}
	case "sentinel":
		return servers{patience: a.patience, node: a.options, single: redis.NewFailoverClient(a.failover())}
	default:
		return servers{patience: a.patience, node: a.options, single: redis.NewClient(a.options(a.hosts[0]))}
	}
}

// options are those of one node. MaxRetries is off because the library would send a script a second time after a lost
// answer, and without ContextTimeoutEnabled it would not heed deadlines. What only makes noise on connecting is off too.
func (a address) options(host string) *redis.Options {
	step := a.patience * 2 / 3
	return &redis.Options{
		Network: a.network, Addr: host, Username: a.user, Password: a.password, DB: a.db, TLSConfig: a.tlsConfig(),
		Protocol: 2, DisableIdentity: true, MaintNotificationsConfig: quiet(),
		MaxRetries: -1, ContextTimeoutEnabled: true,
		DialTimeout: step, DialerRetries: 1, ReadTimeout: step, WriteTimeout: step, PoolTimeout: step,
		PoolSize: poolSize, MaxActiveConns: poolSize, PipelinePoolSize: -1,
	}
}

func (a address) failover() *redis.FailoverOptions {
	o := a.options("")
	sentinelPassword, _ := a.sentinel.Password()
	return &redis.FailoverOptions{
		MasterName: a.master, SentinelAddrs: a.hosts, SentinelUsername: a.sentinel.Username(), SentinelPassword: sentinelPassword,
		Username: o.Username, Password: o.Password, DB: o.DB, TLSConfig: o.TLSConfig,
		Protocol: o.Protocol, DisableIdentity: true,
		MaxRetries: o.MaxRetries, ContextTimeoutEnabled: o.ContextTimeoutEnabled,
		DialTimeout: o.DialTimeout, DialerRetries: o.DialerRetries, ReadTimeout: o.ReadTimeout, WriteTimeout: o.WriteTimeout,
		PoolTimeout: o.PoolTimeout, PoolSize: o.PoolSize, MaxActiveConns: o.MaxActiveConns, PipelinePoolSize: o.PipelinePoolSize,
	}
}

func (a address) cluster() *redis.ClusterOptions {
	o := a.options("")
	return &redis.ClusterOptions{
		Addrs: a.hosts, Username: o.Username, Password: o.Password, TLSConfig: o.TLSConfig,
		Protocol: o.Protocol, DisableIdentity: true, MaintNotificationsConfig: quiet(),
		MaxRetries: o.MaxRetries, MaxRedirects: -1, ContextTimeoutEnabled: o.ContextTimeoutEnabled,
		DialTimeout: o.DialTimeout, DialerRetries: o.DialerRetries, ReadTimeout: o.ReadTimeout, WriteTimeout: o.WriteTimeout,
		PoolTimeout: o.PoolTimeout, PoolSize: o.PoolSize, MaxActiveConns: o.MaxActiveConns, PipelinePoolSize: o.PipelinePoolSize,
	}
}

// tlsConfig returns nil without TLS. The dialer fills in the name of the host.
func (a address) tlsConfig() *tls.Config {
	if !a.tls {
		return nil
	}
	return &tls.Config{MinVersion: tls.VersionTLS12}
}

func quiet() *maintnotifications.Config {
	return &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
}
