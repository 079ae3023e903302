// Package filelock locks files among processes. The system releases the lock of a
// process that dies.
package filelock

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/bakestone-go/bakestone/bake/clock"
)

// errLocked is returned by tryLock for a file that another one has locked.
var errLocked = errors.New("locked by another process")

// ErrUnsupported is returned, wrapped, where files cannot be locked.
var ErrUnsupported = errors.New("file locks are not supported on this system")

// Lock creates the file at path, if necessary, with mode 0600, and locks it. It waits
// until no other process or goroutine has the lock, or ctx ends. The returned func
// removes the file and so unlocks it. A process that dies leaves the file, unlocked.
func Lock(ctx context.Context, path string) (unlock func(), err error) {
	const shortest, longest = time.Millisecond, 50 * time.Millisecond
	for wait := shortest; ; wait = min(2*wait, longest) {
		file, err := try(path)
		if err == nil {
			return func() {
				_ = os.Remove(path) // fails on Windows; the file is then left, empty
				_ = file.Close()    // it also unlocks
			}, nil
		}
		if !errors.Is(err, errLocked) {
			return nil, err
		}
		if err := clock.System().Sleep(ctx, wait); err != nil {
			return nil, fmt.Errorf("%s: %w: %w", path, errLocked, err)
		}
	}
}

// try locks the file once. The holder before may have removed it: then the lock is that
// of a file which is no longer at path.
func try(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	err = tryLock(file)
	if err == nil {
		err = same(file, path)
	}
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	return file, nil
}

// same returns errLocked if the file at path is another one.
func same(file *os.File, path string) error {
	mine, err := file.Stat()
	if err != nil {
		return err
	}
	there, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(mine, there):
		return errLocked
	default:
		return err
	}
}
