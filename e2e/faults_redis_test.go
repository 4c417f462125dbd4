package e2e_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/glueauth/glueauth/store/storetest"
)

// A failover to a replica that has missed the last writes signs nobody out whose sign-in it knows. Where sign-ins wait for
// a replica, one that would be lost is not given out.
func TestSentinelFailoverThatLosesWritesSignsNobodyOut(t *testing.T) {
	t.Parallel()
	s := storetest.RedisSentinel(t)
	dir := t.TempDir()
	emails := customers(t, dir, 4)
	p := start(t, dir, "GLUEAUTH_REDIS="+s.URL())
	careful := start(t, t.TempDir(), append(shared(dir), "GLUEAUTH_REDIS="+s.URL(), "GLUEAUTH_REDIS_WAIT_REPLICAS=1")...)
	p.noLeaks(t, s.Replica)
	careful.noLeaks(t, s.Replica)

	previous, newest := make([]string, 12), make([]string, 12)
	for i := range newest {
		newest[i] = p.mustRefresh(t, careful.signIn(t, emails[i%len(emails)]).RefreshToken).RefreshToken
	}
	stolen, current := displace(t, careful, careful.signIn(t, emails[3]).RefreshToken)
	careful.signIn(t, emails[0]) // so the replica has all that came before
	cutOff(t, s.Master)
	for range 3 {
		for i, token := range newest {
			previous[i], newest[i] = token, p.mustRefresh(t, token).RefreshToken
		}
	}
	lost := []string{p.signIn(t, emails[0]).RefreshToken, p.signIn(t, emails[1]).RefreshToken}
	careful.mustTurnAway(t, "/token", "grant_type", "password", "username", emails[2], "password", demoPassword)
	careful.mustTurnAway(t, "/token", "grant_type", "refresh_token", "refresh_token", stolen) // the end of a session would be lost too
	careful.mustTurnAway(t, "/revoke", "token", newest[0])                                    // so would this one
	s.Master.Kill()

	for i, token := range newest {
		newest[i] = p.mustRefresh(t, token).RefreshToken
	}
	if healed := p.told(t, "refresh_healed", ""); healed != len(newest) {
		t.Errorf("%d sessions healed, want %d", healed, len(newest))
	}
	for i, token := range previous { // of another tab
		if a := p.mustRefresh(t, token); a.RefreshToken != newest[i] {
			t.Errorf("session %d: the other tab got another token", i)
		}
	}
	p.mustRefuse(t, lost...)
	if n := p.told(t, "refresh_refused", "store_lost"); n != len(lost) {
		t.Errorf("%d sessions counted as lost, want %d", n, len(lost))
	}
	if n := p.turnedAway(t, "store unavailable"); n == 0 {
		t.Error("nobody was turned away during the failover")
	}
	p.never(t, "refresh_reuse", "session_ended")

	s.Master.Start(t)
	s.Master.Do(t, append([]string{"REPLICAOF"}, strings.Split(s.Replica.Addr, ":")...)...)
	careful.mustRefresh(t, careful.signIn(t, emails[2]).RefreshToken)
	careful.mustRefuse(t, stolen, current)
	careful.mustSignOut(t, newest[0])
	careful.mustRefuse(t, newest[0])
	if n := careful.told(t, "refresh_reuse", "reuse"); n != 1 {
		t.Errorf("%d reuses, want 1", n)
	}
	careful.turnedAway(t, "wait_replicas")
}

// displace uses a token twice in such a way that the token of the first answer is dead; whoever uses it is a thief.
func displace(t *testing.T, p *process, token string) (dead, current string) {
	t.Helper()
	dead = p.must(t, "grant_type", "refresh_token", "refresh_token", token, "retry_key", "only-this-tab-has-it").RefreshToken
	return dead, p.mustRefresh(t, token).RefreshToken
}

// mustTurnAway demands that this request is told to come again, in time.
func (p *process) mustTurnAway(t *testing.T, path string, pairs ...string) {
	t.Helper()
	a, err := p.post(path, pairs...)
	if err := temporary(a, err, 3*time.Second); err != nil {
		t.Errorf("%s %s: %v", path, pairs[0], err)
	}
}

