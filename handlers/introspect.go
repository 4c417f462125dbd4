package handlers

import (
	"net/http"

	"github.com/glueauth/glueauth/server"
)

// introspectionRoutes returns none where there is nobody to ask.
func introspectionRoutes(c Config, fail *failures) []route {
	if c.Introspector == nil {
		return nil
	}
	h := endpoint{server: c.Server, fail: fail, strict: true}
	ask := func(r *http.Request, f asked) (any, error) {
		return c.Introspector.Introspect(r.Context(), server.IntrospectRequest{Client: f.client, Token: f.get(paramToken)})
	}
	return []route{{paths: []string{pathIntrospect, pathIntrospect + "/"}, methods: []string{http.MethodPost}, serve: h.serve(ask)}}
}
