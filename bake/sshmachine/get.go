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
	err = m.onLink(ctx, func(l *link) error {
		root, err := l.rights(ctx, down.Sudo)
		if err != nil {
			return err
		}
		from, err := l.lookAt(ctx, root, path.Clean(down.Source))
		if err != nil {
			return err
		}
		report = newProgress(down.Progress, from.size)
		switch {
		case !from.dir && down.Content != nil:
			err = l.getFile(ctx, root, from, down.Content, report)
		case !from.dir:
			err = l.getToPath(ctx, root, from, down.Path, report)
		case down.Content != nil:
			err = errors.New("it is a directory, and Content takes a file")
		default:
			err = l.getTree(ctx, root, from, down.Path, ex, report)
		}
		return l.begun(err)
	})
	if err != nil {
		return fmt.Errorf("get %s: %w", down.Source, err)
	}
	report.finish()
	return nil
}

// A remote is what is to be fetched.
type remote struct {
	path string
	dir  bool
	size int64 // of a file; zero may be a file of the kernel's that has no size
	mode fs.FileMode
}

// lookAt finds out what is at name.
func (l *link) lookAt(ctx context.Context, root *sudo, name string) (*remote, error) {
	script := "f=" + quote(name) + "\n" +
		`if [ -d "$f" ]; then echo dir; exit 0; fi` + "\n" +
		`if [ ! -f "$f" ]; then echo "no such file" >&2; exit 1; fi` + "\n" +
		`n=$(wc -c <"$f") || exit 1` + "\n" +
		`echo "file $n $(stat -L -c %a "$f" 2>/dev/null || echo 644)"`
	var out bytes.Buffer
	p := newScript(root, script, nil)
	p.stdout = &out
	if err := l.runScript(ctx, p); err != nil {
		return nil, err
	}
	words := strings.Fields(out.String())
	if len(words) == 1 && words[0] == "dir" {
		return &remote{path: name, dir: true}, nil
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
	return &remote{path: name, size: size, mode: fs.FileMode(mode) & fs.ModePerm}, nil
}

// getToPath fetches a file beside its destination, and renames it.
func (l *link) getToPath(ctx context.Context, root *sudo, from *remote, to string, report *progress) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil { //nolint:gosec // as mkdir does
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(to), temporary+"*")
	if err != nil {
		return err
	}
	err = l.getFile(ctx, root, from, file, report)
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
func (l *link) getFile(ctx context.Context, root *sudo, from *remote, to io.Writer, report *progress) error {
	g, err := l.look(ctx)
	if err != nil {
		return err
	}
	got := &received{to: to, sum: sha256.New(), report: report}
	hasher := g.hasher(from.size)
	if channels := l.stripes(ctx, from.size); channels > 1 && from.size > 0 && (root == nil || !root.needed) {
		if done, err := l.getStriped(ctx, channels, from, hasher, got); done || err != nil {
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
	p := newScript(root, script, nil)
	p.stdout, p.stderr = got, &said
	if err := l.runScript(ctx, p); err != nil {
		return err
	}
	return got.check(from, hasher, said.String())
}

// received passes a file on, and takes its size and digest.
type received struct {
	to     io.Writer
	sum    hash.Hash
	size   int64
	report *progress
}

// Write passes b on.
func (r *received) Write(b []byte) (int, error) {
	n, err := r.to.Write(b)
	_, _ = r.sum.Write(b[:n])
	r.size += int64(n)
	r.report.add(n)
	return n, err
}

// check compares with what the machine says.
func (r *received) check(from *remote, hasher, said string) error {
	if from.size > 0 && r.size != from.size {
		return fmt.Errorf("%d bytes have arrived, not %d: it changed while it was read", r.size, from.size)
	}
	if hasher == "" {
		return nil
	}
	if want, got := strings.TrimSpace(said), hexSum(r.sum); want != got {
		return fmt.Errorf("the digest differs: the machine has %.100s, %s has arrived", want, got)
	}
	return nil
}
