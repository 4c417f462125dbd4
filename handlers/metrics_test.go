package handlers_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/glueauth/glueauth/handlers"
)

func TestMetricsCannotBeBlownUpFromOutside(t *testing.T) {
	t.Parallel()
	x := openShop(t, setup{})
	public, err := handlers.Public(x.config)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 500 {
		name := "x" + strings.Repeat("y", i%50) + string(rune('a'+i%26))
		r := httptest.NewRequest(http.MethodGet, "/"+name+"?"+name, nil)
		r.Method = strings.ToUpper(name)
		r.Host = name
		public.ServeHTTP(httptest.NewRecorder(), r)
		r = httptest.NewRequest(http.MethodPost, "/token", strings.NewReader(signIn+name+"&scope="+name+"&client_id="+name))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		public.ServeHTTP(httptest.NewRecorder(), r)
	}
	text := get(handlers.Admin(x.config), "/metrics").Body.String()
	series := strings.Count(text, "glueauth_http_request_duration_seconds_count{")
	if series != 2 {
		t.Errorf("%d series of requests, want /token and unknown:\n%s", series, text)
	}
	for _, want := range []string{
		`glueauth_http_request_duration_seconds_count{method="other",route="unknown",status="404"} 500`,
		`glueauth_http_request_duration_seconds_count{method="POST",route="/token",status="400"} 500`,
		"go_goroutines ", "process_open_fds ", "go_build_info{",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s", want)
		}
	}
}
