package memfs

import (
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
)

const (
	maxLinks    = 40
	maxName     = 255
	maxPath     = 4096
	maxElements = 512 // Linux has no such limit, but a walk here takes the square of the depth
)

// A location is a resolved path: a name in a directory and the inode it names.
type location struct {
	dir  *inode
	name string // empty for the root
	node *inode // nil if the name does not exist
	path string // with symbolic links resolved
}

// walk resolves name for f's user. If only the last element is missing, it
// returns a location without a node and no error. A trailing slash requires a
// directory.
func (f *FS) walk(name string, followLast bool) (location, error) {
	if name == "" {
		return location{}, syscall.ENOENT
	}
	if len(name) > maxPath {
		return location{}, syscall.ENAMETOOLONG
	}
	root := f.vol.inodes.get(f.rootIno())
	here := location{dir: root, node: root, path: "/"}
	todo, links := strings.Split(name, "/"), 0
	if len(todo) > maxElements {
		return location{}, syscall.ENAMETOOLONG
	}
	if todo[len(todo)-1] == "" {
		followLast = true
	}
	for i := 0; i < len(todo); i++ {
		element := todo[i]
		if here.node == nil {
			return here, missing(todo[i:])
		}
		if !here.node.isDir() {
			return here, syscall.ENOTDIR
		}
		if element == "" || element == "." {
			continue
		}
		if len(element) > maxName {
			return here, syscall.ENAMETOOLONG
		}
		dir := here.node
		if err := f.cred.check(dir, Execute); err != nil {
			return here, err
		}
		if element == ".." {
			here = f.up(here)
			continue
		}
		next := location{dir: dir, name: element, node: f.vol.mounted(f.vol.inodes.get(dir.entries[element])), path: path.Join(here.path, element)}
		last := i == len(todo)-1
		if next.node == nil || !next.node.isLink() || last && !followLast {
			here = next
			continue
		}
		if links++; links > maxLinks {
			return here, syscall.ELOOP
		}
		target := next.node.target
		todo = append(strings.Split(target, "/"), todo[i+1:]...)
		i = -1
		if strings.HasPrefix(target, "/") {
			here = location{dir: root, node: root, path: "/"}
		}
	}
	return here, nil
}

// missing returns the error for a path whose elements rest follow a missing
// name: nil for trailing slashes, which mkdir allows.
func missing(rest []string) error {
	for _, element := range rest {
		if element != "" {
			return syscall.ENOENT
		}
	}
	return nil
}

func (f *FS) up(at location) location {
	v := f.vol
	if at.node.ino == f.rootIno() {
		return at
	}
	if len(v.mounts) > 0 || f.root != 0 {
		return f.locate(path.Dir(at.path))
	}
	parent := v.inodes.get(at.node.parent)
	if parent == nil { // the current directory was removed
		return location{path: "/"}
	}
	parentPath := path.Dir(at.path)
	grandparent := parent
	if parent.ino != rootIno {
		grandparent = v.inodes.get(parent.parent)
	}
	name := path.Base(parentPath)
	if parentPath == "/" {
		name = ""
	}
	return location{dir: grandparent, name: name, node: parent, path: parentPath}
}

// find is like walk but fails with ENOENT if the file does not exist.
func (f *FS) find(name string, followLast bool) (location, error) {
	at, err := f.walk(name, followLast)
	if err == nil && at.node == nil {
		err = syscall.ENOENT
	}
	return at, err
}

// change calls do with the writable inode of name.
func (f *FS) change(op, name string, follow bool, do func(*inode) error) error {
	f.vol.mu.Lock()
	defer f.vol.mu.Unlock()
	at, err := f.find(name, follow)
	if err == nil {
		err = do(f.vol.writable(at.node.ino))
	}
	return pathError(op, name, err)
}

// EvalSymlinks returns the path of name, which must exist, with all symbolic
// links resolved.
func (f *FS) EvalSymlinks(name string) (string, error) {
	f.vol.mu.RLock()
	defer f.vol.mu.RUnlock()
	at, err := f.find(name, true)
	return at.path, pathError("realpath", name, err)
}

func pathError(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: name, Err: err}
}

func linkError(op, from, to string, err error) error {
	if err == nil {
		return nil
	}
	return &os.LinkError{Op: op, Old: from, New: to, Err: err}
}

// trimSlashes removes trailing slashes, except that of the root.
func trimSlashes(name string) string {
	for len(name) > 1 && strings.HasSuffix(name, "/") {
		name = name[:len(name)-1]
	}
	return name
}
