package config_test

import (
	"strings"
	"testing"
	"time"

	"github.com/glueauth/glueauth/config"
)

func TestThePresetOfAShopCountsOnlyWhatTheShopDoes(t *testing.T) {
	t.Parallel()
	shop := mustLoad(t, "guessing:\n  preset: spryker\n", nil, nil).Guessing
	window := 600 * time.Second
	equal(t, config.Guessing{
		Preset: "spryker", Pair: config.GuessLimit{Most: 10, Window: window, Lock: 300 * time.Second},
		Account: config.GuessLimit{Window: time.Hour}, Address: config.GuessLimit{Window: window},
	}, shop)
	demo := mustLoad(t, `
guessing:
  preset: spryker
  pair_failures: 9
  pair_window: 900s
  pair_lock: 360s
  account_failures: 100
`, []string{"GLUEAUTH_GUESSING_ADDRESS_FAILURES=0"}, nil).Guessing
	equal(t, config.Guessing{
		Preset: "spryker", Pair: config.GuessLimit{Most: 9, Window: 900 * time.Second, Lock: 360 * time.Second},
		Account: config.GuessLimit{Most: 100, Window: time.Hour}, Address: config.GuessLimit{Window: window},
	}, demo)
	var text strings.Builder
	if err := mustLoad(t, "guessing:\n  preset: spryker\n", nil, nil).Print(&text); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"guessing.account_failures  0 ", "guessing.address_failures  0 ", "guessing.pair_failures  10 "} {
		if !strings.Contains(strings.Join(strings.Fields(text.String()), " "), strings.Join(strings.Fields(line), " ")) {
			t.Errorf("%q is not in\n%s", line, &text)
		}
	}
}
