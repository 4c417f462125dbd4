package sqlitestore_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/glueauth/glueauth/store"
	"github.com/glueauth/glueauth/store/sqlitefile"
	"github.com/glueauth/glueauth/store/sqlitestore"
	"github.com/glueauth/glueauth/store/storetest"
)

func TestContract(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]sqlitefile.Options{
		"process-crash-safe": {},
		"power-loss-safe":    {PowerLossSafe: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			storetest.Run(t, func(t *testing.T, now func() time.Time) storetest.Sessions {
				t.Helper()
				s := sqlitestore.Patient(file(t, filepath.Join(t.TempDir(), "glueauth.db"), o), now)
				t.Cleanup(s.Close)
				return s
			})
		})
	}
}

// TestGuesses : a disk sync for each guess would take minutes and prove nothing more.
func TestGuesses(t *testing.T) {
	t.Parallel()
	storetest.RunGuesses(t, func(t *testing.T, now func() time.Time) storetest.Guesses {
		t.Helper()
		s := sqlitestore.Patient(file(t, filepath.Join(t.TempDir(), "glueauth.db"), sqlitefile.Options{}), now)
		t.Cleanup(s.Close)
		return s
	})
}

// TestBucketsThatAreEmptyAgainAreSwept : or whoever guesses would fill the disk.
func TestBucketsThatAreEmptyAgainAreSwept(t *testing.T) {
	t.Parallel()
	clock := noon()
	s := sqlitestore.Patient(file(t, filepath.Join(t.TempDir(), "glueauth.db"), sqlitefile.Options{}), func() time.Time { return clock })
	t.Cleanup(s.Close)
	limit := store.GuessLimit{Most: 2, Window: time.Minute, Lock: time.Hour}
	g := store.Guess{Account: store.GuessKey{1}, Address: store.GuessKey{2}, Limits: store.GuessLimits{Pair: limit, Account: limit, Address: limit}}
	for n := range byte(3) {
		g.Account[1] = n
		if v, err := s.ReserveGuess(t.Context(), g); err != nil || (v.Full != "") != (n == 2) {
			t.Fatalf("%+v, %v", v, err)
		}
	}
	for after, want := range []int{0, 4, 1} { // the pairs and the accounts; then the address, which was locked
		if n, err := s.Sweep(t.Context()); err != nil || n != want {
			t.Errorf("step %d: %d rows, %v, want %d", after, n, err, want)
		}
		clock = clock.Add(time.Minute + time.Duration(after)*time.Hour)
	}
}
