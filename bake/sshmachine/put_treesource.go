package sshmachine

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"

	"github.com/bakestone-go/bakestone/internal/exclude"
	"github.com/bakestone-go/bakestone/internal/posixsh"
)

// A sourceTree lists a tree to send. File contents are read while sending.
type sourceTree struct {
	fsys    fs.FS
	root    fs.FileMode // permission bits of the root
	entries []entry     // each directory before its contents
	bytes   int64       // total size of the files

	// extraFiles and extraDirs are removed from the destination: names, each followed by a NUL,
	// directories after their contents.
	extraFiles, extraDirs string
}

const (
	specialBits = fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky
	ownerRWX    = 0o700
)

// newSourceTree lists the entries of fsys that ex does not exclude.
func newSourceTree(ctx context.Context, fsys fs.FS, ex exclude.Patterns) (*sourceTree, error) {
	s := &sourceTree{fsys: fsys}
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
		return nil, fmt.Errorf("read source: %w", err)
	}
	return s, nil
}

func (s *sourceTree) add(name string, info fs.FileInfo) error {
	e := entry{name: path.Clean(name), mode: info.Mode(), mtime: info.ModTime()}
	if e.mtime.IsZero() {
		e.mtime = time.Now()
	}
	switch {
	case name == ".":
		if !info.IsDir() {
			return fmt.Errorf("%s is not a directory", info.Name())
		}
		s.root = info.Mode()&posixsh.ModeBits | ownerRWX
		return nil
	case info.IsDir():
		// An unprivileged login can neither fill nor move read-only directories,
		// which embed.FS has.
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
		return fmt.Errorf("%s is not a file, directory or symbolic link; Exclude can skip it", name)
	}
	s.entries = append(s.entries, e)
	return nil
}

// A sidecar is a small file sent beside a tree.
type sidecar struct{ name, content string }

// sidecars returns the sidecars of a tree, in the order to send them:
//
//   - n lists the names of the files, each followed by a NUL
//   - l, if needed, is a script that creates the symbolic links, for transfers
//     without links
//   - m, if needed, is a script that sets the special bits that chown clears
//   - x and y, if needed, list files and directories to remove from the destination
//   - h is the digest of all digests
//
// The digests are those of the given entries; sums has one for each that is a file.
func (s *sourceTree) sidecars(sent []entry, sums []string, noLinks bool) []sidecar {
	var links, after strings.Builder
	for _, e := range s.entries {
		switch {
		case e.mode&fs.ModeSymlink != 0:
			if noLinks {
				fmt.Fprintf(&links, "ln -s %s %s || exit 1\n", quote(e.link), quote("./"+e.name))
			}
		case e.mode&specialBits != 0:
			fmt.Fprintf(&after, "chmod %s %s || exit 1\n", octal(e.mode), quote("./"+e.name))
		}
	}
	names, digest := digests(sent, sums)
	sidecars := []sidecar{{"n", names}}
	for _, f := range []sidecar{{"l", links.String()}, {"m", after.String()}, {"x", s.extraFiles}, {"y", s.extraDirs}} {
		if f.content != "" {
			sidecars = append(sidecars, f)
		}
	}
	return append(sidecars, sidecar{"h", digest})
}

// digests returns the names of the entries that are files, each followed by a NUL, and
// the digest of their digests.
func digests(entries []entry, sums []string) (names, digest string) {
	var b strings.Builder
	all := sha256.New()
	for i, e := range entries {
		if e.mode.IsRegular() {
			b.WriteString("./" + e.name + "\x00")
			_, _ = fmt.Fprintf(all, "%s\n", sums[i])
		}
	}
	return b.String(), hexDigest(all)
}
