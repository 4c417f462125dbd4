package e2e_test

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/glueauth/glueauth/store/storetest"
)

// spare is how many more connections, to customers or to one Redis, a server may hold after a fault than before: it keeps
// some for whoever comes next.
const spare = 8

// holding is what a server holds at one moment.
type holding struct {
	goroutines, files, connections int
}

// noLeaks notes what the server holds, and demands when the test is over, before the server is stopped, that it holds about
// as much again: goroutines, open files, and connections to these Redis servers. Its log must name nobody and no token.
func (p *process) noLeaks(t *testing.T, redis ...*storetest.RedisServer) {
	t.Helper()
	before, err := p.holds(redis)
	if err != nil {
		t.Fatal(err)
	}
	more := spare * (1 + len(redis))
	t.Cleanup(func() {
		eventually(t, startLimit, func() error {
			after, err := p.holds(redis)
			switch {
			case err != nil:
				return err
			case after.goroutines > before.goroutines+more, after.files > before.files+more, after.connections > before.connections+more:
				return fmt.Errorf("it leaks: from %+v to %+v", before, after)
			default:
				return nil
			}
		})
		for _, private := range []string{"grt_", "eyJ", "@shop.example", demoPassword, cheapHash} {
			if strings.Contains(p.stderr.String(), private) {
				t.Errorf("the log holds %q:\n%s", private, p.tail())
			}
		}
	})
}

// holds looks once, without the connections that the test itself keeps open.
func (p *process) holds(redis []*storetest.RedisServer) (h holding, err error) {
	p.client.CloseIdleConnections()
	metrics, err := p.metrics()
	if err != nil {
		return h, err
	}
	h.goroutines, err = gauge(metrics, "go_goroutines")
	if err != nil {
		return h, err
	}
	h.files, err = gauge(metrics, "process_open_fds")
	for _, server := range redis {
		if clients, err := server.Try("CLIENT", "LIST", "TYPE", "normal"); err == nil { // a dead one has none
			h.connections += len(strings.Split(clients, "\n"))
		}
	}
	return h, err
}

func (p *process) metrics() (string, error) {
	a, err := p.get(p.admin + "/metrics")
	if err == nil && a.status != http.StatusOK {
		err = errors.New(a.String())
	}
	return a.body, err
}

// gauge reads one series without labels.
func gauge(metrics, name string) (int, error) {
	match := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindStringSubmatch(metrics)
	if match == nil {
		return 0, fmt.Errorf("the metrics have no %s", name)
	}
	value, err := strconv.ParseFloat(match[1], 64)
	return int(value), err
}

// The check above is worth nothing if it sees nothing.
func TestTheSearchForLeaksSeesOne(t *testing.T) {
	t.Parallel()
	redis := storetest.Redis(t)
	all, _ := replicas(t, 1, redis.URL())
	p := all[0]
	servers := []*storetest.RedisServer{redis}
	before, err := p.holds(servers)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 * spare { // connections that nobody closes
		p.hang(t)
		dial(t, redis)
	}
	eventually(t, startLimit, func() error {
		after, err := p.holds(servers)
		if err == nil && (after.goroutines <= before.goroutines+2*spare || after.files <= before.files+2*spare || after.connections <= before.connections+2*spare) {
			err = fmt.Errorf("from %+v to %+v", before, after)
		}
		return err
	})
}
