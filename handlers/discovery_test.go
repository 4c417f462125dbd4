package handlers_test

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/glueauth/glueauth/handlers"
	"github.com/glueauth/glueauth/server"
)

func TestWithoutAnIntrospectorNobodyIsAskedAndNothingIsPromised(t *testing.T) {
	t.Parallel()
	x := openShop(t, setup{issuer: "https://login.example"})
	x.config.Introspector = nil
	public, err := handlers.Public(x.config)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/introspect", "/introspect/", "/verify"} {
		if w := get(public, path); w.Code != http.StatusNotFound {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	w := get(public, "/.well-known/oauth-authorization-server")
	if w.Code != http.StatusOK || strings.Contains(w.Body.String(), "introspection") {
		t.Errorf("metadata: %d %s", w.Code, w.Body)
	}
}

func TestAnIssuerThatIsNoURLIsRefused(t *testing.T) {
	t.Parallel()
	x := openShop(t, setup{})
	for _, issuer := range []string{"shop", "https://", "https://login.example/?x=1", "https://login.example/#x", "https://login.example/%zz"} {
		settings := x.core
		settings.Issuer = issuer
		core, err := server.New(settings)
		if err != nil {
			t.Fatal(err)
		}
		c := x.config
		c.Server = core
		if _, err := handlers.Public(c); err == nil {
			t.Errorf("%s: accepted", issuer)
		}
	}
}

func TestThePublicKeysAreOnTheManagementListenerAsPEM(t *testing.T) {
	t.Parallel()
	x := openShop(t, setup{})
	w := get(handlers.Admin(x.config), "/keys.pem")
	block, rest := pem.Decode(w.Body.Bytes())
	if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "application/x-pem-file" || block == nil || len(rest) > 0 {
		t.Fatalf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	if _, err := x509.ParsePKIXPublicKey(block.Bytes); err != nil || block.Type != "PUBLIC KEY" {
		t.Errorf("%s: %v", block.Type, err)
	}
	posted := httptest.NewRecorder()
	if handlers.Admin(x.config).ServeHTTP(posted, httptest.NewRequest(http.MethodPost, "/keys.pem", nil)); posted.Code != http.StatusMethodNotAllowed {
		t.Errorf("posted: %d", posted.Code)
	}
	x.config.PEM = func() ([]byte, error) { return nil, errors.New("no keys") }
	if w := get(handlers.Admin(x.config), "/keys.pem"); w.Code != http.StatusInternalServerError || strings.Contains(w.Body.String(), "no keys") {
		t.Errorf("keys that cannot be written: %d %s", w.Code, w.Body)
	}
	x.config.PEM = nil
	if w := get(handlers.Admin(x.config), "/keys.pem"); w.Code != http.StatusNotFound {
		t.Errorf("no keys: %d", w.Code)
	}
}

// A customer's reference is the shop's text: whatever stands in it, it makes no second header and is read back exactly.
// TestAGatewayThatAsksForTheSessionInOtherWordsIsTold : else it would believe that sessions are looked at.
func TestAGatewayThatAsksForTheSessionInOtherWordsIsTold(t *testing.T) {
	t.Parallel()
	x := openShop(t, setup{})
	for query, want := range map[string]int{
		"": http.StatusUnauthorized, "active=1": http.StatusUnauthorized, "x=1&active=1": http.StatusUnauthorized, // where no token is sent
		"active=true": http.StatusBadRequest, "active=": http.StatusBadRequest, "active": http.StatusBadRequest, "active=1&active=1": http.StatusBadRequest,
		"Active=1": http.StatusBadRequest, "ACTIVE=1&active=1": http.StatusBadRequest, "active=%zz": http.StatusBadRequest,
	} {
		a := x.do(t, http.MethodGet, "/verify?"+query, nil)
		if told := strings.Contains(a.body, "send active=1"); a.status != want || told != (want == http.StatusBadRequest) {
			t.Errorf("%q: %d %s", query, a.status, a.body)
		}
	}
}

func TestAReferenceFitsIntoAHeader(t *testing.T) {
	t.Parallel()
	x := openShop(t, setup{})
	for reference, want := range map[string]string{
		"DE--21": "DE--21", "a b/c%d": "a%20b%2Fc%25d", "x\r\nX-Customer-Id: 1": "x%0D%0AX-Customer-Id:%201", "Müller": "M%C3%BCller",
	} {
		if _, err := x.file.Write.ExecContext(t.Context(), `UPDATE customers SET customer_reference = ? WHERE id_customer = 21`, reference); err != nil {
			t.Fatal(err)
		}
		a := x.do(t, http.MethodGet, "/verify", nil, "Authorization", "Bearer "+x.tokens(t, signIn).Access)
		if got := a.header.Values("X-Customer-Reference"); a.status != http.StatusOK || len(got) != 1 || got[0] != want ||
			a.header.Get("X-Customer-Id") != "21" {
			t.Errorf("%q: %d %v", reference, a.status, a.header)
		}
	}
}