// cutOff keeps what is written from now on from the replicas.
func cutOff(t *testing.T, master *storetest.RedisServer) {
	t.Helper()
	master.Do(t, "ACL", "SETUSER", "default", "-psync", "-sync")
	master.Do(t, "CLIENT", "KILL", "TYPE", "replica")
}

// mustRefuse demands that these refresh tokens are refused.
func (p *process) mustRefuse(t *testing.T, tokens ...string) {
	t.Helper()
	for _, token := range tokens {
		if a, err := p.refresh(token); err != nil || a.status != http.StatusBadRequest || a.Description != "The refresh token is invalid." {
			t.Errorf("%v %v, want a refusal", a, err)
		}
	}
}

// never demands that these events never happened.
func (p *process) never(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if n := p.events(t, name); n != 0 {
			t.Errorf("%s was counted %d times, want never\n%s", name, n, p.tail())
		}
	}
}

// crowd signs a customer in for each token, on a Cluster that all its nodes agree on.
func crowd(t *testing.T, nodes storetest.RedisClusterNodes, n int) (p *process, emails, tokens []string) {
	t.Helper()
	dir := t.TempDir()
	emails = customers(t, dir, n)
	p = start(t, dir, "GLUEAUTH_REDIS="+nodes.URL())
	for _, email := range emails {
		tokens = append(tokens, p.signIn(t, email).RefreshToken)
	}
	return p, emails, tokens
}

// keyOf is the record of the customer who was imported as number i from 0.
func keyOf(i int) string { return fmt.Sprintf("glueauth:{c:%d}", i+1) }

// homes tells for each of n customers which master has his records.
func homes(t *testing.T, nodes storetest.RedisClusterNodes, n int) (masters []*storetest.RedisServer) {
	t.Helper()
	for i := range n {
		masters = append(masters, nodes.Master(t, keyOf(i)))
	}
	return masters
}

func TestKilledPrimaryOfAClusterSignsNobodyOut(t *testing.T) {
	t.Parallel()
	nodes := storetest.RedisCluster(t)
	p, _, tokens := crowd(t, nodes, 8)
	at := homes(t, nodes, len(tokens))
	victim := at[0]
	var everyone, struck []int
	for i := range tokens {
		everyone = append(everyone, i)
		if at[i] == victim {
			struck = append(struck, i)
		}
	}
	p.noLeaks(t, nodes...)
	s := shop(t, p, tokens)
	s.wait(t, http.StatusOK, everyone...)
	victim.Kill()
	s.wait(t, http.StatusServiceUnavailable, struck...)
	s.wait(t, http.StatusOK, everyone...) // after a replica has taken over
	s.leave()
	for _, token := range s.tokens {
		p.mustRefresh(t, token)
	}
	if n := p.turnedAway(t, "redis: "); n < len(struck) {
		t.Errorf("%d requests were turned away", n)
	}
	if p.told(t, "refresh_healed", "") > len(struck) {
		t.Error("sessions were healed whose primary lives")
	}
	p.never(t, "refresh_refused", "refresh_reuse", "session_ended")
}

func TestSlotThatMovesSignsNobodyOut(t *testing.T) {
	t.Parallel()
	nodes := storetest.RedisCluster(t)
	p, emails, tokens := crowd(t, nodes, 6)
	var everyone []int
	for i := range tokens {
		everyone = append(everyone, i)
	}
	p.noLeaks(t, nodes...)
	s := shop(t, p, tokens)
	s.wait(t, http.StatusOK, everyone...)
	type window struct{ begun, ended time.Time }
	moves := map[int]window{}
	for i := range 2 { // one customer is one slot
		other := p.signIn(t, emails[i]).RefreshToken
		m := newMove(t, nodes, i)
		m.announce(t)
		begun := time.Now()
		other = p.mustRefresh(t, other).RefreshToken // nothing has moved
		m.records(t, 1)
		s.wait(t, http.StatusServiceUnavailable, i) // his records are in two places
		p.mustTurnAway(t, "/token", "grant_type", "refresh_token", "refresh_token", other)
		m.records(t, 1000)
		ended := time.Now()
		s.wait(t, http.StatusOK, everyone...) // the slot has moved, and nobody knows
		p.mustRefresh(t, other)
		m.finish(t)
		moves[i] = window{begun, ended}
		s.wait(t, http.StatusOK, everyone...)
	}
	for _, v := range s.leave() {
		if w, moved := moves[v.customer]; v.status != http.StatusOK && (!moved || v.ended.Before(w.begun) || v.begun.After(w.ended)) {
			t.Errorf("customer %d was answered with %d while his slot was in one place", v.customer, v.status)
		}
	}
	for _, token := range s.tokens {
		p.mustRefresh(t, token)
	}
	if n := p.turnedAway(t, "redis: tryagain"); n == 0 {
		t.Error("nobody was turned away")
	}
	p.never(t, "refresh_refused", "refresh_healed", "refresh_reuse", "session_ended")
}

