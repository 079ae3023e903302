package sshmachine

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"sync"

	"github.com/bakestone-go/bakestone/internal/exclude"
)

// A sink is a local directory that takes a tree. An os.Root keeps everything
// inside, whatever links the tree holds.
type sink struct {
	root   *os.Root
	ex     exclude.Patterns
	report *progress

	mu    sync.Mutex
	bytes int64
	dirs  []entry   // modes and times are set when all is in them
	files []arrived // what can be compared with the machine's
}

// An arrived file is one that has arrived, with its digest.
type arrived struct{ name, sum string }

// newSink makes "t" in the given directory.
func newSink(in string, ex exclude.Patterns, report *progress) (*sink, error) {
	top := filepath.Join(in, "t")
	if err := os.Mkdir(top, 0o755); err != nil { //nolint:gosec // the tree's own mode follows
		return nil, err
	}
	root, err := os.OpenRoot(top)
	if err != nil {
		return nil, err
	}
	return &sink{root: root, ex: ex, report: report}, nil
}

// take takes one entry; content is that of a file. It may be called by several
// goroutines at once for entries whose directories exist.
func (s *sink) take(e entry, content io.Reader) error {
	if e.name != "." && s.ex.MatchAny(e.name) {
		return nil
	}
	local := filepath.FromSlash(e.name)
	switch {
	case e.mode.IsDir():
		if err := s.root.MkdirAll(local, ownerRWX); err != nil {
			return err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.dirs = append(s.dirs, e)
		return nil
	case e.mode&fs.ModeSymlink != 0:
		return errors.Join(s.parent(local), s.root.Symlink(e.link, local))
	case e.mode.IsRegular():
		return s.takeFile(e, local, content)
	default:
		return nil // what has no content cannot be copied
	}
}

func (s *sink) takeFile(e entry, local string, content io.Reader) error {
	if err := s.parent(local); err != nil {
		return err
	}
	file, err := s.root.OpenFile(local, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(file, sum, s.report), content)
	if err == nil && n != e.size {
		err = fmt.Errorf("%s: %d bytes have arrived, not %d", e.name, n, e.size)
	}
	if err == nil {
		err = file.Chmod(e.mode.Perm())
	}
	if failed := file.Close(); err == nil {
		err = failed
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.files = append(s.files, arrived{e.name, hexSum(sum)})
	s.bytes += n
	s.mu.Unlock()
	return s.root.Chtimes(local, e.mtime, e.mtime)
}

// hardLink takes another name of a file that was taken before.
func (s *sink) hardLink(e entry) error {
	if s.ex.MatchAny(e.name) {
		return nil
	}
	target := filepath.FromSlash(path.Clean(e.link))
	if err := s.root.Link(target, filepath.FromSlash(e.name)); err != nil {
		return fmt.Errorf("%s is another name of %s: %w", e.name, e.link, err)
	}
	return nil
}

func (s *sink) parent(local string) error {
	return s.root.MkdirAll(filepath.Dir(local), 0o755)
}

// finish sets the modes and times of directories, the deepest first.
func (s *sink) finish() error {
	var errs []error
	for _, d := range slices.Backward(s.dirs) {
		local := filepath.FromSlash(d.name)
		errs = append(errs, s.root.Chmod(local, d.mode.Perm()|ownerRWX), s.root.Chtimes(local, d.mtime, d.mtime))
	}
	return errors.Join(append(errs, s.root.Close())...)
}
