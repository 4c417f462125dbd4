package sqlitestore_test

import (
	"path/filepath"
	"testing"
	"time"

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
				s := sqlitestore.New(file(t, filepath.Join(t.TempDir(), "glueauth.db"), o), now)
				t.Cleanup(s.Close)
				return s
			})
		})
	}
}
