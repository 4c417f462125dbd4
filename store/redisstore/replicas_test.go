package redisstore_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/store/redisstore"
	"github.com/glueauth/glueauth/store/storetest"
)

func TestReplicasMustFitTogether(t *testing.T) {
	t.Parallel()
	server := storetest.Redis(t)
	s, err := redisstore.Open(t.Context(), redisstore.Options{URL: secret.Text(server.URL())})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	running := func() bool {
		t.Helper()
		yes, err := s.Running(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return yes
	}
	if running() {
		t.Error("replicas run before the first one")
	}
	first := redisstore.Fingerprint{Masters: []string{"1:aa"}, Customers: "shop", SigningKeys: []string{"old"}}
	for i, step := range []struct {
		fingerprint redisstore.Fingerprint
		refused     string // how the remedy reads
	}{
		{fingerprint: first},
		{fingerprint: first},
		{redisstore.Fingerprint{Masters: []string{"1:bb"}, Customers: "shop", SigningKeys: []string{"old"}}, "master_key_file"},
		{redisstore.Fingerprint{Masters: []string{"2:bb"}, Customers: "shop", SigningKeys: []string{"old"}}, "master_key_file"},
		{redisstore.Fingerprint{Masters: []string{"1:aa"}, Customers: "copy", SigningKeys: []string{"old"}}, "customers.file"},
		{redisstore.Fingerprint{Masters: []string{"1:aa"}, Customers: "shop", SigningKeys: []string{"new"}}, "keys.dir"},
		{fingerprint: redisstore.Fingerprint{Masters: []string{"1:aa", "2:bb"}, Customers: "shop", SigningKeys: []string{"new", "old"}}},
		{fingerprint: redisstore.Fingerprint{Masters: []string{"2:bb"}, Customers: "shop", SigningKeys: []string{"new"}}}, // all has rolled
		{first, "master_key_file"},
	} {
		if err := s.Agree(t.Context(), step.fingerprint); remedyIn(err) != step.refused {
			t.Errorf("step %d: %v, want %q", i, err, step.refused)
		}
	}
	if !running() {
		t.Error("no replica runs")
	}
	if ttl := server.Do(t, "TTL", "glueauth:{replicas}"); ttl != "60" && ttl != "59" {
		t.Errorf("the fingerprint lives for %s seconds", ttl)
	}
	server.Do(t, "DEL", "glueauth:{replicas}") // as after that time
	if err := s.Agree(t.Context(), first); err != nil {
		t.Errorf("after the others were gone: %v", err)
	}
}

// remedyIn returns the setting that a refusal tells to look at, "" for none.
func remedyIn(err error) string {
	if err == nil {
		return ""
	}
	for _, setting := range []string{"master_key_file", "customers.file", "keys.dir"} {
		if errors.Is(err, redisstore.ErrOtherReplicas) && strings.Contains(err.Error(), setting) {
			return setting
		}
	}
	return err.Error()
}
