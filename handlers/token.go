package handlers

import (
	"net/http"
	"net/netip"
	"strings"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/server"
)

// endpoint is what a client reaches that presents itself: POST /token, POST /revoke and POST /introspect.
type endpoint struct {
	server *server.Server
	fail   *failures
	strict bool // all clients are spoken to as RFC 6749 says: Spryker's Glue API has no such endpoint
}

// asked is a decoded request: its parameters, and the client as it presented itself.
type asked struct {
	form
	client server.Credentials
}

// tokenBody is a successful answer; its members stand in the reference's order.
type tokenBody struct {
	Access  string `json:"access_token"`
	Type    string `json:"token_type"`
	Expires int64  `json:"expires_in"`
	Refresh string `json:"refresh_token"`
	Scope   string `json:"scope,omitempty"`

	RefreshExpires int64 `json:"refresh_token_expires_in,omitempty"`
}

func newTokenBody(t server.TokenResponse) tokenBody {
	return tokenBody{
		Access:  t.AccessToken.Reveal(),
		Type:    "Bearer",
		Expires: int64(t.ExpiresIn.Seconds()),
		Refresh: t.RefreshToken.Reveal(),
		Scope:   t.Scope,

		RefreshExpires: int64(t.RefreshExpiresIn.Seconds()),
	}
}

// serve decodes the request, makes the one call, and writes what came of it.
func (h endpoint) serve(call func(*http.Request, asked) (body any, err error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		request, asker, err := h.decode(r)
		var body any
		if err == nil {
			body, err = call(r, request)
		}
		if err != nil {
			asker.err = err
			h.fail.write(w, r, asker)
			return
		}
		writeJSON(w, http.StatusOK, body)
	}
}

// token is POST /token.
func (h endpoint) token(r *http.Request, f asked) (any, error) {
	response, err := h.server.Token(r.Context(), server.TokenRequest{
		GrantType:    f.form[paramGrantType].Reveal(),
		Client:       f.client,
		Username:     revealed(f.get(paramUsername)),
		Password:     f.get(paramPassword),
		RefreshToken: f.get(paramRefreshToken),
		Scope:        revealed(f.get(paramScope)),
		RetryKey:     f.form[paramRetryKey],
		Address:      clientAddress(r.Context()),
		UserAgent:    r.UserAgent(),
	})
	return newTokenBody(response), err
}

// decode reads the request and looks at what is the same for all endpoints. Its failure says how the asker wants to be
// answered; it is filled in as far as that is known, also beside an error.
func (h endpoint) decode(r *http.Request) (asked, failure, error) {
	var asker failure
	f, err := decodeForm(r)
	if err != nil {
		return asked{}, asker, err
	}
	basic, err := decodeBasic(r.Header)
	asker.basic = basic.sent
	if err != nil {
		return asked{}, asker, err
	}
	client, err := credentials(basic, f)
	if err != nil {
		return asked{}, asker, err
	}
	if asker.dialect = h.server.Dialect(client.ID); h.strict {
		asker.dialect = server.RFC6749
	}
	if asker.dialect == server.RFC6749 { // §3.2: a parameter without a value was not sent
		for name, value := range f {
			if value == "" {
				delete(f, name)
			}
		}
	}
	if key := f[paramRetryKey]; key != "" && !validRetryKey(key.Reveal()) {
		return asked{}, asker, malformed("retry key is not 16 to 128 characters out of %x21-7E")
	}
	return asked{f, client}, asker, nil
}

func revealed(t *secret.Text) *string {
	if t == nil {
		return nil
	}
	text := t.Reveal()
	return &text
}

func validRetryKey(key string) bool {
	return len(key) >= 16 && len(key) <= 128 && !strings.ContainsFunc(key, func(c rune) bool { return c < 0x21 || c > 0x7e })
}

// peer returns the address at the other end of the connection, the zero address when it has none.
func peer(r *http.Request) netip.Addr {
	address, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return address.Addr().Unmap()
}
