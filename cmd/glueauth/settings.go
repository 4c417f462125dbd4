package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/glueauth/glueauth/config"
	"github.com/glueauth/glueauth/keys"
	"github.com/glueauth/glueauth/store/redisstore"
	"github.com/glueauth/glueauth/store/sqlstore"
)

func (p process) configCommand() *cobra.Command {
	var markdown bool
	show := &cobra.Command{
		Use: "print", Short: "Show every setting, its value and where it comes from; secrets are masked", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if markdown {
				_, err := io.WriteString(p.stdout, config.Markdown())
				return err
			}
			cfg, err := p.load(cmd)
			if err != nil {
				return err
			}
			return cfg.Print(p.stdout)
		},
	}
	show.Flags().BoolVar(&markdown, "markdown", false, "print the reference of all settings instead, as the README has it")
	return p.group("config", "Look at the settings", show, &cobra.Command{
		Use: "validate", Short: "Check the settings", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := p.load(cmd)
			if err == nil {
				err = preflight(cfg)
			}
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(p.stdout, "the settings are valid")
			return err
		},
	})
}

// preflight looks at the settings that package config cannot judge, before anything is made or connected to.
func preflight(cfg *config.Config) error {
	if cfg.Keys.Master != "" {
		if _, err := keys.ParseMaster(cfg.Keys.Master); err != nil {
			return fmt.Errorf("master_key: %w", err)
		}
	}
	if _, err := ringOptions(cfg); err != nil {
		return err
	}
	if _, err := openCertificates(cfg); err != nil {
		return err
	}
	if err := preflightShop(cfg); err != nil {
		return err
	}
	if cfg.Redis.URL == "" {
		if cfg.Redis.WaitReplicas > 0 {
			return errors.New("redis.wait_replicas is set without redis.url: give the URL, or take it away")
		}
		return nil
	}
	if err := redisstore.Check(cfg.Redis.URL); err != nil {
		return fmt.Errorf("redis.url: %w", err)
	}
	return nil
}

// preflightShop looks at what is said of a shop.
func preflightShop(cfg *config.Config) error {
	if cfg.Customers.URL != "" {
		if err := sqlstore.CheckShopURL(cfg.Customers.URL); err != nil {
			return fmt.Errorf("customers.url: %w", err)
		}
	}
	if legacy := cfg.Legacy; legacy.EncryptionKey != "" && legacy.Until.IsZero() && cfg.Customers.Source != customersOfSpryker {
		seen, remedy := endless(cfg)
		return errors.New(seen + ": " + remedy)
	}
	return nil
}
