package e2e_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// A limit on an answer is about the server, so what the whole machine stood still is not counted against it. aHalt is for how
// long it must have stood still in the course of an answer for that to be no word of the server's.
const (
	beat  = 10 * time.Millisecond
	aHalt = 300 * time.Millisecond
)

// halts are the times in which the machine did not run the tests, as a clock sees them that is late.
var halts struct {
	sync.Mutex
	last time.Time // beat
	all  []halt
}

type halt struct{ begun, ended time.Time }

// countHalts begins to count, until the tests are over.
func countHalts() {
	halts.last = time.Now()
	go func() {
		for {
			time.Sleep(beat)
			halts.Lock()
			if h, late := lateness(); late {
				halts.all = append(halts.all, h)
			}
			halts.last = time.Now()
			halts.Unlock()
		}
	}()
}

// lateness returns the halt that there was since the last beat.
func lateness() (h halt, late bool) {
	h = halt{halts.last.Add(beat), time.Now()}
	return h, h.ended.Sub(h.begun) > beat
}

// stood returns for how long the machine stood still in that time, and for how long at once.
func stood(from, to time.Time) (total, longest time.Duration) {
	halts.Lock()
	defer halts.Unlock()
	add := func(h halt) {
		if h.begun.Before(from) {
			h.begun = from
		}
		if h.ended.After(to) {
			h.ended = to
		}
		d := max(0, h.ended.Sub(h.begun))
		total, longest = total+d, max(longest, d)
	}
	if h, late := lateness(); late {
		add(h)
	}
	for _, h := range slices.Backward(halts.all) {
		if h.ended.Before(from) {
			break
		}
		add(h)
	}
	return total, longest
}

// wasHalted reports whether the machine stood still since.
func wasHalted(since time.Time) bool {
	_, longest := stood(since, time.Now())
	return longest > aHalt
}

// stopwatch measures time in which the machine ran.
type stopwatch struct{ begun time.Time }

func watch() stopwatch { return stopwatch{time.Now()} }

func (w stopwatch) elapsed() time.Duration {
	now := time.Now()
	total, _ := stood(w.begun, now)
	return now.Sub(w.begun) - total
}

// do sends the request and reads the answer to its end. Where the machine stood still meanwhile, a server that waits for its
// store by a clock has to say 503; then it is asked again.
func (p *process) do(r *http.Request) (a answer, err error) {
	for try := 1; ; try++ {
		begun := time.Now()
		if a, err = p.doOnce(r); err != nil || a.status != http.StatusServiceUnavailable || try == 5 || !wasHalted(begun) {
			return a, err
		}
		r = r.Clone(r.Context())
		if r.GetBody != nil {
			if r.Body, err = r.GetBody(); err != nil {
				return a, err
			}
		}
		p.again.Add(1)
	}
}

// said returns what a command line of bash prints. It is run again while a server answers it, or a command within it, that it is
// busy; what became of such an answer is in the trace only.
func said(t *testing.T, command func() *exec.Cmd) (string, error) {
	t.Helper()
	var out []byte
	var err error
	eventually(t, startLimit, func() error {
		trace, failed := os.CreateTemp(t.TempDir(), "trace")
		if failed != nil {
			return failed
		}
		defer func() { _ = trace.Close() }()
		cmd := command()
		cmd.Args = slices.Insert(cmd.Args, 1, "-x")
		cmd.ExtraFiles, cmd.Env = []*os.File{trace}, append(cmd.Environ(), "BASH_XTRACEFD=3")
		out, err = cmd.CombinedOutput()
		if all := string(out) + string(content(t, trace.Name())); strings.Contains(all, "temporarily_unavailable") {
			return errors.New(all)
		}
		return nil
	})
	return string(out), err
}

// TestOnlyWhatWasBusyIsAskedAgain : a refusal of another kind stands, and a busy answer is seen within another command too.
func TestOnlyWhatWasBusyIsAskedAgain(t *testing.T) {
	t.Parallel()
	const script = `test "$(test -e before && echo good; touch before; echo %s)" = "good
%[1]s" && echo good || echo refused`
	for inner, want := range map[string]string{"temporarily_unavailable": "good\n", "invalid_request": "refused\n"} {
		dir, asked := t.TempDir(), 0
		out, err := said(t, func() *exec.Cmd {
			asked++
			line := fmt.Sprintf(script, inner)
			if asked == 2 { // not busy any more
				line = fmt.Sprintf(script, "well")
			}
			cmd := exec.CommandContext(t.Context(), "bash", "-c", line)
			cmd.Dir = dir
			return cmd
		})
		if err != nil || out != want {
			t.Errorf("%s: %q after %d times, %v; want %q", inner, out, asked, err, want)
		}
	}
}
