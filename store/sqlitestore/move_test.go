package sqlitestore_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/glueauth/glueauth/store/sqlitefile"
	"github.com/glueauth/glueauth/store/sqlitestore"
	"github.com/glueauth/glueauth/store/storetest"
)

func TestMove(t *testing.T) {
	t.Parallel()
	open := func(t *testing.T, now func() time.Time) storetest.Movable {
		t.Helper()
		s := sqlitestore.Patient(file(t, filepath.Join(t.TempDir(), "glueauth.db"), sqlitefile.Options{}), now)
		t.Cleanup(s.Close)
		return s
	}
	storetest.Move(t, open, open)
}
