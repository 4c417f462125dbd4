package server

import (
	"cmp"
	"maps"
	"slices"

	"github.com/glueauth/glueauth/keys"
)

// Metadata is what a server can say about itself to clients that it does not know (RFC 8414 §2).
type Metadata struct {
	Issuer       string   // empty for none
	Grants       []string // the grant types, sorted
	Scopes       []string // what any client may ask for, in the order of the clients
	Algorithms   []string // what access tokens are signed by, in the order of the clients
	Public       bool     // there are clients without a secret
	Confidential bool     // there are clients with one
	Introspects  bool     // one of them may introspect tokens
}

// Metadata returns what the server can say about itself. It never changes.
func (s *Server) Metadata() Metadata {
	m := Metadata{Issuer: s.issuer.config.Issuer, Grants: slices.Sorted(maps.Keys(s.grants))}
	for _, c := range s.clients {
		if alg := cmp.Or(c.Algorithm, keys.Algorithms()[0]); !slices.Contains(m.Algorithms, alg) {
			m.Algorithms = append(m.Algorithms, alg)
		}
		for _, scope := range c.Scopes {
			if !slices.Contains(m.Scopes, scope) {
				m.Scopes = append(m.Scopes, scope)
			}
		}
		m.Public = m.Public || c.Secret == ""
		m.Confidential = m.Confidential || c.Secret != ""
		m.Introspects = m.Introspects || c.Introspect
	}
	return m
}
