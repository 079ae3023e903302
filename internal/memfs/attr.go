package memfs

import (
	"io/fs"
	"syscall"
	"time"
)

const modeBits = fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky

// An Info describes a file. It implements [fs.FileInfo].
type Info struct {
	name  string
	inode *inode
	size  int64
}

var _ fs.FileInfo = (*Info)(nil)

// Name returns the last element of the path.
func (i *Info) Name() string { return i.name }

// Size returns the length of a file in bytes.
func (i *Info) Size() int64 { return i.size }

// Mode returns the type and permission bits.
func (i *Info) Mode() fs.FileMode { return i.inode.mode }

// ModTime returns the time of the last change of the content.
func (i *Info) ModTime() time.Time { return i.inode.mtime }

// AccessTime returns the time last set by Chtimes, or the time of creation.
func (i *Info) AccessTime() time.Time { return i.inode.atime }

// IsDir reports whether the file is a directory.
func (i *Info) IsDir() bool { return i.inode.isDir() }

// Sys returns nil.
func (i *Info) Sys() any { return nil }

// UID returns the owner.
func (i *Info) UID() int { return i.inode.uid }

// GID returns the group.
func (i *Info) GID() int { return i.inode.gid }

// Ino returns the inode number, the same for all hard links to a file.
func (i *Info) Ino() uint64 { return i.inode.ino }

// Nlink returns the number of hard links.
func (i *Info) Nlink() int { return i.inode.nlink }

// info returns a snapshot of n, which may change later.
func info(name string, n *inode) *Info {
	if name == "" {
		name = "/"
	}
	frozen := *n
	frozen.entries, frozen.content = nil, content{}
	return &Info{name: name, inode: &frozen, size: n.size()}
}

// Stat describes the named file, following symbolic links.
func (f *FS) Stat(name string) (*Info, error) { return f.stat("stat", name, true) }

// Lstat describes the named file without following a symbolic link.
func (f *FS) Lstat(name string) (*Info, error) { return f.stat("lstat", name, false) }

func (f *FS) stat(op, name string, follow bool) (*Info, error) {
	f.vol.mu.RLock()
	defer f.vol.mu.RUnlock()
	at, err := f.find(name, follow)
	if err != nil {
		return nil, pathError(op, name, err)
	}
	return info(at.name, at.node), nil
}

// Chmod sets the permission, setuid, setgid and sticky bits. It is permitted
// to the owner and root only.
func (f *FS) Chmod(name string, mode fs.FileMode) error {
	return f.change("chmod", name, true, func(n *inode) error { return f.chmod(n, mode) })
}

func (f *FS) chmod(n *inode, mode fs.FileMode) error {
	if err := f.cred.mayChange(n); err != nil {
		return err
	}
	if !f.cred.root() && !f.cred.in(n.gid) {
		mode &^= fs.ModeSetgid
	}
	n.mode = n.mode&^modeBits | mode&modeBits
	return nil
}

// Chown sets the owner and group of the named file, following symbolic links;
// -1 leaves one unchanged. Only root may change the owner; the owner may set the
// group to any group they belong to.
func (f *FS) Chown(name string, uid, gid int) error {
	return f.change("chown", name, true, func(n *inode) error { return f.chown(n, uid, gid) })
}

// Lchown is like [FS.Chown] but does not follow a symbolic link.
func (f *FS) Lchown(name string, uid, gid int) error {
	return f.change("lchown", name, false, func(n *inode) error { return f.chown(n, uid, gid) })
}

func (f *FS) chown(n *inode, uid, gid int) error {
	if !f.cred.root() {
		newOwner := uid >= 0 && uid != n.uid
		foreignGroup := gid >= 0 && gid != n.gid && !f.cred.in(gid)
		if f.cred.UID != n.uid || newOwner || foreignGroup {
			return syscall.EPERM
		}
	}
	if n.mode.IsRegular() {
		n.mode &^= fs.ModeSetuid | fs.ModeSetgid
	}
	if uid >= 0 {
		n.uid = uid
	}
	if gid >= 0 {
		n.gid = gid
	}
	return nil
}

// Chtimes sets the access and modification times of the named file; a zero time
// leaves one unchanged. It is permitted to the owner, root and users who may
// write the file.
func (f *FS) Chtimes(name string, atime, mtime time.Time) error {
	return f.change("chtimes", name, true, func(n *inode) error {
		if err := f.cred.mayChange(n); err != nil && f.cred.check(n, Write) != nil {
			return err
		}
		if !atime.IsZero() {
			n.atime = atime
		}
		if !mtime.IsZero() {
			n.mtime = mtime
		}
		return nil
	})
}

// Truncate sets the length of the named regular file.
func (f *FS) Truncate(name string, size int64) error {
	return f.change("truncate", name, true, func(n *inode) error {
		switch {
		case n.isDir():
			return syscall.EISDIR
		case size < 0 || !n.mode.IsRegular():
			return syscall.EINVAL
		}
		if err := f.cred.check(n, Write); err != nil {
			return err
		}
		if err := f.vol.truncate(n, size); err != nil {
			return err
		}
		n.mtime = f.vol.now()
		return nil
	})
}
