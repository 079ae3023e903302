package baketest

import (
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// A File is a file, directory or symbolic link of a Machine.
type File struct {
	Path         string
	Mode         fs.FileMode // with the type bits: fs.ModeDir, fs.ModeSymlink
	Owner, Group string
	Content      []byte
	Link         string // the target of a symbolic link
}

// ReadFile returns the content of a file on the machine, regardless of permissions. Its
// errors are *fs.PathErrors.
func (m *Machine) ReadFile(name string) ([]byte, error) {
	f, err := m.Stat(name)
	switch {
	case err != nil:
		return nil, err
	case f.Mode.IsDir():
		return nil, pathError("read", name, syscall.EISDIR)
	}
	return f.Content, nil
}

// WriteFile writes a file owned by root to the machine, and creates missing parent
// directories.
func (m *Machine) WriteFile(name string, content []byte, mode fs.FileMode) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.files.write(File{
		Path: name, Mode: mode.Perm() | mode&specialBits, Owner: root, Group: root, Content: slices.Clone(content),
	}, root)
}

// Stat returns the file at name, following symbolic links. The error for a missing file
// is fs.ErrNotExist.
func (m *Machine) Stat(name string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f, err := m.files.follow(name)
	if err != nil {
		return File{}, err
	}
	found := *f
	found.Content = slices.Clone(f.Content)
	return found, nil
}

// Files returns the sorted paths of all files and links on the machine.
func (m *Machine) Files() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var names []string
	for name, f := range m.files {
		if !f.Mode.IsDir() {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

const (
	root        = "root"
	specialBits = fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky
)

// A fileMap holds the files of a machine by cleaned absolute path. The machine's mutex
// guards it. A *File in it is replaced, never changed.
type fileMap map[string]*File

func newFiles(user, home string) fileMap {
	files := fileMap{"/": {Path: "/", Mode: fs.ModeDir | 0o755, Owner: root, Group: root}}
	files["/tmp"] = &File{Path: "/tmp", Mode: fs.ModeDir | fs.ModeSticky | 0o777, Owner: root, Group: root}
	home = path.Clean("/" + home) // a test may want a guest that reports a relative one
	_ = files.mkdirs(path.Dir(home), root)
	files[home] = &File{Path: home, Mode: fs.ModeDir | 0o755, Owner: user, Group: user}
	return files
}

func (files fileMap) clone() fileMap { return maps.Clone(files) }

const maxLinks = 40

// follow returns the file at name, following symbolic links in its last element.
func (files fileMap) follow(name string) (*File, error) {
	at := path.Clean("/" + name)
	for range maxLinks {
		f := files[at]
		if f == nil {
			return nil, pathError("open", name, fs.ErrNotExist)
		}
		if f.Mode&fs.ModeSymlink == 0 {
			return f, nil
		}
		if !strings.HasPrefix(f.Link, "/") {
			at = path.Dir(at)
		} else {
			at = ""
		}
		at = path.Clean("/" + at + "/" + f.Link)
	}
	return nil, pathError("open", name, syscall.ELOOP)
}

// mkdirs creates the directory dir and its parents for user.
func (files fileMap) mkdirs(dir, user string) error {
	f := files[dir]
	if f != nil && f.Mode.IsDir() {
		return nil
	}
	if f != nil {
		return pathError("mkdir", dir, syscall.ENOTDIR)
	}
	if err := files.mkdirs(path.Dir(dir), user); err != nil {
		return err
	}
	return files.add(File{Path: dir, Mode: fs.ModeDir | 0o755, Owner: user, Group: user}, user)
}

// write stores f at its path for user, replacing an existing file.
func (files fileMap) write(f File, user string) error {
	f.Path = path.Clean("/" + f.Path)
	if old := files[f.Path]; old != nil && old.Mode.IsDir() {
		return pathError("open", f.Path, syscall.EISDIR)
	}
	if err := files.mkdirs(path.Dir(f.Path), user); err != nil {
		return err
	}
	return files.add(f, user)
}

// add stores f in its existing directory, if user may write there.
func (files fileMap) add(f File, user string) error {
	dir := files[path.Dir(f.Path)]
	if !dir.allows(user, 0o2) {
		return pathError("open", f.Path, fs.ErrPermission)
	}
	if (f.Owner != user || f.Group != user) && user != root {
		return pathError("chown", f.Path, fs.ErrPermission)
	}
	files[f.Path] = &f
	return nil
}

// allows reports whether user has the access bit, 4 to read or 2 to write. Every user
// belongs only to the group of the same name.
func (f *File) allows(user string, bit fs.FileMode) bool {
	switch {
	case user == root:
		return true
	case f.Owner == user:
		return f.Mode&(bit<<6) != 0
	case f.Group == user:
		return f.Mode&(bit<<3) != 0
	}
	return f.Mode&bit != 0
}

// below returns the sorted paths below dir.
func (files fileMap) below(dir string) []string {
	var names []string
	for name := range files {
		if name != dir && strings.HasPrefix(name, strings.TrimSuffix(dir, "/")+"/") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// housekeep runs mkdir and rm, so that staging directories need no prepared replies. It
// reports whether args was one of the two.
func (files fileMap) housekeep(args []string, user string) (bool, error) {
	if len(args) == 0 || args[0] != "mkdir" && args[0] != "rm" {
		return false, nil
	}
	mode, flags := fs.FileMode(0o755), ""
	var names []string
	for i := 1; i < len(args); i++ {
		arg := args[i]
		switch {
		case arg == "-m" && i+1 < len(args):
			i++
			bits, err := strconv.ParseUint(args[i], 8, 9)
			if err != nil {
				return true, fmt.Errorf("mkdir: invalid mode %q", args[i])
			}
			mode = fs.FileMode(bits)
		case strings.HasPrefix(arg, "-"):
			flags += arg
		default:
			names = append(names, path.Clean("/"+arg))
		}
	}
	for _, name := range names {
		var err error
		if args[0] == "mkdir" {
			err = files.mkdir(name, mode, strings.Contains(flags, "p"), user)
		} else {
			err = files.remove(name, strings.ContainsAny(flags, "rR"), strings.Contains(flags, "f"), user)
		}
		if err != nil {
			return true, fmt.Errorf("%s: %w", args[0], err)
		}
	}
	return true, nil
}

func (files fileMap) mkdir(name string, mode fs.FileMode, parents bool, user string) error {
	if parents {
		return files.mkdirs(name, user)
	}
	switch {
	case files[name] != nil:
		return pathError("mkdir", name, fs.ErrExist)
	case files[path.Dir(name)] == nil:
		return pathError("mkdir", name, fs.ErrNotExist)
	}
	return files.add(File{Path: name, Mode: fs.ModeDir | mode, Owner: user, Group: user}, user)
}

func (files fileMap) remove(name string, tree, force bool, user string) error {
	f := files[name]
	switch {
	case f == nil && force:
		return nil
	case f == nil:
		return pathError("rm", name, fs.ErrNotExist)
	case f.Mode.IsDir() && !tree:
		return pathError("rm", name, syscall.EISDIR)
	case !files[path.Dir(name)].allows(user, 0o2), f.Owner != user && user != root:
		return pathError("rm", name, fs.ErrPermission)
	}
	for _, child := range files.below(name) {
		delete(files, child)
	}
	delete(files, name)
	return nil
}

func pathError(op, name string, err error) error {
	return &fs.PathError{Op: op, Path: name, Err: err}
}
