package handlers

import (
	"net/http"
	"net/netip"
	"strings"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/server"
)

// tokenHandler is POST /token.
type tokenHandler struct {
	server *server.Server
	fail   *failures
}

// tokenBody is a successful answer; its members stand in the reference's order.
type tokenBody struct {
	Access  string `json:"access_token"`
	Type    string `json:"token_type"`
	Expires int64  `json:"expires_in"`
	Refresh string `json:"refresh_token"`
	Scope   string `json:"scope,omitempty"`
}

func (h tokenHandler) serve(w http.ResponseWriter, r *http.Request) {
	request, asker, err := h.decode(r)
	if err != nil {
		asker.err = err
		h.fail.write(w, r, asker)
		return
	}
	response, err := h.server.Token(r.Context(), request)
	if err != nil {
		asker.err = err
		h.fail.write(w, r, asker)
		return
	}
	writeJSON(w, http.StatusOK, tokenBody{
		Access:  response.AccessToken.Reveal(),
		Type:    "Bearer",
		Expires: int64(response.ExpiresIn.Seconds()),
		Refresh: response.RefreshToken.Reveal(),
		Scope:   response.Scope,
	})
}

// decode turns the request into the core's terms. Its failure says how the asker wants to be answered; it is filled in
// as far as that is known, also beside an error.
func (h tokenHandler) decode(r *http.Request) (server.TokenRequest, failure, error) {
	var asker failure
	f, err := decodeForm(r)
	if err != nil {
		return server.TokenRequest{}, asker, err
	}
	basic, err := decodeBasic(r.Header)
	asker.basic = basic.sent
	if err != nil {
		return server.TokenRequest{}, asker, err
	}
	client, err := credentials(basic, f)
	if err != nil {
		return server.TokenRequest{}, asker, err
	}
	asker.dialect = h.server.Dialect(client.ID)
	if asker.dialect == server.RFC6749 { // §3.2: a parameter without a value was not sent
		for name, value := range f {
			if value == "" {
				delete(f, name)
			}
		}
	}
	retryKey := f[paramRetryKey]
	if retryKey != "" && !validRetryKey(retryKey.Reveal()) {
		return server.TokenRequest{}, asker, malformed("retry key is not 16 to 128 characters out of %x21-7E")
	}
	return server.TokenRequest{
		GrantType:    f[paramGrantType].Reveal(),
		Client:       client,
		Username:     revealed(f.get(paramUsername)),
		Password:     f.get(paramPassword),
		RefreshToken: f.get(paramRefreshToken),
		Scope:        revealed(f.get(paramScope)),
		RetryKey:     retryKey,
		Address:      peer(r),
		UserAgent:    r.UserAgent(),
	}, asker, nil
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
