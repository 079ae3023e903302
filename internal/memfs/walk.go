package memfs

import (
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
)

const (
	maxLinks = 40
	maxName  = 255
)

// A place is where a path leads: a name in a directory, and what is there.
type place struct {
	dir  *inode
	name string // empty for the root
	node *inode // nil when nothing has that name
	path string // with every symbolic link on the way resolved
}

// walk resolves name for f's user. When only the last element is missing, the
// place has no node and there is no error. A trailing slash asks for a
// directory.
func (f *FS) walk(name string, followLast bool) (place, error) {
	if name == "" {
		return place{}, syscall.ENOENT
	}
	root := f.vol.inodes.get(rootIno)
	here := place{dir: root, node: root, path: "/"}
	todo, links := strings.Split(name, "/"), 0
	if todo[len(todo)-1] == "" {
		followLast = true
	}
	for i := 0; i < len(todo); i++ {
		element := todo[i]
		if here.node == nil {
			return here, missing(todo[i:])
		}
		if here.node.isLink() { // only a last element was not followed
			return here, syscall.ENOTDIR
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
			here = f.vol.up(here)
			continue
		}
		next := place{dir: dir, name: element, node: f.vol.inodes.get(dir.entries[element]), path: path.Join(here.path, element)}
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
			here = place{dir: root, node: root, path: "/"}
		}
	}
	return here, nil
}

// missing is the error of a path that goes on below a name that is not there:
// none for a trailing slash, which mkdir may have.
func missing(rest []string) error {
	for _, element := range rest {
		if element != "" {
			return syscall.ENOENT
		}
	}
	return nil
}

func (v *volume) up(at place) place {
	if at.node.ino == rootIno {
		return at
	}
	parent := v.inodes.get(at.node.parent)
	if parent == nil { // the directory we are in was removed
		return place{path: "/"}
	}
	above := path.Dir(at.path)
	grand := parent
	if parent.ino != rootIno {
		grand = v.inodes.get(parent.parent)
	}
	name := path.Base(above)
	if above == "/" {
		name = ""
	}
	return place{dir: grand, name: name, node: parent, path: above}
}

// find is walk for something that must exist.
func (f *FS) find(name string, followLast bool) (place, error) {
	at, err := f.walk(name, followLast)
	if err == nil && at.node == nil {
		err = syscall.ENOENT
	}
	return at, err
}

// change runs do on the inode of name, made writable.
func (f *FS) change(op, name string, follow bool, do func(*inode) error) error {
	f.vol.mu.Lock()
	defer f.vol.mu.Unlock()
	at, err := f.find(name, follow)
	if err == nil {
		err = do(f.vol.writable(at.node.ino))
	}
	return pathError(op, name, err)
}

// EvalSymlinks returns the path of name without any symbolic link in it. It
// must exist.
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

// trimSlashes cuts trailing slashes, but not the root's.
func trimSlashes(name string) string {
	for len(name) > 1 && strings.HasSuffix(name, "/") {
		name = name[:len(name)-1]
	}
	return name
}
