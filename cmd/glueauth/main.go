// Command glueauth is an OAuth 2.0 authorization server that signs in the customers of Spryker shops.
//
// It is the only place that wires the rooms together: serve.go starts the server, and each other command has a file of
// its own. run.go says what they share.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(run(ctx, os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr))
}
