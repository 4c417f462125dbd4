package server

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/glueauth/glueauth/keys"
	"github.com/glueauth/glueauth/store"
)

// RevocationList is a store's list of what has ended. Package store holds the contract.
type RevocationList interface {
	Revoked(ctx context.Context, after int64) (list []store.Revocation, next int64, err error)
	ForgetRevoked(ctx context.Context, age time.Duration) error
}

// Revocations is a copy of what has ended within the longest life of an access token, in memory. [Revocations.Follow] keeps it
// up to date; with it [Introspector.Verify] judges tokens without the store, and [Revocations.Document] hands it to gateways.
// It is safe for concurrent use.
type Revocations struct {
	config Config
	list   RevocationList
	life   time.Duration // of an entry

	mu       sync.RWMutex
	after    int64
	read     time.Time // when the store last answered
	version  uint64    // grows with each change
	sessions map[sessionKey]time.Time
	subjects map[store.Subject]store.Revocation
	spared   map[sessionKey]store.Revocation

	making sync.Mutex
	made   document
}

type sessionKey struct {
	subject store.Subject
	name    store.SessionName
}

const (
	// lateAfter is how old the copy may be that is handed out.
	lateAfter = 2 * time.Second
	// documentEvery is how often a document is made although nothing has changed, and documentLife for how long one is good. All
	// servers make it of the same minute, so that they have the same bytes.
	documentEvery = time.Minute
	documentLife  = 5 * time.Minute
	// never is a "not before" that keeps validators of access tokens from taking the document for one: whoever reads it verifies a
	// signature (JWS), no token.
	never = 253402300799
)

// NewRevocations returns a copy that is empty until [Revocations.Follow] was called. Of the config only Clients, Keys, Issuer and
// Now are needed.
func NewRevocations(c Config, list RevocationList) (*Revocations, error) {
	if list == nil || c.Keys == nil || c.Now == nil || len(c.Clients) == 0 {
		return nil, errors.New("server: incomplete config of revocations")
	}
	r := &Revocations{
		config: c, list: list,
		sessions: map[sessionKey]time.Time{}, subjects: map[store.Subject]store.Revocation{}, spared: map[sessionKey]store.Revocation{},
	}
	for _, client := range c.Clients {
		r.life = max(r.life, client.AccessLifetime+2*store.ClockAllowance)
	}
	return r, nil
}

