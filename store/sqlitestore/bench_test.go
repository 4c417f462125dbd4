package sqlitestore_test

import (
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/glueauth/glueauth/store"
	"github.com/glueauth/glueauth/store/sqlitefile"
	"github.com/glueauth/glueauth/store/sqlitestore"
)

// BenchmarkRotate is for comparison with performance.md 1.4: rotations of sessions of their own, at 1, 8 and 64 callers.
func BenchmarkRotate(b *testing.B) {
	for name, o := range map[string]sqlitefile.Options{"process-crash-safe": {Create: true}, "power-loss-safe": {Create: true, PowerLossSafe: true}} {
		for _, callers := range []int{1, 8, 64} {
			b.Run(fmt.Sprintf("%s/%d", name, callers), func(b *testing.B) {
				f, err := sqlitefile.Open(b.Context(), filepath.Join(b.TempDir(), "glueauth.db"), o)
				if err != nil {
					b.Fatal(err)
				}
				s := sqlitestore.New(f, func() time.Time { return time.Unix(1_800_000_000, 0) })
				defer func() {
					s.Close()
					_ = f.Close()
				}()
				var next atomic.Int64
				b.SetParallelism((callers + 1) / 2)
				b.RunParallel(func(pb *testing.PB) {
					in := store.SignIn{Subject: store.Subject{Kind: store.SubjectCustomer, ID: next.Add(1)}, Lifetime: time.Hour, MaxLife: 2 * time.Hour, MaxOpen: 9}
					in.Name[0] = byte(in.Subject.ID)
					if _, err := s.Open(b.Context(), in); err != nil {
						b.Error(err)
					}
					for g := uint32(1); pb.Next(); g++ {
						got, err := s.Rotate(b.Context(), store.Rotation{Name: in.Name, Subject: in.Subject, Generation: g, Lifetime: time.Hour})
						if err != nil || got.Outcome != store.Rotated {
							b.Errorf("%+v, %v", got, err)
						}
					}
				})
			})
		}
	}
}
