package storm_test

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

const tabs = 3

// traits are what tells the clients of one population from those of another.
type traits struct {
	population string
	limit      bool  // one of the known limits, which are counted apart
	memory     int64 // for how long a tab keeps a copy of its own; 0: all tabs share one storage item
	keyed      bool  // a retry key stands in the item
	mobile     bool  // the network changes
	careless   bool  // does not see to it that an answer arrives within late_retry
	target     bool  // thieves come
	near       bool  // thieves use the owner's network and user agent
	shadow     bool  // thieves act right after the owner, always
	split      bool  // tabs ask at the same second over several networks
	anyTab     bool  // a theft is judged after two refreshes of whichever tabs
	late       int64 // signs in only then, at the server that waits for no replica
}

// session is what one sign-in leads to.
type session struct {
	stolen  bool            // a thief has used a token of it
	over    bool            // nobody may count on it any more
	refused map[string]bool // tokens that were
}

// item is a refresh token as a client keeps it.
type item struct {
	token, key string
	of         *session
	since      int64
}

// client is one customer on one device.
type client struct {
	traits
	id     int
	w      *world
	r      source
	agenda *agenda
	end    int64 // of its days
	from   device

	stored  *item
	copies  [tabs]*item // of tabs with a memory of their own
	waiting [tabs]bool  // for a late answer
	past    []*item     // the last ones that were stored
	session *session
	signing bool
	resting bool  // the owner does nothing while a theft is judged
	asleep  int64 // until then
	heard   int64 // when the last answer arrived
	asked   int64 // when the server was last asked about this session
	failed  int   // answers that were none, in a row
	thief   *thief
	trace   []string
}

func newClient(w *world, id int, seed uint64, end int64, t traits) *client {
	c := &client{traits: t, id: id, w: w, r: newSource(seed, uint64(id)), agenda: &agenda{clock: w.clock}, end: end}
	c.from = device{network: c.network(), agent: fmt.Sprintf("Storefront/%d", c.r.IntN(50))}
	start := c.r.between(0, 8*hour)
	if t.late > 0 {
		start = t.late
	}
	c.agenda.in(w.clock.onGrid(start), c.wake)
	return c
}

// network returns an address in one of the client's networks.
func (c *client) network() string {
	networks := 6
	if c.split {
		networks = 2
	}
	return fmt.Sprintf("%d.%d.%d.%d", 11+c.r.IntN(networks), c.id/256, c.id%256, 1+c.r.IntN(200))
}

func (c *client) now() int64 { return c.w.clock.now() }

// note keeps what happened, so that a surprise can be told.
func (c *client) note(who, what string, tokens ...string) {
	const kept = 60
	generations := make([]string, len(tokens))
	for i, t := range tokens {
		generations[i] = fmt.Sprintf("%d", generation(t))
	}
	now := c.now()
	c.trace = append(c.trace, fmt.Sprintf("day %d %02d:%02d:%02d %s %s %s",
		now/day, now%day/hour, now%hour/minute, now%minute, who, what, strings.Join(generations, " → ")))
	if len(c.trace) > 2*kept {
		c.trace = slices.Clone(c.trace[kept:])
	}
}

// generation reads the number out of a refresh token, 0 when there is none.
func generation(token string) uint32 {
	b, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(token, "grt_"))
	if err != nil || len(b) < 30 {
		return 0
	}
	return binary.BigEndian.Uint32(b[26:])
}

// wake is when the customer comes back.
func (c *client) wake() (func() answer, func(answer)) {
	if c.now() >= c.end && (c.thief == nil || !c.thief.acted) {
		return c.closing()
	}
	c.agenda.in(c.w.clock.onGrid(max(c.asleep-c.now(), c.r.between(4*hour, 14*hour))), c.wake)
	if c.asleep > c.now() {
		return nil, nil
	}
	c.roam()
	switch p := c.r.Float64(); {
	case p < 0.5:
		c.agenda.in(0, c.use(c.r.IntN(tabs)))
	case p < 0.8:
		for tab := range tabs {
			c.agenda.in(0, c.use(tab))
		}
	default:
		delay := int64(0)
		for _, tab := range c.r.Perm(tabs) {
			c.agenda.in(delay, c.use(tab))
			delay += c.r.between(1, 45)
		}
	}
	return nil, nil
}

