package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"glueauth": main})
}

func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script", RequireExplicitExec: true, RequireUniqueNames: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("GORACE", "halt_on_error=1 atexit_sleep_ms=100") // not a second at the end of each process
			return nil
		},
	})
}

// answering runs a command in this process, and again where it did not get an answer in time: the machine may stand still for a
// while, which no test here is about.
func answering(ctx context.Context, environ []string, stdin string, args ...string) (code int, stdout, stderr string) {
	for range 5 {
		var out, errs bytes.Buffer
		code = run(ctx, args, environ, strings.NewReader(stdin), &out, &errs)
		if stdout, stderr = out.String(), errs.String(); !strings.Contains(stderr, "redis: timeout") && !strings.Contains(stderr, "deadline exceeded") {
			break
		}
	}
	return code, stdout, stderr
}

// healthcheck runs that command in this process.
func healthcheck(ctx context.Context, environ []string) (code int, stderr string) {
	var errs bytes.Buffer
	code = run(ctx, []string{"healthcheck"}, environ, strings.NewReader(""), io.Discard, &errs)
	return code, errs.String()
}

func TestHealthcheckTellsByItsExitCode(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		answer http.HandlerFunc
		code   int
		stderr string
	}{
		{"healthy", func(http.ResponseWriter, *http.Request) {}, 0, ""},
		{"ill", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }, 1, "503 Service Unavailable"},
		{"another service", http.NotFound, 1, "404 Not Found"},
		{"sent elsewhere", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/ok", http.StatusFound) }, 1, "302 Found"},
		{"silent", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, 1, "deadline exceeded"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			mux := http.NewServeMux()
			mux.HandleFunc("GET /livez", c.answer)
			mux.HandleFunc("GET /ok", func(http.ResponseWriter, *http.Request) {})
			server := httptest.NewServer(mux)
			t.Cleanup(server.Close)
			address := strings.TrimPrefix(server.URL, "http://")
			for name, environ := range map[string][]string{
				"on the management listener": {"GLUEAUTH_ADMIN_LISTEN=" + address, "GLUEAUTH_LISTEN=127.0.0.1:1"},
				"on the public listener":     {"GLUEAUTH_ADMIN_LISTEN=", "GLUEAUTH_LISTEN=" + address},
				"on every interface":         {"GLUEAUTH_ADMIN_LISTEN=" + strings.Replace(address, "127.0.0.1", "0.0.0.0", 1)},
			} {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					code, stderr := healthcheck(t.Context(), environ)
					if c.name != "silent" && strings.Contains(stderr, "deadline exceeded") {
						code, _, stderr = answering(t.Context(), environ, "", "healthcheck")
					}
					if code != c.code || !strings.Contains(stderr, c.stderr) || strings.Count(stderr, "\n") > 1 {
						t.Errorf("exit code %d, stderr %q", code, stderr)
					}
				})
			}
		})
	}
}

func TestHealthcheckNeedsAnAddressToAsk(t *testing.T) {
	t.Parallel()
	code, stderr := healthcheck(t.Context(), []string{"GLUEAUTH_ADMIN_LISTEN=:0"})
	if code != 1 || !strings.Contains(stderr, "give it a number") {
		t.Errorf("exit code %d, stderr %q", code, stderr)
	}
}

func TestVersionIsWhatTheGoToolWrote(t *testing.T) {
	t.Parallel()
	v := versionOf(&debug.BuildInfo{
		GoVersion: "go1.26.8", Main: debug.Module{Version: "v1.2.3"},
		Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: "abc"}, {Key: "vcs.time", Value: "2026-11-01T00:00:00Z"}, {Key: "vcs.modified", Value: "true"}},
	})
	want := version{Version: "v1.2.3", Commit: "abc", Time: "2026-11-01T00:00:00Z", Modified: true, Go: "go1.26.8", Platform: v.Platform}
	if diff := cmp.Diff(want, v); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := v.String(); got != "glueauth v1.2.3 (commit abc with changes, go1.26.8 "+v.Platform+")" {
		t.Errorf("for people: %s", got)
	}
}
