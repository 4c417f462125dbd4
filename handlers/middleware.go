package handlers

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/rs/cors"

	"github.com/glueauth/glueauth/server"
)

// chain is what stands before each endpoint.
type chain struct {
	logger   *slog.Logger
	metrics  *Metrics
	random   io.Reader
	now      func() time.Time
	deadline time.Duration
	cors     *cors.Cors // nil: off
	fail     *failures
	address  func(*http.Request) netip.Addr
}

func newChain(c Config, fail *failures) chain {
	address := c.ClientAddress
	if address == nil {
		address = peer
	}
	return chain{
		logger: c.Logger, metrics: c.Metrics, random: c.Random, now: c.Now, deadline: c.Deadline,
		cors: newCORS(c.CORSOrigins), fail: fail, address: address,
	}
}

// wrap puts the whole list before an endpoint. The list is in the order in which a request passes it.
func (c chain) wrap(endpoint http.Handler, quiet bool) http.Handler {
	list := []func(http.Handler) http.Handler{
		c.requestID,
		c.recoverPanic,
		c.accessLog(quiet),
		c.limitBody,
		c.limitTime,
		c.crossOrigin,
	}
	h := endpoint
	for i := len(list) - 1; i >= 0; i-- {
		h = list[i](h)
	}
	return h
}

// requestID takes over the request id of whoever stands before us, or makes one, and makes every answer one that may
// not be kept unless its endpoint says so.
func (c chain) requestID(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		noStore(w.Header())
		id := r.Header.Get("X-Request-Id")
		if !validRequestID(id) {
			id = c.newRequestID()
		}
		w.Header().Set("X-Request-Id", id)
		ctx := context.WithValue(r.Context(), requestKey{}, requestInfo{id: id, address: c.address(r)})
		next.ServeHTTP(record(w), r.WithContext(ctx))
	})
}

// newRequestID never fails: an id is a help in reading logs, no reason to refuse a request.
func (c chain) newRequestID() string {
	var b [16]byte
	if _, err := io.ReadFull(c.random, b[:]); err != nil {
		return "unavailable"
	}
	return hex.EncodeToString(b[:])
}

// validRequestID tells whether an incoming id is harmless in logs and headers: 8 to 64 of A-Z a-z 0-9 . _ -
func validRequestID(id string) bool {
	if len(id) < 8 || len(id) > 64 {
		return false
	}
	for _, c := range []byte(id) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}

// recoverPanic answers a panic as a bug of ours. Where an answer has begun already, the connection is cut instead, so that
// nobody takes the half for the whole. What was panicked with may hold a part of the request and is not logged, unless
// the Go runtime made it.
func (c chain) recoverPanic(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := record(w)
		defer c.answerPanic(rec, r)
		next.ServeHTTP(rec, r)
	})
}

func (c chain) answerPanic(w *recorder, r *http.Request) {
	value := recover()
	if value == nil {
		return
	}
	if value == http.ErrAbortHandler { //nolint:errorlint // net/http compares it in the same way
		panic(value)
	}
	reason := fmt.Sprintf("%T", value)
	if err, ok := value.(runtime.Error); ok {
		reason = err.Error()
	}
	c.logger.LogAttrs(r.Context(), slog.LevelError, "panic",
		slog.String("reason", reason), slog.String("stack", string(debug.Stack())))
	if w.status != 0 {
		panic(http.ErrAbortHandler)
	}
	c.fail.write(w, r, failure{err: &server.Error{Code: server.Internal, Cause: errors.New("panic")}})
}

// accessLog writes one line for each request and counts it. Neither ever holds the path as sent, the query string, or a
// header that could be a credential.
func (c chain) accessLog(quiet bool) func(http.Handler) http.Handler {
	level := slog.LevelInfo
	if quiet {
		level = slog.LevelDebug
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			rec := record(w)
			defer c.logAccess(level, rec, r, c.now())
			next.ServeHTTP(rec, r)
		})
	}
}

func (c chain) logAccess(level slog.Level, w *recorder, r *http.Request, start time.Time) {
	took, status := c.now().Sub(start), w.status
	if status == 0 { // a panic on its way out
		status = http.StatusInternalServerError
	}
	c.metrics.observe(r, status, took)
	c.logger.LogAttrs(r.Context(), level, "request",
		slog.String("method", methodLabel(r.Method)), slog.String("route", r.Pattern), slog.Int("status", status),
		slog.Duration("duration", took), slog.Int64("bytes", w.bytes), slog.String("address", addressOf(r.Context())),
		slog.String("user_agent", printable(r.UserAgent(), 200)))
}

func (c chain) limitBody(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		next.ServeHTTP(w, r)
	})
}

func (c chain) limitTime(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), c.deadline)
		defer cancel()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

func (c chain) crossOrigin(next http.Handler) http.Handler {
	if c.cors == nil {
		return next
	}
	return c.cors.Handler(next)
}

// newCORS returns nil when there is no origin to allow: rs/cors takes an empty list for all origins.
func newCORS(origins []string) *cors.Cors {
	if len(origins) == 0 {
		return nil
	}
	return cors.New(cors.Options{
		AllowedOrigins: origins,
		AllowedMethods: []string{http.MethodPost, http.MethodOptions, http.MethodGet},
		AllowedHeaders: []string{
			"accept", "content-type", "content-language", "accept-language", "authorization", "x-anonymous-customer-unique-id",
		},
		ExposedHeaders: []string{"Retry-After"},
	})
}

// recorder remembers what was answered.
type recorder struct {
	http.ResponseWriter
	status int // 0: nothing yet
	bytes  int64
}

// record returns w itself when it is a recorder already.
func record(w http.ResponseWriter) *recorder {
	if rec, ok := w.(*recorder); ok {
		return rec
	}
	return &recorder{ResponseWriter: w}
}

// WriteHeader keeps the first status, as the client sees it.
func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(p []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	n, err := r.ResponseWriter.Write(p)
	r.bytes += int64(n)
	return n, err
}

// Unwrap is for [http.ResponseController].
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
