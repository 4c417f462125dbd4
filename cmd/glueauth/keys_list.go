package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/glueauth/glueauth/config"
	"github.com/glueauth/glueauth/handlers"
	"github.com/glueauth/glueauth/keys"
)

func (p process) keysListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the signing keys, their states, and who has fetched them", Args: cobra.NoArgs,
		Long: "List the signing keys and their states:\n\n" +
			"  announced  published, signs at the time under UNTIL\n" +
			"  signing    signs the tokens of clients with its algorithm\n" +
			"  retired    published until the last token that it has signed has expired\n" +
			"  gone       neither published nor accepted\n" +
			"  published  outside the schedule: accepted until its file is taken away\n\n" +
			"With admin_secret set, the server on this machine is asked who has fetched each key since its start.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.withRing(cmd, func(cfg *config.Config, ring *keys.Ring) error {
				tab := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
				_, _ = fmt.Fprintln(tab, "KID\tALG\tBITS\tSTATE\tSINCE\tUNTIL\tFILE") // errors come back from Flush
				for _, k := range ring.List() {
					_, _ = fmt.Fprintf(tab, "%s\t%s\t%d\t%s\t%s\t%s\t%s\n",
						k.Kid, k.Algorithm, k.Bits, k.State, stamp(k.Since), stamp(k.Until), whereKept(cfg, k))
				}
				if err := tab.Flush(); err != nil {
					return err
				}
				return p.printReaders(cmd.Context(), cfg)
			})
		},
	}
}

// whereKept is the file of a key, or what there is in its place.
func whereKept(cfg *config.Config, k keys.Info) string {
	if cfg.Keys.Shared && k.File != "" {
		return "(redis)"
	}
	return cmp.Or(k.File, "(keys.shop_private)")
}

// printReaders prints who has fetched each key; where nobody can be asked, it says so on stderr.
func (p process) printReaders(ctx context.Context, cfg *config.Config) error {
	list, err := askForKeys(ctx, cfg)
	if err != nil {
		_, err = fmt.Fprintf(p.stderr, "who has fetched them is not known: %v\n", err)
		return err
	}
	_, _ = fmt.Fprintln(p.stdout)
	tab := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(tab, "FETCHED\tAT\tFROM\tBY")
	for _, key := range list {
		for _, r := range key.Readers {
			_, _ = fmt.Fprintf(tab, "%s\t%s\t%s\t%s\n", key.Kid, stamp(r.At), r.Address, r.UserAgent)
		}
	}
	return tab.Flush()
}

// askForKeys asks the server on this machine.
func askForKeys(ctx context.Context, cfg *config.Config) ([]handlers.Key, error) {
	switch {
	case cfg.AdminSecret == "":
		return nil, errors.New("set admin_secret, and the server on this machine is asked")
	case cfg.AdminListen == "":
		return nil, errors.New("set admin_listen, and the server on this machine is asked")
	}
	ctx, cancel := context.WithTimeout(ctx, localDeadline)
	defer cancel()
	response, err := askServer(ctx, cfg, "/keys", cfg.AdminSecret)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close() //nolint:errcheck // it is only read
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the server on %s answered %s", response.Request.URL.Host, response.Status)
	}
	var answer struct {
		Keys []handlers.Key `json:"keys"`
	}
	const most = 1 << 20
	if err := json.NewDecoder(io.LimitReader(response.Body, most)).Decode(&answer); err != nil {
		return nil, fmt.Errorf("read the server's answer: %w", err)
	}
	return answer.Keys, nil
}
