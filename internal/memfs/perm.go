package memfs

import (
	"io/fs"
	"slices"
	"syscall"
)

// A Cred identifies the user a handle acts for. The zero value is root, which
// bypasses permission checks.
type Cred struct {
	UID, GID int
	Groups   []int // supplementary groups
}

func (c Cred) root() bool { return c.UID == 0 }

func (c Cred) in(gid int) bool { return c.GID == gid || slices.Contains(c.Groups, gid) }

// Access is a set of operations on a file.
type Access fs.FileMode

// The bits of an Access, as in access(2).
const (
	Execute Access = 1
	Write   Access = 2
	Read    Access = 4
)

// check returns an error unless c has the access want to n.
func (c Cred) check(n *inode, want Access) error {
	perm := Access(n.mode.Perm())
	switch {
	case c.root():
		// Root can execute a file only if some execute bit is set.
		if want&Execute != 0 && !n.isDir() && perm&0o111 == 0 {
			return syscall.EACCES
		}
		return nil
	case c.UID == n.uid:
		perm >>= 6
	case c.in(n.gid):
		perm >>= 3
	}
	if perm&want != want {
		return syscall.EACCES
	}
	return nil
}

// mayRemove returns an error unless c may remove n from dir: c must be able to
// write dir and, if dir is sticky, own dir or n.
func (c Cred) mayRemove(dir, n *inode) error {
	if err := c.check(dir, Write|Execute); err != nil {
		return err
	}
	if dir.mode&fs.ModeSticky != 0 && !c.root() && c.UID != n.uid && c.UID != dir.uid {
		return syscall.EPERM
	}
	return nil
}

// mayChange returns an error unless c may change the attributes of n.
func (c Cred) mayChange(n *inode) error {
	if c.root() || c.UID == n.uid {
		return nil
	}
	return syscall.EPERM
}

// Access returns an error unless the handle has the access want to the named
// file, following symbolic links. Files below a directory marked with
// [FS.SetNoExec] cannot be executed, even by root.
func (f *FS) Access(name string, want Access) error {
	f.vol.mu.RLock()
	defer f.vol.mu.RUnlock()
	at, err := f.walk(name, true)
	if err == nil && at.node == nil {
		err = syscall.ENOENT
	}
	if err == nil {
		err = f.cred.check(at.node, want)
	}
	if err == nil && want&Execute != 0 && !at.node.isDir() && f.vol.noexec(at.dir) {
		err = syscall.EACCES
	}
	return pathError("access", name, err)
}

// SetNoExec sets whether a directory is the root of a noexec mount, where files
// cannot be executed. It is permitted to root only.
func (f *FS) SetNoExec(name string, on bool) error {
	return f.change("mount", name, true, func(n *inode) error {
		if !n.isDir() {
			return syscall.ENOTDIR
		}
		if !f.cred.root() {
			return syscall.EPERM
		}
		n.noexec = on
		return nil
	})
}

func (v *volume) noexec(dir *inode) bool {
	for !dir.noexec {
		if v.isRoot(dir.ino) {
			return false
		}
		dir = v.inodes.get(dir.parent)
	}
	return true
}
