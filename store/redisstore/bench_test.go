package redisstore_test

import (
	"encoding/binary"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/store"
	"github.com/glueauth/glueauth/store/redisstore"
	"github.com/glueauth/glueauth/store/storetest"
)

// numbered is a sign-in of a customer of its own, as real ones are.
func numbered(n uint64) store.SignIn {
	in := signIn(1)
	binary.BigEndian.PutUint64(in.Name[8:], n)
	binary.BigEndian.PutUint64(in.Password[:], n*0x9e3779b97f4a7c15)
	binary.BigEndian.PutUint64(in.FreshEpoch[:], n*0x9e3779b97f4a7c15)
	for i := range in.Device {
		in.Device[i] = byte(i + 1)
	}
	in.Subject.ID = int64(n)
	in.Lifetime, in.MaxLife = 31*24*time.Hour, 365*24*time.Hour
	in.From = store.Visitor{Address: netip.MustParseAddr("2001:db8::1"), Agent: strings.Repeat("x", store.AgentLength)}
	return in
}

// BenchmarkBytesPerSession fills a server with a million sessions of as many customers and reports what one takes of its
// memory, the customer's record included: fresh, after one refresh, and after twenty.
func BenchmarkBytesPerSession(b *testing.B) {
	const sessions = 1_000_000
	r := storetest.Redis(b)
	s, err := redisstore.Open(b.Context(), redisstore.Options{URL: secret.Text(r.URL())})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	empty := usedMemory(b, r)
	all := func(share uint64, f func(n uint64) error) {
		var next atomic.Uint64
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				for n := next.Add(1); n <= sessions/share; n = next.Add(1) {
					if err := f(n); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
	}
	all(1, func(n uint64) error { _, err := s.Open(b.Context(), numbered(n)); return err })
	fresh := usedMemory(b, r)
	b.ReportMetric((fresh-empty)/sessions, "B/fresh")
	for g := uint32(1); g <= 20; g++ {
		all(10, func(n uint64) error { return rotate(b, s, numbered(n), g) })
		if g == 1 || g == 20 { // by a tenth of the sessions
			grown := (usedMemory(b, r) - fresh) / (sessions / 10)
			b.ReportMetric((fresh-empty)/sessions+grown, "B/refreshed-"+strconv.Itoa(int(g)))
		}
	}
}

func rotate(b *testing.B, s *redisstore.Store, in store.SignIn, g uint32) error {
	b.Helper()
	got, err := s.Rotate(b.Context(), store.Rotation{
		Name: in.Name, Subject: in.Subject, Generation: g, Client: in.Client, Password: in.Password, Device: in.Device, From: in.From,
		RetryKey: store.RetryDigest{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}, Lifetime: in.Lifetime,
	})
	if err == nil && got.Outcome != store.Rotated {
		b.Errorf("%+v", got)
	}
	return err
}

// usedMemory returns the bytes that a server's data takes.
func usedMemory(b *testing.B, r *storetest.RedisServer) float64 {
	b.Helper()
	for line := range strings.Lines(r.Do(b, "INFO", "memory")) {
		if value, ok := strings.CutPrefix(line, "used_memory:"); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				b.Fatal(err)
			}
			return n
		}
	}
	b.Fatal("no used_memory")
	return 0
}

func BenchmarkRotate(b *testing.B) {
	r := storetest.Redis(b)
	s, err := redisstore.Open(b.Context(), redisstore.Options{URL: secret.Text(r.URL())})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	var customers atomic.Uint64
	b.RunParallel(func(pb *testing.PB) {
		in := numbered(customers.Add(1))
		if _, err := s.Open(b.Context(), in); err != nil {
			b.Error(err)
		}
		for g := uint32(1); pb.Next(); g++ {
			if err := rotate(b, s, in, g); err != nil {
				b.Error(err)
			}
		}
	})
}
