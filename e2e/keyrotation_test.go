package e2e_test

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/glueauth/glueauth/e2e/gatekeeper"
	"github.com/glueauth/glueauth/store/storetest"
)

// rotation is the settings of a rotation test, and what comes of them: a key is announced two seconds more ahead than others
// may keep the key set, and stays two seconds longer than its tokens live.
type rotation struct {
	cache, every time.Duration
	times        int // until this many keys have signed and left
}

const (
	rotationLifetime = 4 * time.Second
	rotationSlack    = 2 * time.Second
)

func (r rotation) settings() []string {
	return []string{
		"GLUEAUTH_ACCESS_LIFETIME=" + rotationLifetime.String(), "GLUEAUTH_KEYS_JWKS_CACHE=" + r.cache.String(),
		"GLUEAUTH_KEYS_ROTATE_EVERY=" + r.every.String(),
	}
}

// jwkSet is a key set as a verifier has fetched it.
type jwkSet struct {
	keys  gatekeeper.Keys
	until time.Time // for how long it may be kept
}

// fetchKeys fetches the key set and checks that it has public members only.
func (p *process) fetchKeys() (jwkSet, error) {
	a, err := p.get(p.public + "/.well-known/jwks.json")
	if err != nil {
		return jwkSet{}, err
	}
	if a.status != http.StatusOK {
		return jwkSet{}, fmt.Errorf("key set: %v", a)
	}
	keys, err := gatekeeper.ReadKeys([]byte(a.body))
	if err != nil {
		return jwkSet{}, err
	}
	maxAge := regexp.MustCompile(`max-age=(\d+)`).FindStringSubmatch(a.header.Get("Cache-Control"))
	if maxAge == nil {
		return jwkSet{}, fmt.Errorf("no max-age in %q", a.header.Get("Cache-Control"))
	}
	seconds, err := strconv.Atoi(maxAge[1])
	if err != nil {
		return jwkSet{}, err
	}
	return jwkSet{keys, time.Now().Add(time.Duration(seconds) * time.Second)}, nil
}

// keyLife is what was seen of a key from outside.
type keyLife struct {
	published, unpublished time.Time // first and last time in a set
	signed, last           time.Time // first and last token
	modulus                string
}

// keyLives collects it.
type keyLives struct {
	mu     sync.Mutex
	all    map[string]*keyLife
	newest time.Time // set
}

// gone reports whether a key has not been in any set for a while, at whatever pace the machine works.
func (l *keyLives) gone(k *keyLife) bool {
	halted, _ := stood(k.unpublished, l.newest)
	return l.newest.Sub(k.unpublished)-halted > time.Second
}

func (l *keyLives) saw(t *testing.T, set jwkSet, token gatekeeper.Token) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.newest = now
	life := func(kid string) *keyLife {
		if l.all[kid] == nil {
			l.all[kid] = &keyLife{published: now}
		}
		return l.all[kid]
	}
	for kid, key := range set.keys {
		k := life(kid)
		k.unpublished = now
		if text := key.N.String(); k.modulus != "" && k.modulus != text {
			t.Errorf("the kid %s names another key than before", kid)
		} else {
			k.modulus = text
		}
	}
	if token.Kid != "" {
		k := life(token.Kid)
		if k.signed.IsZero() {
			k.signed = now
		}
		k.last = now
	}
}

// TestKeysRotateUnderLoadAndNoVerifierSeesIt has three servers on one key folder rotate by themselves, three times.
func TestKeysRotateUnderLoadAndNoVerifierSeesIt(t *testing.T) {
	t.Parallel()
	turn := rotation{2 * time.Second, 6 * time.Second, 3}
	shared := filepath.Join(t.TempDir(), "keys")
	settings := append(turn.settings(), "GLUEAUTH_KEYS_DIR="+shared)
	if r := finish(t, t.TempDir(), "", settings, "keys", "generate"); r.code != 0 {
		t.Fatal(r.stderr)
	}
	replicas, emails := make([]*process, 3), make([]string, 3)
	for i := range replicas {
		dir := t.TempDir()
		emails[i] = customers(t, dir, 1)[0]
		replicas[i] = start(t, dir, settings...)
	}
	turn.underLoad(t, replicas, emails)
	if aside, err := filepath.Glob(filepath.Join(shared, "*.gone")); err != nil || len(aside) < 3 {
		t.Errorf("%d files were put aside, %v", len(aside), err)
	}
}

