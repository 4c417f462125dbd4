package redisstore_test

import (
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"

	"github.com/glueauth/glueauth/store/storetest"
)

// TestMain fails when a goroutine of a closed store is left over. The library lets some of its own end within seconds.
func TestMain(m *testing.M) {
	cleanup, err := trustOwn()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	cleanup()
	if code == 0 {
		err := goleak.Find()
		for deadline := time.After(5 * time.Second); err != nil; err = goleak.Find() {
			select {
			case <-deadline:
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			default:
			}
		}
	}
	os.Exit(code)
}

// everyTTL returns how many seconds each key of a server has left, and fails the test when one has no end.
func everyTTL(t *testing.T, r *storetest.RedisServer) map[string]int {
	t.Helper()
	out := r.Do(t, "EVAL", "local all = {} for _, key in ipairs(redis.call('KEYS', '*')) do "+
		"table.insert(all, key) table.insert(all, redis.call('TTL', key)) end return all", "0")
	fields := strings.Fields(out)
	lives := map[string]int{}
	for i := 0; i+1 < len(fields); i += 2 {
		left, err := strconv.Atoi(fields[i+1])
		if err != nil || left < 0 {
			t.Errorf("%s expires in %s s", fields[i], fields[i+1])
		}
		lives[fields[i]] = left
	}
	return lives
}

// different returns how two values differ, empty for not at all.
func different(want, got any) string {
	return cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{}))
}