// Follow reads what has ended since it was last called. After an error the copy is what it was.
func (r *Revocations) Follow(ctx context.Context) error {
	began := r.config.Now()
	list, next, err := r.list.Revoked(ctx, r.after) // only this method changes it
	if err != nil {
		return unavailable(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.after = next
	changed := false
	for _, e := range list {
		changed = r.add(e) || changed
	}
	if began.Truncate(documentEvery).After(r.read) {
		r.prune(began)
	}
	if changed {
		r.version++
	}
	r.read = began
	return nil
}

// Forget has the store forget what is of no use any more.
func (r *Revocations) Forget(ctx context.Context) error {
	return r.list.ForgetRevoked(ctx, r.life+documentEvery) //nolint:wrapcheck // logged as it is
}

// add reports whether the entry is new.
func (r *Revocations) add(e store.Revocation) bool {
	key := sessionKey{e.Subject, e.Session}
	switch {
	case e.Session == store.SessionName{}:
		if r.subjects[e.Subject] == e {
			return false
		}
		r.subjects[e.Subject] = e
	case e.Spared:
		if r.spared[key] == e {
			return false
		}
		r.spared[key] = e
	default:
		if r.sessions[key].Equal(e.At) {
			return false
		}
		r.sessions[key] = e.At
	}
	return true
}

// prune deletes what no access token can be concerned by any more.
func (r *Revocations) prune(now time.Time) {
	for key, at := range r.sessions {
		if r.over(at, now) {
			delete(r.sessions, key)
		}
	}
	for subject, e := range r.subjects {
		if r.over(e.At, now) {
			delete(r.subjects, subject)
		}
	}
	for key, e := range r.spared {
		if r.over(e.At, now) {
			delete(r.spared, key)
		}
	}
}

func (r *Revocations) over(at, now time.Time) bool { return at.Add(r.life).Before(now) }

// word is what is known of an access token without a look-up.
type word int

const (
	noWord    word = iota // nothing has ended, as far as is known
	hasEnded              // its session, which never comes back
	allEnded              // all sessions of its customer, and that this one is spared would be known
	mayBeLate             // all of them, and one that was begun since may be spared by what has not been read yet
)

// hearsay is how long before the last reading a token must have been made for that reading to have told all of it: clocks
// differ, and its time is cut to the second.
const hearsay = 2 * store.ClockAllowance

// word tells what is known of an access token of that session, made then. A token without a session has the zero name. A nil
// copy knows nothing.
func (r *Revocations) word(subject store.Subject, name store.SessionName, made time.Time) word {
	if r == nil {
		return noWord
	}
	key := sessionKey{subject, name}
	r.mu.RLock()
	defer r.mu.RUnlock()
	if _, ended := r.sessions[key]; ended {
		return hasEnded
	}
	all, ended := r.subjects[subject]
	switch {
	case !ended || made.After(all.NotBefore) || r.spares(key, all):
		return noWord
	case key.name != store.SessionName{} && made.Add(hearsay).After(r.read):
		return mayBeLate
	default:
		return allEnded
	}
}

func (r *Revocations) spares(key sessionKey, all store.Revocation) bool {
	e, ok := r.spared[key]
	return ok && e.Epoch == all.Epoch
}

// document is what gateways get, made of one version in one minute.
type document struct {
	version uint64
	minute  time.Time
	body    []byte
	etag    string
}

// Document returns what has ended as a JWS in compact serialisation (RFC 7515 §3.1) with typ revocations+jwt, and its quoted
// entity tag. The payload has iss where there is an issuer, iat, exp, and an nbf that never comes; sessions, the first 50 digits of the
// jti of tokens that are void; customers, of each the first 18 digits with a time: his tokens are void whose iat is not
// later; and spared, digits 19 to 50 of those of his tokens that are good all the same. The caller must not change the bytes.
// Its error is an [*Error], [Unavailable] where the store has not answered for two seconds.
func (r *Revocations) Document() (body []byte, etag string, err error) {
	now := r.config.Now()
	minute := now.UTC().Truncate(documentEvery)
	r.making.Lock()
	defer r.making.Unlock()
	r.mu.RLock()
	version, late := r.version, now.Sub(r.read)
	same := r.made.body != nil && r.made.version == version && r.made.minute.Equal(minute)
	var claims []byte
	if !same && late <= lateAfter {
		claims = r.claims(minute)
	}
	r.mu.RUnlock()
	switch {
	case late > lateAfter:
		return nil, "", refuse(Unavailable, fmt.Errorf("the store has not told for %s what has ended", late.Truncate(time.Second)))
	case same:
		return r.made.body, r.made.etag, nil
	}
	text, err := r.config.Keys.SignAs(r.config.Clients[0].Algorithm, keys.TypeRevocations, claims)
	if err != nil {
		return nil, "", refuse(Internal, fmt.Errorf("sign revocations: %w", err))
	}
	// Without the signature, which some algorithms make anew each time.
	sum := sha256.Sum256([]byte(text[:strings.LastIndexByte(text, '.')]))
	r.made = document{version, minute, []byte(text), `"` + base64.RawURLEncoding.EncodeToString(sum[:16]) + `"`}
	return r.made.body, r.made.etag, nil
}

// claims is the payload: the same bytes for the same entries in the same minute.
func (r *Revocations) claims(minute time.Time) []byte {
	var sessions, spared, customers []string
	for key, at := range r.sessions {
		if !r.over(at, minute) {
			sessions = append(sessions, hex.EncodeToString(subjectBytes(key.subject))+key.name.String())
		}
	}
	for subject, e := range r.subjects {
		if !r.over(e.At, minute) {
			customers = append(customers, fmt.Sprintf(`"%x":%d`, subjectBytes(subject), e.NotBefore.Unix()))
		}
	}
	for key := range r.spared {
		if all, ended := r.subjects[key.subject]; ended && !r.over(all.At, minute) && r.spares(key, all) {
			spared = append(spared, key.name.String())
		}
	}
	slices.Sort(sessions)
	slices.Sort(customers)
	slices.Sort(spared)
	var b bytes.Buffer
	b.WriteByte('{')
	if r.config.Issuer != "" {
		b.Write(append(appendJSON([]byte(`"iss":`), r.config.Issuer), ','))
	}
	fmt.Fprintf(&b, `"iat":%d,"nbf":%d,"exp":%d,"sessions":[`, minute.Unix(), int64(never), minute.Add(documentLife).Unix())
	writeQuoted(&b, sessions)
	b.WriteString(`],"customers":{` + strings.Join(customers, ",") + `},"spared":[`)
	writeQuoted(&b, spared)
	b.WriteString(`]}`)
	return b.Bytes()
}

// writeQuoted writes digits as the elements of a JSON array.
func writeQuoted(b *bytes.Buffer, list []string) {
	for i, text := range list {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(`"` + text + `"`)
	}
}

// subjectBytes is what a jti begins with.
func subjectBytes(s store.Subject) []byte {
	return binary.BigEndian.AppendUint64([]byte{byte(s.Kind)}, uint64(s.ID)) //nolint:gosec // the same 64 bits back and forth
}
