package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
)

// raceFlags build the binary with the race detector, but for what the Makefile leaves unwatched.
var raceFlags = []string{
	"-race", "-gcflags=golang.org/x/crypto/blowfish=-race=false", "-gcflags=crypto/internal/fips140/...=-race=false",
	"-gcflags=modernc.org/sqlite/lib=-race=false", "-gcflags=modernc.org/libc=-race=false", "-gcflags=modernc.org/memory=-race=false",
}

// binary is the program under test.
var binary string

func TestMain(m *testing.M) { os.Exit(build(m)) }

func build(m *testing.M) int {
	dir, err := os.MkdirTemp("", "glueauth-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	binary = filepath.Join(dir, "glueauth")
	cmd := exec.Command("go", append([]string{"build", "-o", binary}, append(raceFlags, "./cmd/glueauth")...)...)
	cmd.Dir = ".."
	if out, err := cmd.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the binary: %v\n%s", err, out)
		return 1
	}
	countHalts()
	return m.Run()
}

// scale multiplies the length of the long tests; make prove sets it.
func scale(t *testing.T) int {
	t.Helper()
	text := os.Getenv("E2E_SCALE")
	if text == "" {
		return 1
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("E2E_SCALE is %q: give a whole number from 1", text)
	}
	return n
}
