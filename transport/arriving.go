package transport

import (
	"io"
	"net/http"
)

// watch notes how far the requests of a connection are.
func (g *Gate) watch(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h, _ := r.Context().Value(heldKey{}).(*held)
		if h == nil {
			next.ServeHTTP(w, r)
			return
		}
		if h.mustLeave() {
			w.Header().Set("Connection", "close") // net/http says goodbye over HTTP/2, too
		}
		b := &arriving{ReadCloser: r.Body, held: h}
		if r.ContentLength == 0 { // over HTTP/2 there is a body all the same
			b.whole()
		} else {
			r.Body = b
		}
		defer b.answered()
		next.ServeHTTP(w, r)
	})
}

// arriving is a request's body.
type arriving struct {
	io.ReadCloser
	held    *held
	arrived bool
}

// Read notes the end.
func (b *arriving) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		b.whole()
	}
	return n, err //nolint:wrapcheck // transparent
}

func (b *arriving) whole() {
	if !b.arrived {
		b.arrived = true
		b.held.work(1)
	}
}

func (b *arriving) answered() {
	if b.arrived {
		b.held.work(-1)
	}
}

func (h *held) mustLeave() bool {
	h.gate.mu.Lock()
	defer h.gate.mu.Unlock()
	return h.leaving
}

func (h *held) work(more int) {
	h.gate.mu.Lock()
	defer h.gate.mu.Unlock()
	h.working += more
	h.since = h.gate.o.Now()
}