// roam may bring a mobile device into another network. What it has just asked is answered before.
func (c *client) roam() {
	if c.mobile && c.now()-c.asked > 2*minute && c.r.chance(0.5) {
		c.from.network = c.network()
	}
}

// closing is the last thing that an honest client does: every tab asks once more, in turn, and gets an answer.
func (c *client) closing() (func() answer, func(answer)) {
	if c.thief != nil {
		c.thief.leave("never used")
	}
	c.asleep = 0
	for tab := range tabs {
		c.agenda.in(int64(tab)*2*minute, c.use(tab))
	}
	return nil, nil
}

// read returns what a tab presents.
func (c *client) read(tab int) *item {
	own := c.copies[tab]
	if c.memory == 0 || own == nil || own.of.over || own.of.refused[own.token] || c.now()-own.since > c.memory {
		c.copies[tab] = nil
		if c.memory > 0 && c.stored != nil {
			copied := *c.stored
			copied.since = c.now()
			c.copies[tab] = &copied
			return &copied
		}
		return c.stored
	}
	return own
}

// use is a refresh by one tab.
func (c *client) use(tab int) step {
	return func() (func() answer, func(answer)) {
		if c.resting || c.waiting[tab] || c.signing || c.asleep > c.now() {
			return nil, nil
		}
		held := c.read(tab)
		if held == nil || held.of.over {
			return c.signIn()
		}
		lost := c.now() < c.end && c.r.chance(0.1) && (c.careless || c.now()-c.heard < 5*day)
		late := int64(0)
		if c.r.chance(0.05) {
			late = c.r.between(1, 30)
		}
		if c.split {
			c.from.network = c.network()
		}
		number, from := c.server(), c.from
		c.asked = c.now()
		ask := func() answer { return c.w.askRefresh(from, number, held.token, held.key) }
		return ask, func(a answer) { c.answered(use{tab, held, from.network, lost, late}, a) }
	}
}

func (c *client) server() int {
	if c.late > 0 {
		return unconfirmed
	}
	return c.r.IntN(unconfirmed)
}

// use is one refresh that was sent, and what is to become of its answer.
type use struct {
	tab     int
	held    *item
	network string
	lost    bool
	late    int64
}

func (c *client) answered(u use, a answer) {
	note := func(what string) {
		c.note(fmt.Sprintf("tab %d from %s", u.tab, u.network), what, u.held.token, a.token)
	}
	c.count("refreshes")
	if t := c.thief; t != nil && c.shadow && t.of == u.held.of {
		c.agenda.in(c.r.between(2, 50), t.act)
	}
	switch {
	case !a.granted() && !a.refused():
		c.count("not served")
		note(fmt.Sprintf("not served (%d)", a.status))
		c.failed++
		c.agenda.in(c.backoff(c.failed), c.use(u.tab))
	case u.lost:
		note("answer lost")
		c.askAgain(u.tab)
	case a.refused():
		note("refused")
		c.refused(u.tab, u.held)
	case u.late > 0:
		note("late answer")
		c.count("late answers")
		c.qualifies(u.tab, u.held)
		c.waiting[u.tab] = true
		c.agenda.in(u.late, func() (func() answer, func(answer)) {
			c.waiting[u.tab] = false
			c.receive(u.tab, u.held, a.token)
			return nil, nil
		})
	default:
		note("refreshed")
		c.qualifies(u.tab, u.held)
		c.receive(u.tab, u.held, a.token)
	}
}

// backoff is a minute and its doubles up to an hour, with some luck.
func (c *client) backoff(failed int) int64 {
	longest := min(hour, minute<<min(failed, 6))
	return c.r.between(longest/2, longest)
}

