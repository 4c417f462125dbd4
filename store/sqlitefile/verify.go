package sqlitefile

import (
	"context"
	"database/sql"
	"embed"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// The places in the first hundred bytes of every SQLite file (https://www.sqlite.org/fileformat.html#the_database_header).
const (
	headerSize   = 100
	headerMagic  = "SQLite format 3\x00"
	headerMarkAt = 68

	headerPageSizeAt = 16 // two bytes; 1 stands for 65536
	headerChangesAt  = 24
	headerPagesAt    = 28 // counts only where both change counters are the same
	headerCountedAt  = 92
)

//go:embed migrations/*.sql
var migrations embed.FS

// inspect refuses a file that is not ours before SQLite sees it: SQLite would already write a log beside it.
func inspect(path string) (err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0) //nolint:gosec // the operator names the data folder
	if err != nil {
		return fmt.Errorf("database %s cannot be opened: %w: let this user read and write it, or name another data folder", path, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("database %s: %w", path, err)
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("database %s is not a regular file: move it away, or name another data folder", path)
	}
	header := make([]byte, headerSize)
	switch _, err := io.ReadFull(f, header); {
	case info.Size() == 0:
		return fmt.Errorf("database %s is empty: restore it from a backup, or move it away to start with an empty database", path)
	case errors.Is(err, io.ErrUnexpectedEOF), err == nil && string(header[:len(headerMagic)]) != headerMagic:
		return fmt.Errorf("database %s is not an SQLite database: restore it from a backup, or move it away to start with an empty database", path)
	case err != nil:
		return fmt.Errorf("database %s cannot be read: %w: check the disk, or restore it from a backup", path, err)
	case binary.BigEndian.Uint32(header[headerMarkAt:]) != ApplicationID:
		return fmt.Errorf("database %s belongs to another program: move it away, or name another data folder", path)
	}
	return complete(f, header)
}

// complete refuses a file that was cut off. SQLite takes what is missing of the last page as zeros, and its own check does
// not see that within a row. With a log beside the file, pages that are missing may stand there. The size is looked up last,
// because another process may be moving its log into the file.
func complete(f *os.File, header []byte) error {
	if log, err := os.Stat(f.Name() + "-wal"); err == nil && log.Size() > 0 {
		return nil
	}
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("database %s: %w", f.Name(), err)
	}
	number := func(at int) uint32 { return binary.BigEndian.Uint32(header[at:]) }
	short := number(headerChangesAt) == number(headerCountedAt) && info.Size() < int64(number(headerPagesAt))*pageSize(header)
	if short || info.Size()%pageSize(header) != 0 {
		return fmt.Errorf("database %s is damaged: it was cut off at %d bytes: restore it from a backup, or move it away to start with an empty database", f.Name(), info.Size())
	}
	return nil
}

func pageSize(header []byte) int64 {
	if size := binary.BigEndian.Uint16(header[headerPageSizeAt:]); size > 1 {
		return int64(size)
	}
	return 1 << 16
}

// verify proves that the database is whole and not newer than we are, and brings its tables up to date unless it only looks.
func (f *File) verify(ctx context.Context, path string, look bool) error {
	if err := whole(ctx, f.Read); err != nil {
		if barred(err) {
			return fmt.Errorf("database %s cannot be used: %w: let this user write to the file and its folder, and look whether the disk is full", path, err)
		}
		return fmt.Errorf("database %s is damaged: %w: restore it from a backup, or move it away to start with an empty database", path, err)
	}
	if err := f.Read.QueryRowContext(ctx, "SELECT id FROM instance").Scan(&f.ID); err != nil {
		return fmt.Errorf("database %s has lost its identity: %w: restore it from a backup", path, err)
	}
	if err := migrate(ctx, f.Write, look); err != nil {
		return fmt.Errorf("database %s: %w", path, err)
	}
	return nil
}

// barred reports whether SQLite could not work with the file as it must, which says nothing of the file.
func barred(err error) bool {
	e, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return false
	}
	const primary = 0xff // the low byte of every extended code
	switch e.Code() & primary {
	case sqlite3.SQLITE_PERM, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR,
		sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN:
		return true
	default:
		return false
	}
}

func whole(ctx context.Context, db *sql.DB) error {
	var verdict string
	if err := db.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&verdict); err != nil {
		return fmt.Errorf("check: %w", err)
	}
	if verdict != "ok" {
		return fmt.Errorf("check: %s", strings.ReplaceAll(verdict, "\n", " "))
	}
	return nil
}

// migrate brings the tables up to date. Each step is one immediate transaction, and the unique index on the version table
// makes it fail as a whole where another process has done it meanwhile: then the next look sees it done.
func migrate(ctx context.Context, db *sql.DB, look bool) error {
	steps, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return fmt.Errorf("find the schema: %w", err)
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, steps)
	if err != nil {
		return fmt.Errorf("read the schema: %w", err)
	}
	have, want, err := p.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("read the version of its tables: %w", err)
	}
	if have > want {
		return fmt.Errorf("its tables have version %d, this program knows up to %d: start a newer glueauth, or restore an older backup", have, want)
	}
	if look {
		return nil
	}
	for range want - have + 1 {
		if _, err = p.Up(ctx); err == nil {
			return nil
		}
	}
	return fmt.Errorf("bring its tables from version %d to %d: %w", have, want, err)
}
