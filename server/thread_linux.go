package server

import "syscall"

// niceness is of threads that give way.
const niceness = 5

// lowerPriority lowers that of the calling thread. Where it may not, the thread competes with the others.
func lowerPriority() { _ = syscall.Setpriority(syscall.PRIO_PROCESS, 0, niceness) }
