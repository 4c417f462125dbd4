package handlers

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strconv"

	"github.com/glueauth/glueauth/server"
)

// The codes that only HTTP has; they stand in the same table as the core's.
const (
	codeMethod     server.Code = "method"
	codeManagement server.Code = "management"
	codeBodyType   server.Code = "body_type"
	codeTooLarge   server.Code = "body_too_large"
	codeNotFound   server.Code = "not_found"
	codeNoToken    server.Code = "no_token"
)

// The reference's two long texts.
const (
	textLong = "The provided authorization grant (e.g., authorization code, resource owner credentials) or refresh token " +
		"is invalid, expired, revoked, does not match the redirection URI used in the authorization request, " +
		"or was issued to another client."
	textMalformed = "The request is missing a required parameter, includes an invalid parameter value, " +
		"includes a parameter more than once, or is otherwise malformed."
)

// One of them is sent with every 401 (RFC 6749 §5.2, RFC 6750 §3).
const (
	challenge           = `Basic realm="glueauth"`
	managementChallenge = `Bearer realm="glueauth management"`
	nobodyChallenge     = `Bearer realm="glueauth"` // without an error where nothing was sent
	invalidChallenge    = nobodyChallenge + `, error="invalid_token"`
)

// answer is what a code is on the wire. The members of its body stand in the reference's order.
type answer struct {
	status int
	Error  string `json:"error"`
	Text   string `json:"error_description"`
}

// row holds the answers of one code, by dialect.
type row struct{ glue, rfc6749 answer }

// failureTable returns the row of each code.
func failureTable() map[server.Code]row {
	same := func(status int, name, text string) row {
		a := answer{status, name, text}
		return row{a, a}
	}
	const badRequest, invalidRequest, clientFailed = http.StatusBadRequest, "invalid_request", "Client authentication failed"
	long := answer{badRequest, "invalid_grant", textLong}
	return map[server.Code]row{
		server.MissingGrant:     {long, answer{badRequest, invalidRequest, textMalformed}},
		server.UnsupportedGrant: {long, answer{badRequest, "unsupported_grant_type", "The grant type is not supported."}},
		server.InvalidClient: {
			answer{badRequest, "invalid_client", clientFailed},
			answer{http.StatusUnauthorized, "invalid_client", clientFailed},
		},
		server.MissingParameter: same(badRequest, invalidRequest, textMalformed),
		server.Malformed:        same(badRequest, invalidRequest, textMalformed),
		server.WrongCredentials: same(badRequest, "invalid_grant", "The user credentials were incorrect."),
		server.BadRefreshToken: {
			answer{badRequest, invalidRequest, "The refresh token is invalid."},
			answer{badRequest, "invalid_grant", "The refresh token is invalid."},
		},
		server.InvalidScope: same(badRequest, "invalid_scope", "The requested scope is invalid, unknown, or malformed"),
		server.BadAccessToken: same(http.StatusUnauthorized, "invalid_token",
			"The access token is expired, revoked, malformed, or invalid for other reasons."),
		server.NotAllowed:   same(http.StatusForbidden, "unauthorized_client", "This client may not do that."),
		server.NothingFound: same(http.StatusNotFound, "not_found", "Nothing is known by that."),
		server.Limited:      same(http.StatusTooManyRequests, "temporarily_unavailable", "Too many attempts. Try again later."),
		server.Unavailable:  same(http.StatusServiceUnavailable, "temporarily_unavailable", "Try again in a moment."),
		server.Internal:     same(http.StatusInternalServerError, "server_error", "Internal error."),

		codeMethod:   same(http.StatusMethodNotAllowed, invalidRequest, ""), // the route says which method to use
		codeBodyType: same(badRequest, invalidRequest, "Send application/x-www-form-urlencoded or multipart/form-data."),
		codeTooLarge: same(http.StatusRequestEntityTooLarge, invalidRequest, "The request body is too large."),
		codeNotFound: same(http.StatusNotFound, invalidRequest, "Not found."),

		codeNoToken:    same(http.StatusUnauthorized, "invalid_token", "Send an access token as a bearer token."),
		codeManagement: same(http.StatusUnauthorized, "invalid_token", "Send admin_secret as a bearer token."),
	}
}

// failure is why a request got no better answer.
type failure struct {
	err     error          // its code decides the answer
	dialect server.Dialect // empty: as glue; an answer that differs by dialect is never made before it is known
	basic   bool           // the client presented itself by HTTP Basic
	text    string         // instead of the table's, if not empty
}

// failures writes failures, and nothing else in this package does.
type failures struct {
	table  map[server.Code]row
	logger *slog.Logger
	random io.Reader
}

func newFailures(c Config) *failures {
	return &failures{table: failureTable(), logger: c.Logger, random: c.Random}
}

// write answers with the failure, and logs the cause that the client is not told.
func (f *failures) write(w http.ResponseWriter, r *http.Request, x failure) {
	code := server.CodeOf(x.err)
	f.log(r.Context(), code, x.err)
	a := f.answer(code, x)
	if x.text != "" {
		a.Text = x.text
	}
	h := w.Header()
	switch a.status {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", challengeOf(code))
	case http.StatusServiceUnavailable:
		h.Set("Retry-After", f.retryAfter())
	case http.StatusTooManyRequests:
		h.Set("Retry-After", lockLeft(x.err))
	case http.StatusRequestEntityTooLarge:
		h.Set("Connection", "close") // nobody reads the rest
	}
	writeJSON(w, a.status, a)
}

func challengeOf(code server.Code) string {
	switch code {
	case codeManagement:
		return managementChallenge
	case codeNoToken:
		return nobodyChallenge
	case server.BadAccessToken:
		return invalidChallenge
	default:
		return challenge
	}
}

// answer looks the failure up. A client that failed by HTTP Basic is told so as RFC 6749 §5.2 demands, in both dialects.
func (f *failures) answer(code server.Code, x failure) answer {
	row, known := f.table[code]
	if !known {
		row = f.table[server.Internal]
	}
	if x.dialect == server.RFC6749 || code == server.InvalidClient && x.basic {
		return row.rfc6749
	}
	return row.glue
}

// retryAfter returns 1 to 3 seconds, so that those who were turned away do not come back all at once.
func (f *failures) retryAfter() string {
	var b [1]byte
	if _, err := io.ReadFull(f.random, b[:]); err != nil {
		return "2"
	}
	return strconv.Itoa(1 + int(b[0])%3)
}

// lockLeft returns the seconds left of a lock, at least one.
func lockLeft(err error) string {
	e, _ := errors.AsType[*server.Error](err)
	return strconv.FormatInt(max(1, int64(e.RetryAfter.Seconds())), 10)
}

func (f *failures) log(ctx context.Context, code server.Code, err error) {
	level := slog.LevelDebug
	switch {
	case code == server.Internal:
		level = slog.LevelError
	case code == server.Unavailable && !errors.Is(ctx.Err(), context.Canceled): // not for a client that went away
		level = slog.LevelWarn
	}
	f.logger.LogAttrs(ctx, level, "request failed", slog.String("code", string(code)), slog.Any("cause", err))
}

// writeJSON writes an answer that nobody may keep.
func writeJSON(w http.ResponseWriter, status int, body any) {
	text := encodeJSON(body)
	noStore(w.Header())
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	_, _ = w.Write(text) // fails only when the client is gone
}

func encodeJSON(body any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(body); err != nil {
		panic(err) // of a struct of strings and integers
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// noStore forbids keeping and guessing at an answer (RFC 6749 §5.1).
func noStore(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("Pragma", "no-cache")
	h.Set("X-Content-Type-Options", "nosniff")
}
