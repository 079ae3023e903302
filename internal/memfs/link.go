package memfs

import (
	"io/fs"
	"syscall"
)

// Symlink creates name as a symbolic link to target.
func (f *FS) Symlink(target, name string) error {
	f.vol.mu.Lock()
	defer f.vol.mu.Unlock()
	at, err := f.walk(name, false)
	if err == nil && target == "" {
		err = syscall.ENOENT
	}
	if err == nil {
		_, err = f.add(at, inode{mode: fs.ModeSymlink | fs.ModePerm, target: target})
	}
	return linkError("symlink", target, name, err)
}

// Readlink returns the target of a symbolic link.
func (f *FS) Readlink(name string) (string, error) {
	f.vol.mu.RLock()
	defer f.vol.mu.RUnlock()
	at, err := f.find(name, false)
	if err == nil && !at.node.isLink() {
		err = syscall.EINVAL
	}
	if err != nil {
		return "", pathError("readlink", name, err)
	}
	return at.node.target, nil
}

// Link creates to as a hard link to the file from.
func (f *FS) Link(from, to string) error {
	f.vol.mu.Lock()
	defer f.vol.mu.Unlock()
	return linkError("link", from, to, f.hardLink(from, to))
}

func (f *FS) hardLink(from, to string) error {
	old, err := f.find(from, false)
	if err != nil {
		return err
	}
	at, err := f.walk(to, false)
	switch {
	case err != nil:
		return err
	case old.node.isDir():
		return syscall.EPERM
	case f.vol.treeOf(old.dir) != f.vol.treeOf(at.dir):
		return syscall.EXDEV
	case at.node != nil:
		return syscall.EEXIST
	}
	if err := f.cred.check(at.dir, Write|Execute); err != nil {
		return err
	}
	f.vol.link(f.vol.writable(at.dir.ino), at.name, f.vol.writable(old.node.ino))
	return nil
}

// Rename moves a file or directory. A file replaces an existing file, and a
// directory replaces an existing empty directory.
func (f *FS) Rename(from, to string) error {
	f.vol.mu.Lock()
	defer f.vol.mu.Unlock()
	return linkError("rename", from, to, f.rename(trimSlashes(from), trimSlashes(to)))
}

func (f *FS) rename(from, to string) error {
	src, err := f.find(from, false)
	if err != nil {
		return err
	}
	dst, err := f.walk(to, false)
	if err != nil {
		return err
	}
	switch {
	case src.name == "" || dst.name == "" || f.vol.isRoot(src.node.ino) || dst.node != nil && f.vol.isRoot(dst.node.ino):
		return syscall.EBUSY
	case f.vol.treeOf(src.dir) != f.vol.treeOf(dst.dir):
		return syscall.EXDEV
	case dst.node != nil && dst.node.ino == src.node.ino:
		return nil
	case src.node.isDir() && f.vol.inside(dst.dir, src.node):
		return syscall.EINVAL
	}
	if err := f.cred.mayRemove(src.dir, src.node); err != nil {
		return err
	}
	if err := f.cred.check(dst.dir, Write|Execute); err != nil {
		return err
	}
	if dst.node != nil {
		if err := f.mayReplace(dst, src.node); err != nil {
			return err
		}
		f.vol.unlink(f.vol.writable(dst.dir.ino), dst.name)
	}
	n := f.vol.writable(src.node.ino)
	f.vol.open[n.ino]++ // keeps unlink from dropping it
	f.vol.unlink(f.vol.writable(src.dir.ino), src.name)
	f.vol.link(f.vol.writable(dst.dir.ino), dst.name, n)
	f.vol.closeInode(n.ino)
	return nil
}

func (f *FS) mayReplace(dst location, by *inode) error {
	switch {
	case by.isDir() && !dst.node.isDir():
		return syscall.ENOTDIR
	case !by.isDir() && dst.node.isDir():
		return syscall.EISDIR
	case len(dst.node.entries) > 0:
		return syscall.ENOTEMPTY
	}
	return f.cred.mayRemove(dst.dir, dst.node)
}

// inside reports whether dir is top or below it.
func (v *volume) inside(dir, top *inode) bool {
	for dir != nil && dir.ino != top.ino {
		if v.isRoot(dir.ino) {
			return false
		}
		dir = v.inodes.get(dir.parent)
	}
	return true
}
