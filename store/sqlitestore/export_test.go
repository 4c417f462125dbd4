package sqlitestore

import (
	"time"

	"github.com/glueauth/glueauth/store/sqlitefile"
)

// Patient returns a store that waits for the connection for so long that a machine that stands still for a while is no fault.
func Patient(f *sqlitefile.File, now func() time.Time) *Store {
	return newStore(f, now, 30*time.Second)
}
