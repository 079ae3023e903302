package sshmachine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// openLocalDir opens a directory of the baking host to write to. It creates missing
// directories if create is set. Below trustedBase it follows no symbolic link, since
// an earlier Get may have copied it from a machine.
func openLocalDir(dir string, create bool) (*os.Root, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	base := trustedBase(abs)
	root, err := os.OpenRoot(base)
	if err != nil {
		return nil, err
	}
	rest, err := filepath.Rel(base, abs)
	if err != nil || rest == "." {
		return root, err
	}
	for name := range strings.SplitSeq(rest, string(filepath.Separator)) {
		next, err := openLocalSubdir(root, name, create)
		_ = root.Close()
		if err != nil {
			return nil, err
		}
		root = next
	}
	return root, nil
}

// trustedBase returns the part of an absolute path whose links are followed: the
// working directory, the home directory or the directory of temporary files, or else
// an existing entry of the file system's root.
func trustedBase(abs string) string {
	base := filepath.VolumeName(abs) + string(filepath.Separator)
	first, _, _ := strings.Cut(abs[len(base):], string(filepath.Separator))
	if info, err := os.Stat(base + first); err == nil && info.IsDir() {
		base += first
	}
	candidates := []string{os.TempDir()}
	for _, find := range []func() (string, error){os.Getwd, os.UserHomeDir} {
		if dir, err := find(); err == nil {
			candidates = append(candidates, dir)
		}
	}
	for _, dir := range candidates {
		dir = filepath.Clean(dir)
		if info, err := os.Stat(dir); err != nil || !info.IsDir() || len(dir) <= len(base) {
			continue
		}
		if abs == dir || strings.HasPrefix(abs, dir+string(filepath.Separator)) {
			base = dir
		}
	}
	return base
}

// openLocalSubdir opens a directory in root, which must not be a symbolic link.
func openLocalSubdir(root *os.Root, name string, create bool) (*os.Root, error) {
	info, err := root.Lstat(name)
	if create && errors.Is(err, fs.ErrNotExist) {
		if err = root.Mkdir(name, 0o755); err == nil || errors.Is(err, fs.ErrExist) {
			info, err = root.Lstat(name)
		}
	}
	full := filepath.Join(root.Name(), name)
	switch {
	case err != nil:
		return nil, err
	case info.Mode()&fs.ModeSymlink != 0:
		return nil, fmt.Errorf("%s is a symbolic link, which is not followed because a machine may have sent it; filepath.EvalSymlinks resolves a path whose links are trusted", full)
	case !info.IsDir():
		return nil, fmt.Errorf("%s is not a directory", full)
	}
	sub, err := root.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	// Another Get may have replaced the directory by a link since.
	opened, err := sub.Stat(".")
	if err == nil && !os.SameFile(info, opened) {
		err = fmt.Errorf("%s was replaced while being opened", full)
	}
	if err != nil {
		_ = sub.Close()
		return nil, err
	}
	return sub, nil
}

// tempLocalDir creates a directory with a new name in root.
func tempLocalDir(root *os.Root) (name string, err error) {
	name = tempPrefix + newTag()
	return name, root.Mkdir(name, ownerRWX)
}

// removeWhenCanceled removes the temporary file or directory name in root once ctx has
// ended, since what the machine still sends is written to it until the machine has
// stopped, which may be after the method has returned. The caller calls ended once, before
// it uses or removes what has been written; ended returns the cause if ctx has ended.
func removeWhenCanceled(ctx context.Context, root *os.Root, name string) (ended func() error) {
	removed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(removed)
		_ = root.RemoveAll(name) // or else by the caller
	})
	return func() error {
		if stop() {
			return nil
		}
		<-removed
		return context.Cause(ctx)
	}
}

// mergeLocal moves the contents of the directory from into the directory to, both
// below root, merging directories that exist in both. Other files and links are
// replaced. If a directory would replace something else, or something else a
// directory, mergeLocal fails before it moves anything.
func mergeLocal(root *os.Root, from, to string) error {
	for _, move := range []bool{false, true} {
		if err := walkMerge(root, from, to, move); err != nil {
			return err
		}
	}
	return nil
}

func walkMerge(root *os.Root, from, to string, move bool) error {
	entries, err := readLocalDir(root, from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		a, b := filepath.Join(from, e.Name()), filepath.Join(to, e.Name())
		there, err := root.Lstat(b)
		switch {
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return err
		case err == nil && e.IsDir() && there.IsDir():
			if err := walkMerge(root, a, b, move); err != nil {
				return err
			}
			continue
		case err == nil && e.IsDir() && there.Mode()&fs.ModeSymlink != 0:
			return fmt.Errorf("%s is a symbolic link, but a directory on the machine: links are not followed", filepath.Join(root.Name(), b))
		case err == nil && e.IsDir() != there.IsDir():
			return fmt.Errorf("%s and the machine's differ: one is a directory, the other is not", filepath.Join(root.Name(), b))
		}
		if !move {
			continue
		}
		if err := root.Rename(a, b); err != nil {
			return err
		}
	}
	return nil
}

func readLocalDir(root *os.Root, name string) ([]fs.DirEntry, error) {
	dir, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	entries, err := dir.ReadDir(-1)
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, err
}
