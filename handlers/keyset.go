package handlers

import (
	"cmp"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/glueauth/glueauth/server"
)

// Key is what the management API tells of a signing key, at /keys.
type Key struct {
	Kid       string    `json:"kid"`
	Algorithm string    `json:"alg"`
	State     string    `json:"state"`
	Since     time.Time `json:"since,omitzero"`
	Until     time.Time `json:"until,omitzero"`
	Readers   []Reader  `json:"readers"` // of this process, the latest first
}

// Reader is one who has fetched a key with the key set.
type Reader struct {
	UserAgent string    `json:"user_agent"`
	Address   string    `json:"address"`
	At        time.Time `json:"at"` // for the last time
}

// maxReaders bounds what is remembered; the one who was not seen for the longest time is forgotten first.
const maxReaders = 64

// KeyReaders remembers who has fetched the key set. The zero value remembers nobody yet; it is safe for concurrent use.
type KeyReaders struct {
	mu      sync.Mutex
	etag    string
	kids    []string // of the set with that tag
	readers map[reader]*fetched
}

type reader struct{ agent, address string }

type fetched struct {
	last time.Time
	kids map[string]time.Time // of those keys that the set still has
}

// note remembers that the set was handed out, or was found to be the same still.
func (k *KeyReaders) note(r *http.Request, body []byte, etag string, now time.Time) {
	if k == nil {
		return
	}
	who := reader{printable(r.UserAgent(), 200), addressOf(r.Context())}
	k.mu.Lock()
	defer k.mu.Unlock()
	if etag != k.etag {
		k.etag, k.kids = etag, kidsOf(body)
	}
	got := k.readers[who]
	if got == nil {
		got = k.admit(who)
	}
	got.last = now
	kids := make(map[string]time.Time, len(k.kids))
	for _, kid := range k.kids {
		kids[kid] = now
	}
	got.kids = kids
}

// admit makes room for one more.
func (k *KeyReaders) admit(who reader) *fetched {
	if k.readers == nil {
		k.readers = map[reader]*fetched{}
	}
	if len(k.readers) >= maxReaders {
		oldest := slices.MinFunc(slices.Collect(maps.Keys(k.readers)), func(a, b reader) int {
			return k.readers[a].last.Compare(k.readers[b].last)
		})
		delete(k.readers, oldest)
	}
	got := &fetched{}
	k.readers[who] = got
	return got
}

// of returns who has fetched a key, the latest first.
func (k *KeyReaders) of(kid string) []Reader {
	list := []Reader{}
	if k == nil {
		return list
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for who, got := range k.readers {
		if at, ok := got.kids[kid]; ok {
			list = append(list, Reader{who.agent, who.address, at.UTC()})
		}
	}
	slices.SortFunc(list, func(a, b Reader) int {
		return cmp.Or(b.At.Compare(a.At), cmp.Compare(a.UserAgent, b.UserAgent), cmp.Compare(a.Address, b.Address))
	})
	return list
}

func kidsOf(body []byte) []string {
	var set struct {
		Keys []struct {
			Kid string `json:"kid"`
		} `json:"keys"`
	}
	if err := json.Unmarshal(body, &set); err != nil {
		return nil // it is our own
	}
	var kids []string
	for _, key := range set.Keys {
		kids = append(kids, key.Kid)
	}
	return kids
}

// keysRoute is GET /keys of the management API.
func keysRoute(m management, c Config) route {
	serve := func(w http.ResponseWriter, r *http.Request) {
		if err := m.authenticate(r); err != nil {
			m.event(r.Context(), server.Event{Name: server.EventManagementRefused})
			m.fail.write(w, r, failure{err: err})
			return
		}
		list := []Key{}
		if c.Keys != nil {
			list = append(list, c.Keys()...)
		}
		for i := range list {
			list[i].Readers = c.KeyReaders.of(list[i].Kid)
		}
		writeJSON(w, http.StatusOK, map[string][]Key{"keys": list})
	}
	return route{paths: []string{"/keys"}, methods: read(), serve: serve}
}
