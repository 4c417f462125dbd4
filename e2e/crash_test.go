package e2e_test

import (
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// sessionLength is after how many refreshes a customer signs in anew.
const sessionLength = 16

// customer keeps a journal: the newest refresh token of each of his sessions that the server acknowledged.
type customer struct {
	email   string
	journal []string
	uses    int
}

// next refreshes the newest session, or begins one. It reports whether the server acknowledged, and whether it lives.
func (c *customer) next(p *process) (acknowledged answer, alive bool) {
	if c.uses%sessionLength == 0 {
		a, err := p.token("grant_type", "password", "username", c.email, "password", demoPassword)
		if err == nil && a.status == http.StatusOK {
			c.journal = append(c.journal, a.RefreshToken)
			c.uses++
		}
		return a, err == nil
	}
	newest := &c.journal[len(c.journal)-1]
	a, err := p.refresh(*newest)
	if err == nil && a.status == http.StatusOK {
		*newest = a.RefreshToken
		c.uses++
	}
	return a, err == nil
}

func TestKillLosesNothingAcknowledged(t *testing.T) {
	t.Parallel()
	for _, durability := range []string{"process-crash-safe", "power-loss-safe"} {
		t.Run(durability, func(t *testing.T) {
			t.Parallel()
			total := 1000 * scale(t)
			dir := t.TempDir()
			var people []*customer
			for _, email := range customers(t, dir, 8) {
				people = append(people, &customer{email: email})
			}
			setting := "GLUEAUTH_STORE_DURABILITY=" + durability
			for done := 0; done < total; {
				p := start(t, dir, setting)
				done += workUntilKilled(t, p, people, total/4)
				p = start(t, dir, setting)
				for _, c := range people {
					for i, token := range c.journal {
						c.journal[i] = p.mustRefresh(t, token).RefreshToken
					}
				}
				if healed := p.events(t, "refresh_healed"); healed != 0 {
					t.Errorf("%d refreshes had been acknowledged and were not in the database", healed)
				}
				p.kill(t)
			}
		})
	}
}

// workUntilKilled has every customer work without pause, and kills the server in the midst of it, after so many answers. It
// returns how many were given.
func workUntilKilled(t *testing.T, p *process, people []*customer, after int) int {
	t.Helper()
	var given atomic.Int64
	now := make(chan struct{})
	var group sync.WaitGroup
	for _, c := range people {
		group.Go(func() {
			for {
				switch a, alive := c.next(p); {
				case !alive:
					return
				case a.status == http.StatusServiceUnavailable: // nothing was promised; the disk is busy
				case a.status != http.StatusOK:
					t.Errorf("%s: %v", c.email, a)
					return
				case given.Add(1) == int64(after):
					close(now)
				}
			}
		})
	}
	finished := make(chan struct{})
	go func() { group.Wait(); close(finished) }()
	select {
	case <-now:
	case <-finished:
		t.Fatalf("the customers ended before the kill\n%s", p.tail())
	}
	p.kill(t)
	<-finished
	return int(given.Load())
}

func TestKillInTheFirstStartNeedsNoRepair(t *testing.T) {
	t.Parallel()
	// The server is killed as soon as the file can be seen.
	for _, made := range []string{"data", "data/glueauth.lock", "data/master.key", "data/keys", "data/keys/*.pem", "data/glueauth.db", "data/glueauth.db-*"} {
		t.Run(made, func(t *testing.T) {
			t.Parallel()
			for range 3 * scale(t) {
				dir := t.TempDir()
				p := launch(t, dir, "GLUEAUTH_LISTEN=127.0.0.1:0", "GLUEAUTH_ADMIN_LISTEN=127.0.0.1:0", "--demo")
				over := time.After(startLimit)
				for found := []string(nil); found == nil; found, _ = filepath.Glob(filepath.Join(dir, made)) {
					select {
					case <-over:
						t.Fatalf("%s was never made\n%s", made, p.tail())
					case <-time.After(100 * time.Microsecond):
					}
				}
				p.kill(t)
				again := start(t, dir, "--demo")
				checkModes(t, dir)
				again.stop(t)
			}
		})
	}
}
