package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/glueauth/glueauth/config"
	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/server"
	"github.com/glueauth/glueauth/store"
	"github.com/glueauth/glueauth/store/sqlitefile"
	"github.com/glueauth/glueauth/store/sqlstore"
)

func (p process) customersCommand() *cobra.Command {
	return p.group("customers", "Manage the customers in the embedded database, also while the server runs",
		p.customersAddCommand(), p.customersListCommand(), p.customersImportCommand(),
		p.customersBlockCommand("block", "Keep a customer from signing in, and end his sessions at their next refresh", true),
		p.customersBlockCommand("unblock", "Let a blocked customer in again", false))
}

// withCustomers opens the customers' database for one command.
func (p process) withCustomers(ctx context.Context, cmd *cobra.Command, create bool, do func(context.Context, *sqlstore.Customers) error) (err error) {
	cfg, err := p.load(cmd)
	if err != nil {
		return err
	}
	if err := ownCustomers(cfg); err != nil {
		return err
	}
	create = create && inData(cfg, cfg.Customers.File)
	if create {
		if err := makeDataFolder(cfg); err != nil {
			return err
		}
	}
	file, err := sqlitefile.Open(ctx, cfg.Customers.File, sqlitefile.Options{PowerLossSafe: cfg.Store.PowerLossSafe, Create: create})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	return do(ctx, sqlstore.New(file, time.Now, rand.Reader))
}

// makeDataFolder makes the data folder as serve would, for a command that comes before its first start.
func makeDataFolder(cfg *config.Config) error {
	if err := os.MkdirAll(cfg.Data, 0o700); err != nil {
		return fmt.Errorf("make the data folder: %w", err)
	}
	return nil
}

func (p process) customersAddCommand() *cobra.Command {
	var n sqlstore.NewCustomer
	var password, hash, unconfirmed bool
	cmd := &cobra.Command{
		Use: "add --email ADDRESS --reference REFERENCE", Short: "Add a customer", Args: cobra.NoArgs,
		Long: "Add a customer. The password comes from standard input, so that no process list and no shell history shows it;\n" +
			"one line break at its end does not count. Without a password the customer cannot sign in.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if n.PasswordHash, err = p.passwordHash(password, hash); err != nil {
				return err
			}
			n.Confirmed = !unconfirmed
			return p.withCustomers(cmd.Context(), cmd, true, func(ctx context.Context, customers *sqlstore.Customers) error {
				id, err := customers.Add(ctx, n)
				if err != nil {
					return err
				}
				_, err = fmt.Fprintf(p.stdout, "added customer %d\n", id)
				return err
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&n.Email, "email", "", "e-mail address, with which he signs in")
	flags.StringVar(&n.Reference, "reference", "", "customer reference, like DE--21")
	flags.Int64Var(&n.ID, "id", 0, "id_customer (default: the next free one)")
	flags.BoolVar(&password, "password-stdin", false, "read his password from standard input")
	flags.BoolVar(&hash, "password-hash-stdin", false, "read the hash of his password, as the shop has it, from standard input")
	flags.BoolVar(&unconfirmed, "unconfirmed", false, "he has not finished his registration (double opt-in)")
	cmd.MarkFlagsMutuallyExclusive("password-stdin", "password-hash-stdin")
	return cmd
}

// passwordHash reads the password of a new customer, or its hash, from stdin; with neither there is none.
func (p process) passwordHash(password, hash bool) (secret.Text, error) {
	if !password && !hash {
		return "", nil
	}
	const most = 8192 // more than any password may have
	b, err := io.ReadAll(io.LimitReader(p.stdin, most))
	if err != nil {
		return "", fmt.Errorf("read the password: %w", err)
	}
	text := secret.Text(strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r"))
	switch {
	case text == "":
		return "", errors.New("standard input holds no password: pipe one in, or add the customer without one")
	case hash:
		return text, nil
	default:
		return server.HashPassword(text)
	}
}

func (p process) customersListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the customers, a line each, with tabs between the columns", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.withCustomers(cmd.Context(), cmd, false, func(ctx context.Context, customers *sqlstore.Customers) error {
				if _, err := fmt.Fprintln(p.stdout, "ID\tREFERENCE\tEMAIL\tSTATE"); err != nil {
					return err
				}
				for c, err := range customers.List(ctx) {
					if err != nil {
						return err
					}
					if _, err := fmt.Fprintf(p.stdout, "%d\t%s\t%s\t%s\n", c.ID, cell(c.Reference), cell(c.Email), state(c)); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
}

// cell quotes what would break its column or the terminal.
func cell(text string) string {
	if q := strconv.Quote(text); q != `"`+text+`"` {
		return q
	}
	return text
}

// state says why a customer may not sign in, or that he may.
func state(c store.Customer) string {
	switch {
	case c.Anonymised:
		return "anonymised"
	case c.Blocked:
		return "blocked"
	case !c.Confirmed:
		return "unconfirmed"
	case c.PasswordHash == "":
		return "without password"
	default:
		return "active"
	}
}

func (p process) customersBlockCommand(use, short string, blocked bool) *cobra.Command {
	return &cobra.Command{
		Use: use + " EMAIL|REFERENCE", Short: short, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.withCustomers(cmd.Context(), cmd, false, func(ctx context.Context, customers *sqlstore.Customers) error {
				switch err := customers.SetBlocked(ctx, args[0], blocked); {
				case errors.Is(err, store.ErrNotFound):
					return fmt.Errorf("no customer has the e-mail address or reference %q: see glueauth customers list", args[0])
				case err != nil:
					return err
				}
				_, err := fmt.Fprintf(p.stdout, "%sed %s\n", use, cell(args[0]))
				return err
			})
		},
	}
}
