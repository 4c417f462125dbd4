// Package sqlitefile opens the one embedded database file: it makes the file, proves that a file that is there already is
// ours and whole, and brings its tables up to date. The tables themselves belong to sqlstore and sqlitestore.
//
// A new file is made under another name and appears complete or not at all, so an unfinished, an empty and a foreign file
// are all the same case: one that we did not make, and never write to.
package sqlitefile

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	_ "modernc.org/sqlite" // the driver's only door is its registration
)

// ApplicationID marks a database file as ours, in the field that SQLite has for it: "glue" in ASCII.
const ApplicationID = 0x676c7565

// busyTimeout is how long a statement waits for another connection or process, in milliseconds.
const busyTimeout = "2000"

// readers is the size of the pool for reading; more would only queue for the same cores.
const readers = 4

// Options say how to open a file.
type Options struct {
	// PowerLossSafe makes each commit wait for the disk (synchronous=FULL). Without it a power cut may lose the last
	// commits, while the end of the process alone loses none.
	PowerLossSafe bool
	// Create makes the file where there is none. Its folder must be there.
	Create bool
	// Look opens the file as it is, to be read only: tables of an older version are left so.
	Look bool
}

// File is the open database.
type File struct {
	// Write has one connection; its transactions take the write lock when they begin. Whoever waits for it waits in line.
	Write *sql.DB
	// Read has a few connections, which cannot write.
	Read *sql.DB
	// ID is random, made with the file and never changed: it tells two databases apart.
	ID string
	// Created reports whether this call made the file.
	Created bool
}

// Open opens the database file at path, and makes it first where there is none and o.Create is set. A file that is not
// ours, broken, empty or of a newer version is refused with an error that names file, reason and remedy; it is left as it
// is. Several processes may open one file at the same time, each of them once: looking at the header before SQLite does
// would take the locks of an earlier handle of the same process from it.
func Open(ctx context.Context, path string, o Options) (*File, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("database %s: find the working folder: %w", path, err)
	}
	created := false
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		if !o.Create {
			return nil, fmt.Errorf("database %s does not exist: glueauth makes one only in its own data folder, on the first start; put a copy there, or correct the path", path)
		}
		if _, err := os.Lstat(path + "-wal"); err == nil {
			return nil, fmt.Errorf("database %s does not exist but its log %[1]s-wal does: restore the database, or move the log away too", path)
		}
		if created, err = create(ctx, path); err != nil {
			return nil, fmt.Errorf("make database %s: %w", path, err)
		}
	}
	if err := inspect(path); err != nil {
		return nil, err
	}
	f, err := open(ctx, path, o)
	if err != nil {
		return nil, err
	}
	f.Created = created
	return f, nil
}

// Close closes the file.
func (f *File) Close() error {
	if err := errors.Join(f.Read.Close(), f.Write.Close()); err != nil {
		return fmt.Errorf("close database: %w", err)
	}
	return nil
}

func open(ctx context.Context, path string, o Options) (_ *File, err error) {
	f := &File{}
	if f.Read, err = connect(path, o.PowerLossSafe, true); err != nil {
		return nil, fmt.Errorf("open database %s: %w", path, err)
	}
	if f.Write = f.Read; !o.Look {
		if f.Write, err = connect(path, o.PowerLossSafe, false); err != nil {
			return nil, errors.Join(fmt.Errorf("open database %s: %w", path, err), f.Read.Close())
		}
	}
	if err := f.verify(ctx, path, o.Look); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// connect returns a pool for the file at path, which must exist: SQLite never makes one by itself here.
func connect(path string, sync, readOnly bool) (*sql.DB, error) {
	o := url.Values{
		"mode":          {"rw"},
		"_busy_timeout": {busyTimeout},
		"_synchronous":  {"NORMAL"},
		"_foreign_keys": {"1"},
		"_error_rc":     {"1"},
		"_defensive":    {"1"},
	}
	if sync {
		o.Set("_synchronous", "FULL")
	}
	connections := 1
	if readOnly {
		o.Set("_query_only", "1")
		connections = readers
	} else {
		o.Set("_txlock", "immediate")
		o.Set("_journal_mode", "WAL") // changes the file where it has another mode
	}
	// EscapedPath keeps what SQLite's own URI parser would read as the end of the name or as an escape out of it.
	name := (&url.URL{Path: filepath.ToSlash(path)}).EscapedPath()
	db, err := sql.Open("sqlite", "file://"+name+"?"+o.Encode())
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	return db, nil
}

// create makes a complete database under another name and then gives it its own, unless another process was faster; it
// reports whether this one won.
func create(ctx context.Context, path string) (_ bool, err error) {
	dir, err := os.MkdirTemp(filepath.Dir(path), "."+filepath.Base(path)+".new-")
	if err != nil {
		return false, fmt.Errorf("%w: make the folder, or let this user write to it", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	unfinished := filepath.Join(dir, filepath.Base(path))
	if err := touch(unfinished); err != nil {
		return false, err
	}
	if err := fill(ctx, unfinished); err != nil {
		return false, err
	}
	if err := os.Link(unfinished, path); errors.Is(err, fs.ErrExist) {
		return false, nil
	} else if err != nil {
		return false, fmt.Errorf("%w: choose a data folder on a file system with hard links", err)
	}
	return true, syncFolder(filepath.Dir(path))
}

// touch makes an empty file that only its owner can read, whatever the umask; SQLite gives its log the same mode.
func touch(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600) //nolint:gosec // the operator names the data folder
	if err != nil {
		return fmt.Errorf("make file: %w", err)
	}
	return errors.Join(f.Chmod(0o600), f.Close())
}

// fill makes all tables. Closing the last connection moves everything out of the log into the file itself.
func fill(ctx context.Context, path string) error {
	db, err := connect(path, true, false)
	if err != nil {
		return err
	}
	if _, err := db.ExecContext(ctx, fmt.Sprintf("PRAGMA application_id = %d", ApplicationID)); err != nil {
		return errors.Join(fmt.Errorf("mark as ours: %w", err), db.Close())
	}
	return errors.Join(migrate(ctx, db, false), db.Close())
}

func syncFolder(path string) error {
	dir, err := os.Open(path) //nolint:gosec // the operator names the data folder
	if err != nil {
		return fmt.Errorf("open folder: %w", err)
	}
	if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
		return fmt.Errorf("sync folder %s: %w", path, err)
	}
	return nil
}
