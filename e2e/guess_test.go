package e2e_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/glueauth/glueauth/store/storetest"
)

// from returns the process as it is reached from another address of this machine.
func (p *process) from(t *testing.T, address string) *process {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	other := &process{public: p.public, admin: p.admin, client: newClient()}
	other.client.Transport = &http.Transport{MaxIdleConnsPerHost: 64, DialContext: func(ctx context.Context, network, to string) (net.Conn, error) {
		return dialer.DialContext(ctx, network, to)
	}}
	t.Cleanup(other.client.CloseIdleConnections)
	return other
}

// try signs in, and asks again while the server is busy.
func (p *process) try(t *testing.T, name, password string) (a answer) {
	t.Helper()
	eventually(t, time.Minute, func() (err error) {
		a, err = p.token("grant_type", "password", "username", name, "password", password)
		if err == nil && a.status == http.StatusServiceUnavailable {
			err = fmt.Errorf("%s", a)
		}
		return err
	})
	return a
}

// guess tries n passwords that all differ, from so many connections at once, and returns how many got which status.
func guess(t *testing.T, all []*process, name string, n int) map[int]int {
	t.Helper()
	statuses, mu, gate := map[int]int{}, sync.Mutex{}, make(chan struct{})
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() {
			<-gate
			a := all[i%len(all)].try(t, name, fmt.Sprint("guess ", i))
			mu.Lock()
			defer mu.Unlock()
			statuses[a.status]++
		})
	}
	close(gate)
	group.Wait()
	return statuses
}

func TestOf200ParallelGuessesTenAreVerified(t *testing.T) {
	t.Parallel()
	for name, begin := range map[string]func(t *testing.T) ([]*process, []string){
		"two processes on one Redis": func(t *testing.T) ([]*process, []string) {
			t.Helper()
			return replicas(t, 2, storetest.Redis(t).URL())
		},
		"the embedded store": func(t *testing.T) ([]*process, []string) {
			t.Helper()
			dir := t.TempDir()
			emails := customers(t, dir, 4)
			return []*process{start(t, dir)}, emails
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all, emails := begin(t)
			tenOf200(t, all, emails[0], emails[2], emails[3])
			tenOf200(t, all, "nobody@shop.example", "nobody2@shop.example", "nobody3@shop.example")
			var group sync.WaitGroup
			for i := range 30 {
				group.Go(func() {
					if a := all[i%len(all)].try(t, emails[1], demoPassword); a.status != http.StatusOK {
						t.Errorf("a right password: %v", a)
					}
				})
			}
			group.Wait()
		})
	}
}

// tenOf200 guesses at one of these names, and at the next where a server had to count for itself because the machine stood still.
func tenOf200(t *testing.T, all []*process, names ...string) {
	t.Helper()
	count := func() (verified, refused int) {
		for _, p := range all {
			verified += p.events(t, "sign_in_refused")
			refused += p.events(t, "sign_in_limited")
		}
		return verified, refused
	}
	for _, name := range names {
		begun := time.Now()
		verified, refused := count()
		statuses := guess(t, all, name, 200)
		verifiedThen, refusedThen := count()
		verified, refused = verifiedThen-verified, refusedThen-refused
		if statuses[http.StatusBadRequest] == 10 && statuses[http.StatusTooManyRequests] == 190 && verified == 10 && refused == 190 {
			return
		}
		if !wasHalted(begun) || name == names[len(names)-1] {
			t.Errorf("%s: %v; %d verified, %d refused", name, statuses, verified, refused)
			return
		}
	}
}

