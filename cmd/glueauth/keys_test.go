package main

import (
	"bytes"
	"crypto/rand"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/glueauth/glueauth/config"
	"github.com/glueauth/glueauth/keys"
)

func TestEveryAlgorithmOfTheKeysCanBeSet(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "glueauth.yaml")
	text := "clients:\n  - {id: plain}\n"
	want := []string{keys.Algorithms()[0]}
	for _, name := range keys.Algorithms() {
		text += "  - {id: " + name + ", alg: " + name + "}\n"
		want = append(want, name)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(nil, []string{"GLUEAUTH_CONFIG=" + file}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range cfg.Clients {
		got = append(got, c.Algorithm)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func newRing(t *testing.T, dir string) *keys.Ring {
	t.Helper()
	if _, err := keys.Create(keys.Options{Dir: dir, Random: rand.Reader}); err != nil {
		t.Fatal(err)
	}
	ring, err := keys.Open(keys.Options{Dir: dir, Now: time.Now, Random: rand.Reader, Cache: time.Hour, Lifetime: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

func TestAScheduleThatCannotBeKeptIsToldOnce(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "keys")
	ring := newRing(t, dir)
	lock := filepath.Join(dir, "schedule.lock")
	if err := os.Mkdir(lock, 0o700); err != nil { // which cannot be opened as a file
		t.Fatal(err)
	}
	var log bytes.Buffer
	keeper := newKeyKeeper(ring, 24*time.Hour, slog.New(slog.NewTextHandler(&log, nil)))
	step := func() {
		t.Helper()
		if err := keeper.step(t.Context()); err != nil {
			t.Error(err)
		}
	}
	for range 3 {
		step()
	}
	if n := strings.Count(log.String(), "level=WARN"); n != 1 || !strings.Contains(log.String(), lock) {
		t.Errorf("told %d times: %s", n, log.String())
	}
	if err := os.Remove(lock); err != nil {
		t.Fatal(err)
	}
	log.Reset()
	step()
	if log.Len() > 0 {
		t.Errorf("nothing was to be told: %s", log.String())
	}
	fresh, err := ring.Rotate("EdDSA", true, 0)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		step()
	}
	if text := log.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "kid="+fresh.Kid+" alg=EdDSA state=signing") {
		t.Errorf("told of a new key: %s", text)
	}
}
