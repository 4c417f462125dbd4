package e2e_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/glueauth/glueauth/e2e/gatekeeper"
	"github.com/glueauth/glueauth/store/storetest"
)

func TestSigningKeysMoveToRedisAndBackServerByServer(t *testing.T) {
	t.Parallel()
	url := "GLUEAUTH_REDIS=" + storetest.Redis(t).URL()
	dirs := []string{t.TempDir(), t.TempDir()}
	emails := customers(t, dirs[0], 2)
	options := [][]string{{url}, append(shared(dirs[0]), url)}
	all := []*process{start(t, dirs[0], options[0]...), start(t, dirs[1], options[1]...)}
	tokens := []string{all[0].signIn(t, emails[0]).RefreshToken, all[1].signIn(t, emails[1]).RefreshToken}
	before := all[0].publishes(t)
	turns := func(published string) {
		t.Helper()
		for i := range tokens {
			for _, p := range all {
				a := p.mustRefresh(t, tokens[i])
				tokens[i] = a.RefreshToken
				if token, err := gatekeeper.ReadToken(a.AccessToken); err != nil || !strings.Contains(published, token.Kid) || p.publishes(t) != published {
					t.Fatalf("signed by %s, published %s; want %s; %v", token.Kid, p.publishes(t), published, err)
				}
			}
		}
	}
	run := func(store string, args ...string) string {
		t.Helper()
		r := finish(t, dirs[0], "", []string{url, "GLUEAUTH_KEYS_STORE=" + store}, args...)
		if r.code != 0 {
			t.Fatal(args, r.stderr)
		}
		return strings.TrimSpace(r.stdout)
	}
	move := func(from, to, want string) {
		t.Helper()
		if moved := run(from, "keys", "move", "--to", to); moved != want {
			t.Errorf("moved %q, want %q", moved, want)
		}
	}
	restart := func(store string, published string) {
		t.Helper()
		for i, p := range all {
			p.stop(t)
			all[i] = start(t, dirs[i], append(options[i], "GLUEAUTH_KEYS_STORE="+store)...)
			turns(published) // the other one has not been restarted yet
		}
	}
	turns(before)
	move("folder", "redis", before)
	restart("redis", before)
	fresh := run("redis", "keys", "rotate")
	for _, p := range all {
		p.follows(t, fresh)
	}
	both := all[0].publishes(t)
	turns(both)
	move("redis", "folder", fresh)
	restart("folder", both)
	for _, p := range all {
		if n := p.events(t, "session_ended") + p.events(t, "refresh_refused"); n != 0 {
			t.Errorf("%d sessions were ended or refused\n%s", n, p.tail())
		}
	}
}

// follows waits until a process publishes a key.
func (p *process) follows(t *testing.T, kid string) {
	t.Helper()
	eventually(t, startLimit, func() error {
		if !strings.Contains(p.publishes(t), kid) {
			return errors.New("the new key is not published")
		}
		return nil
	})
}

func TestAnEmptyRedisBesideAFolderOfKeysIsNotBegunAnew(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	customers(t, dir, 1)
	redis := storetest.Redis(t)
	settings := []string{"GLUEAUTH_REDIS=" + redis.URL(), "GLUEAUTH_LISTEN=127.0.0.1:0", "GLUEAUTH_ADMIN_LISTEN=127.0.0.1:0"}
	start(t, dir, settings...).stop(t)
	settings = append(settings, "GLUEAUTH_KEYS_STORE=redis")
	for _, command := range []string{"serve", "doctor"} {
		r := finish(t, dir, "", settings, command)
		if r.code != 1 || !strings.Contains(r.stdout+r.stderr, "glueauth keys move --to redis") {
			t.Errorf("%s: %+v", command, r)
		}
	}
	if keys := redis.Do(t, "EXISTS", "glueauth:{keys}"); keys != "0" {
		t.Error("keys were made")
	}
	if r := finish(t, dir, "", settings, "keys", "list"); r.code != 1 || !strings.Contains(r.stderr, "no signing key") {
		t.Errorf("%+v", r)
	}
}
