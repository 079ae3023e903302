package sandbox

import (
	"errors"
	"io"
	"io/fs"
	"syscall"
)

// errText returns the message a Linux program prints for err. The text of
// err.Error() depends on the operating system of the real computer.
func errText(err error) string {
	for _, known := range []struct {
		err  error
		text string
	}{
		{syscall.ENOTEMPTY, "Directory not empty"},
		{syscall.ENOTDIR, "Not a directory"},
		{syscall.EISDIR, "Is a directory"},
		{syscall.ELOOP, "Too many levels of symbolic links"},
		{syscall.EPERM, "Operation not permitted"},
		{syscall.EACCES, "Permission denied"},
		{syscall.EEXIST, "File exists"},
		{syscall.ENOENT, "No such file or directory"},
		{syscall.EINVAL, "Invalid argument"},
		{syscall.EBUSY, "Device or resource busy"},
		{syscall.ENAMETOOLONG, "File name too long"},
		{syscall.ENOSPC, "No space left on device"},
		{syscall.ENOMEM, "Cannot allocate memory"},
		{syscall.EFBIG, "File too large"},
		{syscall.EAGAIN, "Resource temporarily unavailable"},
		{syscall.EINTR, "Interrupted system call"},
		{syscall.ESRCH, "No such process"},
		{syscall.EIO, "Input/output error"},
		{syscall.EXDEV, "Invalid cross-device link"},
		{syscall.EBADF, "Bad file descriptor"},
		{syscall.EPIPE, "Broken pipe"},
		{io.ErrClosedPipe, "Broken pipe"},
		{fs.ErrNotExist, "No such file or directory"},
		{fs.ErrClosed, "Bad file descriptor"},
		{io.ErrUnexpectedEOF, "unexpected end of file"},
	} {
		if errors.Is(err, known.err) {
			return known.text
		}
	}
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err.Error()
	}
	return err.Error()
}
