package storm_test

import (
	"fmt"
	"slices"
)

// apart is more than a replay window, also when a clock is set back in between.
const apart = 90 * second

// loot is a token that a thief has, and the retry key that he sends with it.
type loot struct{ token, key string }

// thief has a copy of a token. He and the owner have one agenda, so their decisions never run at the same time.
type thief struct {
	c        *client
	of       *session
	from     device
	seen     bool   // he has seen the retry key of what he stole
	keys     bool   // he makes retry keys himself
	tokens   []loot // what he stole and the newest ones, without those that were refused; the newest is the last
	pace     int64
	acted    bool
	last     int64          // when he acted last
	counts   [tabs]progress // of each copy of the owner's
	judging  bool
	finished bool
}

// progress counts the refreshes by one copy of the owner's that were answered more than a replay window after the thief.
// Whoever presents one token twice, in two tabs or because the answer was lost, has refreshed once.
type progress struct {
	refreshes int
	presented string
}

// tempt may bring a thief, after a refresh of the owner's.
func (c *client) tempt() {
	if !c.target || c.thief != nil || c.now() >= c.end-day || !c.r.chance(0.1) {
		return
	}
	from := c.stored
	if len(c.past) > 0 && c.past[0].of == c.stored.of && c.r.chance(0.3) {
		from = pick(c.r, c.past...)
	}
	t := &thief{c: c, of: from.of, pace: pick(c.r, 3*minute, 20*minute, 2*hour, 9*hour), keys: c.r.chance(0.3)}
	t.from = device{network: fmt.Sprintf("203.0.113.%d", 1+c.r.IntN(200)), agent: "Thief/1"}
	if c.near {
		t.from, t.keys = c.from, false
	}
	stolen := loot{token: from.token}
	if t.seen = c.keyed && c.r.chance(0.5); t.seen {
		stolen.key = from.key
	}
	t.tokens = []loot{stolen}
	c.thief = t
	c.note("thief", "copies", from.token)
	if !c.shadow {
		c.agenda.in(c.temper(), t.act)
	}
}

// temper returns how long a thief waits before he begins.
func (c *client) temper() int64 {
	switch p := c.r.Float64(); {
	case p < 0.15:
		return c.r.between(0, 50)
	case p < 0.4:
		return c.r.between(2*minute, hour)
	default:
		return c.w.clock.onGrid(c.r.between(hour, 36*hour))
	}
}

// act is one refresh by the thief.
func (t *thief) act() (func() answer, func(answer)) {
	if t.finished || t.judging || t.c.thief != t {
		return nil, nil
	}
	if t.of.over && !t.acted {
		t.leave("came too late")
		return nil, nil
	}
	presented := t.tokens[len(t.tokens)-1]
	lost := false
	if !t.c.shadow {
		if t.c.r.chance(0.25) {
			presented = pick(t.c.r, t.tokens...)
		}
		lost = t.c.r.chance(0.1)
		if t.c.now()-t.c.asked <= apart {
			t.counts = [tabs]progress{}
		}
	}
	t.of.stolen, t.acted, t.last = true, true, t.c.now()
	return t.ask(presented), func(a answer) { t.answered(presented, a, lost) }
}

func (t *thief) ask(presented loot) func() answer {
	number := t.c.server()
	return func() answer { return t.c.w.askRefresh(t.from, number, presented.token, presented.key) }
}

func (t *thief) answered(presented loot, a answer, lost bool) {
	if t.finished || t.judging {
		return
	}
	next := t.c.r.between(t.pace/2, 2*t.pace)
	switch {
	case a.refused():
		t.c.note("thief", "refused", presented.token)
		t.drop(presented.token)
		if len(t.tokens) == 0 {
			t.leave("ended at a use by the thief")
			return
		}
	case !a.granted():
		next = t.c.backoff(4)
	case lost:
		t.c.note("thief", "answer lost", presented.token, a.token)
	default:
		t.c.note("thief", "refreshed", presented.token, a.token)
		t.keep(a.token)
	}
	if !t.c.shadow { // who acts after the owner only
		t.c.agenda.in(next, t.act)
	}
}

func (t *thief) keep(token string) {
	t.drop(token)
	own := loot{token: token}
	if t.keys {
		own.key = fmt.Sprintf("%032x", t.c.r.Uint64())
	}
	if t.tokens = append(t.tokens, own); len(t.tokens) > 4 {
		t.tokens = slices.Delete(t.tokens, 1, 2)
	}
}

func (t *thief) drop(token string) {
	t.tokens = slices.DeleteFunc(t.tokens, func(l loot) bool { return l.token == token })
}

// qualifies counts a refresh by the owner, and has the theft judged when there were enough.
func (c *client) qualifies(tab int, held *item) {
	t := c.thief
	if t == nil || !t.acted || t.judging || held.of != t.of || c.now()-t.last <= apart {
		return
	}
	if c.memory == 0 || c.anyTab {
		tab = 0
	}
	p := &t.counts[tab]
	if p.presented == held.token {
		return
	}
	*p = progress{p.refreshes + 1, held.token}
	if p.refreshes >= t.enough() {
		c.resting = true
		t.judge("dead after the owner's refreshes")
	}
}

// enough is how many refreshes must end the theft.
func (t *thief) enough() int {
	if t.c.keyed && !t.seen {
		return 1
	}
	return 2
}

// judge plans the verdict for a replay window later.
func (t *thief) judge(how string) {
	if t.judging || t.finished {
		return
	}
	t.judging = true
	after := apart + 10
	if t.c.shadow {
		after = t.c.r.between(2, 50)
	}
	t.c.agenda.in(after, func() (func() answer, func(answer)) { return t.verdict(how) })
}

// verdict has the thief ask once more, with any of his tokens, and throws the session away.
func (t *thief) verdict(how string) (func() answer, func(answer)) {
	presented := t.tokens[len(t.tokens)-1]
	if !t.c.shadow && t.c.r.chance(0.5) {
		presented = pick(t.c.r, t.tokens...)
	}
	return t.ask(presented), func(a answer) {
		switch {
		case a.granted():
			t.c.note("thief", "STILL HOLDS A USABLE TOKEN", presented.token, a.token)
			t.c.tell("uncaught theft")
			t.leave("UNCAUGHT")
		case a.refused():
			t.leave(how)
		default:
			t.c.agenda.in(t.c.backoff(2), func() (func() answer, func(answer)) { return t.verdict(how) })
			return
		}
		t.of.over, t.c.resting = true, false
	}
}

// leave ends the theft.
func (t *thief) leave(how string) {
	t.finished = true
	t.c.thief = nil
	population := t.c.population
	t.c.w.tally.add(population + "|thefts")
	t.c.w.tally.add(population + "|thefts, " + how)
}
