package sshmachine

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/exclude"
	"github.com/bakestone-go/bakestone/internal/posixsh"
)

// Get implements [bake.Machine]. It copies files, directories and symbolic links,
// but not owners, set-id bits, devices and pipes. Nothing the machine sends is
// written outside of Path, as described under Files in the package comment. Get
// verifies digests if the machine has sha256sum or openssl and, for a tree, xargs;
// otherwise it compares sizes.
func (m *Machine) Get(ctx context.Context, down *bake.Download) error {
	if down == nil {
		return bake.Invalid("Download", "is required")
	}
	if err := down.Validate(); err != nil {
		return err
	}
	ex, err := exclude.Parse(down.Exclude)
	if err != nil {
		return err
	}
	if strings.Contains(down.Source, "\x00") {
		return bake.Invalid("Download.Source", "contains a zero byte")
	}
	var g gate
	defer g.close()
	gated := *down
	gated.Content, gated.Progress = g.writer(0, down.Content), g.progress(down.Progress)
	down = &gated
	var report *progress
	err = m.withConn(ctx, func(c *conn) error {
		su, err := c.sudoIf(ctx, down.Sudo)
		if err != nil {
			return err
		}
		from, err := c.statRemote(ctx, su, path.Clean(down.Source))
		if err != nil {
			return err
		}
		if !from.dir && posixsh.NamesDirectory(down.Source) {
			return errors.New("is a file, but the name is that of a directory")
		}
		if from.size > c.cfg.MaxDownload {
			return fmt.Errorf("%d bytes: %w", from.size, errDownloadSize)
		}
		report = newProgress(down.Progress, from.size)
		switch {
		case !from.dir && down.Content != nil:
			err = c.getFile(ctx, su, from, down.Content, report)
		case !from.dir:
			err = c.getToPath(ctx, su, from, down.Path, report)
		case down.Content != nil:
			err = errors.New("is a directory; use Download.Path instead of Content")
		default:
			err = c.getTree(ctx, su, from, down.Path, ex, report)
		}
		return c.noRetry(err)
	})
	if err != nil {
		return fmt.Errorf("get %s: %w", down.Source, err)
	}
	report.finish()
	return nil
}

// A remoteFile is the file or directory to fetch.
type remoteFile struct {
	path string
	dir  bool
	size int64 // of a file; may be zero for a file in /proc that has content
	mode fs.FileMode
}

// statRemote returns the type, size and mode of the file at name.
func (c *conn) statRemote(ctx context.Context, su *sudo, name string) (*remoteFile, error) {
	script := "f=" + quote(name) + "\n" +
		`if [ -d "$f" ]; then echo dir; exit 0; fi` + "\n" +
		`if [ ! -f "$f" ]; then` + "\n" +
		`if [ -e "$f" ]; then echo "not a regular file or directory" >&2; else echo "no such file, or no permission to see it" >&2; fi` + "\n" +
		`exit 1; fi` + "\n" +
		`n=$(wc -c <"$f") || exit 1` + "\n" +
		`echo "file $n $(stat -L -c %a "$f" 2>/dev/null || echo 644)"`
	var out answer
	p := c.newScript(su, script, nil)
	p.stdout = &out
	if err := c.runScript(ctx, p); err != nil {
		return nil, err
	}
	words := strings.Fields(out.String())
	if len(words) == 1 && words[0] == "dir" {
		return &remoteFile{path: name, dir: true}, nil
	}
	if len(words) != 3 {
		return nil, fmt.Errorf("stat: unexpected output %.100q", out.String())
	}
	size, err := strconv.ParseInt(words[1], 10, 64)
	if err != nil {
		return nil, fmt.Errorf("stat: unexpected output: %w", err)
	}
	mode, err := strconv.ParseUint(words[2], 8, 32)
	if err != nil {
		return nil, fmt.Errorf("stat: unexpected output: %w", err)
	}
	return &remoteFile{path: name, size: size, mode: fs.FileMode(mode) & fs.ModePerm}, nil
}

// getToPath fetches a file to a temporary name beside its destination, and renames
// it. A link at the destination is replaced.
func (c *conn) getToPath(ctx context.Context, su *sudo, from *remoteFile, to string, report *progress) error {
	if to != filepath.Clean(to) && os.IsPathSeparator(to[len(to)-1]) {
		return fmt.Errorf("%s names a directory, but the source is a file", to)
	}
	to, err := filepath.Abs(to)
	if err != nil {
		return err
	}
	root, err := openLocalDir(filepath.Dir(to), true)
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // only a handle
	name := filepath.Base(to)
	if info, err := root.Lstat(name); err == nil && info.IsDir() {
		return fmt.Errorf("%s is a directory, but the source is a file", to)
	}
	temp := tempPrefix + newTag()
	file, err := root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	ended := removeWhenCanceled(ctx, root, temp)
	err = c.getFile(ctx, su, from, file, report)
	if err == nil {
		err = file.Chmod(from.mode)
	}
	if failed := file.Close(); err == nil {
		err = failed
	}
	if canceled := ended(); canceled != nil {
		err = canceled
	}
	if err == nil {
		err = root.Rename(temp, name)
	}
	if err != nil {
		_ = root.Remove(temp)
	}
	return err
}

// getFile fetches the first from.size bytes of a file, ignoring what has been
// appended since statRemote.
func (c *conn) getFile(ctx context.Context, su *sudo, from *remoteFile, to io.Writer, report *progress) error {
	g, err := c.guestInfo(ctx)
	if err != nil {
		return err
	}
	got := &fileReceiver{to: to, limit: from.size, sum: sha256.New(), report: report}
	if from.size == 0 {
		got.limit = c.cfg.MaxDownload
	}
	hasher := g.digestCommand(from.size)
	if channels := c.stripeCount(ctx, from.size); channels > 1 && from.size > 0 && !su.elevates() {
		if done, err := c.getStriped(ctx, channels, from, hasher, got); done || err != nil {
			return err
		}
	}
	script, content := "f="+quote(from.path)+"\n", `cat "$f"`
	if from.size > 0 {
		script, content = script+blocksScript, firstBytes(from.size)
	}
	if hasher != "" && from.size > 0 {
		// Read twice in parallel, the second time from the page cache.
		script += "{ " + digestOfFirst(hasher, from.size) + " >&2; } &\n"
	} else {
		hasher = ""
	}
	script += content + " || exit 1\nwait"
	var digest answer
	p := c.newScript(su, script, nil)
	p.stdout, p.stderr = got, &digest
	if err := c.runScript(ctx, p); err != nil {
		return err
	}
	return got.check(from, hasher, digest.String())
}

// A fileReceiver passes a file's content on and computes its size and digest.
type fileReceiver struct {
	to     io.Writer
	limit  int64
	sum    hash.Hash
	size   int64
	report *progress
}

// Write writes b to r.to, unless that would exceed r.limit.
func (r *fileReceiver) Write(b []byte) (int, error) {
	if int64(len(b)) > r.limit-r.size {
		return 0, fmt.Errorf("machine sent more than %d bytes", r.limit)
	}
	n, err := r.to.Write(b)
	_, _ = r.sum.Write(b[:n])
	r.size += int64(n)
	r.report.add(n)
	return n, err
}

// check verifies the size and, unless hasher is empty, the digest that the machine
// printed.
func (r *fileReceiver) check(from *remoteFile, hasher, digest string) error {
	if from.size > 0 && r.size != from.size {
		return fmt.Errorf("received %d bytes, want %d: changed while being read", r.size, from.size)
	}
	if hasher == "" {
		return nil
	}
	return compareDigests(digest, r.sum)
}
