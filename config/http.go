package config

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// HTTP is what holds for connections.
type HTTP struct {
	MaxConnections int            // of the public listener
	TrustedProxies []netip.Prefix // whose X-Forwarded-For counts
}

func httpSettings(c *Config) []setting {
	return []setting{
		{key: "http.max_connections", builtin: "10000", read: count(&c.HTTP.MaxConnections, 64, 1_000_000), meaning: "open connections of the public listener, 64 or more, a quarter of them from one address; beyond that those that only wait are closed first"},
		{key: "trusted_proxies", list: true, read: networks(&c.HTTP.TrustedProxies), meaning: "addresses and networks of the proxies in front, like `10.0.0.0/8`: what they say in `X-Forwarded-For` counts as the customer's address; comma-separated or a YAML list"},
	}
}

func networks(to *[]netip.Prefix) reader {
	return func(s string) error {
		var list []netip.Prefix
		for part := range strings.SplitSeq(s, ",") {
			part = strings.TrimSpace(part)
			if part == "" {
				continue
			}
			network, err := parseNetwork(part)
			if err != nil {
				return err
			}
			list = append(list, network)
		}
		*to = list
		return nil
	}
}

func parseNetwork(s string) (netip.Prefix, error) {
	network, err := netip.ParsePrefix(s)
	if a, single := netip.ParseAddr(s); single == nil && a.Zone() == "" {
		network, err = netip.PrefixFrom(a, a.BitLen()), nil
	}
	switch {
	case err != nil:
		return network, fmt.Errorf("has %s, which is no network: write it like 10.0.0.0/8, 192.0.2.7 or fd00::/8", quote(s))
	case network.Addr().Is4In6():
		return network, fmt.Errorf("has %s, which is an IPv4 network in IPv6's notation: write it like 10.0.0.0/8", quote(s))
	case network.Bits() == 0:
		return network, errors.New("has all addresses, so that everybody could choose his own: list the networks of the proxies only")
	case network != network.Masked():
		return network, fmt.Errorf("has %s, which is an address within a network: write %s", quote(s), network.Masked())
	}
	return network, nil
}
