package memfs

import (
	"io/fs"
	"maps"
	"syscall"
	"time"
)

// An inode is a file, directory, symbolic link or device. A volume changes only
// the inodes it owns.
type inode struct {
	ino      uint64
	owner    *owner
	mode     fs.FileMode // type and permission bits
	uid, gid int
	nlink    int
	mtime    time.Time
	atime    time.Time
	noexec   bool              // for a directory: files below it cannot be executed
	entries  map[string]uint64 // for a directory
	parent   uint64            // for a directory
	target   string            // for a symbolic link
	device   Device            // for a device
	opener   Opener            // for a node made by Mknode
	content  content           // for a regular file
}

func (n *inode) isDir() bool  { return n.mode.IsDir() }
func (n *inode) isLink() bool { return n.mode&fs.ModeSymlink != 0 }

func (n *inode) size() int64 {
	switch {
	case n.isLink():
		return int64(len(n.target))
	case n.isDir():
		return 4096
	default:
		return n.content.size
	}
}

// writable returns the inode for writing, copying it first if it is shared.
func (v *volume) writable(ino uint64) *inode {
	n := v.inodes.get(ino)
	if n == nil || n.owner == v.owner {
		return n
	}
	own := *n
	own.owner = v.owner
	own.entries = maps.Clone(n.entries)
	own.content = n.content.share()
	v.inodes.set(ino, &own)
	return &own
}

// create adds an inode that is not yet in a directory.
func (v *volume) create(n inode) *inode {
	n.ino, n.owner, n.nlink = v.next, v.owner, 0
	n.mtime = v.now()
	n.atime = n.mtime
	v.next++
	v.used += n.cost()
	v.inodes.set(n.ino, &n)
	return &n
}

// inodeCost is what an inode costs besides its content.
const inodeCost = 512

func (n *inode) cost() int64 { return inodeCost + n.content.held + int64(len(n.target)) }

// room returns an error unless n more bytes fit on the volume.
func (v *volume) room(n int64) error {
	if n > 0 && v.limits.Size > 0 && v.used+n > v.limits.Size {
		return syscall.ENOSPC
	}
	return nil
}

// link adds n to dir, which must be writable.
func (v *volume) link(dir *inode, name string, n *inode) {
	dir.entries[name] = n.ino
	v.used += int64(len(name))
	dir.mtime = v.now()
	n.nlink++
	if n.isDir() {
		n.parent = dir.ino
		n.nlink++ // its own "."
		dir.nlink++
	}
}

// unlink removes a name from dir, which must be writable, and drops the inode
// if it has no other name and is not open.
func (v *volume) unlink(dir *inode, name string) {
	n := v.writable(dir.entries[name])
	delete(dir.entries, name)
	v.used -= int64(len(name))
	dir.mtime = v.now()
	n.nlink--
	if n.isDir() {
		n.nlink--
		dir.nlink--
	}
	v.dropUnused(n)
}

func (v *volume) dropUnused(n *inode) {
	if n.nlink <= 0 && v.open[n.ino] == 0 {
		v.used -= n.cost()
		v.inodes.drop(n.ino)
	}
}
