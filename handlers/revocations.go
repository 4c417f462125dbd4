package handlers

import (
	"net/http"

	"github.com/glueauth/glueauth/server"
)

const pathRevocations = "/.well-known/revocations"

// textNoRevocations is for operators, who see it when they try.
const textNoRevocations = "What has ended is not published: set revocations to true, and let only your gateways ask for it."

// revocations is what gateways follow to cut tokens off before they expire.
type revocations struct {
	document func() (body []byte, etag string, err error) // nil: it is not published
	fail     *failures
}

func revocationsRoute(c Config, fail *failures) route {
	h := revocations{c.Revocations, fail}
	return route{paths: []string{pathRevocations}, methods: read(), serve: h.serve, quiet: true}
}

func (h revocations) serve(w http.ResponseWriter, r *http.Request) {
	if h.document == nil {
		h.fail.write(w, r, failure{err: &server.Error{Code: codeNotFound}, text: textNoRevocations})
		return
	}
	body, etag, err := h.document()
	if err != nil {
		h.fail.write(w, r, failure{err: err})
		return
	}
	writeTagged(w, r, "application/jwt", body, etag, "no-cache") // whoever keeps it asks whether it still holds
}
