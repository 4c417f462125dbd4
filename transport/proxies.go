package transport

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Proxies are the networks of the proxies in front of this server, whose word about a client's address counts.
type Proxies []netip.Prefix

// Contains reports whether an address is a proxy's.
func (p Proxies) Contains(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	return slices.ContainsFunc(p, func(network netip.Prefix) bool { return network.Contains(a) })
}

// ClientAddress returns the address that a request comes from, without zone: the other end of the connection, or where that is a
// proxy, the right-most address in X-Forwarded-For that is none, since each proxy writes whom it has heard it from behind what it
// was told. When they are all proxies, the request began at the left-most. A header that cannot be read up to there counts for
// nothing. No other header is looked at. The zero address is only for a connection without one.
func (p Proxies) ClientAddress(r *http.Request) netip.Addr {
	peer := endOf(r.RemoteAddr)
	if !p.Contains(peer) {
		return peer
	}
	// The lines of a header are one list (RFC 9110 §5.3).
	list := strings.Split(strings.Join(r.Header["X-Forwarded-For"], ","), ",")
	client := peer
	for _, entry := range slices.Backward(list) {
		a, ok := forwarded(strings.Trim(entry, " \t"))
		if !ok {
			return peer
		}
		if client = a; !p.Contains(a) {
			break
		}
	}
	return client
}

// endOf returns the address of HOST:PORT.
func endOf(hostPort string) netip.Addr {
	a, err := netip.ParseAddrPort(hostPort)
	if err != nil {
		return netip.Addr{}
	}
	return a.Addr().Unmap().WithZone("")
}

// forwarded reads an entry of X-Forwarded-For, which has no standard: an address, with or without a port, that of IPv6 in
// brackets or not.
func forwarded(entry string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(entry, "["), "]"))
	if bracketed := strings.HasPrefix(entry, "["); bracketed != strings.HasSuffix(entry, "]") || bracketed && a.Is4() || err != nil {
		a = endOf(entry)
	}
	a = a.Unmap().WithZone("")
	return a, a.IsValid() && !a.IsUnspecified() && !a.IsMulticast()
}

// source is what counts as one client: an address of IPv4, and /64 of IPv6, which is the least that one customer of a provider
// has.
func source(a netip.Addr) netip.Prefix {
	bits := 64
	if a = a.Unmap().WithZone(""); a.Is4() {
		bits = 32
	}
	prefix, _ := a.Prefix(bits) // the zero prefix for no address
	return prefix
}
