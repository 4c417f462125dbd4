package server

import "runtime"

// thread is a thread of the operating system that gives way to all others, as far as the system knows such a thing. Go's
// own scheduler knows no priorities: a goroutine with 65 ms of work holds a processor for ten at a time, before those
// that need one. For threads to be set aside by the system, not in Go, there must be more of Go's processors
// than cores, one more for each of these threads: whoever runs a server sees to that (runtime.GOMAXPROCS).
type thread struct {
	work chan func()
	done chan any
}

func newThread() thread {
	t := thread{make(chan func()), make(chan any)}
	go func() {
		runtime.LockOSThread() // for good: it ends with the goroutine, so that no other gets a low priority
		lowerPriority()
		for work := range t.work {
			t.done <- attempted(work)
		}
	}()
	return t
}

// do returns when the work is done, and what it panicked with.
func (t thread) do(work func()) (panicked any) {
	t.work <- work
	return <-t.done
}

func (t thread) end() { close(t.work) }

func attempted(work func()) (panicked any) {
	defer func() { panicked = recover() }()
	work()
	return nil
}
