package redisstore_test

import (
	"testing"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/store/redisstore"
	"github.com/glueauth/glueauth/store/storetest"
)

func TestEviction(t *testing.T) {
	t.Parallel()
	r := storetest.Redis(t)
	s := open(t, redisstore.Options{URL: secret.Text(r.URL())})
	for _, want := range []string{"", "allkeys-lru", "volatile-ttl", ""} {
		set := want
		if set == "" {
			set = "noeviction"
		}
		do("CONFIG SET maxmemory-policy "+set)(t, r)
		if got, err := s.Eviction(t.Context()); err != nil || got != want {
			t.Errorf("%q, %v; want %q", got, err, want)
		}
	}
	r.Stop(t)
	_, err := s.Eviction(t.Context())
	mustBe(t, err, "timeout")
	r.Continue(t)
}

func TestEvictionInACluster(t *testing.T) {
	t.Parallel()
	nodes := storetest.RedisCluster(t)
	s := open(t, redisstore.Options{URL: secret.Text(nodes.URL())})
	if got, err := s.Eviction(t.Context()); err != nil || got != "" {
		t.Errorf("%q, %v", got, err)
	}
	do("CONFIG SET maxmemory-policy allkeys-random")(t, nodes.Master(t, customerKey))
	if got, err := s.Eviction(t.Context()); err != nil || got != "allkeys-random" {
		t.Errorf("%q, %v", got, err)
	}
}
