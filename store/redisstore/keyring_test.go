package redisstore_test

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/store"
	"github.com/glueauth/glueauth/store/redisstore"
	"github.com/glueauth/glueauth/store/storetest"
)

func keyring(t *testing.T, url string) (*redisstore.Store, *redisstore.Keyring) {
	t.Helper()
	s := open(t, redisstore.Options{URL: secret.Text(url)})
	k, err := s.Keyring()
	if err != nil {
		t.Fatal(err)
	}
	return s, k
}

func TestAKeyringChangesFromItsVersionOnly(t *testing.T) {
	t.Parallel()
	for name, url := range map[string]func() string{
		"one server": func() string { return storetest.Redis(t).URL() },
		"a Cluster":  func() string { return storetest.RedisCluster(t).URL() },
	} {
		t.Run(name, func(t *testing.T) {
			s, k := keyring(t, url())
			holds := func(version string, want ...string) {
				t.Helper()
				now, err := k.Version(t.Context())
				loaded, records, loadErr := k.Load(t.Context())
				if err := errors.Join(err, loadErr); err != nil || now != version || loaded != version {
					t.Errorf("version %q and %q, want %q; %v", now, loaded, version, err)
				}
				var got []string
				for name, value := range records {
					got = append(got, name+" "+string(value))
				}
				slices.Sort(got)
				if diff := cmp.Diff(want, got); diff != "" {
					t.Error(diff)
				}
			}
			swap := func(from, next string, records map[string]string, want bool, aside ...string) {
				t.Helper()
				values := map[string][]byte{}
				for name, value := range records {
					values[name] = []byte(value)
				}
				if done, err := k.Swap(t.Context(), from, next, values, aside); err != nil || done != want {
					t.Errorf("swapped: %v, %v; want %v", done, err, want)
				}
			}
			binary := "\x00\xff\r\n'\""
			holds("")
			swap("x", "y", map[string]string{"a": "1"}, false)
			holds("")
			swap("", "v1", map[string]string{"a": binary, "b": "2"}, true)
			holds("v1", "a "+binary, "b 2")
			swap("", "v2", map[string]string{"c": "3"}, false)
			swap("v1", "v2", map[string]string{"a": "3", "c": ""}, true, "b", "nobody")
			swap("v1", "v3", nil, false, "a")
			holds("v2", "a 3", "c ")
			if n, err := s.Count(t.Context()); err != nil || n != 0 {
				t.Errorf("%d sessions, %v", n, err)
			}
		})
	}
}

func TestOneOfManyChangesAKeyring(t *testing.T) {
	t.Parallel()
	_, k := keyring(t, storetest.Redis(t).URL())
	from := ""
	for _, next := range strings.Fields("one two three") {
		var all sync.WaitGroup
		var won atomic.Int32
		for range 8 {
			all.Go(func() {
				done, err := k.Swap(t.Context(), from, next, map[string][]byte{"key": []byte(next)}, nil)
				if err != nil {
					t.Error(err)
				}
				if done {
					won.Add(1)
				}
			})
		}
		all.Wait()
		if won.Load() != 1 {
			t.Errorf("%d of them changed it", won.Load())
		}
		from = next
	}
}

func TestAKeyringThatIsAwayOrStrangeIsAnError(t *testing.T) {
	t.Parallel()
	r := storetest.Redis(t)
	_, k := keyring(t, r.URL())
	fails := func(want string) {
		t.Helper()
		_, versionErr := k.Version(t.Context())
		_, _, loadErr := k.Load(t.Context())
		_, swapErr := k.Swap(t.Context(), "", "v", nil, nil)
		for i, err := range []error{versionErr, loadErr, swapErr} {
			if !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), want) {
				t.Errorf("call %d: %v, want %s", i, err, want)
			}
		}
	}
	r.Do(t, "SET", "glueauth:{keys}", "x")
	fails("wrongtype")
	r.Do(t, "DEL", "glueauth:{keys}")
	r.Do(t, "HSET", "glueauth:{keys}", "key", "x")
	if _, _, err := k.Load(t.Context()); err == nil || !strings.Contains(err.Error(), "lost its version") {
		t.Error(err)
	}
	r.Kill()
	fails("dial")
}
