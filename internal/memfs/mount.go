package memfs

import (
	"io/fs"
	"maps"
	"path"
	"strings"
	"syscall"
)

// A Tree is a file system besides the root one, such as that of a second disk. It
// is visible only where it is mounted.
type Tree uint64

// NewTree returns an empty file system, whose root directory belongs to root.
func (f *FS) NewTree() Tree {
	f.vol.mu.Lock()
	defer f.vol.mu.Unlock()
	return f.vol.newTree(inode{mode: fs.ModeDir | 0o755, entries: map[string]uint64{}})
}

func (v *volume) newTree(root inode) Tree {
	n := v.create(root)
	n.nlink = 2
	if v.trees == nil {
		v.trees = map[uint64]bool{}
	}
	v.trees[n.ino] = true
	return Tree(n.ino)
}

// Import adds a copy of another file system. It costs one inode per file; contents
// are shared until one of the two is written.
func (f *FS) Import(from *FS) Tree {
	copied := from.Clone() // which no other caller can lock
	f.vol.mu.Lock()
	defer f.vol.mu.Unlock()
	src := copied.vol
	made := map[uint64]uint64{}
	return f.vol.newTree(f.vol.adopt(src, src.inodes.get(rootIno), made))
}

// Extract returns an independent copy of a tree.
func (f *FS) Extract(t Tree) *FS {
	f.vol.mu.Lock()
	defer f.vol.mu.Unlock()
	f.vol.owner = new(owner) // it may no longer write shared blocks in place
	to := New(f.vol.now)
	root := to.vol.adopt(f.vol, f.vol.inodes.get(uint64(t)), map[uint64]uint64{})
	have := to.vol.inodes.get(rootIno)
	root.ino, root.owner, root.nlink = rootIno, have.owner, have.nlink
	for _, ino := range root.entries {
		if n := to.vol.inodes.get(ino); n.isDir() {
			n.parent = rootIno
			root.nlink++
		}
	}
	to.vol.inodes.set(rootIno, &root)
	return to
}

// adopt copies a file of another volume with all below it and returns its inode,
// which is not yet in the table. made maps the numbers of the copied files.
func (v *volume) adopt(src *volume, from *inode, made map[uint64]uint64) inode {
	n := *from
	n.content = from.content.share()
	n.parent = 0
	if from.isDir() {
		n.entries = make(map[string]uint64, len(from.entries))
		for name, ino := range from.entries {
			child, known := made[ino]
			if !known {
				source := src.inodes.get(ino)
				copied := v.create(v.adopt(src, source, made))
				copied.mtime, copied.atime, copied.nlink = source.mtime, source.atime, source.nlink
				for _, grandchild := range copied.entries {
					if g := v.inodes.get(grandchild); g.isDir() {
						g.parent = copied.ino
					}
				}
				child = copied.ino
				made[ino] = child
			}
			n.entries[name] = child
		}
	}
	return n
}

// RemoveTree removes a tree that is not mounted.
func (f *FS) RemoveTree(t Tree) error {
	f.vol.mu.Lock()
	defer f.vol.mu.Unlock()
	for _, root := range f.vol.mounts {
		if root == uint64(t) {
			return syscall.EBUSY
		}
	}
	f.vol.dropTree(uint64(t))
	return nil
}

func (v *volume) dropTree(ino uint64) {
	n := v.inodes.get(ino)
	if n == nil {
		return
	}
	for name, child := range n.entries {
		v.used -= int64(len(name))
		v.dropTree(child)
	}
	v.used -= n.cost()
	v.inodes.drop(ino)
	delete(v.trees, ino)
}

// Mount makes a tree visible at a directory, in place of what it contains. It is
// permitted to root only.
func (f *FS) Mount(t Tree, dir string) error {
	f.vol.mu.Lock()
	defer f.vol.mu.Unlock()
	return pathError("mount", dir, f.mount(uint64(t), dir))
}

// Bind makes a directory visible at another one.
func (f *FS) Bind(from, dir string) error {
	f.vol.mu.Lock()
	defer f.vol.mu.Unlock()
	at, err := f.find(from, true)
	if err == nil && !at.node.isDir() {
		err = syscall.ENOTDIR
	}
	if err == nil {
		err = f.mount(at.node.ino, dir)
	}
	return pathError("mount", dir, err)
}

