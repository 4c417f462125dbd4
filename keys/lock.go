package keys

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// lockFile is held while a process changes the schedule of a folder.
const lockFile = "schedule.lock"

// lockFolder takes the lock of a folder, and waits for it or returns nil where another process has it. The kernel drops it
// with the process; the file stays, for removing it would let two processes hold two locks of one name.
func lockFolder(dir string, wait bool) (release func(), err error) {
	if release, err = lock(filepath.Join(dir, lockFile), wait); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the key folder %s does not exist; correct keys.dir, or name the data folder with --data", dir)
	}
	return release, err
}

// lock is [lockFolder] of a file of that name.
func lock(path string, wait bool) (release func(), err error) {
	dir := filepath.Dir(path)
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600) //nolint:gosec // the operator's own folder
	if err != nil {
		return nil, fmt.Errorf("lock the keys: %w; %s, or rotate where it can be written", err, writeRemedy(err))
	}
	if err := giveToOwner(file, dir); err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("lock the keys: %w", err)
	}
	how := syscall.LOCK_EX
	if !wait {
		how |= syscall.LOCK_NB
	}
	err = syscall.EINTR
	for errors.Is(err, syscall.EINTR) {
		err = syscall.Flock(int(file.Fd()), how)
	}
	if err == nil {
		return func() {
			_ = syscall.Flock(int(file.Fd()), syscall.LOCK_UN)
			_ = file.Close()
		}, nil
	}
	_ = file.Close()
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, nil //nolint:nilnil // another one does the work
	}
	return nil, fmt.Errorf("lock the keys in %s: %w", dir, err)
}
