package server

import (
	"context"
	"crypto/sha256"
	"errors"
	"net/netip"
	"sync"
	"time"

	"github.com/glueauth/glueauth/config/secret"
)

// rememberedTokens is how many tokens a shopReader knows the outcome of.
const rememberedTokens = 1024

// mostRest is how many times as long as a token took a shopReader rests after it, when as many in a row were no tokens: then it
// takes a tenth of one core.
const mostRest = 9

// errBroken is what became of a token whose reading panicked: others may try.
var errBroken = errors.New("reading a shop's token broke off")

// shopReader reads the refresh tokens of a shop. The 100,000 rounds that each of them costs run in a pool of their own with
// one worker, once for each token.
type shopReader struct {
	keys []shopKey
	pool *pool[*unread]
	now  func() time.Time

	mu       sync.Mutex
	readings map[digest]*reading
	order    [rememberedTokens]digest // of those that are done, a ring
	next     int
	failures int       // in a row, up to mostRest
	rested   time.Time // when the worker may go on
}

type digest = [sha256.Size]byte

// reading is what became of a token; token and err are set when done is closed.
type reading struct {
	done  chan struct{}
	token shopToken
	err   error
}

// unread is a token that is to be read.
type unread struct {
	text secret.Text
	to   *reading
}

// newShopReader returns nil for no key.
func newShopReader(key secret.Text, now func() time.Time) (*shopReader, error) {
	if key == "" {
		return nil, nil //nolint:nilnil // nothing is taken over
	}
	keys, err := shopKeys(key)
	if err != nil {
		return nil, err
	}
	r := &shopReader{keys: keys, now: now, readings: map[digest]*reading{}}
	r.pool = newPool(1, 1, r.readAll, now)
	return r, nil
}

// reads reports whether a text is to be read as a shop's refresh token.
func (r *shopReader) reads(text secret.Text) bool { return r != nil && shopShaped(text) }

// decode returns what a token says, as generation 0 of its session, or errNotOurs; beside errExpired too. Every other error
// says that it could not be read in time.
func (r *shopReader) decode(ctx context.Context, text secret.Text, from netip.Addr) (refreshToken, error) {
	token, err := r.read(ctx, text, from)
	if err != nil {
		return refreshToken{}, err
	}
	if !r.now().Before(token.expiresAt) {
		return token.session(), errExpired
	}
	return token.session(), nil
}

func (r *shopReader) read(ctx context.Context, text secret.Text, from netip.Addr) (shopToken, error) {
	sum := sha256.Sum256([]byte(text.Reveal()))
	for {
		reading, mine := r.claim(sum)
		if mine {
			reading.err = errBroken
			defer r.finish(sum, reading)
			r.work(ctx, &unread{text, reading}, from)
			return reading.token, reading.err
		}
		select {
		case <-reading.done:
		case <-ctx.Done():
			return shopToken{}, context.Cause(ctx)
		}
		if reading.err == nil || errors.Is(reading.err, errNotOurs) || errors.Is(reading.err, errBusy) {
			return reading.token, reading.err
		}
		// Whoever was to read it has left.
	}
}

// claim returns the reading of a token, and whether the caller is to make it.
func (r *shopReader) claim(sum digest) (*reading, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if known := r.readings[sum]; known != nil {
		return known, false
	}
	made := &reading{done: make(chan struct{})}
	r.readings[sum] = made
	return made, true
}

// work has a token read by the one worker.
func (r *shopReader) work(ctx context.Context, u *unread, from netip.Addr) {
	place, err := r.pool.enter(from, "") // whose it is shows when it is read
	if err == nil {
		err = place.do(ctx, u, "", r.rest)
	}
	if err != nil {
		u.to.err = err
	}
}

// readAll is what the pool of tokens does.
func (r *shopReader) readAll(tokens []*unread) {
	for _, u := range tokens {
		begun := r.now()
		plain, err := decryptShop(r.keys, u.text)
		if err == nil {
			u.to.token, err = parseShop(plain)
		}
		u.to.err = err
		r.tire(err != nil, r.now().Sub(begun))
	}
}

// finish lets everybody know what became of a token, and remembers it unless it could not be read.
func (r *shopReader) finish(sum digest, done *reading) {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(done.done)
	if done.err != nil && !errors.Is(done.err, errNotOurs) {
		delete(r.readings, sum)
		return
	}
	if oldest := r.order[r.next]; oldest != (digest{}) {
		delete(r.readings, oldest)
	}
	r.order[r.next] = sum
	r.next = (r.next + 1) % len(r.order)
}

// tire notes how long a token took. The more in a row were none, the longer the worker rests before the next one, so that
// whoever sends garbage takes little from sign-ins and refreshes; a good token ends that.
func (r *shopReader) tire(failed bool, took time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures = min(r.failures+1, mostRest)
	if !failed {
		r.failures = 0
	}
	r.rested = r.now().Add(time.Duration(r.failures) * took)
}

// rest waits until the worker may go on, or who asks has left.
func (r *shopReader) rest(ctx context.Context) error {
	r.mu.Lock()
	left := r.rested.Sub(r.now())
	r.mu.Unlock()
	if left <= 0 {
		return nil
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
