package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/glueauth/glueauth/config"
	"github.com/glueauth/glueauth/server"
)

// The exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2 // the command line itself is wrong
)

// process is what a command may know of the process around it.
type process struct {
	environ        []string
	stdin          io.Reader
	stdout, stderr io.Writer
}

// run runs one command line and returns the exit code. Whatever fails is one line on stderr.
func run(ctx context.Context, args, environ []string, stdin io.Reader, stdout, stderr io.Writer) int {
	p := process{environ, stdin, stdout, stderr}
	understood := false
	root := p.root()
	root.PersistentPreRun = func(*cobra.Command, []string) { understood = true }
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	_, _ = fmt.Fprintf(stderr, "glueauth: %s\n", oneLine(err.Error()))
	if !understood {
		return exitUsage
	}
	return exitFailed
}

// root is the tree of commands. Without one, it serves.
func (p process) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "glueauth",
		Short:         "OAuth 2.0 authorization server for the customers of Spryker shops",
		Long:          "glueauth signs in the customers of Spryker shops (POST /token). Without a command it serves.",
		Args:          p.unknownCommand,
		RunE:          p.serve,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetIn(p.stdin)
	root.SetOut(p.stdout)
	root.SetErr(p.stderr)
	config.Flags(root.PersistentFlags())
	if info, ok := debug.ReadBuildInfo(); ok {
		root.Version = versionOf(info).String()
		root.SetVersionTemplate("{{.Version}}\n")
		root.Flags().Bool("version", false, "say which build this is")
	}
	root.AddCommand(p.serveCommand(), p.customersCommand(), p.sessionsCommand(), p.keysCommand(), p.masterKeyCommand(), p.configCommand(), p.doctorCommand(), p.healthcheckCommand(), p.versionCommand())
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return withoutValue(err) })
	withoutArguments(root)
	return root
}

// withoutValue takes out of an error what stands behind a flag like -p: other programs take passwords there.
func withoutValue(err error) error {
	if e, ok := errors.AsType[*pflag.NotExistError](err); ok && e.GetSpecifiedShortnames() != "" {
		return fmt.Errorf("unknown shorthand flag -%.1s", e.GetSpecifiedName())
	}
	return err
}

// withoutArguments has no command repeat what it does not take: it may be a secret whose flag was forgotten.
func withoutArguments(cmd *cobra.Command) {
	for _, c := range cmd.Commands() {
		withoutArguments(c)
	}
	check := cmd.Args
	if cmd.HasSubCommands() || check == nil {
		return
	}
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		err := check(cmd, args)
		if err != nil && len(args) == 0 {
			return fmt.Errorf("%s needs %s: see %[1]s --help", cmd.CommandPath(), strings.TrimPrefix(cmd.Use, cmd.Name()+" "))
		}
		if err != nil {
			return fmt.Errorf("%s takes fewer arguments than the %d that it was given: see %[1]s --help", cmd.CommandPath(), len(args))
		}
		return err
	}
}

func (p process) serveCommand() *cobra.Command {
	return &cobra.Command{Use: "serve", Short: "Run the server (the default)", Args: cobra.NoArgs, RunE: p.serve}
}

func (p process) serve(cmd *cobra.Command, _ []string) error {
	cfg, err := p.load(cmd)
	if err == nil {
		err = preflight(cfg)
	}
	if err != nil {
		return err
	}
	return serve(cmd.Context(), cfg, p.stdout, p.stderr)
}

// load returns the settings of this command line.
func (p process) load(cmd *cobra.Command) (*config.Config, error) {
	return config.Load(cmd.Flags(), p.environ, server.ExtraClaims())
}

// group is a command that only holds others.
func (p process) group(use, short string, commands ...*cobra.Command) *cobra.Command {
	group := &cobra.Command{Use: use, Short: short}
	group.AddCommand(commands...)
	group.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return p.unknownCommand(cmd, args)
		}
		var names []string
		for _, c := range cmd.Commands() {
			names = append(names, c.Name())
		}
		return fmt.Errorf("%s needs one of the commands %s: see %s --help", cmd.CommandPath(), strings.Join(names, ", "), cmd.CommandPath())
	}
	group.RunE = func(*cobra.Command, []string) error { return errors.New("no command") } // Args lets nothing through
	return group
}

func (process) unknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		return fmt.Errorf("unknown command %q for %s: did you mean %s?", args[0], cmd.CommandPath(), near[0])
	}
	if !regexp.MustCompile(`^[a-z][a-z-]{0,19}$`).MatchString(args[0]) { // a secret, perhaps
		return fmt.Errorf("unknown command: see %s --help", cmd.CommandPath())
	}
	return fmt.Errorf("unknown command %q: see %s --help", args[0], cmd.CommandPath())
}

// oneLine joins the lines of an error.
func oneLine(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "; ")
}
