package e2e_test

import (
	"strings"
	"testing"

	"github.com/glueauth/glueauth/store/storetest"
)

func TestRedisThatCanLoseSessionsIsToldAtStart(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct {
		args  []string
		found bool
	}{
		"it keeps nothing on disk": {nil, true},
		"it keeps all":             {[]string{"--appendonly", "yes"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, t.TempDir(), "--redis="+storetest.Redis(t, x.args...).URL())
			metric := `glueauth_store_finding{finding="persistence"} 0`
			if x.found {
				metric = `glueauth_store_finding{finding="persistence"} 1`
			}
			for path, text := range map[string]string{"/metrics": metric, "/readyz?verbose": "set appendonly yes"} {
				a, err := p.get(p.admin + path)
				if err != nil || strings.Contains(a.body, text) != (x.found || path == "/metrics") {
					t.Errorf("%s: %v %v", path, a, err)
				}
			}
			if a, err := p.get(p.public + "/readyz?verbose"); err != nil || a.body != `{"status":"ok"}` {
				t.Errorf("strangers are told: %v %v", a, err)
			}
			if strings.Contains(p.stderr.String(), `"finding":"persistence"`) != x.found {
				t.Errorf("log:\n%s", p.tail())
			}
		})
	}
}
