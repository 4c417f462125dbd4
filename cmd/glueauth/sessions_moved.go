package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/glueauth/glueauth/store/sqlitefile"
)

// stillHere returns an error where the sessions of a database were moved away: what has ended since would live again.
func stillHere(ctx context.Context, file *sqlitefile.File, path string) error {
	place, err := file.MovedTo(ctx)
	if err != nil || place == "" {
		return err
	}
	return fmt.Errorf("the sessions of %s were moved to %s; use them there (redis.url, or --data for a folder), or move them back with "+
		"glueauth sessions move, or, if they are lost there, run glueauth sessions take-back, and those that have ended since live again", path, place)
}

func (p process) sessionsTakeBackCommand() *cobra.Command {
	return &cobra.Command{
		Use: "take-back", Short: "Let the data folder's sessions be used that were moved away, after the others were lost", Args: cobra.NoArgs,
		Long: "Let the sessions in the data folder be used again that were moved away, after those at the target were lost. Sessions that\n" +
			"have ended since the move live again: as long as the target is there, move them back with glueauth sessions move instead.",
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			cfg, err := p.load(cmd)
			if err != nil {
				return err
			}
			path := filepath.Join(cfg.Data, databaseName)
			file, err := sqlitefile.Open(cmd.Context(), path, sqlitefile.Options{PowerLossSafe: true})
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, file.Close()) }()
			place, err := file.MovedTo(cmd.Context())
			if err != nil {
				return err
			}
			if place == "" {
				return fmt.Errorf("the sessions of %s were not moved away: there is nothing to take back", path)
			}
			if err := file.SetMoved(cmd.Context(), ""); err != nil {
				return err
			}
			_, err = fmt.Fprintf(p.stdout, "the next server on %s uses its sessions as they were when they were moved to %s\n", path, place)
			return err
		},
	}
}
