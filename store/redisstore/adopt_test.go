package redisstore_test

import (
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/store"
	"github.com/glueauth/glueauth/store/redisstore"
	"github.com/glueauth/glueauth/store/storetest"
)

// adoption takes over a session whose token is good for another thirty days.
func adoption(name byte, lifetime time.Duration) store.Adoption {
	in := signIn(name)
	return store.Adoption{
		Rotation: store.Rotation{
			Name: in.Name, Subject: in.Subject, Client: in.Client, Password: in.Password, SubMark: store.SubMark{5}, From: in.From,
			Expires: time.Now().Add(30 * 24 * time.Hour), Lifetime: lifetime, FreshEpoch: store.Epoch{1},
		},
		Granted: in.Scopes, Sub: strings.Repeat("permission ", 200), MaxLife: 365 * 24 * time.Hour, MaxOpen: 10,
	}
}

// keyOf returns the key of its session.
func keyOf(a store.Adoption) string {
	return "glueauth:{c:" + strconv.FormatInt(a.Subject.ID, 10) + "}:" + a.Name.String()
}

func adopted(t *testing.T, s *redisstore.Store, a store.Adoption) {
	t.Helper()
	if got, err := s.Adopt(t.Context(), a); err != nil || got.Outcome != store.Rotated || got.Sub != a.Sub {
		t.Fatalf("%+v, %v", got, err)
	}
}

func TestATakenOverSessionTakesAKilobyteBesideWhatTheShopSaid(t *testing.T) {
	t.Parallel()
	r := storetest.Redis(t)
	s := open(t, redisstore.Options{URL: secret.Text(r.URL())})
	a := adoption(1, 31*24*time.Hour)
	a.Subject.ID = 1234567890
	a.From = store.Visitor{Address: netip.MustParseAddr("2001:db8:1234:5678:9abc:def0:1234:5678"), Agent: strings.Repeat("x", store.AgentLength)}
	adopted(t, s, a)
	next := a.Rotation
	next.Expires = time.Time{} // that of the token of generation 0
	next.RetryKey = store.RetryDigest([]byte("sixteen letters."))
	next.SignOut = store.SignOutOthers // the customer's record is at its largest with a floor
	for next.Generation = 1; next.Generation <= 40; next.Generation++ {
		if got, err := s.Rotate(t.Context(), next); err != nil || got.Outcome != store.Rotated || got.Sub != a.Sub {
			t.Fatalf("%+v, %v", got, err)
		}
		next.SignOut = store.SignOutNone
	}
	key := keyOf(a)
	size := usage(t, r, "glueauth:{c:1234567890}") + usage(t, r, key)
	t.Logf("%d bytes when full", size)
	if size > sizeLimit {
		t.Errorf("%d bytes, want at most %d", size, sizeLimit)
	}
	ttl := everyTTL(t, r)
	if apart := ttl[key] - ttl[key+":sub"]; ttl[key] == 0 || apart < -2 || apart > 2 {
		t.Errorf("the keys live for %v", ttl)
	}
	next.SubMark = store.SubMark{6}
	if got, err := s.Rotate(t.Context(), next); err != nil || got.Sub != "" || r.Do(t, "EXISTS", key+":sub") != "0" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestTheRecordOutlivesTheShopsToken(t *testing.T) {
	t.Parallel()
	r := storetest.Redis(t)
	s := open(t, redisstore.Options{URL: secret.Text(r.URL())})
	adopted(t, s, adoption(1, time.Hour))
	adopted(t, s, adoption(2, time.Hour))
	discard := adoption(3, time.Hour)
	discard.End = store.CauseRevoked
	if got, err := s.Adopt(t.Context(), discard); err != nil || got.Outcome != store.Discarded {
		t.Errorf("%+v, %v", got, err)
	}
	if ended, err := s.End(t.Context(), ending(2)); err != nil || !ended {
		t.Errorf("%v, %v", ended, err)
	}
	ttl := everyTTL(t, r)
	for name := range byte(3) {
		a := adoption(name+1, 0)
		if left := ttl[keyOf(a)]; left < 30*24*3600 {
			t.Errorf("session %d is kept for %d s", name+1, left)
		}
	}
	if r.Do(t, "EXISTS", keyOf(discard)+":sub", keyOf(adoption(2, 0))+":sub") != "0" {
		t.Error("what the shop said outlives a session that has ended")
	}
}

// TestATakenOverSessionIsNotLostForWantOfMemory : its absence would have the shop's token taken over once more.
func TestATakenOverSessionIsNotLostForWantOfMemory(t *testing.T) {
	t.Parallel()
	r := storetest.Redis(t)
	s := open(t, redisstore.Options{URL: secret.Text(r.URL())})
	adopted(t, s, adoption(1, time.Hour))
	stored, err := s.Session(t.Context(), adoption(1, 0).Subject, adoption(1, 0).Name)
	if err != nil {
		t.Fatal(err)
	}
	do("CONFIG SET maxmemory 1")(t, r)
	_, err = s.End(t.Context(), ending(1))
	mustBe(t, err, "oom")
	_, err = s.Adopt(t.Context(), adoption(2, time.Hour))
	mustBe(t, err, "oom")
	do("CONFIG SET maxmemory 0")(t, r)
	got, err := s.Session(t.Context(), stored.Subject, stored.Name)
	if diff := different(stored, got); diff != "" || err != nil {
		t.Errorf("it changed: %s, %v", diff, err)
	}
	if ended, err := s.End(t.Context(), ending(1)); err != nil || !ended {
		t.Errorf("%v, %v", ended, err)
	}
	if refused := keyOf(adoption(2, 0)); r.Do(t, "EXISTS", refused, refused+":sub", keyOf(adoption(1, 0))+":sub") != "0" {
		t.Errorf("keys are left: %v", everyTTL(t, r))
	}
}
