package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/glueauth/glueauth/config"
	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/keys"
	"github.com/glueauth/glueauth/server"
	"github.com/glueauth/glueauth/store/redisstore"
	"github.com/glueauth/glueauth/store/sqlitefile"
	"github.com/glueauth/glueauth/store/sqlitestore"
)

const aboutWho = `

WHO is the e-mail address of a customer, his reference, the name of a session (as in logs and lists), the jti of an
access token, or a token of this server, also an expired one. With - it is read from standard input: give tokens that
way, so that no process list and no shell history shows them. The server may run meanwhile.`

func (p process) inspectCommands() []*cobra.Command {
	return []*cobra.Command{
		inspectCommand(p, "list", "List the sessions of a customer",
			"List the sessions of a customer: those that live, and the last of those that have ended.", (*server.Inspector).List, listText),
		inspectCommand(p, "show", "Show one session and what happened to it",
			"Show one session and what happened to it. WHO must name a session, not a customer.", (*server.Inspector).Show, showText),
		inspectCommand(p, "revoke", "End one session, or all sessions of a customer",
			"End the session that WHO names, or all sessions of the customer whom it names. Access tokens stay good until they\nexpire, unless gateways follow what has ended.",
			(*server.Inspector).Revoke, revokeText),
		inspectCommand(p, "explain", "Tell in plain words why somebody was signed out",
			"Tell in plain words why somebody was signed out, or that he was not. It changes nothing, and no log has the token.",
			(*server.Inspector).Explain, storyText),
	}
}

// inspectCommand is one question to an inspector and the answer, for people or as the management API gives it.
func inspectCommand[T any](p process, name, short, long string,
	ask func(*server.Inspector, context.Context, secret.Text) (T, error), text func(io.Writer, T) error,
) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: name + " WHO", Short: short, Long: long + aboutWho, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			who, err := p.who(args[0])
			if err != nil {
				return err
			}
			return p.withInspector(cmd, func(ctx context.Context, i *server.Inspector) error {
				answer, err := ask(i, ctx, who)
				if e, ok := errors.AsType[*server.Error](err); ok && e.Cause != nil {
					return e.Cause // it says more than its code
				}
				if err != nil {
					return err
				}
				if asJSON {
					e := json.NewEncoder(p.stdout)
					e.SetEscapeHTML(false)
					return e.Encode(answer)
				}
				return text(p.stdout, answer)
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, as the management API does")
	return cmd
}

// who returns what is asked about, from standard input for -.
func (p process) who(arg string) (secret.Text, error) {
	if arg != "-" {
		return secret.Text(arg), nil
	}
	const most = 32 << 10 // more than any token has
	b, err := io.ReadAll(io.LimitReader(p.stdin, most))
	if err != nil {
		return "", fmt.Errorf("read standard input: %w", err)
	}
	return secret.Text(b), nil
}

// withInspector opens what a server has, beside it, for one command. It makes nothing.
func (p process) withInspector(cmd *cobra.Command, do func(context.Context, *server.Inspector) error) error {
	cfg, err := p.load(cmd)
	if err != nil {
		return err
	}
	ctx, r := cmd.Context(), &rooms{}
	defer r.close(slog.New(slog.DiscardHandler))
	if err := r.openBeside(ctx, cfg); err != nil {
		return err
	}
	inspector, err := server.NewInspector(coreConfig(cfg, r, func(context.Context, server.Event) {}), r.customers, r.sessions)
	if err != nil {
		return err
	}
	return do(ctx, inspector)
}

// openBeside opens what [openRooms] does, without its lock.
func (r *rooms) openBeside(ctx context.Context, cfg *config.Config) (err error) {
	if r.master, err = existingMaster(ctx, cfg); err != nil {
		return err
	}
	if err := withOptions(ctx, cfg, func(o keys.Options) error {
		r.keys, err = keys.Open(o)
		return err
	}); err != nil {
		return err
	}
	open := func(path string) (*sqlitefile.File, error) { return r.existing(ctx, cfg, path) }
	if err := r.openCustomers(ctx, cfg, open, slog.New(slog.DiscardHandler)); err != nil {
		return err
	}
	if cfg.Redis.URL != "" {
		sessions, err := redisstore.Open(ctx, redisstore.Options{URL: cfg.Redis.URL, WaitReplicas: cfg.Redis.WaitReplicas})
		if err != nil {
			return err
		}
		r.sessions = sessions
		r.closers = append([]func() error{sessions.Close}, r.closers...)
		return nil
	}
	file, own := r.people, filepath.Join(cfg.Data, databaseName)
	if cfg.Customers.File != own {
		if file, err = r.existing(ctx, cfg, own); err != nil {
			return err
		}
	}
	if err := stillHere(ctx, file, own); err != nil {
		return err
	}
	sessions := sqlitestore.New(file, time.Now)
	r.sessions = sessions
	r.closers = append([]func() error{func() error { sessions.Close(); return nil }}, r.closers...)
	return nil
}

func existingMaster(ctx context.Context, cfg *config.Config) (*keys.Master, error) {
	if cfg.Keys.Master != "" {
		return keys.ParseMaster(cfg.Keys.Master)
	}
	master, err := keys.OpenMaster(cfg.Keys.MasterFile)
	if errors.Is(err, fs.ErrNotExist) {
		if err := lostMaster(ctx, cfg); err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("there is no master key, so no server has run with these settings: %w: name its data folder with --data", err)
	}
	return master, err
}

func (r *rooms) existing(ctx context.Context, cfg *config.Config, path string) (*sqlitefile.File, error) {
	file, err := sqlitefile.Open(ctx, path, sqlitefile.Options{PowerLossSafe: cfg.Store.PowerLossSafe})
	if err != nil {
		return nil, err
	}
	r.closers = append(r.closers, file.Close)
	return file, nil
}
