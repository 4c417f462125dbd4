package bench_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/glueauth/glueauth/store/storetest"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == stockArgument {
		fmt.Fprintln(os.Stderr, serveStock(os.Args[2]))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// running is a server under load.
type running struct {
	target
	pid   int
	store string // what it keeps its sessions in
}

// people makes customers with passwords of their own, and the file to import. A few hashes serve them all.
func people(b *testing.B, n, cost int) ([]customer, string) {
	b.Helper()
	const distinct = 16
	var passwords, hashes []string
	for i := range distinct {
		password := fmt.Sprintf("password-%d", i)
		hash, err := bcrypt.GenerateFromPassword([]byte(password), cost)
		if err != nil {
			b.Fatal(err)
		}
		passwords, hashes = append(passwords, password), append(hashes, string(hash))
	}
	file, all := strings.Builder{}, make([]customer, n)
	file.WriteString("customer_reference,email,password\n")
	for i := range all {
		all[i] = customer{fmt.Sprintf("customer-%d@shop.example", i), passwords[i%distinct]}
		fmt.Fprintf(&file, "DE--%d,%s,%s\n", i, all[i].name, hashes[i%distinct])
	}
	path := filepath.Join(b.TempDir(), "customers.csv")
	if err := os.WriteFile(path, []byte(file.String()), 0o600); err != nil {
		b.Fatal(err)
	}
	return all, path
}

// glueauth builds the program and starts it with these customers, its sessions in a Redis of its own.
func glueauth(b *testing.B, customers []customer, file string) running {
	b.Helper()
	binary, dir, redis := build(b), b.TempDir(), storetest.Redis(b)
	add := exec.Command(binary, "customers", "import", file)
	add.Dir = dir
	if out, err := add.CombinedOutput(); err != nil {
		b.Fatalf("import: %v\n%s", err, out)
	}
	address, pid := serve(b, binary, dir, "GLUEAUTH_REDIS="+redis.URL())
	return running{target{address: address, customers: customers}, pid, "Redis on a unix socket"}
}

func build(b *testing.B) string {
	b.Helper()
	binary := filepath.Join(b.TempDir(), "glueauth")
	cmd := exec.Command("go", "build", "-o", binary, "./cmd/glueauth")
	cmd.Dir, cmd.Env = "..", append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("build: %v\n%s", err, out)
	}
	return binary
}

// serve starts `glueauth serve` and returns its address when it listens.
func serve(b *testing.B, binary, dir string, settings ...string) (address string, pid int) {
	b.Helper()
	cmd := exec.Command(binary, "serve", "--listen=127.0.0.1:0", "--admin-listen=")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), settings...)
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		b.Fatal(err)
	}
	cmd.Stderr = log
	start(b, cmd)
	storetest.Eventually(b, "glueauth listens", func() bool {
		text, _ := os.ReadFile(log.Name())
		for line := range strings.Lines(string(text)) {
			var entry struct {
				Message string `json:"msg"`
				Address string `json:"address"`
			}
			if json.Unmarshal([]byte(line), &entry) == nil && entry.Message == "listening" {
				address = entry.Address
			}
		}
		if address == "" && syscall.Kill(cmd.Process.Pid, 0) != nil {
			b.Fatalf("serve ended: %s", text)
		}
		return address != ""
	})
	return address, cmd.Process.Pid
}

// stock starts go-oauth2's server with these customers.
func stock(b *testing.B, customers []customer, file string) running {
	b.Helper()
	cmd := exec.Command(os.Args[0], stockArgument, file)
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	start(b, cmd)
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	t := target{address: strings.TrimSpace(address), extra: "&client_id=frontend&client_secret=999999", customers: customers}
	return running{t, cmd.Process.Pid, "its memory"}
}

func start(b *testing.B, cmd *exec.Cmd) {
	b.Helper()
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
}

// resident returns the memory of a process in MiB.
func resident(pid int) float64 {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	var kib float64
	_, _ = fmt.Sscan(rest, &kib)
	return kib / 1024
}

// spent returns the processor time of a process, of everything on the machine, and what its host gave to others meanwhile.
func spent(pid int) (process, machine, stolen time.Duration) {
	const tick = time.Second / 100 // USER_HZ
	sum := func(fields []string) (d time.Duration) {
		for _, f := range fields {
			n, _ := strconv.Atoi(f)
			d += time.Duration(n) * tick
		}
		return d
	}
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(text), ") ")
	if fields := strings.Fields(rest); len(fields) > 12 {
		process = sum(fields[11:13])
	}
	all, _ := os.ReadFile("/proc/stat")
	line, _, _ := strings.Cut(string(all), "\n")
	if fields := strings.Fields(line); len(fields) > 8 {
		machine, stolen = sum(fields[1:4])+sum(fields[6:8]), sum(fields[8:9])
	}
	return process, machine, stolen
}

// during returns a context that ends after so long.
func during(b *testing.B, d time.Duration) (context.Context, context.CancelFunc) {
	b.Helper()
	return context.WithTimeoutCause(b.Context(), d, errors.New("measured"))
}
