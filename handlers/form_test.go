package handlers_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/glueauth/glueauth/handlers"
	"github.com/glueauth/glueauth/server"
)

// knownNames are all names of parameters that mean something, with what they mean.
var knownNames = map[string]string{
	"grant_type": "grant_type", "grantType": "grant_type", "client_id": "client_id", "clientId": "client_id",
	"client_secret": "client_secret", "clientSecret": "client_secret", "refresh_token": "refresh_token",
	"refreshToken": "refresh_token", "retry_key": "retry_key", "retryKey": "retry_key",
	"username": "username", "password": "password", "scope": "scope",
}

func formRequest(contentType string, body []byte) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/token?grant_type=query&x", bytes.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	return r
}

const urlEncoded = "application/x-www-form-urlencoded"

func TestFormsAreReadAsAWhole(t *testing.T) {
	t.Parallel()
	all := url.Values{}
	want := map[string]string{}
	for name, meaning := range knownNames {
		all.Set(name, "value of "+meaning)
		want[meaning] = "value of " + meaning
	}
	part := func(header, value string) string { return "--b\r\n" + header + "\r\n\r\n" + value + "\r\n" }
	const disposition = `Content-Disposition: form-data; name="scope"`
	for name, test := range map[string]struct {
		kind, body string
		want       map[string]string
	}{
		"every name":                     {urlEncoded, all.Encode(), want},
		"empty":                          {urlEncoded, "", map[string]string{}},
		"only separators":                {urlEncoded, "&&=&&", map[string]string{}},
		"name without value":             {urlEncoded, "scope", map[string]string{"scope": ""}},
		"equals signs in a value":        {urlEncoded, "scope=a=b=", map[string]string{"scope": "a=b="}},
		"semicolons":                     {urlEncoded, "scope=a;grant_type=b;c", map[string]string{"scope": "a;grant_type=b;c"}},
		"plus and escapes":               {urlEncoded, "scope=+%2B%26%00%e2%82%AC", map[string]string{"scope": " +&\x00€"}},
		"escaped name":                   {urlEncoded, "%73cope=x", map[string]string{"scope": "x"}},
		"byte order mark":                {urlEncoded, "\ufeffscope=x", map[string]string{}},
		"other names":                    {urlEncoded, "scope[]=x&scope.=x&scope+=x&+scope=x&Scope=x&sc_ope=x", map[string]string{}},
		"unknown bytes elsewhere":        {urlEncoded, "%fe=%ff&scope=x", map[string]string{"scope": "x"}},
		"the most parameters":            {urlEncoded, strings.Repeat("a&", handlers.MaxParameters-1) + "a", map[string]string{}},
		"multipart":                      {"multipart/form-data; boundary=b", part(disposition, "ä\x00\r\nb") + "--b--", map[string]string{"scope": "ä\x00\r\nb"}},
		"multipart, quoted boundary":     {`Multipart/Form-Data; charset=x; boundary="b"`, part(disposition, "x") + "--b--\r\nepilogue", map[string]string{"scope": "x"}},
		"multipart, no parts":            {"multipart/form-data; boundary=b", "--b--\r\n", map[string]string{}},
		"multipart, transfer encoding":   {"multipart/form-data; boundary=b", part(disposition+"\r\nContent-Transfer-Encoding: quoted-printable", "=41") + "--b--", map[string]string{"scope": "=41"}},
		"multipart, upload":              {"multipart/form-data; boundary=b", part(disposition+`; filename=""`, "x") + "--b--", map[string]string{}},
		"multipart, another disposition": {"multipart/form-data; boundary=b", part(`Content-Disposition: attachment; name="scope"`, "x") + "--b--", map[string]string{}},
	} {
		got, err := handlers.DecodeForm(formRequest(test.kind, []byte(test.body)))
		if diff := cmp.Diff(test.want, got); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", name, err, diff)
		}
	}
}

