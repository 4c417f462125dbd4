package e2e_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/glueauth/glueauth/store/storetest"
)

// replicas starts n servers that keep their sessions at one URL. The first has made keys and customers, the others share
// them.
func replicas(t *testing.T, n int, url string) (all []*process, emails []string) {
	t.Helper()
	dir := t.TempDir()
	emails = customers(t, dir, 4)
	all = append(all, start(t, dir, "GLUEAUTH_REDIS="+url))
	for range n - 1 {
		all = append(all, start(t, t.TempDir(), append(shared(dir), "GLUEAUTH_REDIS="+url)...))
	}
	return all, emails
}

// shared is what a further replica takes over from the data folder of the first.
func shared(dir string) []string {
	return []string{
		"GLUEAUTH_KEYS_DIR=" + filepath.Join(dir, "data/keys"),
		"GLUEAUTH_MASTER_KEY_FILE=" + filepath.Join(dir, "data/master.key"),
		"GLUEAUTH_CUSTOMERS_FILE=" + filepath.Join(dir, "data/glueauth.db"),
	}
}

// They run alone, as the race on the embedded store does.
func TestRacersOverTwoProcessesShareOneSuccessor(t *testing.T) {
	t.Run("one Redis", func(t *testing.T) { raceOverTwo(t, storetest.Redis(t).URL()) })
	t.Run("a Cluster", func(t *testing.T) { raceOverTwo(t, storetest.RedisCluster(t).URL()) })
}

func raceOverTwo(t *testing.T, url string) {
	t.Helper()
	const racers = 32
	rounds := 50 * scale(t)
	all, emails := replicas(t, 2, url)
	token := all[0].signIn(t, emails[0]).RefreshToken
	for round := range rounds {
		var group sync.WaitGroup
		answers, errs := make([][]answer, 2), make([][]error, 2)
		for i, p := range all {
			group.Go(func() { answers[i], errs[i] = race(p, racers/2, token) })
		}
		group.Wait()
		successor := answers[0][0].RefreshToken
		for i := range all {
			for j, a := range answers[i] {
				if errs[i][j] != nil || a.status != http.StatusOK || a.RefreshToken != successor || a.RefreshToken == token {
					t.Fatalf("round %d, process %d: %v %v\n%s", round, i, a, errs[i][j], all[i].tail())
				}
			}
		}
		token = successor
	}
	wantShared(t, rounds, racers, all...)
}

func TestRedisKeepsSessionsOverRestarts(t *testing.T) {
	t.Parallel()
	redis := storetest.Redis(t, "--appendonly", "yes", "--appendfsync", "always")
	dir := t.TempDir()
	emails := customers(t, dir, 2)
	p := start(t, dir, "--redis="+redis.URL())
	first := p.signIn(t, emails[0])
	second := p.mustRefresh(t, first.RefreshToken)
	p.stop(t)
	p = start(t, dir, "--redis="+redis.URL())
	record := redis.Monitor(t)
	third := p.mustRefresh(t, second.RefreshToken)
	commands := 0
	for _, line := range record() {
		if !strings.Contains(line, " lua] ") && strings.Contains(line, "glueauth:{c:") {
			commands++
		}
	}
	if commands != 1 {
		t.Errorf("a refresh took %d commands, want 1", commands)
	}
	redis.Kill()
	redis.Start(t)
	fourth := p.mustRefresh(t, third.RefreshToken)
	for key := range strings.FieldsSeq(redis.Do(t, "--scan")) {
		if ttl := redis.Do(t, "PTTL", key); strings.HasPrefix(ttl, "-") {
			t.Errorf("%s has no TTL: %s", key, ttl)
		}
	}
	checkDump(t, filepath.Join(filepath.Dir(redis.Socket), "appendonlydir"), first, second, third, fourth)
}

// checkDump demands that the files of a Redis hold none of the credentials that were given out.
func checkDump(t *testing.T, dir string, answers ...answer) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no append-only file: %v", err)
	}
	for _, file := range files {
		dump, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range answers {
			for _, credential := range []string{a.RefreshToken, a.RefreshToken[4:], a.AccessToken, demoPassword, cheapHash} {
				if strings.Contains(string(dump), credential) {
					t.Errorf("%s holds a credential", filepath.Base(file))
				}
			}
		}
	}
}

func TestRedisTroubleIsNoVerdict(t *testing.T) {
	t.Parallel()
	t.Run("it hangs", func(t *testing.T) {
		t.Parallel()
		redis := durableRedis(t)
		sitOut(t, redis, func() { redis.Stop(t) }, func() { redis.Continue(t) })
	})
	t.Run("it is killed", func(t *testing.T) {
		t.Parallel()
		redis := durableRedis(t)
		sitOut(t, redis, redis.Kill, func() { redis.Start(t) })
	})
	t.Run("it becomes a replica", func(t *testing.T) {
		t.Parallel()
		redis := durableRedis(t)
		sitOut(t, redis, func() { redis.Do(t, "REPLICAOF", "127.0.0.1", "1") }, func() { redis.Do(t, "REPLICAOF", "NO", "ONE") })
	})
	t.Run("it has no memory", func(t *testing.T) {
		t.Parallel()
		redis := durableRedis(t)
		sitOut(t, redis, func() { redis.Do(t, "CONFIG", "SET", "maxmemory", "1") }, func() { redis.Do(t, "CONFIG", "SET", "maxmemory", "0") })
	})
}

