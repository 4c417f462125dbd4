package handlers

import (
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/server"
)

// basicAuth is a client that presents itself by HTTP Basic.
type basicAuth struct {
	sent   bool // there is an Authorization header of scheme Basic, readable or not
	id     string
	secret secret.Text
}

// decodeBasic reads the client's credentials (RFC 6749 §2.3.1: both halves are form-encoded before RFC 7617 applies).
// Other schemes, Bearer among them, say nothing about the client and are ignored.
func decodeBasic(h http.Header) (basicAuth, error) {
	headers := h["Authorization"]
	if len(headers) > 1 {
		return basicAuth{}, malformed("two authorization headers")
	}
	if len(headers) == 0 {
		return basicAuth{}, nil
	}
	scheme, encoded, _ := strings.Cut(headers[0], " ")
	if !strings.EqualFold(scheme, "Basic") {
		return basicAuth{}, nil
	}
	refused := &server.Error{Code: server.InvalidClient, Cause: errors.New("malformed basic authorization")}
	decoded, err := base64.StdEncoding.DecodeString(strings.TrimSpace(encoded))
	if err != nil {
		return basicAuth{sent: true}, refused
	}
	id, password, both := strings.Cut(string(decoded), ":")
	id, errID := url.QueryUnescape(id)
	password, errSecret := url.QueryUnescape(password)
	if !both || id == "" || errID != nil || errSecret != nil || !utf8.ValidString(id) || !utf8.ValidString(password) {
		return basicAuth{sent: true}, refused
	}
	return basicAuth{sent: true, id: id, secret: secret.Text(password)}, nil
}

// credentials joins what the client says of itself in the header and in the body. It may say it twice, if it says the
// same. An empty id or secret is none.
func credentials(basic basicAuth, f form) (server.Credentials, error) {
	id, password := f[paramClientID].Reveal(), f[paramClientSecret]
	if basic.sent {
		if id != "" && id != basic.id || password != "" && password != basic.secret {
			return server.Credentials{}, malformed("two client authentications that differ")
		}
		id, password = basic.id, basic.secret
	}
	if password == "" {
		return server.Credentials{ID: id}, nil
	}
	return server.Credentials{ID: id, Secret: &password}, nil
}
