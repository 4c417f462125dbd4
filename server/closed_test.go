package server_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/keys"
	"github.com/glueauth/glueauth/server"
)

func TestAClosedMasterKeyMakesAndOpensNoToken(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "master.key")
	if err := os.WriteFile(path, []byte("10:"+strings.Repeat("aa", 32)+"\n1:"+strings.Repeat("0f", 32)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	h := newHarness(t) // with the old one alone
	h.addDemo()
	kept, stale := h.mustSignIn().RefreshToken, h.mustSignIn().RefreshToken
	with := func(number byte) func(*server.Config) {
		t.Helper()
		master, err := keys.OpenMaster(path)
		if err != nil {
			t.Fatal(err)
		}
		return func(c *server.Config) { c.Master, c.Refresh.MACKey = master, number }
	}
	kept = h.replica(with(10)).mustRefresh(kept).RefreshToken
	if _, err := keys.CloseMaster(path, keys.Closing{Number: 10, Force: true}); err != nil {
		t.Fatal(err)
	}
	closed := h.replica(with(10))
	forged := rawToken(t, renumbered(t, stale, 1))
	mac := hmac.New(sha256.New, nil) // as if there were a key without bytes
	mac.Write(forged[:34])
	forged = append(forged[:34:34], mac.Sum(nil)[:20]...)
	for name, token := range map[string]secret.Text{
		"of the old key": stale, "by no key": secret.Text("grt_" + base64.RawURLEncoding.EncodeToString(forged)), "by another number": renumbered(t, kept, 9),
	} {
		if _, err := closed.refresh(token); server.CodeOf(err) != server.BadRefreshToken {
			t.Errorf("a token %s: %v", name, err)
		}
	}
	closed.mustRefresh(kept) // its device and password are known as before

	config := h.config
	with(9)(&config)
	if _, err := server.New(config); err == nil || !strings.Contains(err.Error(), "refresh.mac_key") {
		t.Errorf("made with a closed key: %v", err)
	}
}
