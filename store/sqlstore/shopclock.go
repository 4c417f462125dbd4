package sqlstore

import (
	"context"
	"time"

	"github.com/glueauth/glueauth/store"
)

// Skew returns by how much the database's clock is ahead of now, negative when it is behind.
func (s *Shop) Skew(ctx context.Context, now func() time.Time) (time.Duration, error) {
	ahead, err := store.Skew(now, func() (time.Time, error) {
		ctx, cancel := context.WithTimeout(ctx, s.patience)
		defer cancel()
		var seconds float64
		err := s.db.QueryRowContext(ctx, s.kind.clock).Scan(&seconds)
		return time.UnixMicro(int64(seconds * 1e6)), err
	})
	if err != nil {
		return 0, unavailable("read the clock", err)
	}
	return ahead, nil
}
