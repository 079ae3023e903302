package memfs

import (
	"io"
	"io/fs"
	"path"
)

// IO returns the tree as an fs.FS, read with f's credential. It implements
// fs.ReadDirFS, fs.ReadFileFS, fs.StatFS and fs.ReadLinkFS.
func (f *FS) IO() fs.FS { return tree{f} }

type tree struct{ fs *FS }

var (
	_ fs.ReadDirFS  = tree{}
	_ fs.ReadFileFS = tree{}
	_ fs.StatFS     = tree{}
	_ fs.ReadLinkFS = tree{}
)

// at runs do on the absolute path of name, and lets its error name name.
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
	return ioFile{h}, nil
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
type ioFile struct{ h *File }

var (
	_ fs.ReadDirFile = ioFile{}
	_ io.ReadSeeker  = ioFile{}
	_ io.ReaderAt    = ioFile{}
)

func (f ioFile) Read(p []byte) (int, error) { return f.h.Read(p) }

func (f ioFile) ReadAt(p []byte, off int64) (int, error) { return f.h.ReadAt(p, off) }

func (f ioFile) Seek(off int64, whence int) (int64, error) { return f.h.Seek(off, whence) }

func (f ioFile) Close() error { return f.h.Close() }

func (f ioFile) Stat() (fs.FileInfo, error) {
	i, err := f.h.Stat()
	if err != nil {
		return nil, err
	}
	return i, nil
}

func (f ioFile) ReadDir(n int) ([]fs.DirEntry, error) { return f.h.ReadDir(n) }
