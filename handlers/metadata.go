package handlers

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/glueauth/glueauth/server"
)

const (
	pathToken      = "/token"
	pathRevoke     = "/revoke"
	pathIntrospect = "/introspect"
	pathJWKS       = "/.well-known/jwks.json"
	pathMetadata   = "/.well-known/oauth-authorization-server"
	pathOpenID     = "/.well-known/openid-configuration"
)

// textNoIssuer is for operators, who see it when they try.
const textNoIssuer = "There is no metadata without an issuer: set issuer to the URL that clients reach this server at."

// metadata is how the server describes itself (RFC 8414). All of its URLs begin with the issuer, whatever Host a request
// names. OpenID Connect's place has the same document (RFC 8414 §5): there is no authorization endpoint to tell of.
type metadata struct {
	base   string // the issuer's path without a slash at its end; empty for none
	body   []byte // nil: there is no issuer
	etag   string
	maxAge time.Duration
	fail   *failures
}

// description is the document. RFC 8414 §2 requires response_types_supported, of which there are none. No member of it is
// about access tokens; validators made for OpenID Connect take the algorithms of an issuer's tokens from the one about ID
// tokens, and RS256 alone where it is missing, so that is where ours stand, though there is no ID token.
type description struct {
	Issuer            string   `json:"issuer"`
	Token             string   `json:"token_endpoint"`
	JWKS              string   `json:"jwks_uri"`
	Revocation        string   `json:"revocation_endpoint"`
	Introspection     string   `json:"introspection_endpoint,omitempty"`
	Scopes            []string `json:"scopes_supported"`
	ResponseTypes     []string `json:"response_types_supported"`
	Grants            []string `json:"grant_types_supported"`
	Algorithms        []string `json:"id_token_signing_alg_values_supported"`
	TokenAuth         []string `json:"token_endpoint_auth_methods_supported"`
	RevocationAuth    []string `json:"revocation_endpoint_auth_methods_supported"`
	IntrospectionAuth []string `json:"introspection_endpoint_auth_methods_supported,omitempty"`
}

func newMetadata(c Config, fail *failures) (metadata, error) {
	about := c.Server.Metadata()
	m := metadata{maxAge: c.JWKSMaxAge, fail: fail}
	if about.Issuer == "" {
		return m, nil
	}
	issuer, err := url.Parse(about.Issuer)
	if err != nil || issuer.Host == "" || issuer.RawQuery != "" || issuer.Fragment != "" {
		return m, errors.New("handlers: the issuer is no URL without query and fragment")
	}
	m.base = strings.TrimRight(issuer.Path, "/")
	at := strings.TrimRight(about.Issuer, "/")
	var proofs []string
	if about.Confidential {
		proofs = []string{"client_secret_basic", "client_secret_post"}
	}
	d := description{
		Issuer: about.Issuer, Token: at + pathToken, JWKS: at + pathJWKS, Revocation: at + pathRevoke,
		Scopes: about.Scopes, ResponseTypes: []string{}, Grants: about.Grants, Algorithms: about.Algorithms,
	}
	if about.Introspects && c.Introspector != nil {
		d.Introspection, d.IntrospectionAuth = at+pathIntrospect, slices.Clone(proofs)
	}
	if about.Public {
		proofs = append(proofs, "none")
	}
	d.TokenAuth, d.RevocationAuth = proofs, proofs
	m.body = encodeJSON(d)
	sum := sha256.Sum256(m.body)
	m.etag = `"` + base64.RawURLEncoding.EncodeToString(sum[:16]) + `"`
	return m, nil
}

// routes returns where the document is found: at the place for an issuer without a path, where a proxy in front may have
// left the path out too; with the issuer's path behind it (RFC 8414 §3); and below that path (OpenID Connect Discovery §4).
func (m metadata) routes() []route {
	var list []route
	for _, place := range []string{pathMetadata, pathOpenID} {
		list = append(list, route{paths: []string{place, place + m.base, m.base + place}, methods: read(), serve: m.serve})
	}
	return list
}

// below has the endpoints answer at their places below the issuer's path too, which is where the document says they are.
func (m metadata) below(routes []route) []route {
	if m.base == "" {
		return routes
	}
	for i, r := range routes {
		for _, path := range r.paths {
			routes[i].paths = append(routes[i].paths, m.base+path)
		}
	}
	return routes
}

func (m metadata) serve(w http.ResponseWriter, r *http.Request) {
	if m.body == nil {
		m.fail.write(w, r, failure{err: &server.Error{Code: codeNotFound}, text: textNoIssuer})
		return
	}
	writeCached(w, r, "application/json", m.body, m.etag, m.maxAge)
}

// writeCached writes what anybody may keep for a while.
func writeCached(w http.ResponseWriter, r *http.Request, kind string, body []byte, etag string, maxAge time.Duration) {
	writeTagged(w, r, kind, body, etag, "public, max-age="+strconv.FormatInt(int64(maxAge/time.Second), 10))
}

// writeTagged writes what need not be sent again to whoever has it.
func writeTagged(w http.ResponseWriter, r *http.Request, kind string, body []byte, etag, cacheControl string) {
	header := w.Header()
	header.Del("Pragma")
	header.Set("Cache-Control", cacheControl)
	header.Set("ETag", etag)
	if matches(r.Header["If-None-Match"], etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	header.Set("Content-Type", kind)
	header.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(body) // fails only when the client is gone
}
