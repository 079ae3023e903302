package sshmachine

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
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
	if to, err = filepath.Abs(to); err != nil {
		return err
	}
	dest, err := openLocalDir(to, false)
	exists := err == nil
	if errors.Is(err, fs.ErrNotExist) {
		dest, err = openLocalDir(filepath.Dir(to), true)
	}
	if err != nil {
		return err
	}
	defer dest.Close() //nolint:errcheck // only a handle
	temp, err := tempLocalDir(dest)
	if err != nil {
		return err
	}
	defer dest.RemoveAll(temp) //nolint:errcheck // the error to return is another
	var there *os.Root         // what is to be merged with
	if exists {
		there = dest
	}
	top := filepath.Join(temp, "t")
	into, err := newDestTree(dest, top, ex, report)
	if err != nil {
		return err
	}
	into.maxBytes = c.cfg.MaxDownload
	ended := removeWhenCanceled(ctx, dest, temp)
	list, err := c.listTree(ctx, su, g, from, into)
	if err == nil {
		report.expect(list.bytes)
		get := &treeGet{conn: c, su: su, guest: g, from: from, into: into, list: list}
		err = get.fetch(ctx, there)
	}
	if err == nil {
		err = into.checkComplete()
	}
	err = errors.Join(err, into.finish())
	if canceled := ended(); canceled != nil {
		err = canceled
	}
	switch {
	case err != nil:
		return err
	case exists:
		return mergeLocal(dest, top, ".")
	default:
		return dest.Rename(top, filepath.Base(to))
	}
}

// receive runs a process and calls read with its output.
func (c *conn) receive(ctx context.Context, p *process, read func(io.Reader) error) error {
	reader, writer := io.Pipe()
	result := make(chan error, 1)
	go func() {
		err := read(reader)
		_ = reader.CloseWithError(err)
		result <- err
	}()
	p.stdout = writer
	err := c.runScript(ctx, p)
	_ = writer.CloseWithError(err)
	if failed := <-result; err == nil {
		err = failed
	}
	return err
}

const (
	// maxEntries and maxNames bound the memory that the list of a fetched tree
	// takes: the number of entries, and the bytes of their names and link targets.
	maxEntries = 1_000_000
	maxNames   = 64 << 20

	maxLinkTarget = 4096 // PATH_MAX of Linux
)

var (
	errDownloadSize = errors.New("exceeds Config.MaxDownload")
	errManyEntries  = fmt.Errorf("tree has more than %d entries", maxEntries)
	errManyNames    = fmt.Errorf("names of the tree exceed %d MiB", maxNames>>20)
)

// A destTree is a local directory that a tree is written to. An os.Root keeps all
// writes inside. No entry may lie below a link that the tree contains, and no two
// entries may have the same name, also if only the local file system takes their
// names for the same.
type destTree struct {
	root     *os.Root
	ex       exclude.Patterns
	report   *progress
	maxBytes int64

	mu      sync.Mutex
	left    int             // of maxEntries
	names   int             // bytes of names
	started int64           // bytes of files begun
	dirs    []entry         // modes and times are set by finish
	made    map[string]bool // directories; true if listed in dirs
	links   map[string]bool
	files   map[string]receivedFile
	missing map[string]bool // entries on the machine that have not been added
}

// A receivedFile is a complete file and its digest.
type receivedFile struct {
	name string
	size int64
	sum  [sha256.Size]byte
}

// newDestTree creates the directory name in root.
func newDestTree(root *os.Root, name string, ex exclude.Patterns, report *progress) (*destTree, error) {
	if err := root.Mkdir(name, 0o755); err != nil {
		return nil, err
	}
	top, err := root.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	return &destTree{
		root: top, ex: ex, report: report, maxBytes: math.MaxInt64, left: maxEntries,
		made: map[string]bool{".": false}, links: map[string]bool{}, files: map[string]receivedFile{}, missing: map[string]bool{},
	}, nil
}

// admit checks one more entry against the limits, and its name.
func (s *destTree) admit(e *entry) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.name = path.Clean(e.name)
	if !filepath.IsLocal(filepath.FromSlash(e.name)) || strings.Contains(e.name, "\x00") {
		return fmt.Errorf("entry %.200q is outside the directory", e.name)
	}
	s.names += len(e.name) + len(e.link)
	delete(s.missing, e.name)
	switch s.left--; {
	case s.left < 0:
		return errManyEntries
	case s.names > maxNames:
		return errManyNames
	case len(e.link) > maxLinkTarget:
		return fmt.Errorf("%s: link target of %d bytes", e.name, len(e.link))
	case e.size < 0:
		return fmt.Errorf("%s: negative size %d", e.name, e.size)
	}
	for dir := path.Dir(e.name); dir != "." && len(s.links) > 0; dir = path.Dir(dir) {
		if s.links[dir] {
			return fmt.Errorf("entry %.200q: %q is a symbolic link, which is not followed", e.name, dir)
		}
	}
	return nil
}

