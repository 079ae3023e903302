package memfs

import (
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"
	"syscall"
)

// Mkdir creates a directory. In a setgid directory the new one inherits the
// group and the setgid bit.
func (f *FS) Mkdir(name string, mode fs.FileMode) error {
	f.vol.mu.Lock()
	defer f.vol.mu.Unlock()
	at, err := f.walk(trimSlashes(name), false)
	if name != "" && strings.Trim(name, "/") == "" {
		err = syscall.EEXIST
	}
	if err == nil {
		_, err = f.add(at, inode{mode: fs.ModeDir | mode&modeBits, entries: map[string]uint64{}})
	}
	return pathError("mkdir", name, err)
}

// add creates n, owned by f's user, at a location where no file exists.
func (f *FS) add(at location, n inode) (*inode, error) {
	if at.node != nil {
		return nil, syscall.EEXIST
	}
	if err := f.cred.check(at.dir, Write|Execute); err != nil {
		return nil, err
	}
	if err := f.vol.room(inodeCost + int64(len(at.name)+len(n.target))); err != nil {
		return nil, err
	}
	n.uid, n.gid = f.cred.UID, f.cred.GID
	if at.dir.mode&fs.ModeSetgid != 0 {
		n.gid = at.dir.gid
		if n.isDir() {
			n.mode |= fs.ModeSetgid
		}
	}
	if !n.isLink() {
		n.mode &^= f.umask
	}
	created := f.vol.create(n)
	f.vol.link(f.vol.writable(at.dir.ino), at.name, created)
	return created, nil
}

// MkdirAll creates a directory and its missing parents. An existing directory
// is not an error.
func (f *FS) MkdirAll(name string, mode fs.FileMode) error {
	if at, err := f.Stat(name); err == nil {
		if at.IsDir() {
			return nil
		}
		return pathError("mkdir", name, syscall.ENOTDIR)
	}
	name = trimSlashes(name)
	if parent := path.Dir(name); parent != name && parent != "." {
		if err := f.MkdirAll(parent, mode); err != nil {
			return err
		}
	}
	err := f.Mkdir(name, mode)
	if errors.Is(err, fs.ErrExist) { // perhaps created by another goroutine
		if at, statErr := f.Stat(name); statErr == nil && at.IsDir() {
			return nil
		}
	}
	return err
}

// Remove removes a file or an empty directory.
func (f *FS) Remove(name string) error {
	f.vol.mu.Lock()
	defer f.vol.mu.Unlock()
	at, err := f.find(trimSlashes(name), false)
	if err == nil {
		err = f.remove(at)
	}
	return pathError("remove", name, err)
}

func (f *FS) remove(at location) error {
	switch {
	case f.vol.isRoot(at.node.ino) || at.node.ino == f.rootIno() || f.vol.mounts[at.dir.entries[at.name]] != 0:
		return syscall.EBUSY
	case len(at.node.entries) > 0:
		return syscall.ENOTEMPTY
	}
	if err := f.cred.mayRemove(at.dir, at.node); err != nil {
		return err
	}
	f.vol.unlink(f.vol.writable(at.dir.ino), at.name)
	return nil
}

// RemoveAll removes a file, or a directory and everything in it. A missing file
// is not an error. It stops at the first error.
func (f *FS) RemoveAll(name string) error {
	f.vol.mu.Lock()
	defer f.vol.mu.Unlock()
	at, err := f.walk(trimSlashes(name), false)
	if errors.Is(err, syscall.ENOENT) || err == nil && at.node == nil {
		return nil
	}
	if err == nil {
		err = f.removeTree(at)
	}
	return pathError("remove", name, err)
}

func (f *FS) removeTree(at location) error {
	if at.node.isDir() && at.node.ino != f.rootIno() {
		if len(at.node.entries) > 0 {
			if err := f.cred.check(at.node, Read|Write|Execute); err != nil {
				return err
			}
		}
		for _, name := range names(at.node) {
			dir := f.vol.inodes.get(at.node.ino)
			child := location{dir: dir, name: name, node: f.vol.mounted(f.vol.inodes.get(dir.entries[name]))}
			if err := f.removeTree(child); err != nil {
				return err
			}
		}
		at.node = f.vol.inodes.get(at.node.ino)
		at.dir = f.vol.inodes.get(at.dir.ino)
	}
	return f.remove(at)
}

// ReadDir returns the entries of a directory, sorted by name.
func (f *FS) ReadDir(name string) ([]fs.DirEntry, error) {
	f.vol.mu.RLock()
	defer f.vol.mu.RUnlock()
	at, err := f.find(name, true)
	if err == nil && !at.node.isDir() {
		err = syscall.ENOTDIR
	}
	if err == nil {
		err = f.cred.check(at.node, Read)
	}
	if err != nil {
		return nil, pathError("open", name, err)
	}
	return f.vol.list(at.node), nil
}

func (v *volume) list(dir *inode) []fs.DirEntry {
	all := make([]fs.DirEntry, 0, len(dir.entries))
	for _, name := range names(dir) {
		all = append(all, fs.FileInfoToDirEntry(info(name, v.mounted(v.inodes.get(dir.entries[name])))))
	}
	return all
}

func names(dir *inode) []string {
	all := make([]string, 0, len(dir.entries))
	for name := range dir.entries {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}
