package transport

import (
	"cmp"
	"net/http"
	"net/netip"
	"slices"
	"time"
)

// candidate is a connection that may have to leave.
type candidate struct {
	*held
	used   float64 // of its time
	excess int     // how far beyond modest its source is with it
}

// choose picks connections that must leave, up to n of those that are nearest to it, and forgets them.
func (g *Gate) choose(among []map[*held]struct{}, n int) []*held {
	now := g.o.Now()
	list := rank(among, func(h *held) (float64, bool) { return g.used(h, now) })
	var leave []*held
	for _, c := range list[:min(n, len(list))] {
		if first := list[0]; c.excess < first.excess || c.used < first.used/2 {
			break // one place is enough: those who are much better off stay
		}
		leave = append(leave, c.held)
		g.forget(c.held)
		g.cut++
	}
	return leave
}

// askToLeave has up to n connections closed with the answer to their next request, when fewer than half as many are leaving. Without
// it, those who ask again and again within a moment would hold all connections.
func (g *Gate) askToLeave(among []map[*held]struct{}, n int) {
	leaving := 0
	for _, of := range among {
		for h := range of {
			if h.leaving {
				leaving++
			}
		}
	}
	if leaving > n/2 {
		return // to rank all is not cheap
	}
	now := g.o.Now()
	list := rank(among, func(h *held) (float64, bool) {
		here := now.Sub(h.came)
		return here.Seconds(), !h.trusted && !h.leaving && here >= moment && h.state != http.StateNew
	})
	for _, c := range list[:min(n-leaving, len(list))] {
		c.leaving = true
	}
}

// rank lists those that may be chosen: whose source has most of them first, and then who has used most.
func rank(among []map[*held]struct{}, used func(*held) (part float64, may bool)) []candidate {
	var list []candidate
	for _, of := range among {
		for h := range of {
			if part, may := used(h); may {
				list = append(list, candidate{h, part, 0})
			}
		}
	}
	slices.SortFunc(list, func(a, b candidate) int { return b.since.Compare(a.since) })
	seen := map[netip.Prefix]int{}
	for i := range list { // the newest first
		list[i].excess = seen[list[i].source] / modest
		seen[list[i].source]++
	}
	slices.SortFunc(list, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(b.excess, a.excess), cmp.Compare(b.used, a.used))
	})
	return list
}

// used returns the part of its time that a connection has used up, and whether it may be closed for others.
func (g *Gate) used(h *held, now time.Time) (part float64, may bool) {
	since, limit := now.Sub(h.since), g.server.ReadTimeout
	if h.state == http.StateActive && h.working > 0 {
		return 1, !h.trusted && since >= limit/2
	}
	if h.state == http.StateIdle {
		if h.told {
			return 1, since >= farewell
		}
		limit = g.server.IdleTimeout
	}
	return float64(since) / float64(limit), !h.trusted && since >= moment
}
