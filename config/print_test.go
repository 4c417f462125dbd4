package config_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/glueauth/glueauth/config"
)

const canary = "c4n4ry-s3cr3t"

func TestNothingPrintsASecret(t *testing.T) {
	t.Parallel()
	secretPath := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secretPath, []byte(canary+"\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := mustLoad(t, "clients: [{id: a, secret: "+canary+"}, {id: b, secret_file: "+secretPath+"}, {id: c}]\n", []string{"GLUEAUTH_MASTER_KEY=" + canary}, nil)
	if c.Clients[0].Secret.Reveal() != canary || c.Clients[1].Secret.Reveal() != canary || c.Keys.Master.Reveal() != canary {
		t.Fatal("the secrets did not arrive")
	}
	var b strings.Builder
	if err := c.Print(&b); err != nil {
		t.Fatal(err)
	}
	for name, out := range map[string]string{"Print": b.String(), "%v": fmt.Sprintf("%v", c), "%#v": fmt.Sprintf("%#v", *c)} {
		if strings.Contains(out, canary) {
			t.Errorf("%s shows a secret:\n%s", name, out)
		}
	}
	rows := printed(t, c)
	for key, want := range map[string]row{
		"master_key":        {"[redacted]", "environment GLUEAUTH_MASTER_KEY"},
		"master_key_file":   {`""`, "built-in"},
		"clients[0].secret": {"[redacted]", "file " + c.File},
		"clients[1].secret": {"[redacted]", "file " + c.File},
		"clients[2].secret": {`""`, "built-in"},
	} {
		if rows[key] != want {
			t.Errorf("%s prints as %v, want %v", key, rows[key], want)
		}
	}
}

func TestNoMistakeShowsASecret(t *testing.T) {
	t.Parallel()
	for name, file := range map[string]string{
		"text instead of a mapping":     canary + "\n",
		"alias instead of a secret":     "master_key: *" + canary + "\n",
		"tag instead of a secret":       "master_key: !!int " + canary + "\n",
		"list instead of a secret":      "master_key: [" + canary + "]\n",
		"secret that broke its line":    "master_key: a: " + canary + "\n",
		"list instead of client secret": "clients: [{id: a, secret: [" + canary + "]}]\n",
		"two secrets":                   "clients: [{id: a, secret: " + canary + ", secret_file: f}]\n",
		"mapping instead of a secret":   "admin_secret: {" + canary + ": x}\n",
		"path instead of a secret":      "redis: {url: {a." + canary + ": {b: x}}}\n",
		"secret for its file":           "admin_secret_file: " + canary + "\n",
		"client secret for its file":    "clients: [{id: a, secret_file: " + canary + "}]\n",
		"URL for its file":              "redis: {url_file: \"redis://:" + canary + "@h\"}\n",
		"key for its file":              "tls: {cert: c, key: \"-----BEGIN PRIVATE KEY-----\\n" + canary + "\"}\n",
		"key in one line":               "tls: {cert: c, key: -----BEGIN PRIVATE KEY-----__LINE__" + canary + "}\n",
		"master key for its file":       "master_key_file: " + canary + "0123456789abcdefghijklmnopAAAA\n",
		"two master keys":               "{master_key: " + canary + ", master_key_file: f}\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := load(t, file, nil, nil)
			if err == nil {
				t.Fatal("no error")
			}
			if strings.Contains(err.Error(), canary) {
				t.Errorf("the message shows a secret: %v", err)
			}
		})
	}
	_, err := load(t, "", []string{"GLUEAUTH_MASTERKEY=" + canary}, nil)
	if err == nil || strings.Contains(err.Error(), canary) {
		t.Errorf("unknown variable: %v", err)
	}
}

func TestSecretFilesLoseOneLineBreak(t *testing.T) {
	t.Parallel()
	for content, want := range map[string]string{"a": "a", "a\n": "a", "a\r\n": "a", "a\n\n": "a\n", " a ": " a ", "\na": "\na"} {
		path := filepath.Join(t.TempDir(), "secret")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		c := mustLoad(t, "clients: [{id: a, secret_file: "+path+"}]\n", nil, nil)
		if got := c.Clients[0].Secret.Reveal(); got != want {
			t.Errorf("%q is read as %q, want %q", content, got, want)
		}
	}
	for what, content := range map[string]string{"is empty": "\n", "is longer than 4096 bytes": strings.Repeat("a", 5000)} {
		path := filepath.Join(t.TempDir(), "secret")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := load(t, "clients: [{id: a, secret_file: "+path+"}]\n", nil, nil); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("got %v, want one that says %s", err, what)
		}
	}
}

func TestPrintReturnsTheWritersError(t *testing.T) {
	t.Parallel()
	if err := mustLoad(t, "", nil, nil).Print(full{}); !errors.Is(err, errFull) {
		t.Errorf("got %v", err)
	}
}

var errFull = errors.New("full")

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errFull }

func TestMarkdownHasEverySetting(t *testing.T) {
	t.Parallel()
	table := config.Markdown()
	for key := range inOrder() {
		if !strings.Contains(table, "| `"+key+"` | `"+envName(key)+"` |") {
			t.Errorf("no row for %s", key)
		}
	}
	for _, row := range []string{
		"| `listen` | `GLUEAUTH_LISTEN` | `--listen` | `:8080` | ",
		"| `clients` |  |  |  | ",
		"| `typ` | `access.typ` | ",
		"| `secret_file` |  | ",
	} {
		if !strings.Contains(table, "\n"+row) {
			t.Errorf("no row %q in\n%s", row, table)
		}
	}
	for line := range strings.Lines(table) {
		if n := strings.Count(line, "|"); n != 0 && n != 6 && n != 4 {
			t.Errorf("a row has %d bars: %s", n, line)
		}
	}
}

func TestFlagsAreThoseOfTheTable(t *testing.T) {
	t.Parallel()
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	config.Flags(flags)
	var names []string
	flags.VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	if got := strings.Join(names, " "); got != "admin-listen config data demo listen log-format log-level redis tls-self-signed" {
		t.Errorf("flags: %s", got)
	}
}
