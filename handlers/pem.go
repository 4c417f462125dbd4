package handlers

import (
	"net/http"
	"strconv"
)

// pemRoutes is GET /keys.pem: the public keys for gateways that read PEM and no JWKS. It returns none where there are no keys.
func pemRoutes(c Config, fail *failures) []route {
	if c.PEM == nil {
		return nil
	}
	serve := func(w http.ResponseWriter, r *http.Request) {
		text, err := c.PEM()
		if err != nil {
			fail.write(w, r, failure{err: err})
			return
		}
		w.Header().Set("Content-Type", "application/x-pem-file")
		w.Header().Set("Content-Length", strconv.Itoa(len(text)))
		w.WriteHeader(http.StatusOK)
		_, _ = w.Write(text) // fails only when the client is gone
	}
	return []route{{paths: []string{"/keys.pem"}, methods: read(), serve: serve}}
}
