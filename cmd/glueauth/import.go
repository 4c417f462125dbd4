package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/glueauth/glueauth/store/sqlstore"
)

func (p process) customersImportCommand() *cobra.Command {
	var dryRun bool
	cmd := &cobra.Command{
		Use: "import FILE", Short: "Add the customers of a CSV file", Args: cobra.ExactArgs(1),
		Long: "Add the customers of a CSV file, - for standard input. Its first line names the columns: customer_reference, email and\n" +
			"password (a hash, as the shop has it), and optionally id_customer and registered; others are ignored. Customers who\n" +
			"are there already stay as they are, so that an import can be repeated; rows that are refused are listed.",
		RunE: func(cmd *cobra.Command, args []string) error {
			in, err := p.input(args[0])
			if err != nil {
				return err
			}
			defer in.Close() //nolint:errcheck // it is only read
			rows, err := sqlstore.ReadCSV(in)
			if err != nil {
				return err
			}
			return p.withCustomers(cmd.Context(), cmd, !dryRun, func(ctx context.Context, customers *sqlstore.Customers) error {
				result, err := customers.Import(ctx, rows, dryRun)
				return p.report(result, err, dryRun)
			})
		},
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "say what would be done, and change nothing")
	return cmd
}

func (p process) input(name string) (io.ReadCloser, error) {
	if name == "-" {
		return io.NopCloser(p.stdin), nil
	}
	file, err := os.Open(name) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, fmt.Errorf("read CSV: %w", err)
	}
	return file, nil
}

// report tells what became of an import: the counts to stdout, the refused rows to stderr. A refused row is a failure.
func (p process) report(r sqlstore.ImportResult, err error, dryRun bool) error {
	for _, refusal := range r.Refusals {
		_, _ = fmt.Fprintf(p.stderr, "line %d: %s\n", refusal.Line, refusal.Reason)
	}
	if more := r.Refused - len(r.Refusals); more > 0 {
		_, _ = fmt.Fprintf(p.stderr, "and %d more\n", more)
	}
	added := "added"
	if dryRun {
		added = "to add"
	}
	_, _ = fmt.Fprintf(p.stdout, "%d %s, %d unchanged, %d refused\n", r.Added, added, r.Unchanged, r.Refused)
	switch {
	case err != nil:
		return fmt.Errorf("the import ended early: %w", err)
	case r.Refused > 0:
		return fmt.Errorf("rows refused: %d; correct them and import the file again", r.Refused)
	}
	return nil
}
