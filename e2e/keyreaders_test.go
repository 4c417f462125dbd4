package e2e_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
)

func TestKeysListTellsWhoReads(t *testing.T) {
	t.Parallel()
	const secret = "GLUEAUTH_ADMIN_SECRET=0123456789abcdef0123456789abcdef"
	dir := t.TempDir()
	p := start(t, dir, secret)
	first := p.publishes(t)
	r, err := http.NewRequest(http.MethodGet, p.public+"/.well-known/jwks.json", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("User-Agent", "gateway/1.2 \xff")
	if a, err := p.do(r); err != nil || a.status != http.StatusOK {
		t.Fatal(a, err)
	}
	fresh := strings.TrimSpace(succeed(t, dir, "", "keys", "rotate"))
	ask := []string{secret, "GLUEAUTH_ADMIN_LISTEN=" + strings.TrimPrefix(p.admin, "http://")}
	list := finish(t, dir, "", ask, "keys", "list")
	if !regexp.MustCompile(regexp.QuoteMeta(first) + ` +\S+Z +127\.0\.0\.1 +gateway/1\.2 \?\n`).MatchString(list.stdout) {
		t.Errorf("who has fetched the first key: %s%s", list.stdout, list.stderr)
	}
	if !strings.Contains(list.stdout, fresh) || regexp.MustCompile(regexp.QuoteMeta(fresh)+` .*gateway`).MatchString(list.stdout) {
		t.Errorf("nobody has fetched the new key: %s", list.stdout)
	}
	if bare := finish(t, dir, "", nil, "keys", "list"); bare.code != 0 || !strings.Contains(bare.stderr, "set admin_secret") {
		t.Errorf("without the secret: %+v", bare)
	}
}
