package memfs

import (
	"io/fs"
	"syscall"
	"time"
)

const modeBits = fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky

// An Info is what Stat says of a file. It is an fs.FileInfo whose Sys is
// itself.
type Info struct {
	name  string
	inode *inode
	size  int64
}

var _ fs.FileInfo = (*Info)(nil)

// Name is the last element of the path.
func (i *Info) Name() string { return i.name }

// Size is the length of a file in bytes.
func (i *Info) Size() int64 { return i.size }

// Mode is the type and the permission bits.
func (i *Info) Mode() fs.FileMode { return i.inode.mode }

// ModTime is when the content last changed.
func (i *Info) ModTime() time.Time { return i.inode.mtime }

// AccessTime is what Chtimes last set, else the time of creation.
func (i *Info) AccessTime() time.Time { return i.inode.atime }

// IsDir is whether it is a directory.
func (i *Info) IsDir() bool { return i.inode.isDir() }

// Sys is the Info itself.
func (i *Info) Sys() any { return i }

// UID is the owner.
func (i *Info) UID() int { return i.inode.uid }

// GID is the group.
func (i *Info) GID() int { return i.inode.gid }

// Ino is the inode number, the same for all hard links of a file.
func (i *Info) Ino() uint64 { return i.inode.ino }

// Nlink is the number of names the file has.
func (i *Info) Nlink() int { return i.inode.nlink }

// NoExec is whether the directory carries the mark of SetNoExec.
func (i *Info) NoExec() bool { return i.inode.noexec }

// info is a snapshot of n, which may change later.
func info(name string, n *inode) *Info {
	if name == "" {
		name = "/"
	}
	frozen := *n
	frozen.entries, frozen.content = nil, content{}
	return &Info{name: name, inode: &frozen, size: n.size()}
}

// Stat describes the file that symbolic links lead to.
func (f *FS) Stat(name string) (*Info, error) { return f.stat("stat", name, true) }

// Lstat describes the file itself, be it a symbolic link.
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

// Chmod sets the permission, setuid, setgid and sticky bits. Only the owner
// and root may.
func (f *FS) Chmod(name string, mode fs.FileMode) error {
	return f.change("chmod", name, true, func(n *inode) error { return f.chmod(n, mode) })
}

func (f *FS) chmod(n *inode, mode fs.FileMode) error {
	if err := f.cred.owns(n); err != nil {
		return err
	}
	if !f.cred.root() && !f.cred.in(n.gid) {
		mode &^= fs.ModeSetgid
	}
	n.mode = n.mode&^modeBits | mode&modeBits
	return nil
}

// Chown sets owner and group of the file that symbolic links lead to; -1
// leaves one as it is. Only root may give a file away; its owner may change
// its group to one of their own.
func (f *FS) Chown(name string, uid, gid int) error {
	return f.change("chown", name, true, func(n *inode) error { return f.chown(n, uid, gid) })
}

// Lchown is Chown of a symbolic link itself.
func (f *FS) Lchown(name string, uid, gid int) error {
	return f.change("lchown", name, false, func(n *inode) error { return f.chown(n, uid, gid) })
}

func (f *FS) chown(n *inode, uid, gid int) error {
	if !f.cred.root() {
		gives := uid >= 0 && uid != n.uid
		joins := gid >= 0 && gid != n.gid && !f.cred.in(gid)
		if f.cred.UID != n.uid || gives || joins {
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

// Chtimes sets the times of a file; a zero time leaves one as it is. Only the
// owner and root may, and who may write the file may set the present.
func (f *FS) Chtimes(name string, atime, mtime time.Time) error {
	return f.change("chtimes", name, true, func(n *inode) error {
		if err := f.cred.owns(n); err != nil && f.cred.check(n, Write) != nil {
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

// Truncate sets the length of a regular file.
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
		n.content.truncate(size, f.vol.owner)
		n.mtime = f.vol.now()
		return nil
	})
}
