// Package memfs is a POSIX file system in memory: what a pretend machine has
// for a disk.
//
// New makes an empty one. Its methods take absolute slash-separated paths and
// are named as in package os; they act as root until As gives a handle with
// another Cred, which is then checked against owners and mode bits as a kernel
// would. Errors are *fs.PathError or *os.LinkError around a syscall.Errno, so
// that errors.Is with fs.ErrNotExist, fs.ErrPermission and syscall.ELOOP work.
//
// Clone is cheap whatever the size: the copies share every inode and every
// block of content until one of them writes. An FS may be used by several
// goroutines at once, and so may its clones.
//
// IO gives the same tree to code that takes an fs.FS.
package memfs
