package main

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/glueauth/glueauth/server"
)

const (
	signInTime  = time.Second // measured for so long
	refreshTime = time.Second / 2

	// someClaims are as long as those of an access token.
	someClaims = `{"aud":"frontend","jti":"00000000000000000000000000000000","iat":1600000000,"nbf":1600000000,"exp":1600028800,` +
		`"sub":"{\"customer_reference\":\"DE--21\",\"id_customer\":6}","scopes":["customer"]}`
)

// estimates measures what costs the most: the password of a sign-in, the signature of a refresh.
func (d *doctor) estimates(ctx context.Context) (found []finding) {
	if !d.estimate {
		return nil
	}
	const about = "by this machine's processors alone, an estimate"
	workers := passwordWorkers(d.cfg)
	if kind, ok := median(d.kinds); ok {
		found = append(found, fine("sign-ins", "about %.1f a second with %d workers and %s: %s", rate(ctx, workers, signInTime, kind.Work), workers, kind.Name, about))
	}
	if d.ring != nil {
		sign := func() { _, _ = d.ring.Sign("JWT", []byte(someClaims)) } // it has proved that it can
		found = append(found, fine("refreshes", "about %.1f a second: %s", rate(ctx, runtime.GOMAXPROCS(0), refreshTime, sign), about))
	}
	return found
}

// median returns the kind of the customer in the middle, by the cost of bcrypt; where nobody has bcrypt, the most frequent.
func median(kinds []server.HashKind) (server.HashKind, bool) {
	known := slices.DeleteFunc(slices.Clone(kinds), func(k server.HashKind) bool { return k.Name == "" })
	costs := slices.DeleteFunc(slices.Clone(known), func(k server.HashKind) bool { return k.Cost == 0 })
	slices.SortFunc(costs, func(a, b server.HashKind) int { return a.Cost - b.Cost })
	all, below := 0, 0
	for _, k := range costs {
		all += k.Count
	}
	for _, k := range costs {
		if below += k.Count; 2*below > all {
			return k, true
		}
	}
	if len(known) == 0 {
		return server.HashKind{}, false
	}
	return known[0], true
}

// rate returns how often a second work is done by so many at once.
func rate(ctx context.Context, workers int, during time.Duration, work func()) float64 {
	var done atomic.Int64
	var group sync.WaitGroup
	begun := time.Now()
	for range workers {
		group.Go(func() {
			for ctx.Err() == nil && time.Since(begun) < during {
				work()
				done.Add(1)
			}
		})
	}
	group.Wait()
	return float64(done.Load()) / time.Since(begun).Seconds()
}
