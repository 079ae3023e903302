package sshmachine

import (
	"bytes"
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
)

// Get copies one file or one tree from the machine, as bake.Machine says. What
// is neither file, directory nor symbolic link is left out, and so are owners
// and the set-id bits. A symbolic link is copied as it is; nothing that the
// machine sends is written outside of Path. What has arrived is compared by
// digest where the machine has sha256sum or openssl and, for a tree, xargs, and
// else by size.
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
		return bake.Invalid("Download.Source", "there is a zero byte in it")
	}
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
		report = newProgress(down.Progress, from.size)
		switch {
		case !from.dir && down.Content != nil:
			err = c.getFile(ctx, su, from, down.Content, report)
		case !from.dir:
			err = c.getToPath(ctx, su, from, down.Path, report)
		case down.Content != nil:
			err = errors.New("it is a directory, and Content takes a file")
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

// A remote is what is to be fetched.
type remoteFile struct {
	path string
	dir  bool
	size int64 // of a file; zero may be a file of the kernel's that has no size
	mode fs.FileMode
}

// lookAt finds out what is at name.
func (c *conn) statRemote(ctx context.Context, su *sudo, name string) (*remoteFile, error) {
	script := "f=" + quote(name) + "\n" +
		`if [ -d "$f" ]; then echo dir; exit 0; fi` + "\n" +
		`if [ ! -f "$f" ]; then echo "no such file" >&2; exit 1; fi` + "\n" +
		`n=$(wc -c <"$f") || exit 1` + "\n" +
		`echo "file $n $(stat -L -c %a "$f" 2>/dev/null || echo 644)"`
	var out bytes.Buffer
	p := newScript(su, script, nil)
	p.stdout = &out
	if err := c.runScript(ctx, p); err != nil {
		return nil, err
	}
	words := strings.Fields(out.String())
	if len(words) == 1 && words[0] == "dir" {
		return &remoteFile{path: name, dir: true}, nil
	}
	if len(words) != 3 {
		return nil, fmt.Errorf("the machine's answer is not understood: %.100q", out.String())
	}
	size, err := strconv.ParseInt(words[1], 10, 64)
	if err != nil {
		return nil, fmt.Errorf("the machine's answer is not understood: %w", err)
	}
	mode, err := strconv.ParseUint(words[2], 8, 32)
	if err != nil {
		return nil, fmt.Errorf("the machine's answer is not understood: %w", err)
	}
	return &remoteFile{path: name, size: size, mode: fs.FileMode(mode) & fs.ModePerm}, nil
}

// getToPath fetches a file beside its destination, and renames it.
func (c *conn) getToPath(ctx context.Context, su *sudo, from *remoteFile, to string, report *progress) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil { //nolint:gosec // as mkdir does
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(to), tempPrefix+"*")
	if err != nil {
		return err
	}
	err = c.getFile(ctx, su, from, file, report)
	if err == nil {
		err = file.Chmod(from.mode)
	}
	if failed := file.Close(); err == nil {
		err = failed
	}
	if err == nil {
		err = os.Rename(file.Name(), to)
	}
	if err != nil {
		_ = os.Remove(file.Name())
	}
	return err
}

// getFile fetches the bytes that a file has now. What a log grows meanwhile is
// left out.
func (c *conn) getFile(ctx context.Context, su *sudo, from *remoteFile, to io.Writer, report *progress) error {
	g, err := c.guestInfo(ctx)
	if err != nil {
		return err
	}
	got := &fileReceiver{to: to, sum: sha256.New(), report: report}
	hasher := g.digestCommand(from.size)
	if channels := c.stripeCount(ctx, from.size); channels > 1 && from.size > 0 && (su == nil || !su.needed) {
		if done, err := c.getStriped(ctx, channels, from, hasher, got); done || err != nil {
			return err
		}
	}
	content := `cat "$f"`
	if from.size > 0 {
		content = fmt.Sprintf(`head -c %d "$f"`, from.size)
	}
	script := "f=" + quote(from.path) + "\n"
	if hasher != "" && from.size > 0 {
		// Both read the file at once: the second finds it in memory.
		script += "{ " + content + " | " + hasher + " | cut -c1-64 >&2; } &\n"
	} else {
		hasher = ""
	}
	script += content + " || exit 1\nwait"
	var said bytes.Buffer
	p := newScript(su, script, nil)
	p.stdout, p.stderr = got, &said
	if err := c.runScript(ctx, p); err != nil {
		return err
	}
	return got.check(from, hasher, said.String())
}

// received passes a file on, and takes its size and digest.
type fileReceiver struct {
	to     io.Writer
	sum    hash.Hash
	size   int64
	report *progress
}

// Write passes b on.
func (r *fileReceiver) Write(b []byte) (int, error) {
	n, err := r.to.Write(b)
	_, _ = r.sum.Write(b[:n])
	r.size += int64(n)
	r.report.add(n)
	return n, err
}

// check compares with what the machine says.
func (r *fileReceiver) check(from *remoteFile, hasher, said string) error {
	if from.size > 0 && r.size != from.size {
		return fmt.Errorf("%d bytes have arrived, not %d: it changed while it was read", r.size, from.size)
	}
	if hasher == "" {
		return nil
	}
	if want, got := strings.TrimSpace(said), hexDigest(r.sum); want != got {
		return fmt.Errorf("the digest differs: the machine has %.100s, %s has arrived", want, got)
	}
	return nil
}
