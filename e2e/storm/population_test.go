package storm_test

import "math/rand/v2"

func newSource(seed, id uint64) source { return source{rand.New(rand.NewPCG(seed, id))} }

// The populations. Those of the known limits are named after them.
const (
	oneStorage = "one storage"
	withKeys   = "one storage, retry keys"
	inMemory   = "copies in memory for a day, one network"

	limitNear    = "thief in the owner's network with his user agent"
	limitLate    = "no answer within late_retry, no retry key"
	limitShadow  = "thief always within the replay window of the owner"
	limitDays    = "copies in memory for four days, across networks"
	limitCopies  = "thief judged after refreshes of two tabs, each with the old copy"
	limitSplit   = "tabs at the same second over two networks, no retry key"
	limitFailure = "sign-in lost by a failover, no wait_replicas"
)

// normal are the clients for which both numbers must be 0.
func normal(n int) []traits {
	all := make([]traits, n)
	for i := range all {
		t := &all[i]
		t.target = i%5 == 0
		if i%3 == 2 {
			t.population, t.memory = inMemory, day
			continue
		}
		t.population, t.mobile = oneStorage, i/6%2 == 0
		if i/3%2 == 0 {
			t.population, t.keyed = withKeys, true
		}
	}
	return all
}

// limits are the known limits, n clients each. The last one signs in at the given second, 0: not at all.
func limits(n int, late int64) []traits {
	kinds := []traits{
		{population: limitNear, target: true, near: true},
		{population: limitLate, careless: true},
		{population: limitShadow, target: true, shadow: true},
		{population: limitDays, memory: 4 * day, mobile: true},
		{population: limitCopies, memory: day, target: true, anyTab: true},
		{population: limitSplit, split: true},
		{population: limitFailure, late: late},
	}
	if late == 0 {
		kinds = kinds[:len(kinds)-1]
	}
	var all []traits
	for _, t := range kinds {
		t.limit = true
		for range n {
			all = append(all, t)
		}
	}
	return all
}
