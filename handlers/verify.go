package handlers

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/server"
)

// The headers that tell a gateway who the customer is. All of them are in each good answer, empty where the token does not
// say, so that a gateway which copies them overwrites what a customer has sent by these names.
const (
	headerReference = "X-Customer-Reference"
	headerCustomer  = "X-Customer-Id"
	headerScopes    = "X-Scopes"
)

// verification is /verify, for proxies that ask before they let a request through: nginx's auth_request, Caddy's
// forward_auth, Traefik's ForwardAuth. They may send on the method, the headers and even the body of that request.
type verification struct {
	introspector *server.Introspector
	fail         *failures
}

// verificationRoutes returns none where there is nobody to ask.
func verificationRoutes(c Config, fail *failures) []route {
	if c.Introspector == nil {
		return nil
	}
	v := verification{c.Introspector, fail}
	return []route{{paths: []string{"/verify"}, serve: v.serve, quiet: true, forwarded: true}}
}

func (v verification) serve(w http.ResponseWriter, r *http.Request) {
	bearer, err := v.verify(r)
	if err != nil {
		v.fail.write(w, r, failure{err: err, text: remedy(err)})
		return
	}
	id := ""
	if bearer.ID != 0 {
		id = strconv.FormatInt(bearer.ID, 10)
	}
	h := w.Header()
	h.Set(headerReference, url.PathEscape(bearer.Reference)) // references may hold what a header must not
	h.Set(headerCustomer, id)
	h.Set(headerScopes, strings.Join(bearer.Scopes, " "))
	w.WriteHeader(http.StatusOK)
}

func (v verification) verify(r *http.Request) (server.Bearer, error) {
	live, err := asksForSession(r.URL.RawQuery)
	if err != nil {
		return server.Bearer{}, err
	}
	token, sent := bearerToken(r.Header)
	if !sent {
		return server.Bearer{}, &server.Error{Code: codeNoToken}
	}
	return v.introspector.Verify(r.Context(), token, live) //nolint:wrapcheck // a refusal already
}

// asksForSession reads active=1. Whatever else could be meant for it is refused: a misspelt setting of a gateway must not
// check less than its operator believes.
func asksForSession(query string) (bool, error) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return false, malformed("bad escape in the query: send active=1, or leave the query out") // err quotes it
	}
	for name := range values {
		if name != "active" && strings.EqualFold(name, "active") {
			return false, &server.Error{Code: server.Malformed, Cause: errors.New("active is not written in small letters: send active=1, or leave it out")}
		}
	}
	switch active, sent := values["active"]; {
	case !sent:
		return false, nil
	case slices.Equal(active, []string{"1"}):
		return true, nil
	default:
		return false, &server.Error{Code: server.Malformed, Cause: errors.New("active has another value than 1: send active=1, or leave it out")}
	}
}

// bearerToken returns what was sent as a bearer token (RFC 6750 §2.1), and whether anything was.
func bearerToken(h http.Header) (token secret.Text, sent bool) {
	all := h["Authorization"]
	if len(all) != 1 {
		return "", len(all) > 1
	}
	scheme, text, _ := strings.Cut(all[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", false
	}
	return secret.Text(strings.TrimLeft(text, " ")), true
}
