package sshmachine

import (
	"context"
	"fmt"
	"io/fs"
	"path"
	"time"

	"github.com/bakestone-go/bakestone/internal/exclude"
)

// An entry is a file, directory or symbolic link of a tree.
type entry struct {
	name  string // below the root, with slashes
	mode  fs.FileMode
	size  int64
	mtime time.Time
	link  string // the target of a symbolic link
}

// A source is a tree to be sent: what is in it is read when it is sent.
type source struct {
	fsys    fs.FS
	root    fs.FileMode // permission bits of the root
	entries []entry     // every directory before what is in it
	bytes   int64
}

const (
	special  = fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky
	settable = fs.ModePerm | special
	ownerRWX = 0o700
)

// newSource lists a tree. Only names, modes and sizes are kept.
func newSource(ctx context.Context, fsys fs.FS, ex exclude.Patterns) (*source, error) {
	s := &source{fsys: fsys}
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if name != "." && ex.Match(name) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		return s.add(name, info)
	})
	if err != nil {
		return nil, fmt.Errorf("source: %w", err)
	}
	return s, nil
}

func (s *source) add(name string, info fs.FileInfo) error {
	e := entry{name: path.Clean(name), mode: info.Mode(), mtime: info.ModTime()}
	if e.mtime.IsZero() {
		e.mtime = time.Now()
	}
	switch {
	case name == ".":
		if !info.IsDir() {
			return fmt.Errorf("%s is not a directory", info.Name())
		}
		s.root = info.Mode()&settable | ownerRWX
		return nil
	case info.IsDir():
		// Read-only directories, as embed.FS has them, could neither be filled
		// nor moved by a login that is not root.
		e.mode |= ownerRWX
	case info.Mode().IsRegular():
		e.size = info.Size()
		s.bytes += e.size
	case info.Mode()&fs.ModeSymlink != 0:
		target, err := fs.ReadLink(s.fsys, name)
		if err != nil {
			return err
		}
		e.link = target
	default:
		return fmt.Errorf("%s is neither a file, a directory nor a symbolic link; Exclude leaves it out", name)
	}
	s.entries = append(s.entries, e)
	return nil
}

// octal is mode's permission bits as chmod takes them.
func octal(mode fs.FileMode) string {
	n := uint32(mode.Perm())
	for _, bit := range []struct {
		mode  fs.FileMode
		value uint32
	}{{fs.ModeSetuid, 0o4000}, {fs.ModeSetgid, 0o2000}, {fs.ModeSticky, 0o1000}} {
		if mode&bit.mode != 0 {
			n |= bit.value
		}
	}
	return fmt.Sprintf("%04o", n)
}
