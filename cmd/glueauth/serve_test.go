package main

import (
	"net"
	"runtime"
	"strings"
	"testing"

	"github.com/glueauth/glueauth/config"
)

// taken returns an address that somebody listens on.
func taken(t *testing.T) net.Listener {
	t.Helper()
	var network net.ListenConfig
	l, err := network.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func TestAllAddressesThatAreTakenAreToldAtOnceWithTheirSettings(t *testing.T) {
	t.Parallel()
	first, second, free := taken(t).Addr().String(), taken(t).Addr().String(), taken(t)
	_, err := bind(t.Context(), []site{
		{name: publicListener, setting: "listen", address: first}, {name: managementListener, setting: "admin_listen", address: second},
	})
	const inUse = " another address: listen tcp ADDRESS: bind: address already in use"
	want := strings.ReplaceAll("the public listener cannot have ADDRESS: give listen (--listen)"+inUse, "ADDRESS", first) + "; " +
		strings.ReplaceAll("the management listener cannot have ADDRESS: give admin_listen (--admin-listen)"+inUse, "ADDRESS", second)
	if err == nil || oneLine(err.Error()) != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}

	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	sites := []site{{name: publicListener, setting: "listen", address: free.Addr().String()}, {name: managementListener, setting: "admin_listen", address: second}}
	if _, err := bind(t.Context(), sites); err == nil || strings.Contains(err.Error(), publicListener) {
		t.Errorf("one is taken: %v", err)
	}
	sockets, err := bind(t.Context(), sites[:1])
	if err != nil {
		t.Fatalf("the address beside one that is taken is not free again: %v", err)
	}
	if err := sockets[0].Close(); err != nil {
		t.Error(err)
	}
}

// TestEachServerOfAProcessHasTheSameRoom : or those of one process would take more and more processors. Not parallel: it counts
// processors, and servers of other tests would get theirs meanwhile.
func TestEachServerOfAProcessHasTheSameRoom(t *testing.T) { //nolint:paralleltest // see above
	room := func() (workers, processors int) {
		workers = passwordWorkers(&config.Config{})
		makeRoom(workers)
		return workers, runtime.GOMAXPROCS(0)
	}
	workers, processors := room()
	if again, more := room(); again != workers || more != processors {
		t.Errorf("%d workers and %d processors, then %d and %d", workers, processors, again, more)
	}
}
