package memfs

import (
	"io/fs"
	"slices"
	"syscall"
)

// A Cred says whom a handle acts for. The zero value is root, whom no
// permission stops.
type Cred struct {
	UID, GID int
	Groups   []int // further groups
}

func (c Cred) root() bool { return c.UID == 0 }

func (c Cred) in(gid int) bool { return c.GID == gid || slices.Contains(c.Groups, gid) }

// Access is what is to be done with a file; values can be added up.
type Access fs.FileMode

// The kinds of access, as access(2) has them.
const (
	Execute Access = 1
	Write   Access = 2
	Read    Access = 4
)

// check is nil when c may do want with n.
func (c Cred) check(n *inode, want Access) error {
	perm := Access(n.mode.Perm())
	switch {
	case c.root():
		// Root executes a file only if someone may.
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

// mayRemove is nil when c may take n out of dir: it needs to write the
// directory, and in a sticky one to own either.
func (c Cred) mayRemove(dir, n *inode) error {
	if err := c.check(dir, Write|Execute); err != nil {
		return err
	}
	if dir.mode&fs.ModeSticky != 0 && !c.root() && c.UID != n.uid && c.UID != dir.uid {
		return syscall.EPERM
	}
	return nil
}

// owns is nil when c may change the attributes of n.
func (c Cred) owns(n *inode) error {
	if c.root() || c.UID == n.uid {
		return nil
	}
	return syscall.EPERM
}

// Access is nil when the handle may do want with the file, which symbolic
// links are followed to. A file under a NoExec directory may not be executed
// by anyone.
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

// SetNoExec marks a directory as the root of a mount on which nothing can be
// executed, or takes the mark off.
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
		if dir.ino == rootIno {
			return false
		}
		dir = v.inodes.get(dir.parent)
	}
	return true
}
