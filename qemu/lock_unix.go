//go:build unix

package qemu

import (
	"errors"
	"io"
	"os"
	"syscall"
)

// lockHolder returns the id of the process that holds the lock of a pid file, or zero.
// QEMU locks its pid file as long as it lives, which nothing but QEMU can fake: the id
// is of no other process, even if it was reused.
func lockHolder(pidFile string) (int, error) {
	f, err := os.Open(pidFile) //nolint:gosec // below Host's directory
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	lock := syscall.Flock_t{Type: syscall.F_WRLCK, Whence: io.SeekStart}
	if err := syscall.FcntlFlock(f.Fd(), syscall.F_GETLK, &lock); err != nil {
		return 0, &os.PathError{Op: "read lock", Path: pidFile, Err: err}
	}
	if lock.Type == syscall.F_UNLCK {
		return 0, nil
	}
	return int(lock.Pid), nil
}

// killHolder kills the process that holds the lock of a pid file, if any.
func killHolder(pidFile string) error {
	pid, err := lockHolder(pidFile)
	if err != nil || pid <= 0 {
		return err
	}
	p, err := os.FindProcess(pid) // on Linux by a handle that stays with this process
	if err != nil {
		return err
	}
	defer p.Release() //nolint:errcheck // nothing depends on it
	if again, err := lockHolder(pidFile); err != nil || again != pid {
		return err // it has just ended
	}
	if err := p.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// lockFile locks a file for this process. It reports whether no other process has it.
func lockFile(f *os.File) (bool, error) {
	lock := syscall.Flock_t{Type: syscall.F_WRLCK, Whence: io.SeekStart}
	err := syscall.FcntlFlock(f.Fd(), syscall.F_SETLK, &lock)
	if errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EACCES) {
		return false, nil
	}
	return err == nil, err
}
