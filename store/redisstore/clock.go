package redisstore

import (
	"context"
	"time"

	"github.com/glueauth/glueauth/store"
)

// Skew returns by how much the server's clock is ahead of now, negative when it is behind; of several servers that take
// writes the one that is farthest off counts.
func (s *Store) Skew(ctx context.Context, now func() time.Time) (farthest time.Duration, err error) {
	servers, err := s.masters(ctx)
	if err != nil {
		return 0, unavailable(err)
	}
	for _, server := range servers {
		ahead, err := store.Skew(now, func() (time.Time, error) {
			ctx, cancel := s.servers.bounded(ctx)
			defer cancel()
			return server.Time(ctx).Result()
		})
		if err != nil {
			return 0, unavailable(err)
		}
		if ahead.Abs() > farthest.Abs() {
			farthest = ahead
		}
	}
	return farthest, nil
}