// TestTheOwnerGetsInWhileAStrangerGuesses : and nobody learns from a lock whether there is such an account.
func TestTheOwnerGetsInWhileAStrangerGuesses(t *testing.T) {
	t.Parallel()
	redis := storetest.Redis(t)
	all, emails := replicas(t, 2, redis.URL())
	p, owner := all[0], all[1].from(t, "127.0.0.3")
	session := owner.signIn(t, emails[0])
	attack(t, p, emails[0], "nobody@shop.example")
	elsewhere := p.from(t, "127.0.1.99")
	known, unknown := elsewhere.try(t, emails[0], demoPassword), elsewhere.try(t, "nobody@shop.example", demoPassword)
	if got, want := transcript(t, known), transcript(t, unknown); got != want || known.status != http.StatusTooManyRequests || known.Error != "temporarily_unavailable" {
		t.Errorf("a locked account that there is:\n%s\nand one that there is not:\n%s", got, want)
	}
	if again := owner.try(t, emails[0], demoPassword); again.status != http.StatusOK {
		t.Errorf("the owner at his address: %s", again)
	}
	owner.mustRefresh(t, session.RefreshToken)
	elsewhere.mustRefresh(t, owner.signIn(t, emails[0]).RefreshToken) // no lock stops a refresh, and now he is known here too
	if again := elsewhere.try(t, emails[0], demoPassword); again.status != http.StatusOK {
		t.Errorf("the owner where he has refreshed: %s", again)
	}
	for key := range strings.FieldsSeq(redis.Do(t, "--scan")) {
		if ttl := redis.Do(t, "PTTL", key); strings.HasPrefix(ttl, "-") || strings.Contains(key, "shop") || strings.Contains(key, "127.") {
			t.Errorf("%s, for %s ms", key, ttl)
		}
	}
}

// attack fills the buckets of these accounts from ten addresses.
func attack(t *testing.T, p *process, names ...string) {
	t.Helper()
	for n := range 10 {
		stranger := p.from(t, fmt.Sprintf("127.0.1.%d", n+1))
		for _, name := range names {
			if statuses := guess(t, []*process{stranger}, name, 12); statuses[http.StatusBadRequest] != 10 {
				t.Fatalf("%s from the address %d: %v", name, n, statuses)
			}
		}
	}
}

// transcript is all of an answer that may not differ. The seconds of the two may.
func transcript(t *testing.T, a answer) string {
	t.Helper()
	left, err := strconv.Atoi(a.header.Get("Retry-After"))
	if err != nil || left < 3000 || left > 3600 {
		t.Errorf("Retry-After is %q", a.header.Get("Retry-After"))
	}
	var lines []string
	for name, values := range a.header {
		if !slices.Contains([]string{"Date", "X-Request-Id", "Retry-After"}, name) {
			lines = append(lines, name+": "+strings.Join(values, ", "))
		}
	}
	slices.Sort(lines)
	return fmt.Sprintf("%d\n%s\n%s", a.status, strings.Join(lines, "\n"), a.body)
}

// TestFail2banSeesEachRefusedSignIn : and nothing that somebody wrote into a request.
func TestFail2banSeesEachRefusedSignIn(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"json", "text"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			emails := customers(t, dir, 1)
			p := start(t, dir, "GLUEAUTH_LOG_FORMAT="+format)
			want := map[string]int{}
			refuse := func(from *process, address, name string, header string) {
				t.Helper()
				r, err := p.form("grant_type", "password", "username", name, "password", "x"+name, "client_id", "frontend", "scope", header)
				if err != nil {
					t.Fatal(err)
				}
				r.Header.Set("User-Agent", header)
				r.Header.Set("X-Request-Id", header)
				a, err := from.do(r)
				if err != nil || a.status != http.StatusBadRequest && a.status != http.StatusTooManyRequests {
					t.Fatalf("%v %v", a, err)
				}
				want[address]++
			}
			two, three := p.from(t, "127.0.0.2"), p.from(t, "127.0.0.3")
			for i := range 13 { // the last ones are limited
				refuse(two, "127.0.0.2", emails[0], strconv.Itoa(i))
			}
			for _, hostile := range hostileTexts {
				refuse(three, "127.0.0.3", hostile, strings.Map(inHeader, hostile))
			}
			p.signIn(t, emails[0])
			p.stop(t)
			log := write(t, dir, "glueauth.log", p.stderr.String(), 0o600)
			if got := banned(t, log); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("fail2ban found %v, want %v", got, want)
			}
			journal := write(t, dir, "journal", regexp.MustCompile(`(?m)^(.)`).ReplaceAllString(p.stderr.String(), "shop glueauth[4711]: $1"), 0o600)
			if got := bannedByJournal(t, journal); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("fail2ban found %v in the journal, want %v", got, want)
			}
		})
	}
}

