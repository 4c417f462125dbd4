package e2e_test

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAnotherMasterKeyIsRefusedUntilItIsAccepted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	email := customers(t, dir, 1)[0]
	p := start(t, dir)
	token := p.signIn(t, email).RefreshToken
	p.stop(t)
	file := filepath.Join(dir, "data/master.key")
	own, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	replace := func(key string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(key), 0o600); err != nil {
			t.Fatal(err)
		}
	}

	replace(strings.Repeat("k", 32))
	p = launch(t, dir)
	eventually(t, startLimit, func() error {
		if !p.hasExited() {
			return errors.New("it runs")
		}
		return nil
	})
	if code := p.cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(p.stderr.String(), "glueauth keys accept-master") {
		t.Errorf("exit code %d, want 1 and the remedy:\n%s", code, p.tail())
	}

	replace(string(own))
	p = start(t, dir)
	token = p.mustRefresh(t, token).RefreshToken
	p.stop(t)

	replace(strings.Repeat("k", 32))
	succeed(t, dir, "", "keys", "accept-master")
	p = start(t, dir)
	if a, err := p.refresh(token); err != nil || a.status != http.StatusBadRequest {
		t.Errorf("a refresh token of the old master key: %v %v", a, err)
	}
	p.mustRefresh(t, p.signIn(t, email).RefreshToken)
}
