//go:build linux || darwin || freebsd

package diskimage

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// seekData finds the next range with data of a sparse file. It reports false if the
// file system does not tell. It moves the file's offset, which nothing else uses.
func seekData(file *os.File, off, size int64) (start, end int64, ok bool) {
	conn, err := file.SyscallConn()
	if err != nil {
		return 0, 0, false
	}
	err = conn.Control(func(fd uintptr) {
		start, err = unix.Seek(int(fd), off, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) { // only a hole is left
			start, end, ok = size, size, true
			return
		}
		if err != nil {
			return
		}
		end, err = unix.Seek(int(fd), start, unix.SEEK_HOLE)
		ok = err == nil && start >= off && end > start
	})
	return min(start, size), min(end, size), ok && err == nil || ok && start == size
}