func durableRedis(t *testing.T) *storetest.RedisServer {
	t.Helper()
	return storetest.Redis(t, "--appendonly", "yes", "--appendfsync", "always")
}

// sitOut demands that a fault is answered as our own failure while it lasts, and forgotten after it.
func sitOut(t *testing.T, redis *storetest.RedisServer, begin, end func()) {
	t.Helper()
	all, emails := replicas(t, 1, redis.URL())
	p := all[0]
	token := p.signIn(t, emails[0]).RefreshToken
	p.noLeaks(t, redis)
	begin()
	for _, form := range [][]string{
		{"grant_type", "refresh_token", "refresh_token", token},
		{"grant_type", "password", "username", emails[1], "password", demoPassword},
	} {
		a, err := p.token(form...)
		if err != nil || a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" || a.Error != "temporarily_unavailable" {
			t.Errorf("%s: %v %v", form[1], a, err)
		}
		if a.took > 3*time.Second {
			t.Errorf("%s: answered after %s", form[1], a.took)
		}
	}
	for _, path := range []string{"/.well-known/jwks.json", "/livez"} {
		if err := p.expect(p.public+path, http.StatusOK); err != nil {
			t.Error(err)
		}
	}
	eventually(t, startLimit, func() error { return p.expect(p.public+"/readyz", http.StatusServiceUnavailable) })
	end()
	eventually(t, startLimit, func() error { return p.expect(p.public+"/readyz", http.StatusOK) })
	p.mustRefresh(t, token)
}

func TestKillOfOneReplicaLosesNothingAcknowledged(t *testing.T) {
	t.Parallel()
	redis := storetest.Redis(t)
	all, emails := replicas(t, 2, redis.URL())
	var people []*customer
	for _, email := range emails {
		people = append(people, &customer{email: email})
	}
	workUntilKilled(t, all[0], people, 200*scale(t))
	for _, c := range people {
		for _, token := range c.journal {
			all[1].mustRefresh(t, token)
		}
	}
	if healed := all[1].events(t, "refresh_healed"); healed != 0 {
		t.Errorf("%d refreshes had been acknowledged and were not in Redis", healed)
	}
}

func TestReplicaThatDoesNotFitIsRefused(t *testing.T) {
	t.Parallel()
	redis := storetest.Redis(t)
	dir := t.TempDir()
	customers(t, dir, 1)
	start(t, dir, "GLUEAUTH_REDIS="+redis.URL())
	for missing, remedy := range []string{"keys.dir", "master_key_file", "customers.file"} {
		t.Run(remedy, func(t *testing.T) {
			t.Parallel()
			options := append([]string{"GLUEAUTH_REDIS=" + redis.URL(), "GLUEAUTH_LISTEN=127.0.0.1:0", "GLUEAUTH_ADMIN_LISTEN=127.0.0.1:0"}, shared(dir)...)
			options = append(options[:3+missing], options[4+missing:]...)
			stops(t, t.TempDir(), remedy, options...)
		})
	}
	p := start(t, t.TempDir(), append(shared(dir), "GLUEAUTH_REDIS="+redis.URL())...)
	if err := p.expect(p.public+"/readyz", http.StatusOK); err != nil {
		t.Errorf("a replica that fits: %v", err)
	}
}

func TestSessionsMoveToRedisAndBack(t *testing.T) {
	t.Parallel()
	url := storetest.Redis(t).URL()
	dir := t.TempDir()
	var tokens []string
	p := start(t, dir, "--demo")
	for range 3 {
		tokens = append(tokens, p.signIn(t, demoEmail).RefreshToken)
	}
	for _, step := range []struct{ from, to, store string }{{"data", url, "--redis=" + url}, {url, "data", "--demo"}} {
		p.stop(t)
		if out := succeed(t, dir, "", "sessions", "move", "--from", step.from, "--to", step.to, "--source-is-read-only"); !strings.HasPrefix(out, "3 sessions: ") {
			t.Errorf("move from %s: %s", step.from, out)
		}
		p = start(t, dir, step.store)
		for i, token := range tokens {
			tokens[i] = p.mustRefresh(t, token).RefreshToken
		}
		if healed := p.events(t, "refresh_healed"); healed != 0 {
			t.Errorf("%d sessions were not the newest after the move to %s", healed, step.to)
		}
	}
}
