package handlers

import (
	"net/http"

	"github.com/glueauth/glueauth/server"
)

// The tables and limits that tests walk.
const (
	MaxBody       = maxBody
	MaxParameters = maxParameters
	TextLong      = textLong
	TextMalformed = textMalformed
	Challenge     = challenge
)

// OwnCodes are the codes that only HTTP has.
func OwnCodes() []server.Code {
	return []server.Code{codeMethod, codeBodyType, codeTooLarge, codeNotFound, codeManagement, codeNoToken}
}

// TableCodes are the codes that the table of failures has rows for.
func TableCodes() []server.Code {
	var codes []server.Code
	for code := range failureTable() {
		codes = append(codes, code)
	}
	return codes
}

// WriteFailure writes a failure as an endpoint of c would.
func WriteFailure(c Config, w http.ResponseWriter, r *http.Request, err error, d server.Dialect, basic bool) {
	newFailures(c).write(w, r, failure{err: err, dialect: d, basic: basic})
}

// Wrap puts what stands before every endpoint before h, under the route /test.
func Wrap(c Config, h http.HandlerFunc) http.Handler {
	return newRouter(c, newFailures(c), []route{{paths: []string{"/test"}, methods: []string{http.MethodGet}, serve: h}})
}

// DecodeForm is [decodeForm], with the values in clear.
func DecodeForm(r *http.Request) (map[string]string, error) {
	f, err := decodeForm(r)
	if f == nil {
		return nil, err
	}
	clear := map[string]string{}
	for name, value := range f {
		clear[name] = value.Reveal()
	}
	return clear, err
}

// DecodeBasic is [decodeBasic], in clear.
func DecodeBasic(h http.Header) (sent bool, id, password string, err error) {
	b, err := decodeBasic(h)
	return b.sent, b.id, b.secret.Reveal(), err
}
