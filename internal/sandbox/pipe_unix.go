//go:build unix

package sandbox

import (
	"errors"
	"io"
	"os"
	"syscall"
)

// readNow reads what is there; not ready means nothing is yet.
func readNow(file *os.File, p []byte) (n int, ready bool, err error) {
	raw, err := file.SyscallConn()
	if err != nil {
		return 0, true, err
	}
	var readErr error
	err = raw.Read(func(fd uintptr) bool {
		n, readErr = syscall.Read(int(fd), p) //nolint:gosec // a descriptor fits
		return true
	})
	switch {
	case err != nil:
		return 0, true, err
	case errors.Is(readErr, syscall.EAGAIN), errors.Is(readErr, syscall.EINTR):
		return 0, false, nil
	case readErr != nil:
		return 0, true, readErr
	case n <= 0:
		return 0, true, io.EOF
	}
	return n, true, nil
}
