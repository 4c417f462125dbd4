package sqlitefile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
)

// ErrOtherMaster says that a database was used with another master key: with this one, no refresh
// token of its sessions can be used.
var ErrOtherMaster = errors.New("the database was used with another master key: restore that key from a backup, or run glueauth keys accept-master, and every customer signs in again")

// Claim remembers a mark of the master key where there is none yet, and returns [ErrOtherMaster] where there is another
// one. The mark must tell nothing about the key but whether two are the same.
func (f *File) Claim(ctx context.Context, mark []byte) error {
	if len(mark) == 0 {
		return errors.New("claim database: the mark of the master key is empty")
	}
	if _, err := f.Write.ExecContext(ctx, "UPDATE instance SET master_mark = ? WHERE master_mark IS NULL", mark); err != nil {
		return fmt.Errorf("claim database: %w", err)
	}
	var there []byte
	if err := f.Write.QueryRowContext(ctx, "SELECT master_mark FROM instance").Scan(&there); err != nil {
		return fmt.Errorf("claim database: %w", err)
	}
	if !bytes.Equal(there, mark) {
		return ErrOtherMaster
	}
	return nil
}

// Fits returns [ErrOtherMaster] where [File.Claim] would, and changes nothing.
func (f *File) Fits(ctx context.Context, mark []byte) error {
	there, err := f.mark(ctx)
	if err != nil {
		return err
	}
	if there != nil && !bytes.Equal(there, mark) {
		return ErrOtherMaster
	}
	return nil
}

// Claimed reports whether the database was used with any master key, and changes nothing.
func (f *File) Claimed(ctx context.Context) (bool, error) {
	there, err := f.mark(ctx)
	return there != nil, err
}

func (f *File) mark(ctx context.Context) (there []byte, err error) {
	if has, err := f.has(ctx, "master_mark"); err != nil || !has {
		return nil, err
	}
	if err := f.Read.QueryRowContext(ctx, "SELECT master_mark FROM instance").Scan(&there); err != nil {
		return nil, fmt.Errorf("look who claimed the database: %w", err)
	}
	return there, nil
}

// has reports whether the tables are new enough to say that of the database.
func (f *File) has(ctx context.Context, column string) (has bool, err error) {
	const there = "SELECT EXISTS (SELECT 1 FROM pragma_table_info('instance') WHERE name = ?)"
	if err := f.Read.QueryRowContext(ctx, there, column).Scan(&has); err != nil {
		return false, fmt.Errorf("look at the tables of the database: %w", err)
	}
	return has, nil
}

// Disclaim forgets the mark, so that another master key may come. The sessions of the old one stay, and nothing can be
// done with them.
func (f *File) Disclaim(ctx context.Context) error {
	if _, err := f.Write.ExecContext(ctx, "UPDATE instance SET master_mark = NULL"); err != nil {
		return fmt.Errorf("disclaim database: %w", err)
	}
	return nil
}
