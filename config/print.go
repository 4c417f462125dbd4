package config

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// Print writes every setting, a line each: its name, its value, and where that comes from. Secrets are masked. Its error
// is that of w.
func (c *Config) Print(w io.Writer) error {
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(tab, "SETTING\tVALUE\tSOURCE") // errors come back from Flush
	for _, e := range c.entries {
		_, _ = fmt.Fprintf(tab, "%s\t%s\t%s\n", e.key, plain(e.value), plain(e.source))
	}
	return tab.Flush()
}

// plain returns text as it is where that is clear and stays on its line, else quoted.
func plain(s string) string {
	if q := quote(s); s == "" || q != `"`+s+`"` {
		return q
	}
	return s
}

// quote returns text in quotes, its end cut off when it is very long.
func quote(s string) string {
	const most = 200
	if len(s) > most {
		s = s[:most] + "…"
	}
	return strconv.Quote(s)
}

// Markdown returns the README's tables of settings.
func Markdown() string {
	var b strings.Builder
	b.WriteString("| Setting | Environment | Flag | Default | Meaning |\n|---|---|---|---|---|\n")
	for _, s := range settings(&Config{}) {
		flag := s.flag
		if flag != "" {
			flag = "--" + flag
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", code(s.key), code(s.variable()), code(flag), code(s.builtin), s.meaning)
	}
	b.WriteString("\nFields of a client:\n\n| Field | Default | Meaning |\n|---|---|---|\n")
	for _, s := range clientSettings(&Client{}, nil) {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", code(s.key), code(cmp.Or(s.builtin, s.from)), s.meaning)
		if s.secret {
			fmt.Fprintf(&b, "| %s |  | file that holds the secret instead; one line break at its end does not count |\n", code(secretFile))
		}
	}
	b.WriteString("\nFrom a shop's environment, where nothing else gives them:\n\n| Setting | Variables of the shop | Not beside |\n|---|---|---|\n")
	table := settings(&Config{})
	for _, f := range fallbacks() {
		if slices.ContainsFunc(table, func(s setting) bool { return s.key == f.key }) {
			fmt.Fprintf(&b, "| %s | %s | %s |\n", code(f.key), codes(f.variables), codes(f.beside))
		}
	}
	return b.String()
}

func codes(list []string) string {
	var all []string
	for _, s := range list {
		all = append(all, code(s))
	}
	return strings.Join(all, ", ")
}

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + s + "`"
}
