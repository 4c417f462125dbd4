package transport_test

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/glueauth/glueauth/transport"
)

func proxies() transport.Proxies {
	return transport.Proxies{netip.MustParsePrefix("127.0.0.9/32"), netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
}

// asked is a request from the other end of a connection, with these lines of X-Forwarded-For.
func asked(peer string, lines ...string) *http.Request {
	return &http.Request{RemoteAddr: peer, Header: http.Header{"X-Forwarded-For": lines}}
}

func TestTheRightMostAddressThatIsNoProxyIsTheClient(t *testing.T) {
	t.Parallel()
	const proxy = "127.0.0.9:4711"
	for name, c := range map[string]struct {
		peer  string
		lines []string
		want  string
	}{
		"no proxy":                         {"192.0.2.1:80", nil, "192.0.2.1"},
		"no proxy, but its header":         {"192.0.2.1:80", []string{"198.51.100.7"}, "192.0.2.1"},
		"a neighbour of the proxy":         {"127.0.0.8:80", []string{"198.51.100.7"}, "127.0.0.8"},
		"proxy without header":             {proxy, nil, "127.0.0.9"},
		"one address":                      {proxy, []string{"198.51.100.7"}, "198.51.100.7"},
		"forged by the client":             {proxy, []string{"203.0.113.1, 198.51.100.7"}, "198.51.100.7"},
		"forged proxy":                     {proxy, []string{"203.0.113.1, 10.0.0.1, 198.51.100.7"}, "198.51.100.7"},
		"through two proxies":              {proxy, []string{"198.51.100.7, 10.1.2.3"}, "198.51.100.7"},
		"through two, forged before":       {proxy, []string{"a, 203.0.113.1, 198.51.100.7,10.1.2.3"}, "198.51.100.7"},
		"header twice":                     {proxy, []string{"203.0.113.1", "198.51.100.7"}, "198.51.100.7"},
		"header twice, two proxies":        {proxy, []string{"198.51.100.7", "10.1.2.3"}, "198.51.100.7"},
		"all are proxies":                  {proxy, []string{"10.0.0.1, 10.0.0.2"}, "10.0.0.1"},
		"1,000 entries":                    {proxy, []string{strings.Repeat("203.0.113.1,", 1000) + "198.51.100.7"}, "198.51.100.7"},
		"1,000 proxies":                    {proxy, []string{"198.51.100.7" + strings.Repeat(",10.0.0.1", 1000)}, "198.51.100.7"},
		"garbage":                          {proxy, []string{"a"}, "127.0.0.9"},
		"empty":                            {proxy, []string{""}, "127.0.0.9"},
		"only spaces and commas":           {proxy, []string{" , ,\t"}, "127.0.0.9"},
		"garbage before a proxy":           {proxy, []string{"198.51.100.7, unknown, 10.0.0.1"}, "127.0.0.9"},
		"empty entry before a proxy":       {proxy, []string{"198.51.100.7,, 10.0.0.1"}, "127.0.0.9"},
		"garbage before the client":        {proxy, []string{"<script>, 198.51.100.7"}, "198.51.100.7"},
		"garbage at the end":               {proxy, []string{"198.51.100.7, _hidden"}, "127.0.0.9"},
		"no address at all":                {proxy, []string{"0.0.0.0"}, "127.0.0.9"},
		"no IPv6 address at all":           {proxy, []string{"::"}, "127.0.0.9"},
		"multicast":                        {proxy, []string{"224.0.0.1"}, "127.0.0.9"},
		"a network":                        {proxy, []string{"198.51.100.0/24"}, "127.0.0.9"},
		"leading zeros":                    {proxy, []string{"198.051.100.007"}, "127.0.0.9"},
		"a host name":                      {proxy, []string{"localhost"}, "127.0.0.9"},
		"with port":                        {proxy, []string{"198.51.100.7:1234"}, "198.51.100.7"},
		"with a wrong port":                {proxy, []string{"198.51.100.7:123456"}, "127.0.0.9"},
		"IPv6":                             {proxy, []string{"2001:db8::7"}, "2001:db8::7"},
		"IPv6 in brackets":                 {proxy, []string{"[2001:db8::7]"}, "2001:db8::7"},
		"IPv6 with port":                   {proxy, []string{"[2001:db8::7]:1234"}, "2001:db8::7"},
		"IPv6 with half a bracket":         {proxy, []string{"[2001:db8::7"}, "127.0.0.9"},
		"IPv4 in brackets":                 {proxy, []string{"[198.51.100.7]"}, "127.0.0.9"},
		"IPv4 as IPv6":                     {proxy, []string{"::ffff:198.51.100.7"}, "198.51.100.7"},
		"proxy as IPv6":                    {proxy, []string{"198.51.100.7, ::ffff:10.0.0.1"}, "198.51.100.7"},
		"zone":                             {proxy, []string{"fe80::1%eth0"}, "fe80::1"},
		"proxy with IPv6":                  {"[fd00::1]:80", []string{"2001:db8::7"}, "2001:db8::7"},
		"proxy with a zone":                {"[fd00::1%eth0]:80", []string{"2001:db8::7"}, "2001:db8::7"},
		"proxy with IPv4 on a dual socket": {"[::ffff:10.0.0.1]:80", []string{"198.51.100.7"}, "198.51.100.7"},
		"stranger on a dual socket":        {"[::ffff:192.0.2.1]:80", []string{"198.51.100.7"}, "192.0.2.1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := proxies().ClientAddress(asked(c.peer, c.lines...)); got != netip.MustParseAddr(c.want) {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestNoOtherHeaderSaysWhereARequestComesFrom(t *testing.T) {
	t.Parallel()
	r := asked("127.0.0.9:4711")
	for _, name := range []string{"Forwarded", "X-Real-Ip", "X-Client-Ip", "True-Client-Ip", "Cf-Connecting-Ip", "X-Forwarded-Host"} {
		r.Header.Set(name, "198.51.100.7")
		r.Header.Add(name, "for=198.51.100.7")
	}
	if got := proxies().ClientAddress(r); got != netip.MustParseAddr("127.0.0.9") {
		t.Errorf("got %s", got)
	}
}

func TestWithoutProxiesNobodyIsBelieved(t *testing.T) {
	t.Parallel()
	if got := transport.Proxies(nil).ClientAddress(asked("127.0.0.9:80", "198.51.100.7")); got != netip.MustParseAddr("127.0.0.9") {
		t.Errorf("got %s", got)
	}
}

func FuzzClientAddress(f *testing.F) {
	for _, seed := range []string{"", "a", "198.51.100.7", "198.51.100.7, 10.0.0.1", "[2001:db8::7]:80", "fe80::1%x", "::ffff:10.0.0.1", ",,", "10.0.0.1,10.0.0.1"} {
		f.Add(seed, seed)
	}
	f.Fuzz(func(t *testing.T, first, second string) {
		const proxy, stranger = "127.0.0.9:1", "192.0.2.1:1"
		if got := proxies().ClientAddress(asked(stranger, first, second)); got != netip.MustParseAddr("192.0.2.1") {
			t.Fatalf("a stranger is believed: %s", got)
		}
		got := proxies().ClientAddress(asked(proxy, first, second))
		switch {
		case !got.IsValid(), got.IsUnspecified(), got.IsMulticast(), got.Is4In6(), got.Zone() != "":
			t.Fatalf("%q, %q: %s is nobody's address", first, second, got)
		case got == netip.MustParseAddr("127.0.0.9"):
			return
		}
		// What stands to the right of the client are proxies only, and what stands to the left changes nothing.
		entries := strings.Split(first+","+second, ",")
		for i := range slices.Backward(entries) {
			if proxies().ClientAddress(asked(proxy, entries[i])) == got {
				if again := proxies().ClientAddress(asked(proxy, append([]string{"203.0.113.99"}, entries[i:]...)...)); !proxies().Contains(got) && again != got {
					t.Fatalf("%q: %s without what the client wrote, %s with it", entries, again, got)
				}
				return
			}
		}
		t.Fatalf("%q: %s is none of these", entries, got)
	})
}
