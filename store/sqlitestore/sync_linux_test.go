package sqlitestore_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/glueauth/glueauth/store"
	"github.com/glueauth/glueauth/store/sqlitefile"
	"github.com/glueauth/glueauth/store/sqlitestore"
)

// breakDisk has every fsync of this process fail from now on, as on a disk that lost its connection (seccomp(2)).
func breakDisk() error {
	const (
		noNewPrivileges  = 38 // PR_SET_NO_NEW_PRIVS
		modeFilter       = 1  // SECCOMP_SET_MODE_FILTER
		allThreads       = 1  // SECCOMP_FILTER_FLAG_TSYNC
		allow            = 0x7fff0000
		fail             = 0x00050000 | uint32(syscall.EIO)
		load, equal, ret = 0x20, 0x15, 0x06
	)
	number := map[string]uintptr{"amd64": 317, "arm64": 277}[runtime.GOARCH]
	steps := []syscall.SockFilter{
		{Code: load},
		{Code: equal, K: syscall.SYS_FSYNC, Jt: 2},
		{Code: equal, K: syscall.SYS_FDATASYNC, Jt: 1},
		{Code: ret, K: allow},
		{Code: ret, K: fail},
	}
	program := syscall.SockFprog{Len: uint16(len(steps)), Filter: &steps[0]}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if _, _, errno := syscall.RawSyscall6(syscall.SYS_PRCTL, noNewPrivileges, 1, 0, 0, 0, 0); errno != 0 {
		return errno
	}
	if _, _, errno := syscall.RawSyscall(number, modeFilter, allThreads, uintptr(unsafe.Pointer(&program))); errno != 0 {
		return errno
	}
	return nil
}

// workOnABrokenDisk is the child of TestADiskThatKeepsNothing. It prints what went wrong, or "right".
func workOnABrokenDisk(ctx context.Context, s *sqlitestore.Store, f *sqlitefile.File) {
	if err := brokenDisk(ctx, s, f); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("right")
}

func brokenDisk(ctx context.Context, s *sqlitestore.Store, f *sqlitefile.File) error {
	refresh1 := func() error { _, err := s.Rotate(ctx, refresh(1, 1)); return err }
	signIn2 := func() error { _, err := s.Open(ctx, signIn(2)); return err }
	ping := func() error { return s.Ping(ctx) }
	_, err := s.Open(ctx, signIn(1))
	if err := errors.Join(err, breakDisk()); err != nil {
		return fmt.Errorf("break the disk: %w", err)
	}
	if err := refresh1(); !lost(err) {
		return fmt.Errorf("the commit that was not kept: %w", err)
	}
	// From here on the disk works again for all that a commit can tell.
	for _, statement := range []string{"PRAGMA synchronous = OFF", "UPDATE instance SET id = id"} {
		if _, err := f.Write.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("repair the disk: %w", err)
		}
	}
	for i, call := range []func() error{refresh1, signIn2, ping, refresh1} {
		if err := call(); !lost(err) {
			return fmt.Errorf("call %d afterwards: %w", i, err)
		}
	}
	if e, err := s.Session(ctx, signIn(1).Subject, signIn(1).Name); err != nil || e.Cur != 1 {
		return fmt.Errorf("looking at a session: %+v, %w", e, err)
	}
	return nil
}

func lost(err error) bool {
	return errors.Is(err, store.ErrUnavailable) && errors.Is(err, sqlitestore.ErrSync)
}

// TestADiskThatKeepsNothing : a failed fsync is told to the caller, and nothing is acknowledged until the file is opened anew.
func TestADiskThatKeepsNothing(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "glueauth.db")
	shut(t, openFile(t, path, sqlitefile.Options{}))
	found, err := child(t, "break", path, childSafe+"=yes").Output()
	if lines := strings.TrimSpace(string(found)); err != nil || lines != "right" {
		t.Fatalf("%s (%v)", lines, err)
	}
	s := sqlitestore.Patient(file(t, path, sqlitefile.Options{}), noon)
	t.Cleanup(s.Close)
	want(t, s, 1, 1, store.Rotated)
}
