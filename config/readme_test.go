package config_test

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/glueauth/glueauth/config"
)

var update = flag.Bool("update", false, "rewrite the settings in the README")

func TestREADMEHasTheTablesOfSettings(t *testing.T) {
	t.Parallel()
	const path, begin, end = "../README.md", "<!-- settings -->\n", "<!-- /settings -->\n"
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, begun := strings.Cut(string(page), begin)
	_, after, ended := strings.Cut(rest, end)
	if !begun || !ended {
		t.Fatalf("the README has no lines %q and %q", begin, end)
	}
	want := before + begin + "\n" + config.Markdown() + "\n" + end + after
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o600); err != nil { // a file that is there keeps its mode
			t.Fatal(err)
		}
		return
	}
	if string(page) != want {
		t.Error("the README's settings are not those of the table: run make golden")
	}
}
