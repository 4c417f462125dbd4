package handlers

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/glueauth/glueauth/server"
)

const (
	readyDeadline = time.Second     // for one check
	readyFresh    = time.Second     // for so long a result is good, so that probing costs the database nothing
	readyStreak   = 2               // so many results in a row turn it, so that a hiccup does not
	readySilence  = 5 * time.Second // after it a bad result is too old to stand against a good one
)

// healthBody is what a healthy server says.
type healthBody struct {
	Status   string   `json:"status"`
	Warnings []string `json:"warnings,omitempty"`
}

// serveLive answers that the process runs. It depends on nothing: a restart would not help a database.
func serveLive(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, healthBody{Status: "ok"})
}

// readiness is GET /readyz.
type readiness struct {
	check    func(context.Context) error
	stopping func() bool
	now      func() time.Time
	fail     *failures
	warnings func() []string // nil: none
	reason   bool            // ?verbose gives the reason, and the warnings

	mu      sync.Mutex // held during a check: all who ask meanwhile share it
	checked time.Time  // zero before the first check
	err     error      // what is said
	against int        // results in a row that say otherwise
}

var errStopping = errors.New("stopping")

func newReadiness(c Config, fail *failures, reason bool) *readiness {
	return &readiness{check: c.Ready, stopping: c.Stopping, now: c.Now, fail: fail, warnings: c.Warnings, reason: reason}
}

func (h *readiness) serve(w http.ResponseWriter, r *http.Request) {
	err := h.result(r.Context())
	verbose := h.reason && r.URL.Query().Has("verbose")
	if err == nil {
		body := healthBody{Status: "ok"}
		if verbose && h.warnings != nil {
			body.Warnings = h.warnings()
		}
		writeJSON(w, http.StatusOK, body)
		return
	}
	x := failure{err: &server.Error{Code: server.Unavailable, Cause: fmt.Errorf("not ready: %w", err)}}
	if verbose {
		x.text = err.Error()
	}
	h.fail.write(w, r, x)
}

// result checks, unless the last result is still good. A stop shows at once.
func (h *readiness) result(ctx context.Context) error {
	if h.stopping != nil && h.stopping() {
		return errStopping
	}
	if h.check == nil {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	age := h.now().Sub(h.checked)
	if age < 0 || age >= readyFresh {
		h.look(ctx, age > readySilence)
	}
	if h.err != nil && h.against > 0 {
		return fmt.Errorf("it answers again, which the next look has to confirm; before: %w", h.err)
	}
	return h.err
}

// look checks. The first result counts at once, and so does a good one where the last is old.
func (h *readiness) look(ctx context.Context, old bool) {
	// The result is for all, so it must not fail because the one who asked first went away.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readyDeadline)
	defer cancel()
	err := h.check(ctx)
	first := h.checked.IsZero()
	h.checked = h.now()
	h.against++
	if agrees := (err == nil) == (h.err == nil); agrees || first || old && err == nil || h.against >= readyStreak {
		h.err, h.against = err, 0
	}
}
