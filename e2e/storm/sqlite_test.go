package storm_test

import (
	"path/filepath"
	"testing"

	"github.com/glueauth/glueauth/store/sqlitefile"
	"github.com/glueauth/glueauth/store/sqlitestore"
)

// sqlite keeps the sessions in a database file.
type sqlite struct {
	w     *world
	file  *sqlitefile.File
	store *sqlitestore.Store
}

func (s *sqlite) open(t *testing.T) []keeper {
	t.Helper()
	var err error
	s.file, err = sqlitefile.Open(t.Context(), filepath.Join(s.w.dir, "glueauth.db"), sqlitefile.Options{Create: true})
	s.w.check(err)
	s.store = sqlitestore.New(s.file, s.w.storeNow)
	return []keeper{s.store, s.store, s.store}
}

func (s *sqlite) close() {
	s.store.Close()
	s.w.check(s.file.Close())
}

func (s *sqlite) sweep(t *testing.T) {
	t.Helper()
	if _, err := s.store.Sweep(t.Context()); err != nil {
		t.Error(err)
	}
}

// outage takes the table away.
func (s *sqlite) outage(t *testing.T) (heal func()) {
	t.Helper()
	rename := func(from, to string) {
		_, err := s.file.Write.ExecContext(t.Context(), "ALTER TABLE "+from+" RENAME TO "+to)
		s.w.check(err)
	}
	rename("sessions", "away")
	return func() { rename("away", "sessions") }
}

// faults of the embedded store: it is opened again on a machine whose clock was set back.
func (s *sqlite) faults(_ *testing.T, from, _ int64) []fault {
	return []fault{
		{from, "second restart", s.w.close},
		{from + 2*grid, "its end, the clock set back by 20 s", func() {
			s.w.ahead.Add(-20)
			s.w.open()
		}},
	}
}
