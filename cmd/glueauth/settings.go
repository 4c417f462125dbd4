package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/glueauth/glueauth/config"
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
			if _, err := p.load(cmd); err != nil {
				return err
			}
			_, err := fmt.Fprintln(p.stdout, "the settings are valid")
			return err
		},
	})
}
