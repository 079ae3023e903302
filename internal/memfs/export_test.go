package memfs

import (
	"io"
	"io/fs"
	"path"
)

// IO returns the tree as an fs.FS, so that fstest.TestFS can check it.
func (f *FS) IO() fs.FS { return tree{f} }

type tree struct{ fs *FS }

var (
	_ fs.ReadDirFS  = tree{}
	_ fs.ReadFileFS = tree{}
	_ fs.StatFS     = tree{}
	_ fs.ReadLinkFS = tree{}
)

// at calls do with the absolute path of name and returns its error with name
// as the path.
func at[T any](op, name string, do func(string) (T, error)) (T, error) {
	var none T
	if !fs.ValidPath(name) {
		return none, pathError(op, name, fs.ErrInvalid)
	}
	got, err := do(path.Join("/", name))
	if pe, ok := err.(*fs.PathError); ok { //nolint:errorlint // only the outermost error has our path
		return none, pathError(op, name, pe.Err)
	}
	return got, err
}

func (t tree) Open(name string) (fs.File, error) {
	h, err := at("open", name, t.fs.Open)
	if err != nil {
		return nil, err
	}
	h.name = path.Base(name)
	if !h.dir {
		return &ioFile{File: h}, nil
	}
	entries, err := t.ReadDir(name)
	return &ioFile{File: h, entries: entries}, err
}

func (t tree) ReadDir(name string) ([]fs.DirEntry, error) { return at("open", name, t.fs.ReadDir) }

func (t tree) ReadFile(name string) ([]byte, error) { return at("open", name, t.fs.ReadFile) }

func (t tree) ReadLink(name string) (string, error) { return at("readlink", name, t.fs.Readlink) }

func (t tree) Stat(name string) (fs.FileInfo, error) { return named(name, "stat", t.fs.Stat) }

func (t tree) Lstat(name string) (fs.FileInfo, error) { return named(name, "lstat", t.fs.Lstat) }

func named(name, op string, stat func(string) (*Info, error)) (fs.FileInfo, error) {
	i, err := at(op, name, stat)
	if err != nil {
		return nil, err
	}
	i.name = path.Base(name)
	return i, nil
}

// ioFile is a File with the method types of package fs.
type ioFile struct {
	*File
	entries []fs.DirEntry // not yet returned by ReadDir
}

var (
	_ fs.ReadDirFile = &ioFile{}
	_ io.ReadSeeker  = &ioFile{}
	_ io.ReaderAt    = &ioFile{}
)

func (f *ioFile) Stat() (fs.FileInfo, error) {
	i, err := f.File.Stat()
	if err != nil {
		return nil, err
	}
	return i, nil
}

func (f *ioFile) ReadDir(n int) ([]fs.DirEntry, error) {
	next := f.entries
	if n > 0 {
		if len(next) == 0 {
			return nil, io.EOF
		}
		next = next[:min(n, len(next))]
	}
	f.entries = f.entries[len(next):]
	return next, nil
}
