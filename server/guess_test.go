package server_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/server"
	"github.com/glueauth/glueauth/store"
	"github.com/glueauth/glueauth/store/sqlstore"
)

// limited sets the built-in limits.
func limited(c *server.Config) {
	c.Guessing.Limits = store.GuessLimits{
		Pair:    store.GuessLimit{Most: 10, Window: 10 * time.Minute, Lock: 5 * time.Minute},
		Account: store.GuessLimit{Most: 100, Window: time.Hour},
		Address: store.GuessLimit{Most: 300, Window: 10 * time.Minute},
	}
}

// limitedShop returns a server with the built-in limits and the demo customer, whose hash is cheap. So are those of unknown names.
func limitedShop(t *testing.T, change ...func(*server.Config)) *harness {
	t.Helper()
	h := newHarness(t, append([]func(*server.Config){limited}, change...)...)
	h.addDemo()
	if err := h.server.SampleCosts(t.Context()); err != nil {
		t.Fatal(err)
	}
	return h
}

// from signs in from an address.
func (h *harness) from(address, name, password string) error {
	h.t.Helper()
	p := secret.Text(password)
	_, err := h.token(server.TokenRequest{GrantType: "password", Username: &name, Password: &p, Address: netip.MustParseAddr(address)})
	return err
}

// guess fails to guess n times, from an address and with passwords that all differ.
func (h *harness) guess(address, name string, n int) {
	h.t.Helper()
	for range n {
		h.guesses++
		if err := h.from(address, name, fmt.Sprint("wrong", h.guesses)); server.CodeOf(err) != server.WrongCredentials {
			h.t.Fatalf("guess %d at %s: %v", h.guesses, name, err)
		}
	}
}

// locked fails the test unless a right password is refused for that long.
func (h *harness) locked(address, name string, wait time.Duration) {
	h.t.Helper()
	err := h.from(address, name, demoPassword.Reveal())
	if e, ok := errors.AsType[*server.Error](err); !ok || e.Code != server.Limited || e.RetryAfter != wait {
		h.t.Errorf("%q from %s: %#v, want locked for %s", name, address, err, wait)
	}
}

// count returns how many events had this name and cause.
func (h *harness) count(name server.EventName, cause string) (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range h.events {
		if e.Name == name && e.Cause == cause {
			n++
		}
	}
	return n
}

const here = "192.0.2.1"

func TestElevenGuessesLockAnAccountAtTheirAddress(t *testing.T) {
	t.Parallel()
	h := limitedShop(t)
	session := h.mustSignIn()
	for _, name := range []string{demoEmail, "nobody@shop.example"} { // who is not known locks like who is
		h.guess(here, name, 10)
		h.locked(here, name, 5*time.Minute)
		h.locked("::ffff:"+here, name, 5*time.Minute)
	}
	if n := h.count(server.EventSignInLimited, "pair_limit"); n != 4 {
		t.Errorf("%d events", n)
	}
	h.mustRefresh(session.RefreshToken) // no lock stops a refresh
	h.pass(100 * time.Second)
	h.locked(here, demoEmail, 200*time.Second)
	if err := h.from("192.0.2.2", demoEmail, demoPassword.Reveal()); err != nil {
		t.Errorf("from elsewhere: %v", err)
	}
	h.pass(200 * time.Second)
	h.mustSignIn()
}

func TestRightPasswordsAreNotCounted(t *testing.T) {
	t.Parallel()
	h := limitedShop(t)
	h.guess(here, demoEmail, 9)
	for range 20 {
		h.mustSignIn()
	}
	h.guess(here, demoEmail, 1)
	h.locked(here, demoEmail, 5*time.Minute)
}

