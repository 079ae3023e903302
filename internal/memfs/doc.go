// Package memfs implements a POSIX file system in memory, the disk of a
// simulated machine.
//
// [New] returns an empty file system. Its methods are named as in package os
// and take absolute slash-separated paths. They act as root; [FS.As] returns a
// handle for another [Cred], which is checked against owners and mode bits as
// a kernel would. Errors are [*fs.PathError] or [*os.LinkError] values wrapping
// a [syscall.Errno], so errors.Is works with fs.ErrNotExist, fs.ErrPermission
// and syscall.ELOOP.
//
// [FS.Clone] takes the same time whatever the size: copies share every inode
// and every block of content until one of them writes. An FS and its clones are
// safe for concurrent use.
package memfs
