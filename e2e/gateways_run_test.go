package e2e_test

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// runningGateway is a gateway, and the API behind it.
type runningGateway struct {
	gateway
	sample gatewaySample
	mu     sync.Mutex
	seen   seenRequest
}

// seenRequest is what the API got.
type seenRequest struct {
	method, uri, body string
	header            http.Header
}

// spellings are the names that an API in PHP takes for this one.
func spellings(name string) []string {
	all := []string{""}
	for i, part := range strings.Split(name, "-") {
		var longer []string
		for _, before := range all {
			if i == 0 {
				longer = append(longer, part)
				continue
			}
			for _, sign := range []string{"-", "_", "."} {
				longer = append(longer, before+sign+part)
			}
		}
		all = longer
	}
	return all
}

// customer is what the headers say of him, by names that PHP takes for ours.
func (r seenRequest) customer() map[string]string {
	all := map[string]string{}
	for name, values := range r.header {
		plain := strings.ToLower(strings.NewReplacer("_", "-", ".", "-").Replace(name))
		if text := strings.Join(values, ","); text != "" && (strings.HasPrefix(plain, "x-customer-") || plain == "x-scopes") {
			all[name] = text
		}
	}
	return all
}

func (g *runningGateway) last() seenRequest {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.seen
}

func (g *runningGateway) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.seen = seenRequest{r.Method, r.RequestURI, string(body), r.Header.Clone()}
	g.passed.Add(1)
}

// ask returns the status, and the scheme of the challenge after it.
func (g *runningGateway) ask(t *testing.T, authorization ...string) string {
	t.Helper()
	answer := strings.Fields(g.gateway.ask(t, authorization...))
	return strings.Join(answer[:min(2, len(answer))], " ")
}

// settled asks again while glueauth is too busy to say, which is no word on the token.
func (g *runningGateway) settled(t *testing.T, authorization ...string) (answer string) {
	t.Helper()
	eventually(t, startLimit, func() error {
		if answer = g.ask(t, authorization...); answer[0] == '5' {
			return errors.New(answer)
		}
		return nil
	})
	return answer
}

// run starts the sample and returns when it answers.
func (s *gatewayScene) run(t *testing.T, sample gatewaySample) *runningGateway {
	t.Helper()
	g := &runningGateway{sample: sample}
	api := httptest.NewServer(g)
	t.Cleanup(api.Close)
	listen := freeAddress(t)
	g.url = "http://" + listen
	// nginx and Apache, when root starts them, let another account do the work, which must get at its files.
	dir, err := os.MkdirTemp("", "gateway-") //nolint:usetesting // another account has to get there
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := sample.command(t, s, gatewayPlace{sample.file, dir, listen, api.Listener.Addr().String()})
	cmd.Env = append(environment(dir), cmd.Env...)
	journal, exited := foreground(t, cmd)
	t.Cleanup(func() {
		if t.Failed() {
			lines := strings.Split(journal.String(), "\n")
			t.Logf("%s:\n%s", sample.name, strings.Join(lines[max(0, len(lines)-20):], "\n"))
		}
	})
	eventually(t, startLimit, func() error {
		select {
		case <-exited:
			t.Fatalf("%s ended: %v\n%s", sample.name, cmd.ProcessState, journal)
		default:
		}
		response, err := http.Get(g.url)
		if err != nil {
			return err
		}
		if err := response.Body.Close(); err != nil || response.StatusCode != http.StatusUnauthorized && strings.Fields(sample.lost)[0] != fmt.Sprint(response.StatusCode) {
			return errors.Join(err, fmt.Errorf("%s answers %s without a token", sample.name, response.Status))
		}
		return nil
	})
	return g
}

// foreground runs a program until the test is over, and returns what it writes and when it has ended.
func foreground(t *testing.T, cmd *exec.Cmd) (journal *output, exited chan struct{}) {
	t.Helper()
	journal, exited = &output{}, make(chan struct{})
	cmd.Stdout, cmd.Stderr = journal, journal
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = cmd.Wait()
		close(exited)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		timer := time.AfterFunc(stopLimit, func() { _ = cmd.Process.Kill() })
		defer timer.Stop()
		<-exited
	})
	return journal, exited
}

// answersTo asks with each token, and in the ways that bring none, or two, or one in other letters.
func answersTo(tokens map[string]string, ask func(authorization ...string) string) map[string]string {
	ours := tokens["ours"]
	all := map[string]string{
		"missing":             ask(),
		"another scheme":      ask("Basic " + ours),
		"no token":            ask("Bearer "),
		"a second header":     ask("Bearer "+ours, "Bearer "+tokens["another key"]),
		"a lower-case scheme": ask("bearer " + ours),
	}
	for name, token := range tokens {
		all[name] = ask("Bearer " + token)
	}
	return all
}

// configured returns a shipped file with the values of its block of settings replaced; each must stand in that block once.
func configured(t *testing.T, name string, values map[string]string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(gatewayFolder, name))
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	for _, old := range slices.Sorted(maps.Keys(values)) {
		if strings.Count(page, old) != 1 {
			t.Fatalf("%s has %q %d times, want it once", name, old, strings.Count(page, old))
		}
		page = strings.Replace(page, old, values[old], 1)
	}
	return page
}
