// Package handlers is the HTTP side of the authorization server: it decodes a request, makes one call into package
// server, and encodes what came back.
//
// A request runs down the list of [chain.wrap] (middleware.go) to its route (routes.go). POST /token is token.go, which
// reads its body by form.go and its client by basic.go; POST /revoke (revoke.go) shares both. Whatever fails is a value
// until errors.go, the only place that writes a failure, gives it status and text in the client's dialect.
package handlers

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/server"
)

// Config is what [Public] and [Admin] are made of. Everything is required unless it says otherwise.
type Config struct {
	Server      *server.Server                    // Admin needs none
	JWKS        func() (body []byte, etag string) // the key set and its quoted entity tag; Admin needs none
	JWKSMaxAge  time.Duration                     // for how long the key set and the metadata may be cached; whole seconds
	PEM         func() ([]byte, error)            // the keys as PEM; nil: there is no /keys.pem; Public needs none
	CORSOrigins []string                          // exact origins (scheme://host[:port]); empty turns CORS off
	Ready       func(context.Context) error       // nil result: ready; nil function: always ready
	Stopping    func() bool                       // true: no longer ready, at once; nil function: never
	Warnings    func() []string                   // what may go wrong although all is ready; nil: nothing
	Logger      *slog.Logger                      // see [NewLogHandler]
	Random      io.Reader                         // for request ids and Retry-After; safe for concurrent use
	Now         func() time.Time                  // for durations and the age of a readiness result
	Deadline    time.Duration                     // for one request; above it the core answers that it is unavailable
	Metrics     *Metrics

	// Revocations is the document of what has ended, with its quoted entity tag; nil: it is not published. Admin needs none.
	Revocations   func() (body []byte, etag string, err error)
	ClientAddress func(*http.Request) netip.Addr // where a request comes from; nil: from the other end of the connection

	Introspector *server.Introspector // nil: there is neither /introspect nor /verify; Admin needs none

	Inspector   *server.Inspector // of the management API, see Admin; Public needs none
	AdminSecret secret.Text       // its bearer secret; empty: there is no such API
	Keys        func() []Key      // what it tells of the signing keys, but who reads them; nil: nothing
	KeyReaders  *KeyReaders       // who reads the key set, of one Public and its Admin; nil: nobody is remembered
}

// Public returns what clients and gateways reach: sign-in and sign-out, questions about tokens, the key set, the metadata and
// terse health. The error names
// what is wrong with the config.
func Public(c Config) (http.Handler, error) {
	if !c.complete() {
		return nil, errors.New("handlers: incomplete config")
	}
	for _, origin := range c.CORSOrigins {
		if strings.Contains(origin, "*") || strings.EqualFold(origin, "null") {
			return nil, errors.New("handlers: a cors origin is a wildcard or null; name each origin as scheme://host[:port]")
		}
	}
	fail := newFailures(c)
	about, err := newMetadata(c, fail)
	if err != nil {
		return nil, err
	}
	core := endpoint{server: c.Server, fail: fail}
	ready := newReadiness(c, fail, false)
	described := about.below(append([]route{
		{paths: []string{pathToken, pathToken + "/"}, methods: []string{http.MethodPost}, serve: core.serve(core.token)},
		{paths: []string{pathRevoke, pathRevoke + "/"}, methods: []string{http.MethodPost}, serve: core.serve(core.revoke)},
		{paths: []string{pathJWKS}, methods: read(), serve: jwksHandler{c.JWKS, c.JWKSMaxAge, c.KeyReaders, c.Now}.serve},
		revocationsRoute(c, fail),
	}, introspectionRoutes(c, fail)...))
	return newRouter(c, fail, slices.Concat(described, about.routes(), verificationRoutes(c, fail), []route{
		{paths: []string{"/livez", "/healthz"}, methods: read(), serve: serveLive, quiet: true},
		{paths: []string{"/readyz"}, methods: read(), serve: ready.serve, quiet: true},
	})), nil
}

// complete reports whether everything is there that [Public] needs.
func (c Config) complete() bool {
	world := c.Logger != nil && c.Random != nil && c.Now != nil && c.Metrics != nil
	return c.Server != nil && c.JWKS != nil && world && c.Deadline > 0 && c.JWKSMaxAge > 0
}

// Admin returns what operators reach: the metrics, health that gives its reason when asked (/readyz?verbose), the public keys
// as PEM, and where there is a secret the management API of sessions.
func Admin(c Config) http.Handler {
	fail := newFailures(c)
	c.CORSOrigins = nil
	ready := newReadiness(c, fail, true)
	return newRouter(c, fail, slices.Concat(managementRoutes(c, fail), pemRoutes(c, fail), []route{
		{paths: []string{"/metrics"}, methods: read(), serve: c.Metrics.handler().ServeHTTP, quiet: true},
		{paths: []string{"/livez", "/healthz"}, methods: read(), serve: serveLive, quiet: true},
		{paths: []string{"/readyz"}, methods: read(), serve: ready.serve, quiet: true},
	}))
}

func read() []string { return []string{http.MethodGet, http.MethodHead} }

// route is one endpoint.
type route struct {
	paths   []string // exact; the first one is its name in logs and metrics
	methods []string // besides OPTIONS
	serve   http.HandlerFunc
	quiet   bool // its requests are logged at level debug only
	// forwarded is of an endpoint that proxies ask about a request of whatever method: it gets them all, OPTIONS too, and
	// nothing answers a preflight in its place, which a proxy would take for its consent.
	forwarded bool
}

// unknownRoute is the name of all paths that have no route.
const unknownRoute = "unknown"

// router finds a route by its exact path. [http.ServeMux] would answer some requests by itself, in its own words:
// redirects of unclean paths, methods it does not know.
type router struct {
	routes  map[string]namedHandler
	unknown namedHandler
}

type namedHandler struct {
	name string
	http.Handler
}

func newRouter(c Config, fail *failures, routes []route) router {
	chain := newChain(c, fail)
	notFound := func(w http.ResponseWriter, r *http.Request) {
		fail.write(w, r, failure{err: &server.Error{Code: codeNotFound}})
	}
	t := router{
		routes:  map[string]namedHandler{},
		unknown: namedHandler{unknownRoute, chain.wrap(http.HandlerFunc(notFound), false)},
	}
	for _, r := range routes {
		h := chain.route(r)
		for _, path := range r.paths {
			t.routes[path] = namedHandler{r.paths[0], h}
		}
	}
	return t
}

// route puts what stands before an endpoint before it.
func (c chain) route(r route) http.Handler {
	if r.forwarded {
		c.cors = nil
		return c.wrap(r.serve, r.quiet)
	}
	return c.wrap(allow(r.methods, r.serve, c.fail), r.quiet)
}

func (t router) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h, found := t.routes[r.URL.Path]
	if !found {
		h = t.unknown
	}
	r.Pattern = h.name
	h.ServeHTTP(w, r)
}

// allow answers OPTIONS, and the methods that the endpoint does not have.
func allow(methods []string, next http.HandlerFunc, fail *failures) http.Handler {
	allowed := strings.Join(methods, ", ") + ", " + http.MethodOptions
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case slices.Contains(methods, r.Method):
			next(w, r)
		case r.Method == http.MethodOptions:
			w.Header().Set("Allow", allowed)
			w.WriteHeader(http.StatusNoContent)
		default:
			w.Header().Set("Allow", allowed)
			fail.write(w, r, failure{err: &server.Error{Code: codeMethod}, text: "Use " + methods[0] + "."})
		}
	})
}
