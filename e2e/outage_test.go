package e2e_test

import (
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"regexp"
	"sync"
	"testing"
	"time"
)

func TestFailingDatabaseIsATemporaryAnswerAndHeals(t *testing.T) {
	t.Parallel()
	for name, broken := range map[string]struct {
		fail  func(t *testing.T, data string) (heal func())
		limit time.Duration
	}{
		"another process holds the database": {hold, 5 * time.Second},
		"the customers are gone":             {rename("customers"), 3 * time.Second},
		"the sessions are gone":              {rename("sessions"), 3 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			p := start(t, dir)
			email := customers(t, dir, 1)[0]
			presented := p.signIn(t, email).RefreshToken

			heal := broken.fail(t, filepath.Join(dir, "data"))
			for range 2 {
				for _, request := range [][]string{
					{"grant_type", "refresh_token", "refresh_token", presented},
					{"grant_type", "password", "username", email, "password", demoPassword},
				} {
					a, err := p.token(request...)
					if err := temporary(a, err, broken.limit); err != nil {
						t.Errorf("%s: %v", request[1], err)
					}
				}
				for _, address := range []string{p.public + "/.well-known/jwks.json", p.public + "/livez", p.admin + "/livez", p.admin + "/metrics"} {
					if err := p.expect(address, http.StatusOK); err != nil {
						t.Error(err)
					}
				}
			}
			eventually(t, startLimit, func() error {
				return errors.Join(p.expect(p.public+"/readyz", http.StatusServiceUnavailable), p.expect(p.admin+"/readyz", http.StatusServiceUnavailable))
			})
			if a, err := p.token("grant_type", "refresh_token", "refresh_token", "grt_nonsense"); err != nil || a.status != http.StatusBadRequest {
				t.Errorf("a refresh token that is none needs no database: %v %v", a, err)
			}
			heal()
			eventually(t, startLimit, func() error { return p.expect(p.public+"/readyz", http.StatusOK) })
			p.mustRefresh(t, presented)
			p.signIn(t, email)
		})
	}
}

func TestManyWaitersOnAHeldDatabaseAllGetAnAnswerInTime(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := start(t, dir)
	emails := customers(t, dir, 16)
	tokens := make([]string, len(emails))
	for i, email := range emails {
		tokens[i] = p.signIn(t, email).RefreshToken
	}
	release := hold(t, filepath.Join(dir, "data"))
	failures := make([]error, len(tokens))
	var group sync.WaitGroup
	for i, token := range tokens {
		group.Go(func() {
			a, err := p.refresh(token)
			failures[i] = temporary(a, err, 6*time.Second)
		})
	}
	group.Wait()
	if err := errors.Join(failures...); err != nil {
		t.Error(err)
	}
	release()
	for _, token := range tokens {
		p.mustRefresh(t, token)
	}
}

// temporary returns an error when the answer is not 503 with all that belongs to it, in time.
func temporary(a answer, err error, limit time.Duration) error {
	const body = `{"error":"temporarily_unavailable","error_description":"Try again in a moment."}`
	switch {
	case err != nil:
		return err
	case a.status != http.StatusServiceUnavailable || a.body != body:
		return fmt.Errorf("%v, want 503", a)
	case !regexp.MustCompile(`^[123]$`).MatchString(a.header.Get("Retry-After")):
		return fmt.Errorf("503 with Retry-After %q, want 1 to 3", a.header.Get("Retry-After"))
	case a.took > limit:
		return fmt.Errorf("503 after %s, want at most %s", a.took, limit)
	default:
		return nil
	}
}

// hold takes the database's write lock, as a backup that hangs would, until the returned function is called.
func hold(t *testing.T, data string) (release func()) {
	t.Helper()
	db := database(t, data)
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.ExecContext(t.Context(), "BEGIN EXCLUSIVE"); err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		if _, err := conn.ExecContext(t.Context(), "ROLLBACK"); err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
		_ = db.Close()
	}
}

// rename hides a table until the returned function is called.
func rename(table string) func(*testing.T, string) func() {
	return func(t *testing.T, data string) func() {
		t.Helper()
		execute(t, data, "ALTER TABLE "+table+" RENAME TO hidden_"+table)
		return func() {
			t.Helper()
			execute(t, data, "ALTER TABLE hidden_"+table+" RENAME TO "+table)
		}
	}
}
