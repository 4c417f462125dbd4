package e2e_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	demoEmail    = "sonia@spryker.com"
	demoPassword = "change123"
	// cheapHash is demoPassword as bcrypt at the lowest cost, so that the tests measure us and not bcrypt.
	cheapHash = "$2y$04$r/wkFy1StLlxSEGjQnefMOrEIcgZFAAtSK1ALoezVjfi55sSKLY2."
)

// answer is a whole answer.
type answer struct {
	status int
	header http.Header
	body   string
	took   time.Duration

	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token"`
	Error        string `json:"error"`
	Description  string `json:"error_description"`
}

func (a answer) String() string { return fmt.Sprintf("%d %s", a.status, a.body) }

func (p *process) doOnce(r *http.Request) (answer, error) {
	begun := watch()
	response, err := p.client.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = response.Body.Close() }()
	a, err := read(response)
	a.took = begun.elapsed()
	return a, err
}

// read takes an answer in to its end.
func read(response *http.Response) (answer, error) {
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return answer{}, err
	}
	a := answer{status: response.StatusCode, header: response.Header, body: string(body)}
	if strings.HasPrefix(a.header.Get("Content-Type"), "application/json") {
		err = json.Unmarshal(body, &a)
	}
	return a, err
}

func (p *process) get(address string) (answer, error) {
	r, err := http.NewRequest(http.MethodGet, address, nil)
	if err != nil {
		return answer{}, err
	}
	return p.do(r)
}

// expect returns an error when the address does not answer with this status.
func (p *process) expect(address string, status int) error {
	a, err := p.get(address)
	if err == nil && a.status != status {
		err = fmt.Errorf("%s: %s, want %d", address, a, status)
	}
	return err
}

// token posts a form to /token; pairs are names and values in turn.
func (p *process) token(pairs ...string) (answer, error) {
	r, err := p.form(pairs...)
	if err != nil {
		return answer{}, err
	}
	return p.do(r)
}

// form is the request for that.
func (p *process) form(pairs ...string) (*http.Request, error) {
	form := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		form.Add(pairs[i], pairs[i+1])
	}
	r, err := http.NewRequest(http.MethodPost, p.public+"/token", strings.NewReader(form.Encode()))
	if err == nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return r, err
}

func (p *process) refresh(token string) (answer, error) {
	return p.token("grant_type", "refresh_token", "refresh_token", token)
}

// mustRefresh demands the next pair.
func (p *process) mustRefresh(t *testing.T, token string) answer {
	t.Helper()
	return p.must(t, "grant_type", "refresh_token", "refresh_token", token)
}

// signIn demands a first pair.
func (p *process) signIn(t *testing.T, email string) answer {
	t.Helper()
	return p.must(t, "grant_type", "password", "username", email, "password", demoPassword)
}

// must demands a pair of tokens. While the server says that it is busy, it asks again.
func (p *process) must(t *testing.T, pairs ...string) answer {
	t.Helper()
	var a answer
	eventually(t, 2*time.Minute, func() error { // a Redis Sentinel does nothing for half a minute when the machine stood still
		var err error
		if a, err = p.token(pairs...); err != nil || a.status != http.StatusOK && a.status != http.StatusServiceUnavailable {
			t.Fatalf("%s: %v %v\n%s", pairs[1], a, err, p.tail())
		}
		if a.status != http.StatusOK {
			return errors.New(a.String())
		}
		return nil
	})
	return a
}

// customers imports n customers with the cheap hash into the data folder below dir and returns their e-mail addresses.
func customers(t *testing.T, dir string, n int) []string {
	t.Helper()
	csv := &strings.Builder{}
	csv.WriteString("customer_reference,email,password\n")
	emails := make([]string, n)
	for i := range emails {
		emails[i] = fmt.Sprintf("customer%d@shop.example", i)
		fmt.Fprintf(csv, "DE--%d,%s,%s\n", 1000+i, emails[i], cheapHash)
	}
	succeed(t, dir, "", "customers", "import", write(t, dir, "customers.csv", csv.String(), 0o600))
	return emails
}

// events returns how often the server counted an event, whatever its cause.
func (p *process) events(t *testing.T, name string) (count int) {
	t.Helper()
	a, err := p.get(p.admin + "/metrics")
	if err != nil || a.status != http.StatusOK {
		t.Fatalf("metrics: %v %v", a.status, err)
	}
	series := regexp.MustCompile(`(?m)^glueauth_events_total\{.*event="`+name+`".*\} (\d+)$`).FindAllStringSubmatch(a.body, -1)
	if series == nil {
		t.Fatalf("there is no event %s in the metrics:\n%s", name, a.body)
	}
	for _, match := range series {
		n, err := strconv.Atoi(match[1])
		if err != nil {
			t.Fatal(err)
		}
		count += n
	}
	return count
}
