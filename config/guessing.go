package config

import (
	"strconv"
	"time"
)

// Guessing is how guessing at passwords is limited.
type Guessing struct {
	Observed bool   // guessing.mode: observe
	Preset   string // glueauth or spryker
	Pair     GuessLimit
	Account  GuessLimit // it has no Lock: it is locked until its window ends
	Address  GuessLimit // likewise
}

// GuessLimit is how many failures are allowed. Durations are whole seconds.
type GuessLimit struct {
	Most   int           // 0: without limit
	Window time.Duration // from the first failure
	Lock   time.Duration // from the last one; 0: until the window ends
}

const (
	accountMost = "guessing.account_failures"
	addressMost = "guessing.address_failures"
	sprykerOwn  = "spryker"
)

func guessingSettings(c *Config) []setting {
	const most, longest = 1_000_000, 31 * 24 * time.Hour
	g := &c.Guessing
	return []setting{
		{key: "guessing.mode", builtin: "enforce", read: either(&g.Observed, "observe", "enforce"), meaning: "who guesses at passwords is refused with 429 (`enforce`), or counted (`observe`)"},
		{key: "guessing.preset", builtin: "glueauth", read: oneOf(&g.Preset, "glueauth", sprykerOwn), meaning: "`spryker`: the shop's SecurityBlocker, which counts an account at an address only: the two other limits are 0 unless they are given"},
		{key: "guessing.pair_failures", builtin: "10", read: count(&g.Pair.Most, 0, most), meaning: "wrong passwords for one account from one address (IPv6: /64) before that pair is locked; 0: no limit, here and below"},
		{key: "guessing.pair_window", builtin: "10m", read: duration(&g.Pair.Window, time.Second, longest), meaning: "within that time, from the first one"},
		{key: "guessing.pair_lock", builtin: "5m", read: duration(&g.Pair.Lock, time.Second, longest), meaning: "for how long it is locked"},
		{key: accountMost, builtin: "100", read: count(&g.Account.Most, 0, most), meaning: "wrong passwords for one account, from wherever, before it is locked until the window ends; the addresses of its customer are not"},
		{key: "guessing.account_window", builtin: "1h", read: duration(&g.Account.Window, time.Second, longest), meaning: "within that time, from the first one"},
		{key: addressMost, builtin: "300", read: count(&g.Address.Most, 0, most), meaning: "wrong passwords from one address, for whatever account, before it is locked until the window ends"},
		{key: "guessing.address_window", builtin: "10m", read: duration(&g.Address.Window, time.Second, longest), meaning: "within that time, from the first one"},
	}
}

// fillGuessing has the preset decide what was left open.
func (c *Config) fillGuessing(given map[string]value) {
	if c.Guessing.Preset != sprykerOwn {
		return
	}
	for key, most := range map[string]*int{accountMost: &c.Guessing.Account.Most, addressMost: &c.Guessing.Address.Most} {
		if _, ok := given[key]; !ok {
			*most = 0
			c.entry(key).value = strconv.Itoa(*most)
		}
	}
}
