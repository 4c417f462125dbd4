package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/glueauth/glueauth/config/secret"
)

func TestCustomersOfAShop(t *testing.T) {
	t.Parallel()
	const url = "postgres://u:c4n4ry@h/shop"
	inFile := filepath.Join(t.TempDir(), "url")
	if err := os.WriteFile(inFile, []byte(url+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	type customers struct {
		source string
		url    secret.Text
		query  string
		file   string
	}
	for name, c := range map[string]struct {
		file string
		env  []string
		want customers
	}{
		"in the file":        {"customers: {source: spryker, url: \"" + url + "\"}\n", nil, customers{source: "spryker", url: url}},
		"in the environment": {"", []string{"GLUEAUTH_CUSTOMERS_SOURCE=spryker", "GLUEAUTH_CUSTOMERS_URL=" + url}, customers{source: "spryker", url: url}},
		"the URL in a file":  {"customers: {source: spryker}\n", []string{"GLUEAUTH_CUSTOMERS_URL_FILE=" + inFile}, customers{source: "spryker", url: url}},
		"a query in lines": {
			"customers:\n  source: sql\n  url: " + url + "\n  query: |\n    SELECT 1\n    FROM people\n", nil,
			customers{source: "sql", url: url, query: "SELECT 1\nFROM people\n"},
		},
	} {
		got := mustLoad(t, c.file, c.env, nil)
		people := got.Customers
		if diff := cmp.Diff(c.want, customers{people.Source, people.URL, people.Query, people.File}, cmp.AllowUnexported(customers{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		var b strings.Builder
		if err := got.Print(&b); err != nil || strings.Contains(b.String(), "c4n4ry") {
			t.Errorf("%s: error %v, printed as\n%s", name, err, b.String())
		}
	}
}

func TestCustomersThatDoNotFitTogether(t *testing.T) {
	t.Parallel()
	const url = "url: \"postgres://u:c4n4ry@h/shop\""
	for file, want := range map[string]string{
		"customers: {" + url + "}":                                         "customers.source is file, but customers.url is set: set the source to spryker or sql, or leave the url out",
		"customers: {source: spryker}":                                     "customers.source is spryker, but customers.url is not set: give it the URL of the shop's database",
		"customers: {source: spryker, file: f, " + url + "}":               "customers.source is spryker, but customers.file is set: leave it out",
		"demo: true\ncustomers: {source: spryker, " + url + "}":            "customers.source is spryker, but demo is set, which adds a customer: leave it out, or set the source to file",
		"customers: {source: sql, " + url + "}":                            "customers.source is sql, but customers.query is not set: write the SELECT that returns the customers, or set the source to spryker",
		"customers: {source: spryker, query: SELECT 1, " + url + "}":       "customers.source is spryker, but customers.query is set: set the source to sql, or leave the query out",
		"customers: {query: SELECT 1}":                                     "customers.source is file, but customers.query is set: set the source to sql, or leave the query out",
		"customers: {source: spryker, url: \"\"}":                          "is empty: give it a URL, or leave it out with customers.source: file",
		"customers: {source: sqlite}":                                      "must be file, spryker or sql",
		"customers: {source: spryker, url_file: /nowhere, " + url + "}":    "are both given: keep one of them",
		"customers: {source: spryker, url_file: /nowhere/glueauth-secret}": "customers.url_file",
	} {
		_, err := load(t, file+"\n", nil, nil)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "c4n4ry") {
			t.Errorf("%s: %v, want %s", file, err, want)
		}
	}
}
