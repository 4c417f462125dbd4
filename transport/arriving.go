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
		leaves := h.mustLeave()
		if leaves {
			w.Header().Set("Connection", "close") // net/http says goodbye over HTTP/2, too
		}
		b := &arriving{ReadCloser: r.Body, held: h}
		if bodyless(r) {
			b.whole()
		} else {
			r = r.WithContext(r.Context()) // net/http must find its own body in its own request
			r.Body = b
		}
		defer b.answered()
		next.ServeHTTP(w, r)
		if leaves && r.Context().Err() == nil { // an answer that is not waited for may not be sent
			h.wasTold()
		}
	})
}

// bodyless reports whether all of a request has come with its header. Over HTTP/2, one that announces a length of 0, or one that
// cannot be read, may still be without its end.
func bodyless(r *http.Request) bool {
	return r.ContentLength == 0 && (r.ProtoMajor == 1 || r.Header["Content-Length"] == nil)
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

func (h *held) wasTold() {
	h.gate.mu.Lock()
	defer h.gate.mu.Unlock()
	h.told = true
}

func (h *held) work(more int) {
	h.gate.mu.Lock()
	defer h.gate.mu.Unlock()
	h.working += more
	if !h.leaving || min(h.working, h.working-more) == 0 { // or one request after the other would keep it
		h.since = h.gate.o.Now()
	}
}
