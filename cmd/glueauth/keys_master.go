package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/spf13/cobra"

	"github.com/glueauth/glueauth/config"
	"github.com/glueauth/glueauth/keys"
)

func (p process) masterKeyCommand() *cobra.Command {
	return p.group("master-key", "Rotate the master key", p.masterKeyRotateCommand(), p.masterKeyCloseCommand())
}

func (p process) masterKeyRotateCommand() *cobra.Command {
	return &cobra.Command{
		Use: "rotate", Short: "Put a new master key before the old one; nobody is signed out", Args: cobra.NoArgs,
		Long: "Put a new master key before the old one in the master key file. The old one goes on opening what it has made: refresh\n" +
			"tokens, and what sessions remember. Nobody is signed out, in two steps that leave no server behind another: restart every\n" +
			"server, which then knows both keys; then set refresh.mac_key to the number that this prints and restart them again, which\n" +
			"then make refresh tokens with the new one. Keep the file with your backups; `glueauth master-key close` takes the old key out of it.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := p.load(cmd)
			if err != nil {
				return err
			}
			if cfg.Keys.Master != "" {
				return errors.New("the master key is the setting master_key and not a file: write 10:NEW,1:OLD there, NEW from openssl rand -base64 32")
			}
			number, err := keys.RotateMaster(cfg.Keys.MasterFile, byte(cfg.Refresh.MACKey), rand.Reader) //nolint:gosec // the setting is 1 to 255
			if err != nil {
				return noMaster(err)
			}
			_, _ = fmt.Fprintf(p.stderr, "restart every server, so that it knows the new key; then set refresh.mac_key to %d and restart them again\n", number)
			_, err = fmt.Fprintln(p.stdout, number)
			return err
		},
	}
}

func (p process) masterKeyCloseCommand() *cobra.Command {
	var now bool
	cmd := &cobra.Command{
		Use: "close", Short: "Take the old master key out of its file, as soon as no refresh token needs it", Args: cobra.NoArgs,
		Long: "Take the old master key out of its file after a rotation, in two steps. Once every server has been restarted with the new\n" +
			"refresh.mac_key, the first call writes down from when on no refresh token that the old one has made can be good any more,\n" +
			"and prints that time. A call after it removes the old key; restart every server then. What sessions remember devices and\n" +
			"passwords by stays, which opens nothing. With --now it goes at once: customers who have not been back since the rotation\n" +
			"sign in again. That is for a master key that was stolen.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := p.load(cmd)
			if err != nil {
				return err
			}
			if cfg.Keys.Master != "" {
				return errors.New("the master key is the setting master_key and not a file: write the keys into a file, one on each line, name it with master_key_file and repeat")
			}
			closing := keys.Closing{Number: byte(cfg.Refresh.MACKey), Now: time.Now(), Force: now} //nolint:gosec // the setting is 1 to 255
			for _, c := range cfg.Clients {
				if end := c.RefreshLifetime.After(closing.Now); end.After(closing.Until) {
					closing.Until = end
				}
			}
			if cfg.Keys.Shared {
				closing.Fits = func(left *keys.Master) error { return resealed(cmd.Context(), cfg, left) }
			}
			until, err := keys.CloseMaster(cfg.Keys.MasterFile, closing)
			if err != nil {
				return noMaster(err)
			}
			if until.IsZero() {
				_, err = fmt.Fprintln(p.stderr, "the old master key is out of the file; restart every server, and take it out of your backups")
				return err
			}
			_, _ = fmt.Fprintln(p.stderr, "the old master key is needed until then; run this again after it")
			_, err = fmt.Fprintln(p.stdout, stamp(until))
			return err
		},
	}
	cmd.Flags().BoolVar(&now, "now", false, "at once: customers whose refresh token it has made sign in again")
	return cmd
}

// makesTokens returns an error where refresh tokens would be made with a master key that was closed.
func makesTokens(cfg *config.Config, master *keys.Master) error {
	_, err := master.Derive("refresh-token", byte(cfg.Refresh.MACKey), 1) //nolint:gosec // the setting is 1 to 255
	if errors.Is(err, keys.ErrClosed) {
		return fmt.Errorf("refresh.mac_key is %d: the master key of that number was closed; set it to %d", cfg.Refresh.MACKey, master.Number())
	}
	return err
}

// noMaster gives the error of a file that is not there its remedy.
func noMaster(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no master key to change: %w: name the data folder of a server with --data, or its file with master_key_file", err)
	}
	return err
}

// resealed has the signing keys in Redis sealed by the newest master key, and opens them with what is left of the others.
func resealed(ctx context.Context, cfg *config.Config, left *keys.Master) error {
	return withOptions(ctx, cfg, func(o keys.Options) error {
		o.Shop = nil
		ring, err := keys.Open(o)
		if errors.Is(err, keys.ErrNoKeys) {
			return nil
		}
		if err == nil {
			_, err = ring.Keep(0)
		}
		if err != nil {
			return err
		}
		o.Master = left
		_, err = keys.Open(o)
		return err
	})
}
