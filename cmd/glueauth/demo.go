package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/server"
	"github.com/glueauth/glueauth/store"
	"github.com/glueauth/glueauth/store/sqlstore"
)

// The customer of the Glue API's public documentation; everybody knows the password.
const (
	demoEmail     = "sonia@spryker.com"
	demoPassword  = secret.Text("change123")
	demoReference = "DE--21"
	demoID        = 21
)

// demo adds the demo customer to an empty database, and prints two requests that are ready to be pasted, made of curl, which
// is one up to the path. A database with customers of its own is left as it is.
func demo(ctx context.Context, r *rooms, curl string, stdout io.Writer, logger *slog.Logger) error {
	count, err := r.embedded.Count(ctx)
	if err != nil {
		return err
	}
	if count == 0 {
		hash, err := server.HashPassword(demoPassword)
		if err != nil {
			return err
		}
		if _, err := r.embedded.Add(ctx, sqlstore.NewCustomer{
			ID: demoID, Reference: demoReference, Email: demoEmail, PasswordHash: hash, Confirmed: true,
		}); err != nil {
			return fmt.Errorf("add the demo customer: %w", err)
		}
		logger.WarnContext(ctx, "added the demo customer, whose password is public", "email", demoEmail)
	}
	switch c, err := r.customers.ByEmail(ctx, demoEmail); {
	case errors.Is(err, store.ErrNotFound) || err == nil && c.ID != demoID:
		logger.WarnContext(ctx, "the database has customers of its own, so --demo added none")
		return nil
	case err != nil:
		return err
	}
	signIn := fmt.Sprintf("%s/token -d grant_type=password -d username=%s -d password=%s", curl, demoEmail, demoPassword.Reveal())
	_, err = fmt.Fprintf(stdout, "Sign the demo customer in:\n\n%s\n\nSign in, then refresh:\n\n%s\n\n", signIn,
		fmt.Sprintf(`%s/token -d grant_type=refresh_token -d refresh_token="$(%s | sed 's/.*"refresh_token":"\([^"]*\)".*/\1/')"`, curl, signIn))
	if err != nil {
		return fmt.Errorf("print the demo's requests: %w", err)
	}
	return nil
}

// reachable is a listener's address as a client on this machine would write it.
func reachable(address net.Addr) string {
	host, port, err := net.SplitHostPort(address.String())
	if ip := net.ParseIP(host); err == nil && ip.IsUnspecified() {
		return net.JoinHostPort("localhost", port)
	}
	return address.String()
}
