package main

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/glueauth/glueauth/config"
	"github.com/glueauth/glueauth/keys"
	"github.com/glueauth/glueauth/store/sqlitefile"
)

func (p process) keysCommand() *cobra.Command {
	return p.group("keys", "Look at the signing keys and make new ones", p.keysListCommand(), p.keysRotateCommand(),
		p.keysWithdrawCommand(), p.keysGenerateCommand(), p.keysImportCommand(), p.keysMoveCommand(), p.keysExportCommand(), p.keysAcceptMasterCommand())
}

func (p process) keysGenerateCommand() *cobra.Command {
	return &cobra.Command{
		Use: "generate", Short: "Add an RSA key; the first one signs, a further one is published only (see rotate)", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.withKeys(cmd, func(_ *config.Config, o keys.Options) error {
				if err := keepShopKey(o); err != nil {
					return err
				}
				kid, err := keys.Create(o)
				if err != nil {
					return err
				}
				_, err = fmt.Fprintln(p.stdout, kid)
				return err
			})
		},
	}
}

func (p process) keysExportCommand() *cobra.Command {
	var format, kid string
	cmd := &cobra.Command{
		Use: "export", Short: "Print public keys, for gateways and shops that check tokens", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.withRing(cmd, func(_ *config.Config, ring *keys.Ring) error {
				text, err := ring.Export(format, kid)
				if err != nil {
					return err
				}
				_, err = p.stdout.Write(text)
				return err
			})
		},
	}
	cmd.Flags().StringVar(&format, "format", "pem", "pem, spki (DER in base64) or jwks")
	cmd.Flags().StringVar(&kid, "kid", "", "the key to print; without it the signing key, or all in a JWK set")
	return cmd
}

func (p process) keysAcceptMasterCommand() *cobra.Command {
	return &cobra.Command{
		Use: "accept-master", Short: "Let the database go on with another master key, after its own was lost", Args: cobra.NoArgs,
		Long: "Let the database in the data folder go on with another master key, after its own was lost. Refresh tokens given out\n" +
			"under the old one are void: every customer signs in again. Customers, passwords and signing keys stay.",
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			cfg, err := p.load(cmd)
			if err != nil {
				return err
			}
			file, err := sqlitefile.Open(cmd.Context(), filepath.Join(cfg.Data, databaseName), sqlitefile.Options{})
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, file.Close()) }()
			if err := file.Disclaim(cmd.Context()); err != nil {
				return err
			}
			_, err = fmt.Fprintln(p.stdout, "the next server to start on this database brings its master key")
			return err
		},
	}
}
