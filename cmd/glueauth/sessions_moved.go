package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/glueauth/glueauth/config"
	"github.com/glueauth/glueauth/store/sqlitefile"
	"github.com/glueauth/glueauth/store/sqlitestore"
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

// leftHere says how many sessions a server with redis.url would leave behind in its data folder, and their customers signed out;
// empty for none, and where that cannot be told.
func leftHere(ctx context.Context, cfg *config.Config) string {
	path := filepath.Join(cfg.Data, databaseName)
	if _, err := os.Lstat(path); err != nil {
		return ""
	}
	file, err := sqlitefile.Open(ctx, path, sqlitefile.Options{Look: true})
	if err != nil {
		return ""
	}
	defer file.Close() //nolint:errcheck // it was only read
	if place, err := file.MovedTo(ctx); err != nil || place != "" {
		return ""
	}
	sessions := sqlitestore.New(file, time.Now)
	defer sessions.Close()
	n, err := sessions.Count(ctx)
	if err != nil || n == 0 {
		return ""
	}
	return fmt.Sprintf("%d sessions are in %s, where a server with redis.url does not look, so that their customers are signed out; "+
		"stop all servers and move them with glueauth sessions move", n, path)
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