func (f *FS) mount(root uint64, dir string) error {
	at, err := f.find(dir, true)
	switch {
	case err != nil:
		return err
	case !f.cred.root():
		return syscall.EPERM
	case !at.node.isDir():
		return syscall.ENOTDIR
	case f.vol.inodes.get(root) == nil:
		return syscall.ENODEV
	case at.node.ino == root || at.node.ino == f.rootIno():
		return syscall.EBUSY
	}
	if f.vol.mounts == nil {
		f.vol.mounts = map[uint64]uint64{}
	}
	f.vol.mounts[at.node.ino] = root
	return nil
}

// Unmount undoes the last Mount or Bind at a directory.
func (f *FS) Unmount(dir string) error {
	f.vol.mu.Lock()
	defer f.vol.mu.Unlock()
	at, err := f.walk(dir, true)
	if err == nil && at.node == nil {
		err = syscall.ENOENT
	}
	if err == nil {
		err = syscall.EINVAL // not mounted
		under := f.vol.inodes.get(at.dir.entries[at.name])
		for under != nil {
			root, ok := f.vol.mounts[under.ino]
			if !ok {
				break
			}
			if _, more := f.vol.mounts[root]; !more || root == under.ino {
				delete(f.vol.mounts, under.ino)
				err = nil
				break
			}
			under = f.vol.inodes.get(root)
		}
	}
	return pathError("umount", dir, err)
}

// mounted returns the directory that is visible in place of n.
func (v *volume) mounted(n *inode) *inode {
	for range len(v.mounts) {
		if n == nil {
			return nil
		}
		root, ok := v.mounts[n.ino]
		if !ok {
			return n
		}
		n = v.inodes.get(root)
	}
	return n
}

// Chroot returns a handle whose root is a directory. It is permitted to root only.
func (f *FS) Chroot(dir string) (*FS, error) {
	f.vol.mu.RLock()
	defer f.vol.mu.RUnlock()
	at, err := f.find(dir, true)
	switch {
	case err == nil && !f.cred.root():
		err = syscall.EPERM
	case err == nil && !at.node.isDir():
		err = syscall.ENOTDIR
	}
	if err != nil {
		return nil, pathError("chroot", dir, err)
	}
	inner := *f
	inner.root = at.node.ino
	return &inner, nil
}

func (f *FS) rootIno() uint64 {
	if f.root != 0 {
		return f.root
	}
	return rootIno
}

// isRoot reports whether an inode is the root directory of a file system.
func (v *volume) isRoot(ino uint64) bool { return ino == rootIno || v.trees[ino] }

// treeOf returns the root of the file system that contains a directory.
func (v *volume) treeOf(dir *inode) uint64 {
	for dir != nil && !v.isRoot(dir.ino) {
		dir = v.inodes.get(dir.parent)
	}
	if dir == nil {
		return 0
	}
	return dir.ino
}

// locate resolves an absolute path without symbolic links or permission checks.
func (f *FS) locate(name string) location {
	root := f.vol.inodes.get(f.rootIno())
	here := location{dir: root, node: root, path: "/"}
	for element := range strings.SplitSeq(name, "/") {
		if element == "" {
			continue
		}
		node := f.vol.mounted(f.vol.inodes.get(here.node.entries[element]))
		if node == nil || !node.isDir() {
			return location{path: "/"} // removed meanwhile
		}
		here = location{dir: here.node, name: element, node: node, path: path.Join(here.path, element)}
	}
	return here
}

// cloneTrees drops from a new clone what was not part of the root file system.
func (v *volume) cloneTrees(from *volume) {
	v.trees = maps.Clone(from.trees)
	for root := range from.trees {
		v.dropTree(root)
	}
	v.trees = nil
}

// UnmountAll undoes all mounts, as a shutdown does.
func (f *FS) UnmountAll() {
	f.vol.mu.Lock()
	defer f.vol.mu.Unlock()
	f.vol.mounts = nil
}

// Same reports whether two handles are of the same file system.
func (f *FS) Same(other *FS) bool { return other != nil && f.vol == other.vol }

// Chrooted reports whether the handle's root is that of a Chroot.
func (f *FS) Chrooted() bool { return f.root != 0 }
