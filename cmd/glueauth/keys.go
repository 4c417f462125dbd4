package main

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/glueauth/glueauth/config"
	"github.com/glueauth/glueauth/keys"
	"github.com/glueauth/glueauth/store/sqlitefile"
)

func (p process) keysCommand() *cobra.Command {
	return p.group("keys", "Look at the signing keys and make new ones", p.keysListCommand(), p.keysGenerateCommand(), p.keysImportCommand(), p.keysExportCommand(), p.keysAcceptMasterCommand())
}

func (p process) keysListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the signing keys", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ring, err := p.ring(cmd)
			if err != nil {
				return err
			}
			tab := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
			_, _ = fmt.Fprintln(tab, "KID\tBITS\tFILE\tSIGNS") // errors come back from Flush
			for _, k := range ring.List() {
				signs := "no"
				if k.Signing {
					signs = "yes"
				}
				_, _ = fmt.Fprintf(tab, "%s\t%d\t%s\t%s\n", k.Kid, k.Bits, cmp.Or(k.File, "(keys.shop_private)"), signs)
			}
			return tab.Flush()
		},
	}
}

func (p process) keysGenerateCommand() *cobra.Command {
	return &cobra.Command{
		Use: "generate", Short: "Add a signing key; the first one signs, a further one is published only", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := p.load(cmd)
			if err != nil {
				return err
			}
			if err := keepShopKey(cfg); err != nil {
				return err
			}
			kid, err := keys.Create(cfg.Keys.Dir, rand.Reader)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(p.stdout, kid)
			return err
		},
	}
}

func (p process) keysExportCommand() *cobra.Command {
	var format, kid string
	cmd := &cobra.Command{
		Use: "export", Short: "Print public keys, for gateways and shops that check tokens", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ring, err := p.ring(cmd)
			if err != nil {
				return err
			}
			text, err := ring.Export(format, kid)
			if err != nil {
				return err
			}
			_, err = p.stdout.Write(text)
			return err
		},
	}
	cmd.Flags().StringVar(&format, "format", "pem", "pem, spki (DER in base64) or jwks")
	cmd.Flags().StringVar(&kid, "kid", "", "the key to print; without it the signing key, or all in a JWK set")
	return cmd
}

// ring opens the signing keys that the settings name. It makes nothing.
func (p process) ring(cmd *cobra.Command) (*keys.Ring, error) {
	cfg, err := p.load(cmd)
	if err != nil {
		return nil, err
	}
	return openRing(cfg)
}

func openRing(cfg *config.Config) (*keys.Ring, error) {
	shop, err := shopKey(cfg)
	if err != nil {
		return nil, err
	}
	return keys.OpenWithShop(cfg.Keys.Dir, shop)
}

// shopKey returns the shop's key that the settings name, nil for none.
func shopKey(cfg *config.Config) (*keys.ShopKey, error) {
	shop, err := keys.ReadShopKey(cfg.Keys.ShopPrivate, cfg.Keys.ShopPublic)
	if err != nil {
		return nil, fmt.Errorf("keys.shop_private, keys.shop_public: %w", err)
	}
	return shop, nil
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