// TestKeysInRedisRotateUnderLoadAndNoVerifierSeesIt has three servers start at once on a Redis without keys.
func TestKeysInRedisRotateUnderLoadAndNoVerifierSeesIt(t *testing.T) {
	t.Parallel()
	turn := rotation{2 * time.Second, 6 * time.Second, 2}
	redis := storetest.Redis(t)
	dir := t.TempDir()
	emails := customers(t, dir, 3)
	settings := append(
		turn.settings(), "GLUEAUTH_REDIS="+redis.URL(), "GLUEAUTH_KEYS_STORE=redis", "GLUEAUTH_MASTER_KEY="+strings.Repeat("0f", 32),
		"GLUEAUTH_CUSTOMERS_FILE="+filepath.Join(dir, "data/glueauth.db"), "GLUEAUTH_LISTEN=127.0.0.1:0", "GLUEAUTH_ADMIN_LISTEN=127.0.0.1:0",
	)
	replicas := make([]*process, 3)
	for i := range replicas {
		replicas[i] = launch(t, t.TempDir(), settings...)
	}
	made := 0
	for _, p := range replicas {
		p.await(t)
		made += strings.Count(p.stderr.String(), "made a signing key")
	}
	if made != 1 {
		t.Errorf("%d first keys were made", made)
	}
	turn.underLoad(t, replicas, emails)
	if aside := strings.Fields(redis.Do(t, "HKEYS", "glueauth:{keys}:aside")); len(aside) < turn.times {
		t.Errorf("put aside: %v", aside)
	}
	if dump := redis.Do(t, "HGETALL", "glueauth:{keys}"); strings.Contains(dump, "PRIVATE") || strings.Contains(dump, `"kid"`) || !strings.Contains(dump, "key:") {
		t.Errorf("what redis holds can be read: %q", dump)
	}
	redis.Kill()
	for _, p := range replicas {
		p.publishes(t)
	}
}

// underLoad has servers rotate by themselves.
func (r rotation) underLoad(t *testing.T, replicas []*process, emails []string) {
	t.Helper()
	lives := &keyLives{all: map[string]*keyLife{}}
	all := make([]*keyLoad, len(replicas))
	for i, p := range replicas {
		all[i] = &keyLoad{server: p, refresh: p.signIn(t, emails[i]).RefreshToken, replicas: replicas, lives: lives}
	}
	stop := make(chan struct{})
	var running sync.WaitGroup
	for _, load := range all {
		running.Go(func() { load.run(t, stop) })
	}
	eventually(t, 2*time.Minute, func() error { return lives.left(r.times) })
	close(stop)
	running.Wait()
	for _, load := range all {
		if load.checks == 0 {
			t.Error("a verifier has checked nothing")
		}
		t.Logf("%d checks", load.checks)
	}
	r.checkLives(t, lives)
	for _, p := range replicas {
		if strings.Contains(p.stderr.String(), `"level":"ERROR"`) || strings.Contains(p.stderr.String(), "PRIVATE") {
			t.Error(p.tail())
		}
	}
}

// keyLoad is a customer of one replica, and a verifier that fetches the key set from any of them and keeps it for as long as
// it may, without ever asking again for a kid that it does not know.
type keyLoad struct {
	server   *process
	refresh  string
	replicas []*process
	lives    *keyLives
	set      jwkSet
	alive    []gatekeeper.Token // those that have not expired
	checks   int
}

// run goes on until it is stopped, or the test has failed.
func (l *keyLoad) run(t *testing.T, stop chan struct{}) {
	t.Helper()
	tick := time.NewTicker(80 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		if err := l.step(t, n); err != nil {
			t.Error(err)
			return
		}
	}
}

