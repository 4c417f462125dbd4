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
	for event, want := range map[string]int{"refresh_rotated": rounds, "refresh_replayed": rounds * (racers - 1), "session_ended": 0, "refresh_reuse": 0} {
		if got := p.events(t, event); got != want {
			t.Errorf("%s counted %d times, want %d", event, got, want)
		}
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
