package provision

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/bakestone-go/bakestone/bake"
)

// A tree is a directory on the baking host, or in fsys if that is set, without
// the excluded files.
type tree struct {
	fsys    fs.FS
	dir     string
	exclude []string
}

// check reports a missing directory or invalid patterns.
func (t tree) check(field string) error {
	if t.dir == "" && t.fsys == nil {
		return bake.Invalid(field, "is required")
	}
	if t.dir != "" {
		if err := checkDir(field, t.fsys, t.dir); err != nil {
			return err
		}
	}
	return checkExclude(field, t.exclude)
}

// checkFile reports a file that is not in the tree.
func (t tree) checkFile(field, name string) error {
	if !filepath.IsLocal(filepath.FromSlash(name)) {
		return bake.Invalid(field, "%q is not a relative path below %s", name, t)
	}
	return checkFile(field, t.fsys, t.join(name))
}

func (t tree) join(name string) string {
	if t.fsys != nil {
		return path.Join(t.dir, name)
	}
	return filepath.Join(t.dir, name)
}

// String returns the directory for error messages.
func (t tree) String() string {
	if t.dir == "" {
		return "the file system"
	}
	return t.dir
}

func (t tree) sub() (fs.FS, error) {
	if t.dir == "" {
		return t.fsys, nil
	}
	return fs.Sub(t.fsys, t.dir)
}

// local returns a directory on the baking host that holds the tree: dir itself,
// or a copy of fsys below scratch.
func (t tree) local(scratch string) (string, error) {
	if t.fsys == nil {
		return filepath.Abs(t.dir)
	}
	sub, err := t.sub()
	if err != nil {
		return "", err
	}
	to := filepath.Join(scratch, "tree")
	return to, os.CopyFS(to, sub)
}

// upload returns an upload of the tree to dest on the machine.
func (t tree) upload(dest string) (*bake.Upload, error) {
	up := &bake.Upload{Dest: dest, Exclude: t.exclude}
	if t.fsys == nil {
		up.Path = t.dir
		return up, nil
	}
	var err error
	up.FS, err = t.sub()
	return up, err
}

// declarePath declares a file, or a directory with its contents, in fsys or, if
// that is nil, on the baking host.

func declarePath(in *bake.Inputs, name string, fsys fs.FS, file string) error {
	info, err := stat(fsys, file)
	switch {
	case err != nil:
		return err
	case info.IsDir():
		return in.Tree(name, fsys, file, nil)
	}
	return in.File(name, fsys, file)
}

// checkFile reports a file that cannot be read in fsys or, if that is nil, on
// the baking host.
func checkFile(field string, fsys fs.FS, name string) error {
	info, err := stat(fsys, name)
	switch {
	case err != nil:
		return bake.Invalid(field, "%w", err)
	case info.IsDir():
		return bake.Invalid(field, "%s is a directory", name)
	case fsys == nil && !info.Mode().IsRegular():
		return bake.Invalid(field, "%s is not a regular file", name)
	}
	var file fs.File
	if fsys != nil {
		file, err = fsys.Open(name)
	} else {
		file, err = os.Open(filepath.Clean(name))
	}
	if err != nil {
		return bake.Invalid(field, "%w", err)
	}
	_ = file.Close() // only read
	return nil
}

func checkDir(field string, fsys fs.FS, name string) error {
	info, err := stat(fsys, name)
	switch {
	case err != nil:
		return bake.Invalid(field, "%w", err)
	case !info.IsDir():
		return bake.Invalid(field, "%s is not a directory", name)
	}
	return nil
}

// stat describes a file of fsys or, if that is nil, of the baking host. Its error for a
// missing relative path there names the working directory.
func stat(fsys fs.FS, name string) (fs.FileInfo, error) {
	if fsys != nil {
		return fs.Stat(fsys, name)
	}
	info, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) && !filepath.IsAbs(name) {
		if dir, wdErr := os.Getwd(); wdErr == nil {
			err = fmt.Errorf("%w in the working directory %s", err, dir)
		}
	}
	return info, err
}

func readFile(fsys fs.FS, name string) ([]byte, error) {
	if fsys == nil {
		return os.ReadFile(filepath.Clean(name))
	}
	return fs.ReadFile(fsys, name)
}
