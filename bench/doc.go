// Package bench measures the real binary, built as it is shipped, with everything on one machine: `make bench-overload` and
// `make bench-timing`. It is a module of its own for the sake of what it is compared with. Nothing here is a test: the
// figures are of a machine on which nothing else runs.
package bench
