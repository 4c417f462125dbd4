package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

const lockName = "glueauth.lock"

// dataLock says that this process is the one server of a data folder. The kernel drops it with the process, so a
// killed server leaves nothing to clean up.
type dataLock struct{ file *os.File }

// lockData makes the data folder where it is missing, and takes its lock. Only serve does that; other commands open the
// database beside it.
func lockData(dir string, logger *slog.Logger) (*dataLock, error) {
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("make the data folder: %w: let this user make it, or choose another one with --data", err)
		}
		logger.Info("made the data folder", "folder", dir)
	}
	path := filepath.Join(dir, lockName)
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600) //nolint:gosec // the operator's own folder
	if err != nil {
		return nil, fmt.Errorf("lock the data folder: %w: let this user write there, or choose another folder with --data", err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		holder, _ := io.ReadAll(io.LimitReader(file, 32))
		_ = file.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("the data folder %s is served by process %s already: stop that one, or give this one another folder with --data",
				dir, strings.TrimSpace(string(holder)))
		}
		return nil, fmt.Errorf("lock the data folder %s: %w", dir, err)
	}
	if err := errors.Join(file.Truncate(0), writePID(file)); err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("lock the data folder %s: %w", dir, err)
	}
	return &dataLock{file}, nil
}

func writePID(file *os.File) error {
	_, err := fmt.Fprintf(io.NewOffsetWriter(file, 0), "%d\n", os.Getpid())
	return err
}

// release drops the lock; the file stays, for removing it would let two servers hold two locks of one name. Closing alone
// would not do while a process that was just forked still has the descriptor.
func (l *dataLock) release() error {
	return errors.Join(syscall.Flock(int(l.file.Fd()), syscall.LOCK_UN), l.file.Close())
}
