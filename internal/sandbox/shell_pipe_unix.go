//go:build unix

package sandbox

import (
	"errors"
	"io"
	"os"
	"syscall"
)

// tryRead reads without blocking. It reports not ready if there is no data yet.
func tryRead(file *os.File, p []byte) (n int, ready bool, err error) {
	raw, err := file.SyscallConn()
	if err != nil {
		return 0, true, err
	}
	var got error
	err = raw.Read(func(fd uintptr) bool {
		n, got = syscall.Read(int(fd), p)
		return true
	})
	n, ready, err = outcome(n, err, got)
	if ready && err == nil && n == 0 {
		err = io.EOF
	}
	return n, ready, err
}

// tryWrite writes without blocking. It reports not ready if there is no space.
func tryWrite(file *os.File, p []byte) (n int, ready bool, err error) {
	raw, err := file.SyscallConn()
	if err != nil {
		return 0, true, err
	}
	var got error
	err = raw.Write(func(fd uintptr) bool {
		n, got = syscall.Write(int(fd), p)
		return true
	})
	return outcome(n, err, got)
}

func outcome(n int, outer, inner error) (int, bool, error) {
	switch {
	case outer != nil:
		return 0, true, outer
	case errors.Is(inner, syscall.EAGAIN), errors.Is(inner, syscall.EINTR):
		return 0, false, nil
	case inner != nil:
		return 0, true, inner
	}
	return n, true, nil
}