// A treeStream adds the entries of one stream to a tree. A tree may have several at once
// for entries whose directories exist.
type treeStream struct {
	*destTree

	dir     *os.Root // the directory of the last file, so that it is opened once for many
	dirName string
	buffer  []byte
}

// add adds one entry alone.
func (s *destTree) add(e entry, content io.Reader) error {
	stream := &treeStream{destTree: s}
	defer stream.close()
	return stream.add(e, content)
}

// add writes one entry, with the given content if it is a file.
func (s *treeStream) add(e entry, content io.Reader) error {
	if err := s.admit(&e); err != nil {
		return err
	}
	if e.name != "." && s.ex.MatchAny(e.name) {
		return nil
	}
	switch {
	case e.mode.IsDir():
		s.mu.Lock()
		defer s.mu.Unlock()
		if err := s.mkdir(e.name); err != nil {
			return err
		}
		if s.made[e.name] {
			return nil // listed twice
		}
		s.made[e.name] = true
		s.dirs = append(s.dirs, e)
		return nil
	case e.mode&fs.ModeSymlink != 0:
		if err := s.parent(e.name); err != nil {
			return err
		}
		if err := s.root.Symlink(e.link, filepath.FromSlash(e.name)); err != nil {
			return twinError(e.name, err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.links[e.name] = true
		return nil
	case e.mode.IsRegular():
		return s.addFile(e, content)
	default:
		return nil // devices and the like
	}
}

// mkdir creates a directory and its parents. The caller must hold s.mu.
func (s *destTree) mkdir(name string) error {
	if _, made := s.made[name]; made {
		return nil
	}
	if err := s.mkdir(path.Dir(name)); err != nil {
		return err
	}
	if err := s.root.Mkdir(filepath.FromSlash(name), ownerRWX); err != nil {
		return twinError(name, err)
	}
	s.made[name] = false
	return nil
}

// twinError explains an entry whose name exists already.
func twinError(name string, err error) error {
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s: listed twice, or differs from another name only in a way that this file system ignores: %w", name, err)
	}
	return err
}

func (s *treeStream) addFile(e entry, content io.Reader) error {
	s.mu.Lock()
	s.started += e.size
	tooBig := s.started > s.maxBytes || s.started < 0
	s.mu.Unlock()
	if tooBig {
		return fmt.Errorf("%s: tree %w", e.name, errDownloadSize)
	}
	if err := s.enter(path.Dir(e.name)); err != nil {
		return err
	}
	local := filepath.FromSlash(path.Base(e.name))
	file, err := s.dir.OpenFile(local, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return twinError(e.name, err)
	}
	if size := min(max(e.size, 1), copyBufferSize); int64(len(s.buffer)) < size {
		s.buffer = make([]byte, size)
	}
	sum := sha256.New()
	n, err := io.CopyBuffer(io.MultiWriter(file, sum, s.report), content, s.buffer)
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
	s.files[e.name] = receivedFile{e.name, n, [sha256.Size]byte(sum.Sum(nil))}
	s.mu.Unlock()
	return s.dir.Chtimes(local, e.mtime, e.mtime)
}

// enter opens a directory for the files that follow, and creates it if needed.
func (s *treeStream) enter(dir string) error {
	if s.dir != nil && s.dirName == dir {
		return nil
	}
	s.close()
	s.mu.Lock()
	err := s.mkdir(dir)
	s.mu.Unlock()
	if err != nil {
		return err
	}
	s.dir, err = s.root.OpenRoot(filepath.FromSlash(dir))
	s.dirName = dir
	return err
}

// close closes the directory of the last file.
func (s *treeStream) close() {
	if s.dir != nil {
		_ = s.dir.Close() // only a handle
		s.dir = nil
	}
}

// addHardLink links e.name to the file e.link, added before.
func (s *destTree) addHardLink(e entry) error {
	target := entry{name: e.link}
	if err := errors.Join(s.admit(&e), s.admit(&target)); err != nil {
		return err
	}
	if s.ex.MatchAny(e.name) {
		return nil
	}
	if err := s.parent(e.name); err != nil {
		return err
	}
	if err := s.root.Link(filepath.FromSlash(target.name), filepath.FromSlash(e.name)); err != nil {
		return fmt.Errorf("link %s to %s: %w", e.name, e.link, twinError(e.name, err))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.links[target.name] {
		s.links[e.name] = true
	}
	s.report.add(int(s.files[target.name].size))
	return nil
}

func (s *destTree) parent(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mkdir(path.Dir(name))
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

// complete returns the files of those names that are complete.
func (s *destTree) complete(names []string) []receivedFile {
	s.mu.Lock()
	defer s.mu.Unlock()
	var files []receivedFile
	for _, name := range names {
		if file, ok := s.files[name]; ok {
			files = append(files, file)
		}
	}
	return files
}