// TestWhatIsNotASignInCounts : or the counter would tell a right password of who may not sign in.
func TestWhatIsNotASignInCounts(t *testing.T) {
	t.Parallel()
	h := limitedShop(t)
	h.add(sqlstore.NewCustomer{ID: 22, Reference: "DE--22", Email: "new@shop.example", PasswordHash: demoHash})
	h.guess(here, "new@shop.example", 9)
	if err := h.from(here, "new@shop.example", demoPassword.Reveal()); server.CodeOf(err) != server.WrongCredentials {
		t.Errorf("unconfirmed: %v", err)
	}
	h.pass(2 * time.Second)
	h.locked(here, "new@shop.example", 5*time.Minute-2*time.Second)
}

func TestTheSameGuessWithinTwoSecondsCountsOnce(t *testing.T) {
	t.Parallel()
	h := limitedShop(t)
	again := func() {
		t.Helper()
		if err := h.from(here, demoEmail, "mistyped"); server.CodeOf(err) != server.WrongCredentials {
			t.Fatal(err)
		}
	}
	for range 50 {
		again()
	}
	if n := h.count(server.EventSignInRefused, "wrong_password"); n != 50 {
		t.Errorf("%d events: each refused sign-in is one", n)
	}
	h.guess(here, demoEmail, 8)
	h.pass(2 * time.Second)
	again()
	again()
	h.locked(here, demoEmail, 5*time.Minute)
}

func TestAllSpellingsOfAnAccountShareOneCounter(t *testing.T) {
	t.Parallel()
	spellings := []string{
		"bøb@x.de", "BØB@X.DE", "bøb@x.de ", "\tbøb@x.de", "Bøb@x.de\u00a0", "ｂøｂ＠ｘ．ｄｅ", "bø\u200bb@x.de", "bøb@x.de\x00",
		"bøb@x\u2024de", "bøb\u0301@x.de",
	}
	for name, email := range map[string]string{"known": "Bøb@x.de", "unknown": "somebody@else.example"} {
		h := limitedShop(t)
		h.add(sqlstore.NewCustomer{ID: 22, Reference: "DE--22", Email: email, PasswordHash: demoHash, Confirmed: true})
		for _, spelling := range spellings {
			h.guess(here, spelling, 1)
		}
		for _, spelling := range append(spellings, "bØb@X.de", " b ø b @ x . d e ") {
			h.locked(here, spelling, 5*time.Minute)
		}
		if err := h.from(here, "bob@y.de", "x"); server.CodeOf(err) != server.WrongCredentials {
			t.Errorf("%s: another account: %v", name, err)
		}
	}
	h := limitedShop(t)
	h.add(sqlstore.NewCustomer{ID: 22, Reference: "DE--22", Email: "josé.ing@x.de", PasswordHash: demoHash, Confirmed: true})
	for _, spelling := range []string{"jos\u00e9.ing@x.de", "jose\u0301.ing@x.de", "JOSÉ.ING@X.DE", "jose.ing@x.de", "JOSÉ.\u0131ng@x.de", "josé.İNG@x.de", "joſé.ing@x.de", "ｊosé.ing@x.de", "josé.ing@x.de\r\n", "josé.ing@x\u3000.de"} {
		h.guess(here, spelling, 1)
	}
	h.locked(here, "josé.ing@x.de", 5*time.Minute)
}

