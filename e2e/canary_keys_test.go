package e2e_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/glueauth/glueauth/store/storetest"
)

// What Redis keeps and what is said of it: keys of all kinds that move there and back, while the master key is rotated and closed
// and Redis is wrong, away and damaged.
func TestNoKeyAndNoPasswordOfRedisIsWrittenAnywhere(t *testing.T) {
	t.Parallel()
	s, dir := newSecrets(t), t.TempDir()
	redis := storetest.Redis(t, "--requirepass", s.make("password of Redis"), "--appendonly", "yes", "--appendfsync", "no")
	url := "unix://:" + s.values["password of Redis"] + "@" + redis.Socket
	env := []string{"GLUEAUTH_REDIS_FILE=" + write(t, dir, "redis.url", url, 0o600), "GOTRACEBACK=system"}
	s.customer(dir)
	p := startAt(t, dir, append(env, "--log-level=debug")...)
	s.tokens(p)
	for _, alg := range []string{"ES256", "EdDSA"} {
		s.must(dir, env, "keys", "rotate", "--now", "--alg", alg)
	}
	p.stop(t)
	s.must(dir, env, "keys", "move", "--to", "redis")
	s.masterKeys(dir)
	number := strings.TrimSpace(s.must(dir, env, "master-key", "rotate"))
	s.masterKeys(dir)

	env = append(env, "GLUEAUTH_KEYS_STORE=redis", "GLUEAUTH_REFRESH_MAC_KEY="+number)
	p = startAt(t, dir, append(env, "--log-level=debug", "--log-format=text")...)
	s.tokens(p)
	s.strangers(p)
	s.guessNobody(p)
	s.must(dir, env, "keys", "rotate", "--now")
	s.must(dir, env, "keys", "list")
	s.must(dir, env, "config", "print")
	s.must(dir, env, "master-key", "close", "--now")
	s.must(dir, append(env, "GLUEAUTH_KEYS_DIR="+filepath.Join(dir, "copy")), "keys", "move", "--to", "folder")
	files, err := filepath.Glob(filepath.Join(dir, "copy", "*.pem"))
	if err != nil || len(files) != 4 {
		t.Fatalf("keys: %v %v, want 4", files, err)
	}
	for i, file := range files {
		s.addPEM(fmt.Sprintf("signing key %d", i), content(t, file))
	}
	s.wrongRedis(dir, env, redis)
	redis.Kill()
	s.redisIsAway(p, dir, env)
	s.search(s.views(p))
	s.values["e-mail address"] = "a@shop.example" // in logs nobody looks for it, but Redis must not have it
	s.search(appended(t, redis))
	delete(s.values, "e-mail address")
	s.crash(p, syscall.SIGQUIT)
}

// must is run for a command that succeeds; it returns what it prints.
func (s *secrets) must(dir string, env []string, args ...string) string {
	s.t.Helper()
	r := s.run(dir, "", env, args...)
	if r.code != 0 {
		s.t.Fatalf("glueauth %s: exit code %d\n%s%s", strings.Join(args, " "), r.code, r.stdout, r.stderr)
	}
	return r.stdout
}

// masterKeys remembers the master keys that stand in their file now.
func (s *secrets) masterKeys(dir string) {
	s.t.Helper()
	text := content(s.t, filepath.Join(dir, "data/master.key"))
	if len(text) == 32 { // raw bytes, among which a colon may be
		s.values["first master key"] = string(text)
		return
	}
	for line := range strings.Lines(string(text)) {
		number, key, _ := strings.Cut(strings.TrimSpace(line), ":")
		raw, err := base64.StdEncoding.DecodeString(key)
		if err != nil || len(raw) != 32 {
			s.t.Fatalf("master key %s has %d bytes: %v", number, len(raw), err)
		}
		s.values["master key "+number+" as text"], s.values["master key "+number] = key, string(raw)
	}
}

// guessNobody tries passwords for a name that nobody has, which may be a password too.
func (s *secrets) guessNobody(p *process) {
	s.t.Helper()
	name, elsewhere := s.make("password in the place of a name"), p.from(s.t, "127.0.0.9")
	for range 12 {
		s.send(elsewhere, "", "grant_type", "password", "username", name+"@shop.example", "password", s.make("guess at nobody"))
	}
}

// wrongRedis runs commands that Redis, or what is in it, refuses.
func (s *secrets) wrongRedis(dir string, env []string, redis *storetest.RedisServer) {
	s.t.Helper()
	wrong := "unix://:" + s.make("wrong password of Redis") + "@" + redis.Socket
	for _, args := range [][]string{{"serve"}, {"keys", "list"}, {"doctor", "--estimate=false"}, {"sessions", "move", "--from", "data", "--to", "-"}} {
		if r := s.run(dir, wrong, append(env[1:], "GLUEAUTH_REDIS="+wrong, "GLUEAUTH_LISTEN=127.0.0.1:0"), args...); r.code != 1 {
			s.t.Errorf("%s with a wrong password: exit code %d\n%s%s", args, r.code, r.stdout, r.stderr)
		}
	}
	strange := write(s.t, dir, "strange.key", mark+strings.Repeat("k", 32-len(mark)), 0o600)
	if r := s.run(dir, "", append(env, "GLUEAUTH_MASTER_KEY_FILE="+strange), "keys", "list"); r.code != 1 || !strings.Contains(r.stderr, "does not open") {
		s.t.Errorf("keys list with another master key: exit code %d\n%s", r.code, r.stderr)
	}
}

// redisIsAway asks a server and runs commands while nothing answers.
func (s *secrets) redisIsAway(p *process, dir string, env []string) {
	s.t.Helper()
	eventually(s.t, startLimit, func() error { return p.expect(p.public+"/readyz", http.StatusServiceUnavailable) })
	if a := s.send(p, "", "grant_type", "password", "username", "a@shop.example", "password", s.values["password"]); a.status != http.StatusServiceUnavailable {
		s.t.Errorf("without Redis: %s", a)
	}
	s.strangers(p)
	for _, args := range [][]string{{"keys", "list"}, {"sessions", "list", "a@shop.example"}} {
		if r := s.run(dir, "", env, args...); r.code != 1 {
			s.t.Errorf("%s without Redis: exit code %d\n%s%s", args, r.code, r.stdout, r.stderr)
		}
	}
}

// appended is all that was ever written into a Redis.
func appended(t *testing.T, redis *storetest.RedisServer) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(filepath.Dir(redis.Socket), "appendonlydir", "*.incr.aof"))
	places := map[string]string{}
	for _, file := range files {
		text, readErr := os.ReadFile(file)
		err = errors.Join(err, readErr)
		places["Redis, "+filepath.Base(file)] = string(text)
		if !bytes.Contains(text, []byte("glueauth:{keys}")) || !bytes.Contains(text, []byte("glueauth:{c:")) {
			err = errors.Join(err, errors.New("neither keys nor sessions"))
		}
	}
	if err != nil || len(places) == 0 {
		t.Fatalf("%d files of Redis: %v", len(places), err)
	}
	return places
}
