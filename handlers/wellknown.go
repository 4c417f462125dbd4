package handlers

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// jwksHandler is GET /.well-known/jwks.json (RFC 7517 §5).
type jwksHandler struct {
	keys    func() (body []byte, etag string)
	maxAge  time.Duration
	readers *KeyReaders
	now     func() time.Time
}

func (h jwksHandler) serve(w http.ResponseWriter, r *http.Request) {
	body, etag := h.keys()
	if r.Method == http.MethodGet {
		h.readers.note(r, body, etag, h.now())
	}
	header := w.Header()
	header.Del("Pragma")
	header.Set("Cache-Control", "public, max-age="+strconv.FormatInt(int64(h.maxAge/time.Second), 10))
	header.Set("ETag", etag)
	if matches(r.Header["If-None-Match"], etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	header.Set("Content-Type", "application/json")
	header.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(body) // fails only when the client is gone
}

// matches compares weakly (RFC 9110 §13.1.2). Our tags have no comma inside, so a list can be cut at its commas.
func matches(lists []string, etag string) bool {
	for _, list := range lists {
		for tag := range strings.SplitSeq(list, ",") {
			tag = strings.TrimSpace(tag)
			if tag == "*" || strings.TrimPrefix(tag, "W/") == etag {
				return true
			}
		}
	}
	return false
}