// move is the move of one slot from one master to another.
type move struct {
	slot     string
	from, to *storetest.RedisServer
	ids      [2]string
}

func newMove(t *testing.T, nodes storetest.RedisClusterNodes, customer int) move {
	t.Helper()
	m := move{from: nodes.Master(t, keyOf(customer))}
	m.slot = m.from.Do(t, "CLUSTER", "KEYSLOT", keyOf(customer))
	others := slices.DeleteFunc(nodes.Masters(t), func(n *storetest.RedisServer) bool { return n == m.from })
	m.to = others[0]
	m.ids = [2]string{m.from.Do(t, "CLUSTER", "MYID"), m.to.Do(t, "CLUSTER", "MYID")}
	return m
}

func (m move) announce(t *testing.T) {
	t.Helper()
	m.to.Do(t, "CLUSTER", "SETSLOT", m.slot, "IMPORTING", m.ids[0])
	m.from.Do(t, "CLUSTER", "SETSLOT", m.slot, "MIGRATING", m.ids[1])
}

// records moves so many records, that of the customer himself first.
func (m move) records(t *testing.T, n int) {
	t.Helper()
	keys := strings.Fields(m.from.Do(t, "CLUSTER", "GETKEYSINSLOT", m.slot, "1000"))
	slices.Sort(keys)
	host, port, _ := strings.Cut(m.to.Addr, ":")
	command := []string{"MIGRATE", host, port, "", "0", "5000", "KEYS"}
	m.from.Do(t, append(command, keys[:min(n, len(keys))]...)...)
}

func (m move) finish(t *testing.T) {
	t.Helper()
	m.to.Do(t, "CLUSTER", "SETSLOT", m.slot, "NODE", m.ids[1])
	m.from.Do(t, "CLUSTER", "SETSLOT", m.slot, "NODE", m.ids[1])
}

func TestRedisThatLostItsDataRevivesNothing(t *testing.T) {
	t.Parallel()
	redis := storetest.Redis(t)
	all, emails := replicas(t, 1, redis.URL())
	p := all[0]
	p.noLeaks(t, redis)
	var lost []string
	for _, email := range emails {
		lost = append(lost, p.signIn(t, email).RefreshToken)
	}
	first := p.signIn(t, emails[0]).RefreshToken
	stolen, current := displace(t, p, first)
	dead := []string{first, stolen, current, p.signIn(t, emails[1]).RefreshToken}
	p.mustSignOut(t, dead[3])
	p.mustRefuse(t, stolen) // this ends the session
	p.mustRefuse(t, dead...)
	if n := p.told(t, "refresh_reuse", "reuse"); n != 1 {
		t.Errorf("%d reuses, want 1", n)
	}

	redis.Kill()
	redis.Start(t)
	eventually(t, startLimit, func() error { // until the first answer that is none of a dead connection
		a, err := p.refresh(lost[0])
		if err == nil && a.status == http.StatusServiceUnavailable {
			err = errors.New(a.String())
		}
		return err
	})
	p.mustRefuse(t, lost[1:]...)
	p.mustRefuse(t, forge(lost[0]), forge(lost[1]))
	for _, email := range emails {
		p.mustRefresh(t, p.signIn(t, email).RefreshToken)
	}
	p.mustRefuse(t, lost...)
	p.mustRefuse(t, dead...)
	for cause, want := range map[string]int{"store_lost": 2*len(lost) + len(dead), "not_ours": 2} {
		if got := p.told(t, "refresh_refused", cause); got != want {
			t.Errorf("%s was counted %d times, want %d", cause, got, want)
		}
	}
}
