package bench_test

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/glueauth/glueauth/store/storetest"
)

// tried is how many names of each class are tried, each of them once.
const tried = 600

// classes are those who cannot sign in, with the columns of a customer: the hash, since when he is confirmed, and a name by
// which he is known to be blocked. Unknown names have no row.
func classes() map[string]func(hash string) string {
	return map[string]func(hash string) string{
		"wrong password": func(hash string) string { return "'" + hash + "', '2020-01-02', ''" },
		"blocked":        func(hash string) string { return "'" + hash + "', '2020-01-02', 'blocked'" },
		"unconfirmed":    func(hash string) string { return "'" + hash + "', NULL, ''" },
		"no password":    func(string) string { return "NULL, '2020-01-02', ''" },
		"unknown":        nil,
	}
}

const (
	reference = "wrong password" // with whom the other classes are compared
	password  = "right-password" // of those who are blocked or not confirmed
)

// BenchmarkTiming asks whether the time or the bytes of a refused sign-in tell if there is such a customer: by the chance
// that one of a class takes longer than one of another (Mann-Whitney), which is 0.5 where nothing tells them apart.
func BenchmarkTiming(b *testing.B) {
	fmt.Printf("%s, %d processors, %s; %d of each class, customers in PostgreSQL\n", time.Now().Format(time.DateOnly), runtime.NumCPU(), runtime.Version(), tried)
	fmt.Println("customers' costs, database       | class          | median ms | chance to take longer than a wrong password")
	binary := build(b)
	for _, c := range []struct {
		name  string
		costs []int
		delay time.Duration
	}{
		{"cost 6, as it is", []int{6}, 0},
		{"cost 6, 5 ms later", []int{6}, 5 * time.Millisecond},
		{"cost 6 and 8, as it is", []int{6, 8}, 0},
		{"cost 6 and 8, 5 ms later", []int{6, 8}, 5 * time.Millisecond},
	} {
		b.Run(c.name, func(b *testing.B) {
			address := shop(b, binary, c.costs, c.delay)
			took, transcripts := try(b, address)
			judgeTiming(b, c.name, took)
			if len(transcripts) != 1 {
				b.Errorf("the answers differ: %v", transcripts)
			}
		})
	}
}

// shop starts glueauth on a database with customers of each class, whose answers come so much later.
func shop(b *testing.B, binary string, costs []int, delay time.Duration) string {
	b.Helper()
	var hashes []string
	for _, cost := range costs {
		hash, err := bcrypt.GenerateFromPassword([]byte(password), cost)
		if err != nil {
			b.Fatal(err)
		}
		hashes = append(hashes, string(hash))
	}
	var rows []string
	for class, columns := range classes() {
		for n := range tried {
			if columns != nil {
				rows = append(rows, fmt.Sprintf("(%d, 'DE--%[1]d', '%s', %s)", len(rows)+1, nameOf(class, n), columns(hashes[n%len(hashes)])))
			}
		}
	}
	rand.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
	database := storetest.Postgres(b)
	url := strings.Replace(database.Shop(b, "shop"), database.Addr, relay(b, database.Addr, delay), 1)
	database.Do(b, "shop", "INSERT INTO spy_customer (id_customer, customer_reference, email, password, registered, first_name) VALUES "+strings.Join(rows, ", "),
		"CREATE INDEX ON spy_customer (UPPER(email))", "ANALYZE")
	const query = "SELECT id_customer AS id, customer_reference AS reference, email, password AS password_hash, " +
		"registered IS NOT NULL AS confirmed, first_name = 'blocked' AS blocked FROM spy_customer"
	address, _ := serve(b, binary, b.TempDir(), "GLUEAUTH_CUSTOMERS_SOURCE=sql", "GLUEAUTH_CUSTOMERS_URL="+url, "GLUEAUTH_CUSTOMERS_QUERY="+query,
		"GLUEAUTH_GUESSING_MODE=observe")
	return address
}

func nameOf(class string, n int) string {
	return fmt.Sprintf("%s-%04d@shop.example", strings.ReplaceAll(class, " ", "."), n)
}

// relay stands before a server, whose answers it passes on after a delay.
func relay(b *testing.B, address string, delay time.Duration) string {
	b.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", address)
			if err != nil {
				_ = client.Close()
				continue
			}
			go func() { _, _ = io.Copy(server, client); _ = server.Close() }()
			go func() { _, _ = io.Copy(late{client, delay}, server); _ = client.Close() }()
		}
	}()
	return listener.Addr().String()
}

// late writes after a delay.
type late struct {
	io.Writer
	by time.Duration
}

func (l late) Write(p []byte) (int, error) {
	time.Sleep(l.by)
	return l.Writer.Write(p)
}

// try has everybody of each class try to sign in, in random order, over one connection a class. It returns how long each
// took, and the different answers but for their date and request id.
func try(b *testing.B, address string) (took map[string][]time.Duration, transcripts map[string]int) {
	b.Helper()
	const warmUp = 20
	type attempt struct {
		class string
		n     int
	}
	conns, all := map[string]*conn{}, []attempt{}
	for class := range classes() {
		conns[class] = newConn(address)
		conns[class].seen = &bytes.Buffer{}
		defer conns[class].close()
		for n := range tried {
			all = append(all, attempt{class, n})
		}
	}
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	ours := target{address: address}
	varying := regexp.MustCompile(`(?m)^(Date|X-Request-Id): .*$`)
	took, transcripts = map[string][]time.Duration{}, map[string]int{}
	for i, a := range all {
		guess := password
		if a.class == reference || a.class == "unknown" || a.class == "no password" {
			guess = "wrong-password"
		}
		c := conns[a.class]
		c.seen.Reset()
		answer := c.post(ours.signIn(customer{nameOf(a.class, a.n), guess}))
		if answer.status != http.StatusBadRequest && answer.status != http.StatusUnauthorized {
			b.Fatalf("%s: status %d: %s", a.class, answer.status, answer.body)
		}
		transcripts[varying.ReplaceAllString(c.seen.String(), "$1")]++
		if i >= warmUp {
			took[a.class] = append(took[a.class], answer.took)
		}
	}
	return took, transcripts
}

// judgeTiming compares each class with the reference.
func judgeTiming(b *testing.B, scenario string, took map[string][]time.Duration) {
	b.Helper()
	of := took[reference]
	slices.Sort(of)
	fmt.Printf("%-32s | %-14s | %9s |\n", scenario, reference, ms(quantile(of, 0.5)))
	for class := range classes() {
		if class == reference {
			continue
		}
		other := took[class]
		slices.Sort(other)
		chance := longer(other, of)
		doubt := 1.96 * math.Sqrt(float64(len(of)+len(other)+1)/float64(12*len(of)*len(other)))
		verdict := "met"
		if chance < 0.45 || chance > 0.55 {
			verdict = "MISSED"
			b.Errorf("%s, %s: the chance is %.3f, want 0.45 to 0.55", scenario, class, chance)
		}
		fmt.Printf("%-32s | %-14s | %9s | %.3f +- %.3f, 0.45 to 0.55: %s\n", scenario, class, ms(quantile(other, 0.5)), chance, doubt, verdict)
	}
}

// longer returns the chance that one of a is longer than one of b; both are sorted, and a tie counts half.
func longer(a, b []time.Duration) float64 {
	var sum float64
	for _, x := range a {
		below, _ := slices.BinarySearch(b, x)
		upTo, _ := slices.BinarySearch(b, x+1)
		sum += float64(below) + float64(upTo-below)/2
	}
	return sum / float64(len(a)) / float64(len(b))
}
