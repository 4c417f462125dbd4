package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/glueauth/glueauth/config"
)

func TestTheShopsKeyComesByItselfOrByItsFile(t *testing.T) {
	t.Parallel()
	const given = "lxZFUEsBCJ2Yb14IF2ygAHI5N4+ZAUXXaSeeJm6+twsUmIen"
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte(given+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]*config.Config{
		"file":                  mustLoad(t, "legacy:\n  encryption_key: "+given+"\n", nil, nil),
		"environment":           mustLoad(t, "", []string{"GLUEAUTH_LEGACY_ENCRYPTION_KEY=" + given}, nil),
		"file of its own":       mustLoad(t, "legacy:\n  encryption_key_file: "+file+"\n", nil, nil),
		"environment to a file": mustLoad(t, "", []string{"GLUEAUTH_LEGACY_ENCRYPTION_KEY_FILE=" + file}, nil),
	} {
		if c.Legacy.EncryptionKey.Reveal() != given {
			t.Errorf("%s: another key", name)
		}
		if row := printed(t, c)["legacy.encryption_key"]; strings.Contains(row.Value, given) {
			t.Errorf("%s: shown as %v", name, row)
		}
	}
}

func TestTheEndOfTheTakeOverIsADayOrATime(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Time{
		"2027-01-31":                time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC),
		"2027-01-31T04:00:00Z":      time.Date(2027, 1, 31, 4, 0, 0, 0, time.UTC),
		"2027-01-31T04:00:00+01:00": time.Date(2027, 1, 31, 3, 0, 0, 0, time.UTC),
		"":                          {},
	} {
		if got := mustLoad(t, "", []string{"GLUEAUTH_LEGACY_UNTIL=" + text}, nil).Legacy.Until; !got.Equal(want) {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}
