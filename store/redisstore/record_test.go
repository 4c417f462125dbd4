package redisstore_test

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/store"
	"github.com/glueauth/glueauth/store/redisstore"
	"github.com/glueauth/glueauth/store/storetest"
)

// sizeLimit is how many bytes of Redis a session may take as a whole.
const sizeLimit = 1024

// usage returns how many bytes a key takes with what it holds.
func usage(t *testing.T, r *storetest.RedisServer, key string) int {
	t.Helper()
	n, err := strconv.Atoi(r.Do(t, "MEMORY", "USAGE", key, "SAMPLES", "0"))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestASessionTakesAKilobyteWithAFullTimelineAndNotAByteMoreOverAThousandRotations(t *testing.T) {
	t.Parallel()
	r := storetest.Redis(t)
	s := open(t, redisstore.Options{URL: secret.Text(r.URL())})
	in := signIn(1)
	in.Subject.ID = 1234567890
	in.From = store.Visitor{Address: netip.MustParseAddr("2001:db8:1234:5678:9abc:def0:1234:5678"), Agent: strings.Repeat("x", store.AgentLength)}
	in.Address = store.AddressMark{100, 7: 0xff}
	if _, err := s.Open(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	size := func() int {
		t.Helper()
		return usage(t, r, "glueauth:{c:1234567890}") + usage(t, r, "glueauth:{c:1234567890}:"+in.Name.String())
	}
	fresh, full := size(), []int(nil)
	for g := uint32(1); g <= 1000; g++ {
		refresh := refresh(1, g)
		refresh.Subject, refresh.From = in.Subject, in.From
		refresh.RetryKey = store.RetryDigest([]byte("sixteen letters."))
		refresh.Address = store.AddressMark{byte(1 + g%9), 7: 0xff} // more than are remembered
		if g == 1 {                                                 // the customer's record is at its largest with a floor
			refresh.SignOut, refresh.FreshEpoch = store.SignOutOthers, store.Epoch{1}
		}
		if got, err := s.Rotate(t.Context(), refresh); err != nil || got.Outcome != store.Rotated {
			t.Fatalf("%+v, %v", got, err)
		}
		if g%20 == 0 {
			full = append(full, size())
		}
	}
	e, err := s.Session(t.Context(), in.Subject, in.Name)
	if err != nil || len(e.Timeline) != store.TimelineLength || e.Record.Floor.IsZero() {
		t.Errorf("not full: %+v, %v", e, err)
	}
	t.Logf("%d bytes when fresh, %d when full", fresh, full[0])
	if full[0] > sizeLimit || len(slices.Compact(full)) != 1 {
		t.Errorf("%d bytes, want at most %d and always as many", full, sizeLimit)
	}
}

// TestRecordsOfTheFirstVersion : what a replica of the version before has written is read, and goes on.
func TestRecordsOfTheFirstVersion(t *testing.T) {
	t.Parallel()
	r := storetest.Redis(t)
	s := open(t, redisstore.Options{URL: secret.Text(r.URL())})
	opened(t, s, 1)
	in := signIn(1)
	want, err := s.Session(t.Context(), in.Subject, in.Name)
	if err != nil {
		t.Fatal(err)
	}
	r.Do(t, "EVAL", `local r = redis.call('GET', KEYS[1])
		local rest = select(18, struct.unpack('>Bc8c8c16I4I4I4I5I5I5I5I5I2c0Bc0Bc0Bc0I2c0', r))
		return redis.call('SET', KEYS[1], string.char(1) .. string.sub(r, 2, rest - 1), 'KEEPTTL')`,
		"1", customerKey+":"+in.Name.String())
	got, err := s.Session(t.Context(), in.Subject, in.Name)
	want.Timeline = nil
	if diff := different(want, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
	if got, err := s.Rotate(t.Context(), refresh(1, 2)); err != nil || got.Outcome != store.Rotated || got.Generation != 3 {
		t.Errorf("%+v, %v", got, err)
	}
	got, err = s.Session(t.Context(), in.Subject, in.Name)
	if err != nil || len(got.Timeline) != 1 || got.StartedAt != want.StartedAt {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestVisitors : addresses come back as they were given, and what cannot fit is cut.
func TestVisitors(t *testing.T) {
	t.Parallel()
	s := at(t, storetest.Redis(t).URL(), time.Now)
	for name, from := range map[byte]store.Visitor{
		1: {},
		2: {Address: netip.MustParseAddr("192.0.2.1"), Agent: "curl/8"},
		3: {Address: netip.MustParseAddr("2001:db8::1"), Agent: strings.Repeat("long", 100)},
	} {
		in := signIn(name)
		in.From = from
		if _, err := s.Open(t.Context(), in); err != nil {
			t.Fatal(err)
		}
		want := store.Visitor{Address: from.Address, Agent: from.Agent[:min(len(from.Agent), store.AgentLength)]}
		got, err := s.Session(t.Context(), in.Subject, in.Name)
		if err != nil || got.First != want || got.Last != want {
			t.Errorf("%+v, %v; want %+v", got, err, want)
		}
	}
}
