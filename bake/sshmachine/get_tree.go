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

// getTree fetches a tree into a temporary directory, and moves it into place
// when all of it has come.
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
	if err := os.MkdirAll(in, 0o755); err != nil { //nolint:gosec // as mkdir does
		return err
	}
	temp, err := os.MkdirTemp(in, tempPrefix+"*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp) //nolint:errcheck // the reason why it fails has failed something else
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

// fetchTree takes the best way that the machine offers.
func (c *conn) fetchTree(ctx context.Context, su *sudo, g *guestInfo, from *remoteFile, into *destTree) error {
	if g.has("tar") {
		return c.getTar(ctx, su, from, into)
	}
	if su == nil || !su.needed {
		open := c.openSFTP(ctx, 1)
		defer closeAll(open)
		if len(open) > 0 {
			return open[0].getSFTP(ctx, from, into)
		}
	}
	return c.getFind(ctx, su, from, into)
}

// receive runs a script whose output take reads.
func (c *conn) receive(ctx context.Context, su *sudo, script string, take func(io.Reader) error) error {
	reader, writer := io.Pipe()
	taken := make(chan error, 1)
	go func() {
		err := take(reader)
		_ = reader.CloseWithError(err)
		taken <- err
	}()
	p := newScript(su, script, nil)
	p.stdout = writer
	err := c.runScript(ctx, p)
	_ = writer.CloseWithError(err)
	if failed := <-taken; err == nil {
		err = failed
	}
	return err
}

// compare asks the machine for the digest of what has arrived. A machine
// without the tools is trusted with the sizes.
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
	var said bytes.Buffer
	p := newScript(su, "cd "+quote(from.path)+" || exit 1\n"+digestOfDigests(hasher), strings.NewReader(names.String()))
	p.stdout = &said
	if err := c.runScript(ctx, p); err != nil {
		return err
	}
	if want, got := strings.TrimSpace(said.String()), hexDigest(all); want != got {
		return fmt.Errorf("the digest differs: the machine has %.100s, %s has arrived: was it changed meanwhile?", want, got)
	}
	return nil
}

// mergeLocal moves what is in one directory into another.
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

// A sink is a local directory that takes a tree. An os.Root keeps everything
// inside, whatever links the tree holds.
type destTree struct {
	root   *os.Root
	ex     exclude.Patterns
	report *progress

	mu    sync.Mutex
	bytes int64
	dirs  []entry        // modes and times are set when all is in them
	files []receivedFile // what can be compared with the machine's
}

// An arrived file is one that has arrived, with its digest.
type receivedFile struct{ name, sum string }

// newSink makes "t" in the given directory.
func newDestTree(in string, ex exclude.Patterns, report *progress) (*destTree, error) {
	top := filepath.Join(in, "t")
	if err := os.Mkdir(top, 0o755); err != nil { //nolint:gosec // the tree's own mode follows
		return nil, err
	}
	root, err := os.OpenRoot(top)
	if err != nil {
		return nil, err
	}
	return &destTree{root: root, ex: ex, report: report}, nil
}

// take takes one entry; content is that of a file. It may be called by several
// goroutines at once for entries whose directories exist.
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
		return nil // what has no content cannot be copied
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
	s.files = append(s.files, receivedFile{e.name, hexDigest(sum)})
	s.bytes += n
	s.mu.Unlock()
	return s.root.Chtimes(local, e.mtime, e.mtime)
}

// hardLink takes another name of a file that was taken before.
func (s *destTree) addHardLink(e entry) error {
	if s.ex.MatchAny(e.name) {
		return nil
	}
	target := filepath.FromSlash(path.Clean(e.link))
	if err := s.root.Link(target, filepath.FromSlash(e.name)); err != nil {
		return fmt.Errorf("%s is another name of %s: %w", e.name, e.link, err)
	}
	return nil
}

func (s *destTree) parent(local string) error {
	return s.root.MkdirAll(filepath.Dir(local), 0o755)
}

// finish sets the modes and times of directories, the deepest first.
func (s *destTree) finish() error {
	var errs []error
	for _, d := range slices.Backward(s.dirs) {
		local := filepath.FromSlash(d.name)
		errs = append(errs, s.root.Chmod(local, d.mode.Perm()|ownerRWX), s.root.Chtimes(local, d.mtime, d.mtime))
	}
	return errors.Join(append(errs, s.root.Close())...)
}
