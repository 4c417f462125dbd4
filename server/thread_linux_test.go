package server_test

import (
	"runtime"
	"sync"
	"syscall"
	"testing"

	"github.com/glueauth/glueauth/server"
)

// priority is 20 less the niceness of the thread that calls it.
func priority(t *testing.T) int {
	t.Helper()
	p, err := syscall.Getpriority(syscall.PRIO_PROCESS, 0)
	if err != nil {
		t.Error(err)
	}
	return p
}

// TestWorkersGiveWay : they have the lower priority, and leave it to nobody who uses their threads afterwards.
func TestWorkersGiveWay(t *testing.T) {
	t.Parallel()
	usual, working := priority(t), 0
	p := server.NewPool(1, 1)
	p.Work = func([]string) { working = priority(t) }
	for range 3 {
		if err := p.Do(t.Context(), "x", "192.0.2.1", "a", ""); err != nil {
			t.Fatal(err)
		}
		if want := max(1, usual-5); working != want {
			t.Errorf("a worker has the priority %d and others %d, want %d", working, usual, want)
		}
	}
	var all sync.WaitGroup
	gate := make(chan struct{})
	for range 32 { // each on a thread of its own
		all.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			<-gate
			if got := priority(t); got != usual {
				t.Errorf("another thread has the priority %d, want %d", got, usual)
			}
		})
	}
	close(gate)
	all.Wait()
}
