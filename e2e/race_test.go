package e2e_test

import (
	"net/http"
	"sync"
	"testing"
)

// It runs alone, for no answer may be 503, and a busy disk is a reason for one.
func TestRacersWithOneRefreshTokenAllGetTheSameSuccessor(t *testing.T) {
	const racers = 32
	rounds := 50 * scale(t)
	dir := t.TempDir()
	p := start(t, dir)
	token := p.signIn(t, customers(t, dir, 1)[0]).RefreshToken
	seen := map[string]bool{token: true}
	for round := range rounds {
		answers, errs := race(p, racers, token)
		jwts := map[string]bool{}
		for i, a := range answers {
			if errs[i] != nil || a.status != http.StatusOK {
				t.Fatalf("round %d, racer %d: %v %v\n%s", round, i, a, errs[i], p.tail())
			}
			if a.RefreshToken != answers[0].RefreshToken {
				t.Fatalf("round %d: two successors of one token", round)
			}
			jwts[a.AccessToken] = true
		}
		if len(jwts) != racers {
			t.Errorf("round %d: %d access tokens for %d racers, want each his own", round, len(jwts), racers)
		}
		if token = answers[0].RefreshToken; seen[token] {
			t.Fatalf("round %d handed out a refresh token of an earlier round", round)
		}
		seen[token] = true
	}
	wantShared(t, rounds, racers, p)
}

// wantShared demands that in each round one racer has rotated and all others were given his successor. A request that was made
// again may have rotated before, which nobody heard of.
func wantShared(t *testing.T, rounds, racers int, all ...*process) {
	t.Helper()
	again, counted := 0, map[string]int{}
	for _, p := range all {
		again += int(p.again.Load())
		for _, event := range []string{"refresh_rotated", "refresh_replayed", "session_ended", "refresh_reuse"} {
			counted[event] += p.events(t, event)
		}
	}
	rotated := counted["refresh_rotated"]
	if rotated > rounds || rotated < rounds-again || rotated+counted["refresh_replayed"] != rounds*racers || counted["session_ended"]+counted["refresh_reuse"] != 0 {
		t.Errorf("counted %v in %d rounds of %d, with %d requests made again", counted, rounds, racers, again)
	}
}

// race sends one refresh token from many connections at the same moment.
func race(p *process, racers int, token string) ([]answer, []error) {
	answers, errs := make([]answer, racers), make([]error, racers)
	gate := make(chan struct{})
	var group sync.WaitGroup
	for i := range racers {
		group.Go(func() {
			<-gate
			answers[i], errs[i] = p.refresh(token)
		})
	}
	close(gate)
	group.Wait()
	return answers, errs
}
