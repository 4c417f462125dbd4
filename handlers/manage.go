package handlers

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net/http"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/server"
)

// management is the API that shows sessions and ends them, and shows the keys. Whoever is asked about stands in the body, so that neither
// addresses nor tokens land in URLs and access logs.
type management struct {
	inspector *server.Inspector
	secret    [sha256.Size]byte // its hash
	event     func(context.Context, server.Event)
	fail      *failures
}

// managementRoutes returns none unless there is a secret: then the paths are unknown like any other.
func managementRoutes(c Config, fail *failures) []route {
	if c.AdminSecret == "" || c.Inspector == nil {
		return nil
	}
	m := management{
		inspector: c.Inspector, secret: sha256.Sum256([]byte(c.AdminSecret.Reveal())),
		event: Events(c.Logger, c.Metrics), fail: fail,
	}
	i := c.Inspector
	post := func(path string, serve http.HandlerFunc) route {
		return route{paths: []string{path}, methods: []string{http.MethodPost}, serve: serve}
	}
	return []route{
		keysRoute(m, c),
		post("/sessions/list", manage(m, i.List)),
		post("/sessions/show", manage(m, i.Show)),
		post("/sessions/revoke", manage(m, i.Revoke)),
		post("/sessions/explain", manage(m, i.Explain)),
	}
}

// manage serves one call, for those who know the secret.
func manage[T any](m management, call func(context.Context, secret.Text) (T, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := m.authenticate(r); err != nil {
			m.event(r.Context(), server.Event{Name: server.EventManagementRefused})
			m.fail.write(w, r, failure{err: err})
			return
		}
		f, err := decodeForm(r)
		var body T
		if err == nil {
			body, err = call(r.Context(), f[paramWho])
		}
		if err != nil {
			m.fail.write(w, r, failure{err: err, text: remedy(err)})
			return
		}
		writeJSON(w, http.StatusOK, body)
	}
}

// authenticate looks at the bearer secret (RFC 6750 §2.1), in a time that tells nothing of it.
func (m management) authenticate(r *http.Request) error {
	given, _ := bearerToken(r.Header)
	sum := sha256.Sum256([]byte(given.Reveal()))
	if subtle.ConstantTimeCompare(sum[:], m.secret[:]) != 1 {
		return &server.Error{Code: codeManagement}
	}
	return nil
}

// remedy returns what an operator is told of what he asked for: the cause, which holds nothing of it.
func remedy(err error) string {
	e, ok := errors.AsType[*server.Error](err)
	if !ok || e.Cause == nil || e.Code != server.NothingFound && e.Code != server.Malformed {
		return ""
	}
	return e.Cause.Error()
}
