package storetest

import (
	"context"
	"time"

	"github.com/anishathalye/porcupine"
)

// Explained reports whether some order of the calls explains a history of a store whose clock is now.
func Explained(ctx context.Context, s Sessions, now func() time.Time, seed uint64) (bool, error) {
	c := new(clock)
	c.Store(now().UnixMilli())
	operations, err := newKit(s, c).record(ctx, seed)
	return porcupine.CheckOperations(specification(now()), operations), err
}
