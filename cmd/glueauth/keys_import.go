package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/keys"
)

func (p process) keysImportCommand() *cobra.Command {
	var private, public string
	var sign bool
	cmd := &cobra.Command{
		Use: "import", Short: "Put the shop's own RSA key among the signing keys, so that its tokens stay valid", Args: cobra.NoArgs,
		Long: "Put the RSA private key with which the shop has signed among ours, so that the access tokens that it has given out\n" +
			"stay valid, and that those which it gets from now on are signed as before. The first key of all signs; beside others\n" +
			"this one does with --sign. PEM (PKCS#8 or PKCS#1), its line breaks perhaps written as __LINE__. Without --file the key is\n" +
			"that of the setting keys.shop_private, which is SPRYKER_OAUTH_KEY_PRIVATE in a shop's environment. It can be repeated.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := p.load(cmd)
			if err != nil {
				return err
			}
			if private == "-" && public == "-" {
				return errors.New("only one of --file and --public can be standard input: name the other's file")
			}
			privateText, err1 := p.keyText(private, cfg.Keys.ShopPrivate)
			publicText, err2 := p.keyText(public, secret.Text(cfg.Keys.ShopPublic))
			if err := errors.Join(err1, err2); err != nil {
				return err
			}
			if privateText == "" {
				return errors.New("no key is given: name its file with --file (- for standard input), or set keys.shop_private")
			}
			shop, err := keys.ReadShopKey(privateText, publicText.Reveal())
			if err != nil {
				return err
			}
			return withOptions(cmd.Context(), cfg, func(o keys.Options) error {
				o.Shop = shop
				return p.importKey(o, sign)
			})
		},
	}
	cmd.Flags().StringVar(&private, "file", "", "file of the shop's private key, - for standard input")
	cmd.Flags().StringVar(&public, "public", "", "file of the shop's public key, - for standard input: the two must be a pair")
	cmd.Flags().BoolVar(&sign, "sign", false, "the key signs at once, whatever signs now")
	return cmd
}

// importKey prints the kid, as generate does, and to stderr what became of the key.
func (p process) importKey(options keys.Options, sign bool) error {
	added, err := keys.Import(options, sign)
	if err != nil {
		return err
	}
	ring, err := keys.Open(options)
	if err != nil {
		return err
	}
	news, signs := "imported", "it signs"
	if !added {
		news = "it is there already"
	}
	if signing := ring.List()[0].Kid; signing != options.Shop.Kid() {
		signs = fmt.Sprintf("%s goes on signing; with --sign this one would", signing)
	}
	_, _ = fmt.Fprintf(p.stderr, "%s; %s; running servers follow\n", news, signs)
	_, err = fmt.Fprintln(p.stdout, options.Shop.Kid())
	return err
}

// keepShopKey puts the key of the settings, where it signs for want of another, among the kept ones before another comes there:
// a new key would sign at once, before anybody knows it.
func keepShopKey(o keys.Options) error {
	if o.Shop == nil {
		return nil
	}
	kept := o
	kept.Shop = nil
	if _, err := keys.Open(kept); !errors.Is(err, keys.ErrNoKeys) {
		return nil // what else is wrong comes back from the change itself
	}
	_, err := keys.Import(o, false)
	return err
}

// keyText reads a key's file; without one it is that of the settings.
func (p process) keyText(name string, setting secret.Text) (secret.Text, error) {
	const most = 64 << 10 // beyond any real key
	in := p.stdin
	switch name {
	case "":
		return setting, nil
	case "-":
	default:
		if strings.Contains(name, "-----BEGIN ") {
			return "", errors.New("a key is never an argument, which others can see: give the path of its file, or - and the key on standard input")
		}
		file, err := os.Open(name) //nolint:gosec // the operator names the file
		if err != nil {
			return "", fmt.Errorf("read the key: %w; correct the path or its permissions", err)
		}
		defer file.Close() //nolint:errcheck // it is only read
		in = file
	}
	text, err := io.ReadAll(io.LimitReader(in, most))
	if err != nil {
		return "", fmt.Errorf("read the key: %w; give the path of a file", err)
	}
	if len(text) == 0 {
		return "", fmt.Errorf("%s is empty: it must hold the key", name)
	}
	return secret.Text(text), nil
}
