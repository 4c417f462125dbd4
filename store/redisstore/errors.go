package redisstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/redis/go-redis/v9"

	"github.com/glueauth/glueauth/store"
)

var (
	errTaken       = errors.New("open session: its name is taken, so the random source repeats itself")
	errUnconfirmed = errors.New("unconfirmed: too few replicas confirmed the write in time; check them, or lower redis.wait_replicas")
	errAnswer      = errors.New("protocol: the answer is not one of Redis; check that the address is right")
)

// refusal is a kind of error that a server answers with: how it begins, and our text with a short name for the kind and the
// cause or the remedy.
type refusal struct{ word, text string }

// refusals returns the kinds of errors that have a remedy of their own. The text that the server sent is never passed on,
// because it may repeat what was sent to it.
func refusals() []refusal {
	return []refusal{
		{"LOADING", "loading: it is reading its data; it answers when that is done"},
		{"READONLY", "readonly: it is a replica; give the address of the master, or of the Sentinels"},
		{"OOM", "oom: it has no memory left; raise maxmemory"},
		{"MISCONF", "misconf: it cannot save to disk; its own log says why"},
		{"NOREPLICAS", "noreplicas: it has too few replicas for min-replicas-to-write"},
		{"CLUSTERDOWN", "clusterdown: slots of the cluster are without a master"},
		{"TRYAGAIN", "tryagain: the keys are just being moved"},
		{"MASTERDOWN", "masterdown: it is a replica that has lost its master"},
		{"BUSY", "busy: it is busy with a script"},
		{"NOAUTH", "noauth: it wants a password; give it in the url"},
		{"WRONGPASS", "wrongpass: user or password in the url are wrong"},
		{"NOPERM", "noperm: its user may not do that; allow EVALSHA, SCRIPT LOAD and WAIT, and @read, @write and TIME on the keys glueauth:*"},
		{"ERR ACL failure in script", "noperm: its user may not run what the scripts run; allow @read, @write and TIME on the keys glueauth:*"},
		{"ERR The user executing the script", "noperm: its user may not run what the scripts run; allow @read, @write and TIME on the keys glueauth:*"},
		{"MOVED", "moved: it belongs to a cluster; write redis+cluster:// in the url"},
		{"ASK", "ask: it belongs to a cluster whose keys are just being moved"},
		{"CROSSSLOT", "crossslot: the keys of one customer do not share a slot"},
		{"NOSCRIPT", "noscript: it forgets scripts at once"},
		{"WRONGTYPE", "wrongtype: somebody else uses keys that begin with glueauth:"},
		{"ERR max number of clients reached", "maxclients: it has too many clients; raise maxclients"},
		{"ERR Protocol error: unauthenticated", "noauth: it wants a password; give it in the url"},
		{"ERR syntax error", "version: it is older than Redis 6.2"},
	}
}

// unavailable makes an error of a call, with a short and stable text, out of whatever failed.
func unavailable(err error) error {
	return fmt.Errorf("%w: redis: %s", store.ErrUnavailable, class(err))
}

func class(err error) string {
	if answer, ok := errors.AsType[redis.Error](err); ok && !errors.Is(err, redis.Nil) {
		return refused(answer.Error())
	}
	switch {
	case errors.Is(err, errUnconfirmed):
		return errUnconfirmed.Error()
	case errors.Is(err, redis.ErrPoolTimeout):
		return "timeout: all connections are in use"
	case errors.Is(err, redis.ErrClosed):
		return "closed: the store was closed"
	case errors.Is(err, context.Canceled):
		return "canceled: the caller gave up"
	case isUntrusted(err):
		return "tls: " + untrusted(err)
	}
	if text, ok := network(err); ok {
		return text
	}
	return errAnswer.Error()
}

// network names an error of the connection, and reports whether it is one.
func network(err error) (string, bool) {
	if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
		return "timeout: it does not answer in time", true
	}
	if e, ok := errors.AsType[*net.OpError](err); ok && e.Op == "dial" {
		return "dial: no connection (" + reason(e.Err) + "); check that it runs and that the address is right", true
	}
	_, system := errors.AsType[syscall.Errno](err)
	cut := system || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed)
	return "connection: it was cut; it may have too many clients", cut
}

// refused names the kind of an error that a server answered with. Redis 6.2 puts an error inside a script behind a text of
// its own, some with a dash before the first word.
func refused(text string) string {
	for _, known := range refusals() {
		if strings.HasPrefix(text, known.word) || strings.Contains(text, ": "+known.word) || strings.Contains(text, ": -"+known.word) {
			return known.text
		}
	}
	return "error: it refused the command; it must be Redis 6.2 or newer, or Valkey, with scripts allowed"
}

// reason is why a connection failed, without the address: the message around it has that already.
func reason(err error) string {
	if e, ok := errors.AsType[syscall.Errno](err); ok {
		return e.Error()
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return "no such host"
	}
	return "it failed"
}
