package sqlitestore_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/glueauth/glueauth/store/sqlitefile"
	"github.com/glueauth/glueauth/store/sqlitestore"
	"github.com/glueauth/glueauth/store/storetest"
)

func TestTheListForgets(t *testing.T) {
	t.Parallel()
	storetest.Forgets(t, func(t *testing.T, now func() time.Time) storetest.Sessions {
		t.Helper()
		s := sqlitestore.Patient(file(t, filepath.Join(t.TempDir(), "glueauth.db"), sqlitefile.Options{}), now)
		t.Cleanup(s.Close)
		return s
	})
}

func TestWhatHasEndedGoesOnWhereItWasRead(t *testing.T) {
	t.Parallel()
	s, _ := newStore(t)
	open(t, s, 1)
	if err := s.EndAll(t.Context(), endAll(9)); err != nil {
		t.Fatal(err)
	}
	all, next, err := s.Revoked(t.Context(), 0)
	if err != nil || len(all) != 1 {
		t.Fatalf("%+v %v", all, err)
	}
	if more, same, err := s.Revoked(t.Context(), next); err != nil || len(more) != 0 || same != next {
		t.Errorf("read twice: %+v %d %v", more, same, err)
	}
	if err := s.EndAll(t.Context(), endAll(10)); err != nil {
		t.Fatal(err)
	}
	if more, _, err := s.Revoked(t.Context(), next); err != nil || len(more) != 1 || more[0].Epoch != endAll(10).FreshEpoch {
		t.Errorf("written again: %+v %v", more, err)
	}
}