func TestBrokenFormsAreNotReadAtAll(t *testing.T) {
	t.Parallel()
	const multipart = "multipart/form-data; boundary=b"
	part := "--b\r\nContent-Disposition: form-data; name=\"scope\"\r\n\r\nx\r\n"
	for name, test := range map[string]struct{ kind, body string }{
		"bad escape":                   {urlEncoded, "scope=x&y=%zz"},
		"half an escape":               {urlEncoded, "scope=x&y=%f"},
		"bad escape in a name":         {urlEncoded, "scope=x&%=y"},
		"two values":                   {urlEncoded, "scope=x&scope=y"},
		"two spellings":                {urlEncoded, "grant_type=x&grantType=y"},
		"two values and a third equal": {urlEncoded, "scope=x&scope=y&scope=x"},
		"not UTF-8":                    {urlEncoded, "scope=%c3%28"},
		"surrogate":                    {urlEncoded, "scope=%ed%a0%80"},
		"too many":                     {urlEncoded, strings.Repeat("a&", handlers.MaxParameters) + "scope=x"},
		"20,000 parameters":            {urlEncoded, strings.Repeat("a=b&", 15_000)},
		"multipart, empty":             {multipart, ""},
		"multipart, no end":            {multipart, part},
		"multipart, cut in the value":  {multipart, strings.TrimSuffix(part, "\r\n")},
		"multipart, cut in the header": {multipart, part + "--b\r\nContent-Dis"},
		"multipart, two values":        {multipart, part + strings.Replace(part, "x", "y", 1) + "--b--"},
		"multipart, other boundary":    {multipart, strings.ReplaceAll(part+"--b--", "--b", "--c")},
		"multipart, no boundary":       {"multipart/form-data", part + "--b--"},
		"multipart, no disposition":    {multipart, "--b\r\nX: y\r\n\r\nx\r\n--b--"},
		"multipart, two dispositions":  {multipart, "--b\r\nContent-Disposition: form-data; name=scope\r\nContent-Disposition: form-data; name=x\r\n\r\nx\r\n--b--"},
		"multipart, two names":         {multipart, "--b\r\nContent-Disposition: form-data; name=scope; name=x\r\n\r\nx\r\n--b--"},
		"multipart, not UTF-8":         {multipart, strings.Replace(part, "\r\nx\r\n", "\r\n\xff\r\n", 1) + "--b--"},
		"multipart, too many":          {multipart, strings.Repeat("--b\r\nContent-Disposition: form-data\r\n\r\n\r\n", handlers.MaxParameters+1) + "--b--"},
	} {
		got, err := handlers.DecodeForm(formRequest(test.kind, []byte(test.body)))
		if got != nil || server.CodeOf(err) != server.Malformed {
			t.Errorf("%s: %v %v", name, got, err)
		}
	}
}

// A network that was too slow is no fault of the customer's token: his client is to come again.
func TestABodyThatBreaksOffIsMalformedAndOneThatIsLateIsNot(t *testing.T) {
	t.Parallel()
	late := &net.OpError{Op: "read", Net: "tcp", Err: os.ErrDeadlineExceeded}
	for fault, want := range map[error]server.Code{io.ErrUnexpectedEOF: server.Malformed, late: server.Unavailable} {
		r := httptest.NewRequest(http.MethodPost, "/token", io.MultiReader(strings.NewReader(signIn), iotest.ErrReader(fault)))
		r.Header.Set("Content-Type", urlEncoded)
		if got, err := handlers.DecodeForm(r); got != nil || server.CodeOf(err) != want {
			t.Errorf("%v: %v %v, want %s", fault, got, err, want)
		}
	}
}

// Not parallel: it counts what is allocated meanwhile.
func TestDecodingTakesMemoryInProportion(t *testing.T) { //nolint:paralleltest // see above
	worst := map[string]*http.Request{
		"parameters": formRequest(urlEncoded, []byte(strings.Repeat("a&", handlers.MaxBody/2))),
		"allowed":    formRequest(urlEncoded, bytes.Repeat([]byte(strings.Repeat("x", 60)+"=y&"), handlers.MaxParameters-10)),
		"value":      formRequest(urlEncoded, []byte("password="+strings.Repeat("%41", handlers.MaxBody/3-9))),
		"parts":      formRequest("multipart/form-data; boundary=b", bytes.Repeat([]byte("--b\r\nContent-Disposition: form-data; name=a\r\n\r\n\r\n"), 1300)),
		"header": formRequest("multipart/form-data; boundary=b", []byte("--b\r\nContent-Disposition: form-data; name=a"+
			strings.Repeat("; a=b", 5000)+"\r\n\r\n\r\n--b--")),
		"headers": formRequest("multipart/form-data; boundary=b", []byte("--b\r\n"+strings.Repeat("a: b\r\n", 9000)+"\r\n\r\n--b--")),
	}
	for _, name := range slices.Sorted(maps.Keys(worst)) {
		size := worst[name].ContentLength
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := handlers.DecodeForm(worst[name])
		runtime.ReadMemStats(&after)
		took := int64(after.TotalAlloc - before.TotalAlloc)
		t.Logf("%s: %d bytes for a body of %d (%v)", name, took, size, err)
		if took > 4<<20 {
			t.Errorf("%s: %d bytes allocated for a body of %d", name, took, size)
		}
	}
}

