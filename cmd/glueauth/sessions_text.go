package main

import (
	"cmp"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/glueauth/glueauth/server"
)

func listText(w io.Writer, l server.Listing) error {
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintf(tab, "%s\n", personText(l.Customer)) // errors come back from Flush
	if len(l.Sessions) > 0 {
		_, _ = fmt.Fprintln(tab, "SESSION\tCLIENT\tSTATE\tSTARTED\tREFRESHED\tTOKEN\tLAST SEEN FROM\tUSER AGENT")
	} else {
		_, _ = fmt.Fprintln(tab, "no sessions")
	}
	for _, s := range l.Sessions {
		_, _ = fmt.Fprintf(tab, "%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\n", s.Session, cell(s.Client), cmp.Or(string(s.Cause), "alive"),
			moment(s.Started), moment(s.Refreshed), s.Generation, addressText(s.Last.Address), cell(s.Last.Agent))
	}
	return tab.Flush()
}

func showText(w io.Writer, s server.SessionView) error {
	state := "alive"
	if !s.Alive {
		state = strings.TrimSuffix(string(s.Cause)+" since "+moment(s.Since), " since -")
	}
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, line := range [][2]string{
		{"session", s.Session},
		{"customer", personText(*s.Customer)},
		{"client", cell(s.Client)},
		{"scopes", cell(strings.Join(s.Scopes, " "))},
		{"state", state},
		{"started", moment(s.Started)},
		{"last refresh", moment(s.Refreshed)},
		{"refresh token", fmt.Sprint(s.Generation)},
		{"expires", moment(s.Expires)},
		{"ends", moment(s.Ends)},
		{"first seen", visitorText(s.First)},
		{"last seen", visitorText(s.Last)},
		{"replays", fmt.Sprint(s.Replays)},
	} {
		_, _ = fmt.Fprintf(tab, "%s\t%s\n", line[0], line[1])
	}
	if len(s.Timeline) > 0 {
		_, _ = fmt.Fprint(tab, "\nTIME\tWHAT\tTOKEN\tFROM\tTIMES\n")
	}
	for _, e := range s.Timeline {
		_, _ = fmt.Fprintf(tab, "%s\t%s\t%s\t%s\t%d\n", moment(e.At), e.What, strings.TrimPrefix(fmt.Sprint(e.Generation), "0"), addressText(e.Address), e.Count)
	}
	return tab.Flush()
}

func revokeText(w io.Writer, r server.Revocation) error {
	what := "all sessions of " + personText(r.Customer)
	if r.Session != "" {
		what = "session " + r.Session + " of " + personText(r.Customer)
	}
	text := "ended " + what
	if !r.Ended {
		text = what + " had ended before"
	}
	_, err := fmt.Fprintln(w, text)
	return err
}

func storyText(w io.Writer, s server.Story) error {
	for _, line := range s.Lines {
		if _, err := fmt.Fprintln(w, oneTerminalLine(line)); err != nil {
			return err
		}
	}
	return nil
}

// oneTerminalLine replaces what would move a terminal's cursor: names come from the shop's database.
func oneTerminalLine(text string) string {
	return strings.Map(func(c rune) rune {
		if unicode.IsPrint(c) {
			return c
		}
		return '?'
	}, text)
}

func personText(c server.CustomerView) string {
	if c.Reference == "" {
		return fmt.Sprintf("customer %d (not in the database any more)", c.ID)
	}
	return fmt.Sprintf("customer %d (%s, %s)", c.ID, cell(c.Reference), cell(c.Email))
}

func visitorText(v server.VisitorView) string {
	if v.Agent == "" {
		return addressText(v.Address)
	}
	return addressText(v.Address) + " " + cell(v.Agent)
}

func addressText(a netip.Addr) string {
	if !a.IsValid() {
		return "-"
	}
	return a.String()
}

func moment(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}
