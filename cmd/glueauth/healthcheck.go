package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/glueauth/glueauth/config"
)

func (p process) healthcheckCommand() *cobra.Command {
	return &cobra.Command{
		Use: "healthcheck", Short: "Ask the server on this machine whether it runs; the exit code is the answer", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := p.load(cmd)
			if err != nil {
				return err
			}
			if err := checkHealth(cmd.Context(), cfg); err != nil {
				return err
			}
			_, err = fmt.Fprintln(p.stdout, "ok")
			return err
		},
	}
}

// healthAddress is where a server with these settings answers on this machine: on its management listener, else on the
// public one.
func healthAddress(cfg *config.Config) (string, error) {
	address := cfg.AdminListen
	if address == "" {
		address = cfg.Listen
	}
	host, port, err := net.SplitHostPort(address)
	switch ip := net.ParseIP(host); {
	case err != nil:
		return "", fmt.Errorf("read the listener's address: %w", err)
	case port == "0":
		return "", errors.New("the listener's port is chosen by the system: give it a number, so that others can find it")
	case host == "" || ip.Equal(net.IPv4zero):
		host = "127.0.0.1"
	case ip.Equal(net.IPv6unspecified):
		host = "::1"
	}
	return net.JoinHostPort(host, port), nil
}

func checkHealth(ctx context.Context, cfg *config.Config) error {
	ctx, cancel := context.WithTimeout(ctx, localDeadline)
	defer cancel()
	response, err := askServer(ctx, cfg, "/livez", "")
	if err != nil {
		return err
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the server on %s is not healthy: it answered %s", response.Request.URL.Host, response.Status)
	}
	return nil
}
