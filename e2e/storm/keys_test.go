package storm_test

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/glueauth/glueauth/e2e/gatekeeper"
	"github.com/glueauth/glueauth/keys"
)

const (
	keySetLife = time.Hour // for how long the key set may be kept
	accessLife = 8 * time.Hour
)

func (w *world) keyFolder() string  { return filepath.Join(w.dir, "keys") }
func (w *world) masterFile() string { return filepath.Join(w.dir, "master.key") }

// rotations are four of the signing key, each by another server.
func (w *world) rotations(horizon int64) []fault {
	var all []fault
	for i, tenth := range []int64{1, 3, 5, 7} {
		all = append(all, fault{horizon*tenth/10/grid*grid + grid, fmt.Sprintf("rotation %d of the signing key", i+1), func() {
			_, err := w.rings[i%len(w.rings)].Rotate("RS256", false, 0)
			w.check(err)
			w.keepKeys()
		}})
	}
	return all
}

// keepKeys is a turn of the servers' chores.
func (w *world) keepKeys() {
	for _, ring := range w.rings {
		_, err1 := ring.Keep(0)
		_, err2 := ring.Refresh()
		w.check(errors.Join(err1, err2))
	}
}

// rotateMaster puts a new master key into the file, with which the next servers make their refresh tokens.
func (w *world) rotateMaster() {
	number, err := keys.RotateMaster(w.masterFile(), w.refresh.MACKey, rand.Reader)
	w.check(err)
	w.refresh.MACKey = number
}

// gateway checks access tokens by a key set that it keeps for as long as it may, without asking again for a kid that it
// does not know. It is safe for concurrent use.
type gateway struct {
	world *world

	mu              sync.Mutex
	keys            gatekeeper.Keys
	until           time.Time
	alive           []gatekeeper.Token // a choice of those that have not expired
	checked, failed int
	signed          map[string]int // tokens, by kid
}

// check checks a new token that a server has handed out, and an older one. The key set comes from the next server.
func (g *gateway) check(number int, text string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.world.now(0)()
	if !now.Before(g.until) {
		if err := g.fetch((number + 1) % len(g.world.addresses)); err != nil {
			if err = g.fetch(number); err != nil {
				return // it is about to stop
			}
		}
	}
	token, err := gatekeeper.ReadToken(text)
	if err != nil {
		g.world.t.Error(err)
		return
	}
	g.signed[token.Kid]++
	g.verify(token, now)
	const enough = 500
	at := g.checked % enough
	switch {
	case len(g.alive) < enough:
		g.alive = append(g.alive, token)
	case now.Before(g.alive[at].Expires):
		g.verify(g.alive[at], now)
	default:
		g.alive[at] = token
	}
}

func (g *gateway) verify(token gatekeeper.Token, now time.Time) {
	g.checked++
	if err := g.keys.Verify(token); err != nil {
		g.failed++
		g.world.t.Errorf("at %s a token by %s that expires at %s fails at the gateway: %v", now, token.Kid, token.Expires, err)
	}
}

// fetch fetches the key set from a server.
func (g *gateway) fetch(number int) error {
	address := strings.TrimSuffix(*g.world.addresses[number].Load(), "/token") + "/.well-known/jwks.json"
	r, err := http.NewRequest(http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	r.Header.Set(networkHeader, "192.0.2.1")
	response, err := g.world.http.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	set, err := gatekeeper.ReadKeys(body)
	if err != nil {
		return err
	}
	g.keys, g.until = set, g.world.now(0)().Add(keySetLife)
	return nil
}