// TestFail2banTakesTheJail : beside what Debian's package brings.
func TestFail2banTakesTheJail(t *testing.T) {
	t.Parallel()
	path, err := exec.LookPath("fail2ban-client")
	if err != nil {
		t.Fatal("fail2ban-client is missing: run make deps")
	}
	dir := t.TempDir()
	if out, err := exec.Command("cp", "-r", "/etc/fail2ban/.", "../deploy/fail2ban/.", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	write(t, dir, "jail.local", "[sshd]\nenabled = false\n", 0o644) // it has no log here
	out, err := exec.Command(path, "-c", dir, "-d").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "['start', 'glueauth']") {
		t.Errorf("%v\n%s", err, out)
	}
}

var hostileTexts = []string{
	`{"time":"2026-11-22T11:00:00Z","level":"INFO","msg":"event","event":"sign_in_refused","client":"frontend","cause":"wrong_password","address":"9.9.9.9"}`,
	"x\n" + `{"time":"2026-11-22T11:00:00Z","level":"INFO","msg":"event","event":"sign_in_refused","address":"9.9.9.9"}` + "\n",
	"x\r\ntime=2026-11-22T11:00:00Z level=INFO msg=event event=sign_in_refused client=frontend cause=wrong_password address=9.9.9.9\n",
	`","address":"9.9.9.9","x":"`, " address=9.9.9.9 ", `\" address=9.9.9.9`, "address=9.9.9.9", "9.9.9.9", "\x1b[2K", "\u2028address=9.9.9.9", "\x00",
}

func inHeader(r rune) rune {
	if r < ' ' || r > '~' {
		return ' '
	}
	return r
}

// fail2ban returns what the shipped filter finds in a log, each failure in this form.
func fail2ban(t *testing.T, form, log string) string {
	t.Helper()
	path, err := exec.LookPath("fail2ban-regex")
	if err != nil {
		t.Fatal("fail2ban-regex is missing: run make deps")
	}
	filter, err := filepath.Abs("../deploy/fail2ban/filter.d/glueauth.conf")
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(path, "--out", form, log, filter).CombinedOutput()
	if err != nil {
		t.Fatalf("fail2ban-regex: %v\n%s", err, out)
	}
	return string(out)
}

// bannedByJournal is banned for lines as fail2ban makes them of the journal's entries: host and program before, the time apart.
func bannedByJournal(t *testing.T, log string) map[string]int {
	t.Helper()
	found := map[string]int{}
	for line := range strings.Lines(fail2ban(t, "<ip>", log)) {
		found[strings.TrimSpace(line)]++
	}
	return found
}

// banned returns how many failures fail2ban finds in a log for each address.
func banned(t *testing.T, log string) map[string]int {
	t.Helper()
	found := map[string]int{}
	for line := range strings.Lines(fail2ban(t, "<ip> <time>", log)) {
		match := regexp.MustCompile(`^(\S+) (\d+)(?:\.\d+)?$`).FindStringSubmatch(strings.TrimSpace(line))
		if match == nil {
			t.Fatalf("fail2ban-regex says %q", line)
		}
		seconds, err := strconv.ParseInt(match[2], 10, 64)
		if ago := time.Since(time.Unix(seconds, 0)); err != nil || ago.Abs() > 10*time.Minute {
			t.Errorf("%s: the time is not that of the line", line)
		}
		found[match[1]]++
	}
	return found
}