func (l *keyLoad) step(t *testing.T, n int) error {
	t.Helper()
	a, err := l.server.refresh(l.refresh)
	if err == nil && a.status == http.StatusServiceUnavailable {
		return nil // the disk is busy
	}
	if err != nil || a.status != http.StatusOK {
		return fmt.Errorf("refresh: %v %w", a, err)
	}
	l.refresh = a.RefreshToken
	token, err1 := gatekeeper.ReadToken(a.AccessToken)
	seen, err2 := l.replicas[n%len(l.replicas)].fetchKeys()
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	l.lives.saw(t, seen, token)
	if !time.Now().Before(l.set.until) {
		l.set = seen
	}
	l.alive = append(slices.DeleteFunc(l.alive, func(o gatekeeper.Token) bool { return !time.Now().Before(o.Expires) }), token)
	for _, o := range []gatekeeper.Token{token, l.alive[0], l.alive[n%len(l.alive)]} { // the newest, the oldest, and one between
		// Of the slack with which keys are announced, half is for servers to see it. The rest can be used up where the machine stood still.
		now := time.Now()
		_, halted := stood(now.Add(-2*rotationLifetime), now)
		if err := l.set.keys.Verify(o); err != nil && now.Before(o.Expires) && halted < rotationSlack/2 {
			t.Errorf("a token that expires in %s fails: %v", time.Until(o.Expires), err)
		}
		l.checks++
	}
	return nil
}

// left returns an error until so many keys have signed and left.
func (l *keyLives) left(want int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	left := 0
	for _, k := range l.all {
		if !k.last.IsZero() && l.gone(k) {
			left++
		}
	}
	if left < want {
		return fmt.Errorf("%d keys of %d have left", left, len(l.all))
	}
	return nil
}

func (r rotation) checkLives(t *testing.T, l *keyLives) {
	t.Helper()
	const late = 2 * time.Second // of a machine that does other things too
	keys := slices.SortedFunc(maps.Values(l.all), func(a, b *keyLife) int { return a.published.Compare(b.published) })
	for i, k := range keys {
		if k.last.IsZero() {
			continue
		}
		t.Logf("key %d: signed %s after it was seen, for %s; left %s after its last token",
			i, k.signed.Sub(k.published), k.last.Sub(k.signed), k.unpublished.Sub(k.last))
		halted, _ := stood(k.published.Add(-r.every), k.unpublished.Add(r.every)) // what is seen is seen so much later
		if i > 0 && k.signed.Sub(k.published)+halted < r.cache {
			t.Errorf("key %d signed %s after it was seen, want %s or more", i, k.signed.Sub(k.published), r.cache)
		}
		if i > 1 && k.published.Sub(keys[i-1].published)+halted < r.every/2 {
			t.Errorf("key %d came %s after the one before, as if two servers had rotated; want %s", i, k.published.Sub(keys[i-1].published), r.every)
		}
		if stayed := k.unpublished.Sub(k.last); l.gone(k) && (stayed+halted < rotationLifetime || stayed-halted > rotationLifetime+rotationSlack+late) {
			t.Errorf("key %d left %s after its last token, want %s and up to %s more", i, stayed, rotationLifetime, rotationSlack+late)
		}
	}
}

// publishes returns the kids of the key set.
func (p *process) publishes(t *testing.T) string {
	t.Helper()
	set, err := p.fetchKeys()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(slices.Sorted(maps.Keys(set.keys)), " ")
}

// signedBy waits until a customer's tokens are signed by a key.
func (p *process) signedBy(t *testing.T, email, kid string) {
	t.Helper()
	eventually(t, startLimit, func() error {
		token, err := gatekeeper.ReadToken(p.signIn(t, email).AccessToken)
		if err != nil || token.Kid != kid {
			return fmt.Errorf("%s signs, want %s; %w", token.Kid, kid, err)
		}
		return nil
	})
}

func TestAServerFollowsItsKeyFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	email := customers(t, dir, 1)[0]
	p := start(t, dir)
	first := p.publishes(t)
	fresh := strings.TrimSpace(succeed(t, dir, "", "keys", "rotate"))
	eventually(t, startLimit, func() error {
		if now := p.publishes(t); now == first || !strings.Contains(now, fresh) || !strings.Contains(now, first) {
			return errors.New("the new key is not published")
		}
		return nil
	})
	p.signedBy(t, email, first)
	const told = "the keys of before go on"
	broken := write(t, filepath.Join(dir, "data", "keys"), "broken.pem", "half a key", 0o600)
	eventually(t, startLimit, func() error {
		if !strings.Contains(p.stderr.String(), told) {
			return errors.New("the broken file is not told")
		}
		return nil
	})
	p.signedBy(t, email, first)
	if err := os.Remove(broken); err != nil {
		t.Fatal(err)
	}
	p.signedBy(t, email, strings.TrimSpace(succeed(t, dir, "", "keys", "rotate", "--now")))
	if n := strings.Count(p.stderr.String(), told); n != 1 {
		t.Errorf("the broken file was told %d times", n)
	}
}

func TestEachClientHasItsOwnAlgorithm(t *testing.T) {
	t.Parallel()
	const issuer = "https://login.example"
	algorithms := []string{"RS256", "PS256", "ES256", "EdDSA"}
	dir := t.TempDir()
	email := customers(t, dir, 1)[0]
	settings := "issuer: " + issuer + "\nclients:\n"
	for _, name := range algorithms {
		settings += "  - {id: app-" + name + ", alg: " + name + ", subject: reference}\n"
	}
	p := start(t, dir, "--config="+write(t, dir, "glueauth.yaml", settings, 0o600))
	ctx := oidc.ClientContext(t.Context(), p.client)
	set := oidc.NewRemoteKeySet(ctx, p.public+"/.well-known/jwks.json")
	for _, name := range algorithms {
		a := p.must(t, "grant_type", "password", "username", email, "password", demoPassword, "client_id", "app-"+name)
		for _, accepts := range algorithms {
			verifier := oidc.NewVerifier(issuer, set, &oidc.Config{ClientID: "app-" + name, SupportedSigningAlgs: []string{accepts}})
			if _, err := verifier.Verify(ctx, a.AccessToken); (err == nil) != (accepts == name) {
				t.Errorf("a token of %s where %s is accepted: %v", name, accepts, err)
			}
		}
	}
}

func TestMasterAndSigningKeyRotateServerByServerAndNobodyIsSignedOut(t *testing.T) {
	t.Parallel()
	url := storetest.Redis(t).URL()
	dirs := []string{t.TempDir(), t.TempDir()}
	emails := customers(t, dirs[0], 3)
	options := [][]string{{"GLUEAUTH_REDIS=" + url}, append(shared(dirs[0]), "GLUEAUTH_REDIS="+url)}
	all := []*process{start(t, dirs[0], options[0]...), start(t, dirs[1], options[1]...)}
	var tokens []string
	for _, email := range emails {
		tokens = append(tokens, all[0].signIn(t, email).RefreshToken)
	}
	turns := func() {
		t.Helper()
		for i := range tokens {
			for _, p := range all {
				a := p.mustRefresh(t, tokens[i])
				tokens[i] = a.RefreshToken
				if token, err := gatekeeper.ReadToken(a.AccessToken); err != nil || token.Kid == "" {
					t.Fatal(token, err)
				}
			}
		}
	}
	restart := func(more ...string) {
		t.Helper()
		for i, p := range all {
			p.stop(t)
			all[i] = start(t, dirs[i], append(options[i], more...)...)
			turns() // the other one has not been restarted yet
		}
	}
	turns()
	number := strings.TrimSpace(succeed(t, dirs[0], "", "master-key", "rotate"))
	before := tokens[0]
	restart()
	for _, p := range all {
		if !strings.Contains(p.stderr.String(), "set refresh.mac_key") {
			t.Errorf("the second step is not told: %s", p.tail())
		}
	}
	fresh := strings.TrimSpace(succeed(t, dirs[0], "", "keys", "rotate", "--now"))
	turns()
	restart("GLUEAUTH_REFRESH_MAC_KEY=" + number)
	for _, p := range all {
		p.signedBy(t, emails[0], fresh)
		if n := p.events(t, "session_ended") + p.events(t, "refresh_refused"); n != 0 {
			t.Errorf("%d sessions were ended or refused\n%s", n, p.tail())
		}
	}
	if tokens[0][:8] == before[:8] { // grt_, the number and the kind of the subject
		t.Errorf("the refresh tokens are made as before: %s", tokens[0][:8])
	}
}
