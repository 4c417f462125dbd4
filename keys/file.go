package keys

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// maxFile is beyond any real key file, in bytes.
const maxFile = 64 << 10

const (
	anyByOthers   fs.FileMode = 0o007
	writeByOthers fs.FileMode = 0o002
)

// readPrivate reads a file that no other user may reach. An absent one is [fs.ErrNotExist].
func readPrivate(path string) ([]byte, error) { return readFile(path, anyByOthers) }

// readCurrent reads the kid in a "current" file. A kid is public, so others may read it but not choose it.
func readCurrent(path string) (string, error) {
	data, err := readFile(path, writeByOthers)
	return strings.TrimSpace(string(data)), err
}

// readFile reads a small regular file, which may stand behind symbolic links as in a Kubernetes volume, and refuses one
// whose mode has a bit of forbidden.
func readFile(path string, forbidden fs.FileMode) ([]byte, error) {
	// Without O_NONBLOCK opening a FIFO would wait for a writer.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) //nolint:gosec // the operator's own path
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cannot %w", err) // the remedy is the caller's
	}
	if err != nil {
		return nil, fmt.Errorf("cannot %w; let the user of this process read that file", err)
	}
	defer f.Close() //nolint:errcheck // nothing was written
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("cannot %w; let the user of this process read that file", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file; put the key there as a file, or move it away", path)
	}
	if mode := info.Mode().Perm(); mode&forbidden != 0 {
		return nil, fmt.Errorf("%s is open to other users (mode %04o); run `chmod 600 %s`, or mount the Kubernetes secret with defaultMode 0440",
			path, mode, path)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("cannot %w; check its disk or restore it from a backup", err)
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s is larger than %d bytes; put only the key there", path, maxFile)
	}
	return data, nil
}

// writeNew makes the file path with mode 0600, whatever the umask, and its folder with 0700. The file appears whole or
// not at all, and is on the disk on return; whatever stands at path already stays and is [fs.ErrExist].
func writeNew(path string, data []byte) error {
	dir := filepath.Dir(path)
	if err := makeDir(dir); err != nil {
		return fmt.Errorf("make the folder of %s: %w; %s", path, err, writeRemedy(err))
	}
	temp, err := writeTemp(dir, data)
	if err != nil {
		return fmt.Errorf("write %s: %w; %s", path, err, writeRemedy(err))
	}
	err = cmp.Or(os.Link(temp, path), os.Remove(temp))
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already and is never replaced (%w); move it away first", path, fs.ErrExist)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w; use a file system with hard links or put the file there yourself", path, err)
	}
	if err := syncDir(dir); err != nil {
		return fmt.Errorf("write %s: %w; check its disk", path, err)
	}
	return nil
}

// writeRemedy is what helps where a file could not be written.
func writeRemedy(err error) string {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG) {
		return "make room there: its disk is full, or this user may not write more"
	}
	return "let the user of this process write there"
}

// writeTemp writes data to a hidden file of dir and flushes it. After an error no file is left.
func writeTemp(dir string, data []byte) (path string, err error) {
	f, err := os.CreateTemp(dir, ".glueauth-*.tmp")
	if err != nil {
		return "", err
	}
	_, err = f.Write(data)
	// The umask may have cut CreateTemp's 0600.
	err = cmp.Or(err, f.Chmod(0o600), giveToOwner(f, dir), f.Sync(), f.Close())
	if err != nil {
		return "", cmp.Or(err, os.Remove(f.Name()))
	}
	return f.Name(), nil
}

// giveToOwner gives a file that root has made to the owner of its folder: the server there runs as that user, and could not
// read it otherwise.
func giveToOwner(f *os.File, dir string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); ok {
		return f.Chown(int(owner.Uid), int(owner.Gid))
	}
	return nil
}

func makeDir(dir string) error {
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return syncDir(filepath.Dir(dir))
}

func syncDir(dir string) error {
	d, err := os.Open(dir) //nolint:gosec // the operator's own path
	if err != nil {
		return err
	}
	return cmp.Or(d.Sync(), d.Close())
}
