package ext4

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// Limits of a walk and of following links.
const (
	mostLinks   = 40
	mostPath    = 4096
	mostEntries = 20 << 20
	mostTarget  = 4096
)

// Walk calls visit for the root directory and everything in it, directories before their
// contents, in the order of names. Damage of a directory or inode is reported to visit with
// a nil inode; if visit returns an error, the walk ends with it, unless it is fs.SkipDir.
// Each directory is visited once, whatever the names that lead to it.
func (f *FS) Walk(visit func(name string, i *Inode, err error) error) error {
	w := walker{f: f, visit: visit, seen: map[uint32]bool{}}
	return w.walk("/", rootInode)
}

type walker struct {
	f       *FS
	visit   func(string, *Inode, error) error
	seen    map[uint32]bool
	entries int
}

func (w *walker) walk(name string, number uint32) error {
	if w.entries++; w.entries > mostEntries {
		return fmt.Errorf("%w: more than %d entries", ErrCorrupt, mostEntries)
	}
	i, err := w.f.Inode(number)
	if err == nil && i.Mode.IsDir() && w.seen[number] {
		err = fmt.Errorf("%w: %s is another name of a directory", ErrCorrupt, name)
	}
	if err == nil && len(name) > mostPath {
		err = fmt.Errorf("%w: a path of %d bytes", ErrCorrupt, len(name))
	}
	if err != nil {
		return skip(w.visit(name, nil, err))
	}
	if err := w.visit(name, i, nil); err != nil || !i.Mode.IsDir() {
		return skip(err)
	}
	w.seen[number] = true
	entries, err := w.f.ReadDir(i)
	if err != nil {
		return skip(w.visit(name, nil, err))
	}
	for _, e := range entries {
		if err := w.walk(path.Join(name, e.Name), e.Inode); err != nil {
			return err
		}
	}
	return nil
}

func skip(err error) error {
	if errors.Is(err, fs.SkipDir) {
		return nil
	}
	return err
}

// Stat returns the inode with a path, and follows links. The error wraps fs.ErrNotExist if
// there is none.
func (f *FS) Stat(name string) (*Inode, error) {
	links := 0
	parts := split(name)
	at := []uint32{rootInode} // and its parents
	for len(parts) > 0 {
		part := parts[0]
		parts = parts[1:]
		if part == ".." {
			if len(at) > 1 {
				at = at[:len(at)-1]
			}
			continue
		}
		dir, err := f.Inode(at[len(at)-1])
		if err != nil {
			return nil, err
		}
		if !dir.Mode.IsDir() {
			return nil, &fs.PathError{Op: "stat", Path: name, Err: fs.ErrNotExist}
		}
		entries, err := f.ReadDir(dir)
		if err != nil {
			return nil, err
		}
		found := uint32(0)
		for _, e := range entries {
			if e.Name == part {
				found = e.Inode
			}
		}
		if found == 0 {
			return nil, &fs.PathError{Op: "stat", Path: name, Err: fs.ErrNotExist}
		}
		i, err := f.Inode(found)
		if err != nil {
			return nil, err
		}
		if i.Mode&fs.ModeSymlink == 0 {
			at = append(at, found)
			continue
		}
		if links++; links > mostLinks {
			return nil, fmt.Errorf("%s: too many links", name)
		}
		target, err := f.Read(i, mostTarget)
		if err != nil {
			return nil, err
		}
		if strings.HasPrefix(string(target), "/") {
			at = at[:1]
		}
		if parts = append(split(string(target)), parts...); len(parts) > mostPath {
			return nil, fmt.Errorf("%s: too many links", name)
		}
	}
	return f.Inode(at[len(at)-1])
}

func split(name string) []string {
	parts := strings.FieldsFunc(name, func(r rune) bool { return r == '/' })
	return slices.DeleteFunc(parts, func(part string) bool { return part == "." })
}

// ReadFile returns the first bytes of the file with a path, at most limit.
func (f *FS) ReadFile(name string, limit int64) ([]byte, error) {
	i, err := f.Stat(name)
	if err != nil {
		return nil, err
	}
	if !i.Mode.IsRegular() {
		return nil, &fs.PathError{Op: "read", Path: name, Err: fs.ErrInvalid}
	}
	return f.Read(i, limit)
}