func TestAStrangerCannotLockTheOwnerOut(t *testing.T) {
	t.Parallel()
	h := limitedShop(t)
	owner, office := "198.51.100.7", "2001:db8:1:2::7"
	session, err := h.token(server.TokenRequest{
		GrantType: "password", Username: pointer(demoEmail), Password: pointer(demoPassword), Address: netip.MustParseAddr(owner),
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.token(server.TokenRequest{GrantType: "refresh_token", RefreshToken: &session.RefreshToken, Address: netip.MustParseAddr(office)}); err != nil {
		t.Fatal(err)
	}
	attack := func() {
		for n := range 10 {
			h.guess(fmt.Sprintf("203.0.113.%d", n), demoEmail, 10)
		}
		h.locked("203.0.113.77", demoEmail, time.Hour)
	}
	attack()
	for _, address := range []string{owner, office, "2001:db8:1:2:ffff::1"} {
		if err := h.from(address, demoEmail, demoPassword.Reveal()); err != nil {
			t.Errorf("the owner at %s: %v", address, err)
		}
	}
	h.locked("2001:db8:1:3::7", demoEmail, time.Hour)
	h.guess(owner, demoEmail, 10) // but nobody may guess for ever, also at his address
	h.locked(owner, demoEmail, 5*time.Minute)
	h.pass(29 * 24 * time.Hour)
	attack()
	if err := h.from(owner, demoEmail, demoPassword.Reveal()); err != nil {
		t.Errorf("the owner after a month: %v", err)
	}
	h.locked("198.51.100.8", demoEmail, time.Hour)
}

func TestAnAddressThatSpraysIsLocked(t *testing.T) {
	t.Parallel()
	h := limitedShop(t, func(c *server.Config) { c.Guessing.Limits.Address.Most = 30 })
	for n := range 30 {
		h.guess(fmt.Sprintf("2001:db8::%x", n), fmt.Sprintf("customer%d@shop.example", n), 1)
	}
	h.locked("2001:db8::ffff", demoEmail, 10*time.Minute)
	h.mustSignIn()
}

// TestAddressesThatCustomersShare : behind a proxy that tells no address everybody has its own. Nobody is locked there, and
// nobody is known, but the account is counted as ever.
func TestAddressesThatCustomersShare(t *testing.T) {
	t.Parallel()
	h := limitedShop(t, func(c *server.Config) {
		c.Guessing.Uncounted = func(a netip.Addr) bool { return a == netip.MustParseAddr("10.0.0.1") }
		c.Guessing.Limits.Address.Most = 20
	})
	if err := h.from("10.0.0.1", demoEmail, demoPassword.Reveal()); err != nil {
		t.Fatal(err)
	}
	h.guess("10.0.0.1", demoEmail, 100)
	h.locked("10.0.0.1", demoEmail, time.Hour)
	h.guess("10.0.0.1", "nobody@shop.example", 100)
	h.locked("10.0.0.1", "nobody@shop.example", time.Hour)
}

func TestObservedLimitsRefuseNobody(t *testing.T) {
	t.Parallel()
	h := limitedShop(t, func(c *server.Config) { c.Guessing.Observe = true })
	h.guess(here, demoEmail, 15)
	h.mustSignIn()
	if n := h.count(server.EventObserved, "pair_limit"); n != 6 {
		t.Errorf("told %d times, want 6", n)
	}
	if n := h.count(server.EventSignInLimited, "pair_limit"); n != 0 {
		t.Errorf("%d were refused", n)
	}
}

func TestParallelGuessesAreCountedExactly(t *testing.T) {
	t.Parallel()
	h := limitedShop(t)
	var group sync.WaitGroup
	for n := range 60 {
		group.Go(func() { // again while the queue is full
			for server.CodeOf(h.from(here, demoEmail, fmt.Sprint("guess", n))) == server.Unavailable {
			}
		})
	}
	group.Wait()
	wrong, refused := h.count(server.EventSignInRefused, "wrong_password"), h.count(server.EventSignInLimited, "pair_limit")
	if wrong != 10 || refused != 50 {
		t.Errorf("%d verified, %d refused", wrong, refused)
	}
}

func TestParallelSignInsOfOneCustomerAllSucceed(t *testing.T) {
	t.Parallel()
	h := limitedShop(t)
	h.guess(here, demoEmail, 9)
	var group sync.WaitGroup
	for range 30 {
		group.Go(func() {
			if err := h.from(here, demoEmail, demoPassword.Reveal()); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
}

// gone is a store of guesses that can be gone.
type gone struct {
	server.Guesses
	now   atomic.Bool
	calls atomic.Int64
}

func (g *gone) ReserveGuess(ctx context.Context, guess store.Guess) (store.GuessVerdict, error) {
	g.calls.Add(1)
	if g.now.Load() {
		return store.GuessVerdict{}, store.ErrUnavailable
	}
	return g.Guesses.ReserveGuess(ctx, guess)
}

// mustBeRight signs the demo customer in, and does nothing for others.
func (h *harness) mustBeRight(name string) {
	h.t.Helper()
	if name == demoEmail {
		h.mustSignIn()
	}
}

// TestWhoLeftDoesNotTakeTheOthersWithHim : those who share a verification are not refused because its first asker went away.
func TestWhoLeftDoesNotTakeTheOthersWithHim(t *testing.T) {
	t.Parallel()
	held, release := make(chan struct{}), make(chan struct{})
	var first atomic.Bool
	h := limitedShop(t, func(c *server.Config) {
		c.Guesses = holding{c.Guesses, func() {
			if first.CompareAndSwap(false, true) {
				close(held)
				<-release
			}
		}}
	})
	ctx, leave := context.WithCancel(t.Context())
	request := server.TokenRequest{GrantType: "password", Username: pointer(demoEmail), Password: pointer(demoPassword), Address: netip.MustParseAddr(here)}
	errs := make(chan error, 5)
	go func() {
		_, err := h.server.Token(ctx, request)
		errs <- err
	}()
	<-held
	for range 4 {
		go func() {
			_, err := h.server.Token(t.Context(), request)
			errs <- err
		}()
	}
	leave()
	close(release)
	refused := 0
	for range 5 {
		if err := <-errs; err != nil {
			refused++
		}
	}
	if refused > 1 {
		t.Errorf("%d of five were refused", refused)
	}
}

// holding calls a function before it reserves.
type holding struct {
	server.Guesses
	before func()
}

func (h holding) ReserveGuess(ctx context.Context, g store.Guess) (store.GuessVerdict, error) {
	h.before()
	return h.Guesses.ReserveGuess(ctx, g)
}

// collating finds customers as databases do that take ß for ss and é for e.
type collating struct{ server.Customers }

func (c collating) ByEmail(ctx context.Context, email string) (store.Customer, error) {
	return c.Customers.ByEmail(ctx, strings.NewReplacer("ß", "ss", "é", "e").Replace(email))
}

// TestADatabaseThatTakesOneLetterForAnotherTellsNobody : whoever fills the counter of one spelling could see by the other that
// there is such a customer.
func TestADatabaseThatTakesOneLetterForAnotherTellsNobody(t *testing.T) {
	t.Parallel()
	h := limitedShop(t, func(c *server.Config) { c.Customers = collating{c.Customers} })
	h.add(sqlstore.NewCustomer{ID: 22, Reference: "DE--22", Email: "jessica@shop.example", PasswordHash: demoHash, Confirmed: true})
	for _, name := range []string{"jessica", "nobodyss"} {
		h.guess(here, name+"@shop.example", 10)
		h.locked(here, name+"@shop.example", 5*time.Minute)
		if err := h.from(here, strings.ReplaceAll(name, "ss", "ß")+"@shop.example", "x"); server.CodeOf(err) != server.WrongCredentials {
			t.Errorf("%s by the other spelling: %v", name, err)
		}
	}
	for _, name := range []string{"jeßica", "jéssica"} {
		if err := h.from("192.0.2.9", name+"@shop.example", demoPassword.Reveal()); server.CodeOf(err) != server.WrongCredentials {
			t.Errorf("signed in as %s: %v", name, err)
		}
	}
}

// TestTwoSpellingsOfAGuessTellNobody : a customer is found by one of them, and each is a guess of its own whether there is one or not.
func TestTwoSpellingsOfAGuessTellNobody(t *testing.T) {
	t.Parallel()
	h := limitedShop(t)
	want := slices.Concat(slices.Repeat([]server.Code{server.WrongCredentials}, 10), slices.Repeat([]server.Code{server.Limited}, 2))
	for _, name := range []string{demoEmail, "nobody@shop.example"} {
		var got []server.Code
		for n := range 6 {
			for _, spelling := range []string{name, " " + name} {
				got = append(got, server.CodeOf(h.from(here, spelling, fmt.Sprint("wrong", n))))
			}
		}
		same(t, name, want, got)
	}
}
