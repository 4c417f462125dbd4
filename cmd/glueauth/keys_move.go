package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/glueauth/glueauth/keys"
)

func (p process) keysMoveCommand() *cobra.Command {
	var to string
	cmd := &cobra.Command{
		Use: "move", Short: "Copy the signing keys from their folder to Redis, or back; nobody is signed out", Args: cobra.NoArgs,
		Long: "Copy the signing keys, with their ids and their times, from keys.dir to the Redis of redis.url, where they are sealed by the\n" +
			"master key, or from there to keys.dir. Then set keys.store and restart server by server; those that still use the other\n" +
			"place have the same keys. Do it while no rotation is under way, and repeat it after the last restart if one was. What it\n" +
			"copies from stays: take it away once all servers use the new place.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if to != "redis" && to != "folder" {
				return fmt.Errorf("--to %q is unknown: write redis or folder", to)
			}
			cfg, err := p.load(cmd)
			if err != nil {
				return err
			}
			if cfg.Redis.URL == "" {
				return errors.New("redis.url is not set: give it the URL of the Redis to which or from which the keys move; servers that have it keep their sessions there too")
			}
			folder, err := ringOptions(cfg)
			if err != nil {
				return err
			}
			return withVault(cmd.Context(), cfg, folder, func(vault keys.Options) error {
				if to == "folder" {
					return p.moveKeys(vault, folder)
				}
				if err := p.moveKeys(folder, vault); err != nil {
					return err
				}
				if left := leftHere(cmd.Context(), cfg); left != "" {
					_, _ = fmt.Fprintln(p.stderr, left)
				}
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&to, "to", "", "redis or folder")
	if err := cmd.MarkFlagRequired("to"); err != nil {
		panic(err) // there is no such flag
	}
	return cmd
}

// moveKeys prints the kids of those that were not there yet.
func (p process) moveKeys(from, to keys.Options) error {
	kids, err := keys.Move(from, to)
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(p.stderr, "%d keys copied; set keys.store for all servers and restart them one by one\n", len(kids))
	for _, kid := range kids {
		if _, err := fmt.Fprintln(p.stdout, kid); err != nil {
			return err
		}
	}
	return nil
}
