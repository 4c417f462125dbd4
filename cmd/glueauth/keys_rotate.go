package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/glueauth/glueauth/config"
	"github.com/glueauth/glueauth/keys"
)

func (p process) keysRotateCommand() *cobra.Command {
	var algorithm string
	var now bool
	var after time.Duration
	cmd := &cobra.Command{
		Use: "rotate", Short: "Make a new signing key and announce it; it takes over by itself", Args: cobra.NoArgs,
		Long: "Make a new signing key and announce it. It is published at once and takes over by itself as soon as nobody can have a key\n" +
			"set without it any more (keys.jwks_cache and up to a minute). The key before it is published until the last token that it\n" +
			"has signed has expired, and then leaves by itself. Running servers follow within a second.\n\n" +
			"With --now it signs at once: gateways that keep the key set refuse the tokens that it signs until they read it again, at\n" +
			"the latest when keys.jwks_cache is over. That is for a key that was stolen; `glueauth keys withdraw` then ends the old one.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.withRing(cmd, func(cfg *config.Config, ring *keys.Ring) error {
				key, err := ring.Rotate(algorithm, now, after)
				if err != nil {
					return err
				}
				return p.printRotated(cfg, ring, key, now)
			})
		},
	}
	cmd.Flags().StringVar(&algorithm, "alg", keys.Algorithms()[0], strings.Join(keys.Algorithms(), ", "))
	cmd.Flags().DurationVar(&after, "after", 0, "it signs that much later at the earliest, like 24h: for gateways that are given keys by hand, and folders that travel to their servers")
	cmd.Flags().BoolVar(&now, "now", false, "it signs at once: for emergencies, and for algorithms that nobody uses yet")
	cmd.MarkFlagsMutuallyExclusive("now", "after")
	return cmd
}

// printRotated prints the kid of a new key, and to stderr what comes of it.
func (p process) printRotated(cfg *config.Config, ring *keys.Ring, key keys.Info, now bool) error {
	if key.State == keys.Announced {
		_, _ = fmt.Fprintf(p.stderr, "announced; it signs %s from %s on\n", key.Algorithm, stamp(key.Until))
	} else {
		_, _ = fmt.Fprintf(p.stderr, "it signs %s from now on; gateways that keep the key set may refuse its tokens for %s\n", key.Algorithm, cfg.Keys.JWKSCache)
	}
	for _, old := range ring.List() {
		if now && old.State == keys.Retired && old.Algorithm == key.Algorithm {
			_, _ = fmt.Fprintf(p.stderr, "%s is published until %s; if it was stolen, run glueauth keys withdraw --kid %[1]s\n", old.Kid, stamp(old.Until))
		}
	}
	_, err := fmt.Fprintln(p.stdout, key.Kid)
	return err
}

func (p process) keysWithdrawCommand() *cobra.Command {
	var kid string // a flag, since it may begin with a dash
	cmd := &cobra.Command{
		Use: "withdraw", Short: "End a key at once: no token that it has signed is good any more", Args: cobra.NoArgs,
		Long: "End a key that does not sign, at once: it is neither published nor accepted any more, and no access token that it has\n" +
			"signed is good. Customers who have one refresh. Gateways that keep the key set know it for keys.jwks_cache at most. The\n" +
			"key is put away by the next server that may: in a folder, its file gets the suffix .gone.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.withKeys(cmd, func(cfg *config.Config, o keys.Options) error {
				if err := keys.Withdraw(o, kid); err != nil {
					return err
				}
				_, _ = fmt.Fprintf(p.stderr, "withdrawn; gateways that keep the key set may accept it for %s\n", cfg.Keys.JWKSCache)
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&kid, "kid", "", "the key to end")
	if err := cmd.MarkFlagRequired("kid"); err != nil {
		panic(err) // there is no such flag
	}
	return cmd
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}
