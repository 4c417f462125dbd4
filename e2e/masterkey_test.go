package e2e_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/glueauth/glueauth/store/storetest"
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
	stops(t, dir, "glueauth keys accept-master")

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

func TestAnOldMasterKeyIsClosedAndOnlyWhoWasNotBackSignsInAgain(t *testing.T) {
	t.Parallel()
	redis := storetest.Redis(t)
	dir := t.TempDir()
	emails := customers(t, dir, 2)
	settings := []string{"GLUEAUTH_REDIS=" + redis.URL(), "GLUEAUTH_KEYS_STORE=redis"}
	p := start(t, dir, settings...)
	back, away := p.signIn(t, emails[0]).RefreshToken, p.signIn(t, emails[1]).RefreshToken
	published := p.publishes(t)
	file := filepath.Join(dir, "data/master.key")
	number := strings.TrimSpace(succeed(t, dir, "", "master-key", "rotate"))
	closing := func(number string, args ...string) ran {
		t.Helper()
		return finish(t, dir, "", append(settings, "GLUEAUTH_REFRESH_MAC_KEY="+number), append([]string{"master-key", "close"}, args...)...)
	}
	if r := closing("1", "--now"); r.code != 1 || !strings.Contains(r.stderr, "set refresh.mac_key to "+number) {
		t.Errorf("closed while it makes tokens: %+v", r)
	}
	p.stop(t)
	settings = append(settings, "GLUEAUTH_REFRESH_MAC_KEY="+number)
	p = start(t, dir, settings...)
	back = p.mustRefresh(t, back).RefreshToken
	r := closing(number)
	until, err := time.Parse(time.RFC3339, strings.TrimSpace(r.stdout))
	if err != nil || r.code != 0 || time.Until(until) < 27*24*time.Hour || time.Until(until) > 32*24*time.Hour {
		t.Errorf("needed until %s: %+v", until, r)
	}
	if r := closing(number); r.code != 1 || !strings.Contains(r.stderr, until.Format(time.RFC3339)) {
		t.Errorf("closed before its time: %+v", r)
	}
	p.stop(t)
	p = start(t, dir, settings...) // with the time in the file
	back = p.mustRefresh(t, back).RefreshToken
	old := strings.Split(string(content(t, file)), "\n1:")[1][:40]
	if r := closing(number, "--now"); r.code != 0 {
		t.Fatalf("%+v", r)
	}
	if strings.Contains(string(content(t, file)), old) {
		t.Error("the old key is still in its file")
	}
	p.stop(t)
	p = start(t, dir, settings...)
	p.mustRefresh(t, back)
	p.mustRefuse(t, away)
	p.mustRefresh(t, p.signIn(t, emails[1]).RefreshToken)
	if now := p.publishes(t); now != published {
		t.Errorf("published %s, want %s", now, published)
	}
}

func content(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
