package config_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/glueauth/glueauth/config"
)

func TestPeriodsFollowTheCalendar(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ period, from, want string }{
		{"1mo", "2026-01-31T12:00:00Z", "2026-03-03T12:00:00Z"},
		{"1mo", "2028-01-31T12:00:00Z", "2028-03-02T12:00:00Z"}, // a leap year
		{"1mo", "2026-02-28T23:59:59Z", "2026-03-28T23:59:59Z"},
		{"1mo", "2026-12-31T00:00:00Z", "2027-01-31T00:00:00Z"},
		{"1y", "2028-02-29T00:00:00Z", "2029-03-01T00:00:00Z"},
		{"7d", "2026-02-25T00:00:00Z", "2026-03-04T00:00:00Z"},
		{"12h30m", "2026-01-01T12:00:00Z", "2026-01-02T00:30:00Z"},
		{"1y2mo3d4h", "2026-01-01T00:00:00Z", "2027-03-04T04:00:00Z"},
		{"720h", "2026-01-31T00:00:00Z", "2026-03-02T00:00:00Z"},
		{"1.5h", "2026-01-01T00:00:00Z", "2026-01-01T01:30:00Z"},
		{"90s", "2026-01-01T00:00:00Z", "2026-01-01T00:01:30Z"},
		{"10y", "2026-01-01T00:00:00Z", "2036-01-01T00:00:00Z"},
		{"1d", "2026-03-29T00:30:00+01:00", "2026-03-29T23:30:00Z"}, // counted in UTC, whatever the zone does
	} {
		t.Run(c.period+" after "+c.from, func(t *testing.T) {
			t.Parallel()
			from, err := time.Parse(time.RFC3339, c.from)
			if err != nil {
				t.Fatal(err)
			}
			p := mustLoad(t, "", []string{"GLUEAUTH_REFRESH_LIFETIME=" + c.period, "GLUEAUTH_REFRESH_MAX_LIFETIME=10y"}, nil).Refresh.Lifetime
			if got := p.After(from).Format(time.RFC3339); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestDurationsKnowDays(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"90s": 90 * time.Second, "8h": 8 * time.Hour, "1d": 24 * time.Hour, "1d12h": 36 * time.Hour, "1h0m1s": 3601 * time.Second,
	} {
		if got := mustLoad(t, "", []string{"GLUEAUTH_ACCESS_LIFETIME=" + text}, nil).Access.Lifetime; got != want {
			t.Errorf("%s is read as %s", text, got)
		}
	}
}

func inFuture(p config.Period) bool {
	now := time.Unix(1_800_000_000, 0)
	return p.After(now).After(now)
}

func complete(c config.Client) bool {
	return !slices.Contains([]string{c.ID, c.Dialect, c.Type, c.Subject}, "") &&
		c.AccessLifetime >= time.Second && inFuture(c.RefreshLifetime)
}

func FuzzLoad(f *testing.F) {
	for _, m := range mistakes() {
		f.Add(m.file)
	}
	for key, values := range inOrder() {
		f.Add(yaml(key, values[0]))
	}
	f.Add("clients: [{id: a, scopes: [b], claims: [email]}]\n")
	f.Add("? [a]\n: b\n1: 2\nlog: {1: 2, ~: 3, [x]: y}\n")
	f.Add("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n<<: {data: d}\n")
	f.Fuzz(func(t *testing.T, file string) {
		c, err := load(t, file+"\n", nil, nil)
		if err != nil {
			if lines := strings.Count(err.Error()+"\n", "\n"); lines != 1 {
				t.Errorf("%d lines: %q", lines, err)
			}
			return
		}
		if c.Listen == "" || c.Data == "" || len(c.Clients) == 0 || !inFuture(c.Refresh.MaxLifetime) {
			t.Errorf("accepted %q as %+v", file, c)
		}
		for _, client := range c.Clients {
			if !complete(client) {
				t.Errorf("accepted a client %+v", client)
			}
		}
		printed(t, c)
	})
}
