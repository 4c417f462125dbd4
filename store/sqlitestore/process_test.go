package sqlitestore_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/glueauth/glueauth/store"
	"github.com/glueauth/glueauth/store/sqlitefile"
	"github.com/glueauth/glueauth/store/sqlitestore"
)

const (
	raceSessions = 12
	raceTop      = 16 // the generation at which the racers of a session stop: who is late is forgiven that far
	raceSignIns  = 30 // of each process, for one customer
	raceCap      = 7
)

// race refreshes all sessions at the same time, signs one more customer in again and again, and returns how many refreshes
// rotated.
func race(ctx context.Context, s *sqlitestore.Store, process byte) (rotated int, err error) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	note := func(outcome store.Outcome, failure error) {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case failure != nil:
			err = failure
		case outcome == store.Rotated:
			rotated++
		case outcome != store.Replayed:
			err = fmt.Errorf("outcome %q", outcome)
		}
	}
	for n := range byte(raceSessions) {
		wg.Go(func() {
			for g := uint32(1); g < raceTop; {
				r := refresh(n, g)
				r.Windows.Concurrency = time.Minute
				got, err := patiently(func() (store.RotateResult, error) { return s.Rotate(ctx, r) })
				note(got.Outcome, err)
				if got.Generation <= g {
					return
				}
				g = got.Generation
			}
		})
	}
	wg.Go(func() {
		for n := range byte(raceSignIns) {
			in := signIn(200)
			in.Name, in.MaxOpen = store.SessionName{200 + process, n}, raceCap
			_, err := patiently(func() (store.SignedIn, error) { return s.Open(ctx, in) })
			note(store.Replayed, err)
		}
	})
	wg.Wait()
	return rotated, err
}

// patiently asks again when the other process held the file for too long, as on a machine that has much else to do.
func patiently[T any](call func() (T, error)) (got T, err error) {
	for range 50 {
		if got, err = call(); err == nil || !strings.Contains(err.Error(), "database is locked") {
			break
		}
	}
	return got, err
}

// raceTheParent is the child of TestASecondProcessOnTheSameFile. It waits until the parent lets it start.
func raceTheParent(ctx context.Context, s *sqlitestore.Store, _ *sqlitefile.File) {
	if _, err := fmt.Println("ready"); err != nil {
		panic(err)
	}
	if _, err := io.ReadAll(os.Stdin); err != nil {
		panic(err)
	}
	rotated, err := race(ctx, s, 2)
	if err != nil {
		panic(err)
	}
	fmt.Println(rotated)
}

// racing starts the child and returns when both may start; the result waits for it and returns its rotations.
func racing(t *testing.T, path string) (result func() int) {
	t.Helper()
	c := child(t, "race", path)
	start, err := c.StdinPipe()
	must(t, err)
	out, err := c.StdoutPipe()
	must(t, err)
	must(t, c.Start())
	_, err = io.ReadFull(out, make([]byte, len("ready\n")))
	must(t, err)
	must(t, start.Close())
	return func() (rotated int) {
		t.Helper()
		_, err := fmt.Fscan(out, &rotated)
		must(t, err)
		must(t, c.Wait())
		return rotated
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestASecondProcessOnTheSameFile : the steps of both are atomic against each other, so each generation is used once.
func TestASecondProcessOnTheSameFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "glueauth.db")
	f := file(t, path, sqlitefile.Options{})
	s := sqlitestore.Patient(f, noon)
	t.Cleanup(s.Close)
	for n := range byte(raceSessions) {
		open(t, s, n)
	}
	result := racing(t, path)
	here, err := race(t.Context(), s, 1)
	there := result()
	if err != nil || here+there != raceSessions*(raceTop-1) {
		t.Errorf("%d rotations here and %d there, of %d sessions up to generation %d (%v)", here, there, raceSessions, raceTop, err)
	}
	for n := range byte(raceSessions) {
		in := signIn(n)
		if e, err := s.Session(t.Context(), in.Subject, in.Name); err != nil || e.Cur != raceTop || e.Base != raceTop-1 {
			t.Errorf("%+v, %v", e, err)
		}
	}
	all, _, err := s.SessionsOf(t.Context(), signIn(200).Subject)
	dead := slices.DeleteFunc(all, func(e store.Snapshot) bool { return e.EndedAt.IsZero() })
	if living := len(all) - len(dead); err != nil || living != raceCap {
		t.Errorf("%d living sessions, want %d (%v)", living, raceCap, err)
	}
	wholeFile(t, f)
}
