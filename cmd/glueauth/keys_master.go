package main

import (
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/glueauth/glueauth/keys"
)

func (p process) masterKeyCommand() *cobra.Command {
	return p.group("master-key", "Rotate the master key", p.masterKeyRotateCommand())
}

func (p process) masterKeyRotateCommand() *cobra.Command {
	return &cobra.Command{
		Use: "rotate", Short: "Put a new master key before the old one; nobody is signed out", Args: cobra.NoArgs,
		Long: "Put a new master key before the old one in the master key file. The old one goes on opening what it has made: refresh\n" +
			"tokens, and what sessions remember. Nobody is signed out, in two steps that leave no server behind another: restart every\n" +
			"server, which then knows both keys; then set refresh.mac_key to the number that this prints and restart them again, which\n" +
			"then make refresh tokens with the new one. Keep the file with your backups, and the old key in it.",
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
				return err
			}
			_, _ = fmt.Fprintf(p.stderr, "restart every server, so that it knows the new key; then set refresh.mac_key to %d and restart them again\n", number)
			_, err = fmt.Fprintln(p.stdout, number)
			return err
		},
	}
}
