package sqlitefile

import (
	"context"
	"fmt"
)

// MovedTo returns where the sessions of the database were moved to, as [File.SetMoved] was told; empty while they are here.
func (f *File) MovedTo(ctx context.Context) (place string, err error) {
	if has, err := f.has(ctx, "moved_to"); err != nil || !has {
		return "", err
	}
	if err := f.Read.QueryRowContext(ctx, "SELECT moved_to FROM instance").Scan(&place); err != nil {
		return "", fmt.Errorf("look where the sessions are: %w", err)
	}
	return place, nil
}

// SetMoved remembers where the sessions were moved to, so that no server goes on with those that are left: what ends there
// does not end here. Empty says that they are here again.
func (f *File) SetMoved(ctx context.Context, place string) error {
	if _, err := f.Write.ExecContext(ctx, "UPDATE instance SET moved_to = ?", place); err != nil {
		return fmt.Errorf("note where the sessions are: %w", err)
	}
	return nil
}
