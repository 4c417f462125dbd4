package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/glueauth/glueauth/config"
	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/keys"
	"github.com/glueauth/glueauth/server"
)

const (
	aboutDoctor = `Look whether a server with these settings would work: its keys, where its sessions are kept, the customers' database and
the passwords in it, clocks and certificates. Each check is a line: ok, warn or FAIL, and below it what to do. The exit code
is 1 when a check fails.

Nothing is changed but for a probe that Redis forgets, as at each start. The server may run meanwhile; the estimates at the
end take all processors for two seconds, --estimate=false leaves them out.`

	checkPatience = 25 * time.Second // for what belongs together
)

// finding is what one check has to say.
type finding struct {
	Check  string  `json:"check"`
	Result verdict `json:"result"`
	Seen   string  `json:"seen"`
	Remedy string  `json:"remedy,omitempty"`
}

type verdict string

const (
	isFine   verdict = "ok"
	isRisky  verdict = "warn"
	isBroken verdict = "fail"
)

// doctor looks at what a server with its settings would use. It changes nothing.
type doctor struct {
	cfg       *config.Config
	shopKey   string      // file of the shop's public key; empty for none
	shopToken secret.Text // a refresh token of the shop's; empty for none
	estimate  bool

	// What was found, for the checks after it; nil where there is none.
	master *keys.Master
	ring   *keys.Ring
	kinds  []server.HashKind
	// asksNobody says that the shop's refresh tokens cannot be looked up, as far as that is known.
	asksNobody bool
}

func (p process) doctorCommand() *cobra.Command {
	var d doctor
	var token string
	var asJSON bool
	cmd := &cobra.Command{
		Use: "doctor", Short: "Look whether everything is as a server needs it, and tell what to do", Long: aboutDoctor, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if d.cfg, err = p.load(cmd); err != nil {
				return err
			}
			if d.shopToken, err = p.shopToken(token); err != nil {
				return err
			}
			return d.report(cmd.Context(), p.stdout, asJSON)
		},
	}
	cmd.Flags().StringVar(&d.shopKey, "shop-public-key", "", "file of the shop's public key: the private one must be among ours")
	cmd.Flags().StringVar(&token, "shop-token", "", "- reads a refresh token of the shop's from standard input, to prove the encryption key; it is shown nowhere")
	cmd.Flags().BoolVar(&d.estimate, "estimate", true, "measure what this machine can do, for two seconds")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the findings as a JSON list")
	return cmd
}

// shopToken reads the token, from nowhere but standard input: process lists and shell histories show arguments.
func (p process) shopToken(arg string) (secret.Text, error) {
	if arg == "" {
		return "", nil
	}
	if arg != "-" {
		return "", errors.New("a token is never an argument, which others can see: write --shop-token - and give it on standard input")
	}
	token, err := p.who(arg)
	if err != nil {
		return "", err
	}
	if token = secret.Text(strings.TrimSpace(token.Reveal())); token == "" {
		return "", errors.New("standard input is empty: it must hold the refresh token")
	}
	return token, nil
}

// report prints the findings. Its error says how many checks failed.
func (d *doctor) report(ctx context.Context, w io.Writer, asJSON bool) error {
	found := d.look(ctx)
	for i := range found {
		found[i].Seen, found[i].Remedy = plain(found[i].Seen), plain(found[i].Remedy)
	}
	write := findingsText
	if asJSON {
		write = findingsJSON
	}
	if err := write(w, found); err != nil {
		return err
	}
	if failed := count(found, isBroken); failed > 0 {
		return fmt.Errorf("%d of %d checks failed", failed, len(found))
	}
	return nil
}

// look carries out all checks, those of each part within a time of their own.
func (d *doctor) look(ctx context.Context) (found []finding) {
	for _, check := range []func(context.Context) []finding{d.checkKeys, d.checkSecretFiles, d.checkCertificates, d.checkSessions, d.checkCustomers, d.checkLegacy, d.estimates} {
		ctx, cancel := context.WithTimeout(ctx, checkPatience)
		found = append(found, check(ctx)...)
		cancel()
	}
	return found
}

func findingsJSON(w io.Writer, found []finding) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(found)
}

func findingsText(w io.Writer, found []finding) error {
	var text strings.Builder
	width := 0
	for _, f := range found {
		width = max(width, len(f.Check))
	}
	for _, f := range found {
		result := string(f.Result)
		if f.Result == isBroken {
			result = strings.ToUpper(result)
		}
		fmt.Fprintf(&text, "%-4s  %-*s  %s\n", result, width, f.Check, f.Seen)
		if f.Remedy != "" {
			fmt.Fprintf(&text, "%-4s  %-*s  > %s\n", "", width, "", f.Remedy)
		}
	}
	fmt.Fprintf(&text, "\n%d checks: %d ok, %d warn, %d failed\n", len(found), count(found, isFine), count(found, isRisky), count(found, isBroken))
	_, err := io.WriteString(w, text.String())
	return err
}

func count(found []finding, result verdict) (n int) {
	for _, f := range found {
		if f.Result == result {
			n++
		}
	}
	return n
}

func fine(check, seen string, args ...any) finding {
	return finding{Check: check, Result: isFine, Seen: fmt.Sprintf(seen, args...)}
}

func risky(check, remedy, seen string, args ...any) finding {
	return finding{Check: check, Result: isRisky, Seen: fmt.Sprintf(seen, args...), Remedy: remedy}
}

func broken(check, remedy, seen string, args ...any) finding {
	return finding{Check: check, Result: isBroken, Seen: fmt.Sprintf(seen, args...), Remedy: remedy}
}

// failed makes a finding of an error.
func failed(check string, err error) finding {
	seen, remedy := halves(err.Error())
	return broken(check, remedy, "%s", seen)
}

// halves cuts a sentence into what was seen and what to do about it, which stands behind its last semicolon or, in those
// without, its last colon.
func halves(text string) (seen, remedy string) {
	at := strings.LastIndex(text, "; ")
	if at < 0 {
		at = strings.LastIndex(text, ": ")
	}
	if at < 0 {
		return text, ""
	}
	return text[:at], text[at+2:]
}

// plain is a text, some of which a server may have sent, fit for a line of a terminal.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, oneLine(text))
}