func FuzzDecodeForm(f *testing.F) {
	for _, seed := range []string{signIn, "grant_type=a&grantType=b", "%zz", "a;b", "scope=%ff", "&&=", "scope=a&scope=%61"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := handlers.DecodeForm(formRequest(urlEncoded, body))
		checkForm(t, got, err)
		if err != nil {
			return
		}
		values, err := url.ParseQuery(strings.ReplaceAll(string(body), ";", "%3B"))
		if err != nil {
			t.Fatalf("a form with %v was read as %q", err, got)
		}
		want := map[string]string{}
		for name, all := range values {
			if meaning, ok := knownNames[name]; ok {
				want[meaning] = all[len(all)-1] // whichever: they are all equal
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}

func FuzzDecodeMultipart(f *testing.F) {
	f.Add([]byte("--b\r\nContent-Disposition: form-data; name=\"scope\"\r\n\r\nx\r\n--b--\r\n"), "b")
	f.Add([]byte("--b\nContent-Disposition: form-data; name=\"scope\"; filename=x\n\nx\n--b--"), "b")
	f.Add([]byte("--b--"), "b")
	f.Add([]byte("--b\r\n\r\n--b\r\n"), " b\"")
	f.Fuzz(func(t *testing.T, body []byte, boundary string) {
		got, err := handlers.DecodeForm(formRequest(fmt.Sprintf("multipart/form-data; boundary=%q", boundary), body))
		checkForm(t, got, err)
	})
}

// checkForm checks what holds for every body: all or nothing, known names only, and a refusal out of the closed set.
func checkForm(t *testing.T, got map[string]string, err error) {
	t.Helper()
	if (got == nil) != (err != nil) {
		t.Fatalf("read in part: %v %v", got, err)
	}
	if code := server.CodeOf(err); err != nil && code != server.Malformed && !slices.Contains(handlers.OwnCodes(), code) {
		t.Fatalf("refused with %s", code)
	}
	for name, value := range got {
		if knownNames[name] != name || !utf8.ValidString(value) {
			t.Fatalf("read %q=%q", name, value)
		}
	}
}

func FuzzBasic(f *testing.F) {
	for _, seed := range []string{"Basic bWlkZGxld2FyZTphYmMxMjM=", "basic Og==", "Basic", "Bearer x", "", " ", "Basic  YTpi", "Basic JTp6", "Basic /zr/"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		sent, id, password, err := handlers.DecodeBasic(http.Header{"Authorization": {header}})
		scheme, _, _ := strings.Cut(header, " ")
		switch {
		case sent != strings.EqualFold(scheme, "basic"):
			t.Fatalf("%q: taken for Basic: %v", header, sent)
		case err != nil || !sent:
			if id != "" || password != "" || err != nil && server.CodeOf(err) != server.InvalidClient {
				t.Fatalf("%q: read in part: %q %v", header, id, err)
			}
		default:
			checkBasic(t, id, password)
		}
	})
}

// checkBasic checks what was read: it is a client, and it comes back when it is written as RFC 6749 says.
func checkBasic(t *testing.T, id, password string) {
	t.Helper()
	if id == "" || !utf8.ValidString(id) || !utf8.ValidString(password) {
		t.Fatalf("%q %q", id, password)
	}
	again := "Basic " + base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(id)+":"+url.QueryEscape(password)))
	_, id2, password2, err := handlers.DecodeBasic(http.Header{"Authorization": {again}})
	if err != nil || id2 != id || password2 != password {
		t.Fatalf("%q %q came back as %q %q %v", id, password, id2, password2, err)
	}
}
