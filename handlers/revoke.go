package handlers

import (
	"net/http"

	"github.com/glueauth/glueauth/server"
)

// revoke is POST /revoke (RFC 7009). A hint at the token's type is ignored: no two tokens of ours look alike.
func (h endpoint) revoke(r *http.Request, f asked) (any, error) {
	response, err := h.server.Revoke(r.Context(), server.RevokeRequest{
		Client:    f.client,
		Token:     f.get(paramToken),
		Sessions:  f.form[paramSessions].Reveal(),
		RetryKey:  f.form[paramRetryKey],
		Address:   clientAddress(r.Context()),
		UserAgent: r.UserAgent(),
	})
	if err != nil || response == nil {
		return struct{}{}, err
	}
	return newTokenBody(*response), nil
}
