package handlers

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/server"
)

const (
	maxBody       = 64 << 10 // bytes of a request body
	maxParameters = 1000     // of a form, known ones and others; PHP's limit
)

// The parameters we know, by their names in the form. Each has a second spelling, see [parameter].
const (
	paramGrantType    = "grant_type"
	paramClientID     = "client_id"
	paramClientSecret = "client_secret"
	paramUsername     = "username"
	paramPassword     = "password"
	paramRefreshToken = "refresh_token"
	paramScope        = "scope"
	paramRetryKey     = "retry_key"
	paramToken        = "token"
	paramSessions     = "sessions"
	paramWho          = "who" // of the management API
)

// parameter returns the name of the known parameter that a form calls name. Like the reference, forms may write
// snake_case or camelCase; all other names (name[], name with a dot or a space) are nobody's.
func parameter(name string) (string, bool) {
	switch name {
	case paramGrantType, "grantType":
		return paramGrantType, true
	case paramClientID, "clientId":
		return paramClientID, true
	case paramClientSecret, "clientSecret":
		return paramClientSecret, true
	case paramRefreshToken, "refreshToken":
		return paramRefreshToken, true
	case paramRetryKey, "retryKey":
		return paramRetryKey, true
	case paramUsername, paramPassword, paramScope, paramToken, paramSessions, paramWho:
		return name, true
	default:
		return "", false
	}
}

// form holds the known parameters that were sent. All values are typed as secrets, since some are.
type form map[string]secret.Text

// get returns the value, nil when it was not sent.
func (f form) get(name string) *secret.Text {
	if value, sent := f[name]; sent {
		return &value
	}
	return nil
}

// add takes one parameter in. The same parameter may come twice only with the same value: whoever stands before us and
// reads the first, or the last, must not see another request than we do.
func (f form) add(name, value string) error {
	name, known := parameter(name)
	if !known {
		return nil
	}
	if !utf8.ValidString(value) {
		return malformed("parameter " + name + " is not UTF-8")
	}
	if old, twice := f[name]; twice && old.Reveal() != value {
		return malformed("parameter " + name + " has two values")
	}
	f[name] = secret.Text(value)
	return nil
}

// decodeForm reads the body, once and as a whole: either all of it is a form, or the error says why none of it is. The
// query string is never looked at.
func decodeForm(r *http.Request) (form, error) {
	kind, parameters, err := bodyType(r.Header)
	if err != nil {
		return nil, err
	}
	body, err := readBody(r)
	if err != nil {
		return nil, err
	}
	switch {
	case kind == "" && len(body) == 0:
		return form{}, nil // nothing was sent
	case kind == "application/x-www-form-urlencoded":
		return decodeURLEncoded(string(body))
	case kind == "multipart/form-data":
		return decodeMultipart(body, parameters["boundary"])
	default:
		return nil, &server.Error{Code: codeBodyType}
	}
}

// bodyType returns the media type of the body and its parameters, or an empty one when there is no header. A parameter
// that cannot be read, such as an odd charset, is no reason to refuse: forms are UTF-8 whatever it says.
func bodyType(h http.Header) (kind string, parameters map[string]string, err error) {
	for _, coding := range h["Content-Encoding"] {
		if coding != "" && !strings.EqualFold(coding, "identity") {
			return "", nil, &server.Error{Code: codeBodyType, Cause: errors.New("the body is compressed")}
		}
	}
	types := h["Content-Type"]
	if len(types) == 0 {
		return "", nil, nil
	}
	kind, parameters, err = mime.ParseMediaType(types[0])
	if len(types) > 1 || err != nil && !errors.Is(err, mime.ErrInvalidMediaParameter) {
		return "", nil, &server.Error{Code: codeBodyType, Cause: errors.New("unreadable content type")}
	}
	return kind, parameters, nil
}

func readBody(r *http.Request) ([]byte, error) {
	if r.ContentLength > maxBody {
		return nil, &server.Error{Code: codeTooLarge}
	}
	body, err := io.ReadAll(r.Body)
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return nil, &server.Error{Code: codeTooLarge}
	}
	if errors.Is(err, os.ErrDeadlineExceeded) { // the network's fault, and no verdict
		return nil, &server.Error{Code: server.Unavailable, Cause: errors.New("the body did not come in time")}
	}
	if err != nil {
		return nil, malformed("the body broke off") // err may quote a trailer
	}
	return body, nil
}

// decodeURLEncoded refuses bad escapes. A semicolon is part of a value, as it is for PHP and for browsers: people have it in
// their passwords.
func decodeURLEncoded(body string) (form, error) {
	if strings.Count(body, "&") >= maxParameters {
		return nil, malformed("too many parameters")
	}
	values, err := url.ParseQuery(strings.ReplaceAll(body, ";", "%3B"))
	if err != nil {
		return nil, malformed("bad escape in the form") // err quotes the body
	}
	f := form{}
	for name, all := range values {
		for _, value := range all {
			if err := f.add(name, value); err != nil {
				return nil, err
			}
		}
	}
	return f, nil
}

// decodeMultipart reads RFC 7578. Parts with a file name are uploads, not parameters, as for PHP; transfer encodings are
// not undone, as for PHP too.
func decodeMultipart(body []byte, boundary string) (form, error) {
	if boundary == "" {
		return nil, malformed("multipart body without boundary")
	}
	parts := multipart.NewReader(bytes.NewReader(body), boundary)
	f := form{}
	for range maxParameters {
		part, err := parts.NextRawPart()
		if err == io.EOF { // the closing boundary; a body that just ends is another error
			return f, nil
		}
		if err != nil {
			return nil, malformed("unreadable multipart body") // err quotes the body
		}
		if err := f.addPart(part); err != nil {
			return nil, err
		}
	}
	return nil, malformed("too many parameters")
}

func (f form) addPart(part *multipart.Part) error {
	value, err := io.ReadAll(part)
	if err != nil {
		return malformed("unreadable multipart body")
	}
	dispositions := part.Header["Content-Disposition"]
	if len(dispositions) != 1 {
		return malformed("multipart part without its one content disposition")
	}
	kind, parameters, err := mime.ParseMediaType(dispositions[0])
	if err != nil {
		return malformed("unreadable content disposition")
	}
	if _, upload := parameters["filename"]; upload || kind != "form-data" {
		return nil
	}
	return f.add(parameters["name"], string(value))
}

// malformed is a request that cannot be; the reason is for the log and quotes nothing of the request.
func malformed(reason string) *server.Error {
	return &server.Error{Code: server.Malformed, Cause: errors.New(reason)}
}
