package sshmachine

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/bakestone-go/bakestone/internal/exclude"
)

// getTree fetches a tree into a temporary directory, and moves it into place once it
// is complete.
func (c *conn) getTree(ctx context.Context, su *sudo, from *remoteFile, to string, ex exclude.Patterns, report *progress) error {
	g, err := c.guestInfo(ctx)
	if err != nil {
		return err
	}
	in := filepath.Dir(to)
	info, err := os.Stat(to)
	switch {
	case err == nil && !info.IsDir():
		return fmt.Errorf("%s is not a directory", to)
	case err == nil:
		in = to
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := os.MkdirAll(in, 0o755); err != nil { //nolint:gosec // mkdir's default
		return err
	}
	temp, err := os.MkdirTemp(in, tempPrefix+"*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp) //nolint:errcheck // the error to return is another
	into, err := newDestTree(temp, ex, report)
	if err != nil {
		return err
	}
	if err = c.fetchTree(ctx, su, g, from, into); err == nil {
		err = c.verifyTree(ctx, su, g, from, into)
	}
	if err = errors.Join(err, into.finish()); err != nil {
		return err
	}
	if in == to {
		return mergeLocal(filepath.Join(temp, "t"), to)
	}
	return os.Rename(filepath.Join(temp, "t"), to)
}

// fetchTree fetches a tree as a tar stream if the machine has tar, or else by SFTP
// or find.
func (c *conn) fetchTree(ctx context.Context, su *sudo, g *guestInfo, from *remoteFile, into *destTree) error {
	if g.has("tar") {
		return c.getTar(ctx, su, from, into)
	}
	if !su.elevates() {
		open := c.openSFTP(ctx, 1)
		defer closeAll(open)
		if len(open) > 0 {
			return open[0].getTree(ctx, from, into)
		}
	}
	return c.getFind(ctx, su, from, into)
}

// receive runs a script and calls read with its output.
func (c *conn) receive(ctx context.Context, su *sudo, script string, read func(io.Reader) error) error {
	reader, writer := io.Pipe()
	result := make(chan error, 1)
	go func() {
		err := read(reader)
		_ = reader.CloseWithError(err)
		result <- err
	}()
	p := newScript(su, script, nil)
	p.stdout = writer
	err := c.runScript(ctx, p)
	_ = writer.CloseWithError(err)
	if failed := <-result; err == nil {
		err = failed
	}
	return err
}

// verifyTree compares the digest of the received files with the machine's, if the
// machine has the tools to compute it.
func (c *conn) verifyTree(ctx context.Context, su *sudo, g *guestInfo, from *remoteFile, into *destTree) error {
	hasher := g.digestCommand(into.bytes)
	if hasher == "" || !g.has("xargs") || len(into.files) == 0 {
		return nil
	}
	var names strings.Builder
	all := sha256.New()
	for _, file := range into.files {
		names.WriteString("./" + file.name + "\x00")
		_, _ = fmt.Fprintln(all, file.sum)
	}
	var digest bytes.Buffer
	p := newScript(su, "cd "+quote(from.path)+" || exit 1\n"+digestOfDigests(hasher), strings.NewReader(names.String()))
	p.stdout = &digest
	if err := c.runScript(ctx, p); err != nil {
		return err
	}
	return compareDigests(digest.String(), all)
}

// mergeLocal moves the contents of one directory into another, merging directories
// that exist in both.
func mergeLocal(from, to string) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		a, b := filepath.Join(from, e.Name()), filepath.Join(to, e.Name())
		if there, err := os.Stat(b); e.IsDir() && err == nil && there.IsDir() {
			if err := mergeLocal(a, b); err != nil {
				return err
			}
			continue
		}
		if err := os.Rename(a, b); err != nil {
			return err
		}
	}
	return nil
}

// A destTree is a local directory that a tree is written to. An os.Root keeps all
// writes inside, whatever links the tree contains.
type destTree struct {
	root   *os.Root
	ex     exclude.Patterns
	report *progress

	mu    sync.Mutex
	bytes int64
	dirs  []entry // modes and times are set by finish
	files []receivedFile
}

// A receivedFile is a complete file and its digest.
type receivedFile struct{ name, sum string }

// newDestTree creates the subdirectory "t" of in.
func newDestTree(in string, ex exclude.Patterns, report *progress) (*destTree, error) {
	top := filepath.Join(in, "t")
	if err := os.Mkdir(top, 0o755); err != nil { //nolint:gosec // finish sets the mode
		return nil, err
	}
	root, err := os.OpenRoot(top)
	if err != nil {
		return nil, err
	}
	return &destTree{root: root, ex: ex, report: report}, nil
}

// add writes one entry, with the given content if it is a file. It may be called by
// several goroutines at once for entries whose directories exist.
func (s *destTree) add(e entry, content io.Reader) error {
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
		return s.addFile(e, local, content)
	default:
		return nil // devices and the like
	}
}

func (s *destTree) addFile(e entry, local string, content io.Reader) error {
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
		err = fmt.Errorf("%s: received %d bytes, want %d", e.name, n, e.size)
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
	s.files = append(s.files, receivedFile{e.name, hexDigest(sum)})
	s.bytes += n
	s.mu.Unlock()
	return s.root.Chtimes(local, e.mtime, e.mtime)
}

// addHardLink links e.name to the file e.link, added before.
func (s *destTree) addHardLink(e entry) error {
	if s.ex.MatchAny(e.name) {
		return nil
	}
	target := filepath.FromSlash(path.Clean(e.link))
	if err := s.root.Link(target, filepath.FromSlash(e.name)); err != nil {
		return fmt.Errorf("link %s to %s: %w", e.name, e.link, err)
	}
	return nil
}

func (s *destTree) parent(local string) error {
	return s.root.MkdirAll(filepath.Dir(local), 0o755)
}

// finish sets the modes and times of directories, deepest first, and closes the
// tree.
func (s *destTree) finish() error {
	var errs []error
	for _, d := range slices.Backward(s.dirs) {
		local := filepath.FromSlash(d.name)
		errs = append(errs, s.root.Chmod(local, d.mode.Perm()|ownerRWX), s.root.Chtimes(local, d.mtime, d.mtime))
	}
	return errors.Join(append(errs, s.root.Close())...)
}