// askAgain plans what a client does whose answer was lost.
func (c *client) askAgain(tab int) {
	delay, when := c.delay()
	limit := c.heard + 20*day
	if !c.keyed {
		limit = c.heard + 6*day + 12*hour
	}
	if !c.careless {
		delay = max(second, min(delay, limit-c.now()))
	}
	c.count("lost answers, asked again " + when)
	if delay < hour {
		c.agenda.in(delay, c.use(tab))
		return
	}
	delay = c.w.clock.onGrid(delay)
	c.asleep = c.now() + delay
	c.agenda.in(delay, func() (func() answer, func(answer)) {
		c.roam()
		if c.split {
			for other := range tabs {
				c.agenda.in(0, c.use(other))
			}
			return nil, nil
		}
		return c.use(tab)()
	})
}

func (c *client) delay() (delay int64, when string) {
	longest := 6 * day
	if c.keyed {
		longest = 12 * day
	}
	switch p := c.r.Float64(); {
	case c.careless:
		return c.r.between(5*day, 9*day), "days later"
	case p < 0.4:
		return second, "at once"
	case p < 0.7:
		return c.r.between(2, 59), "within a minute"
	case p < 0.9:
		return c.r.between(hour, 12*hour), "hours later"
	default:
		return c.r.between(day, longest), "days later"
	}
}

// receive keeps what a tab was answered. Whoever shares the storage replaces only what he had presented.
func (c *client) receive(tab int, held *item, token string) {
	c.heard, c.failed = c.now(), 0
	fresh := &item{token: token, key: c.newKey(), of: held.of, since: c.now()}
	if c.memory > 0 {
		c.copies[tab] = fresh
	}
	if held.of.over || c.stored.of != held.of || c.memory == 0 && c.stored != held {
		return
	}
	c.past = append(c.past, c.stored)
	if len(c.past) > 6 {
		c.past = c.past[1:]
	}
	c.stored = fresh
	c.tempt()
}

func (c *client) newKey() string {
	if !c.keyed {
		return ""
	}
	return fmt.Sprintf("%016x%016x", c.r.Uint64(), c.r.Uint64())
}

// refused is when a tab was told that its token is not good. It looks for another copy before it gives up.
func (c *client) refused(tab int, held *item) {
	held.of.refused[held.token] = true
	if held.of.over || held.of != c.session {
		c.copies[tab] = nil
		c.agenda.in(second, c.use(tab))
		return
	}
	for _, other := range append([]*item{c.stored}, c.copies[:]...) {
		if other != nil && other.of == held.of && !held.of.refused[other.token] {
			c.count("refused, another copy was good")
			copied := *other
			copied.since = c.now()
			c.copies[tab] = &copied
			c.agenda.in(second, c.use(tab))
			return
		}
	}
	c.over(held.of)
	c.agenda.in(second, c.use(tab))
}

// over is the end of a session that its owner did not want.
func (c *client) over(s *session) {
	s.over = true
	if s.stolen {
		c.count("sign-outs after a theft")
		c.note("owner", "signed out, his session was stolen")
		if t := c.thief; t != nil && t.of == s {
			t.judge("ended at a use by the owner")
		}
		return
	}
	c.note("owner", "SIGNED OUT FALSELY")
	c.count("false sign-outs")
	c.tell("false sign-out")
}

// tell reports a surprise with all that led to it, unless it is one of the known limits.
func (c *client) tell(what string) {
	if c.limit || c.w.tell == nil {
		return
	}
	from := max(0, len(c.trace)-60)
	c.w.tell("%s: client %d (%s)\n\t%s", what, c.id, c.population, strings.Join(c.trace[from:], "\n\t"))
}

func (c *client) signIn() (func() answer, func(answer)) {
	c.signing = true
	number, from := c.server(), c.from
	ask := func() answer { return c.w.askSignIn(from, number, c.id) }
	return ask, func(a answer) {
		c.signing = false
		if !a.granted() {
			c.failed++
			c.agenda.in(c.backoff(c.failed), c.use(0))
			if a.refused() {
				c.count("sign-ins refused")
			}
			return
		}
		c.count("sign-ins")
		c.note("owner", "signed in", a.token)
		c.session = &session{refused: map[string]bool{}}
		c.stored = &item{token: a.token, key: c.newKey(), of: c.session, since: c.now()}
		c.past, c.heard, c.failed = nil, c.now(), 0
	}
}

// count counts for the client's population.
func (c *client) count(what string) { c.w.tally.add(c.population + "|" + what) }
