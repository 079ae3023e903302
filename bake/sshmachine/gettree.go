package sshmachine

import (
	"archive/tar"
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
	"strings"

	"github.com/bakestone-go/bakestone/internal/exclude"
)

// getTree fetches a tree into a temporary directory, and moves it into place
// when all of it has come.
func (l *link) getTree(ctx context.Context, root *sudo, from *remote, to string, ex exclude.Patterns, report *progress) error {
	g, err := l.look(ctx)
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
	temp, err := os.MkdirTemp(in, temporary+"*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp) //nolint:errcheck // the reason why it fails has failed something else
	into, err := newSink(temp, ex, report)
	if err != nil {
		return err
	}
	if err = l.fetchTree(ctx, root, g, from, into); err == nil {
		err = l.compare(ctx, root, g, from, into)
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
func (l *link) fetchTree(ctx context.Context, root *sudo, g *guest, from *remote, into *sink) error {
	if g.has("tar") {
		return l.getTar(ctx, root, from, into)
	}
	if root == nil || !root.needed {
		open := l.openSFTP(ctx, 1)
		defer closeAll(open)
		if len(open) > 0 {
			return open[0].getSFTP(ctx, from, into)
		}
	}
	return l.getFound(ctx, root, from, into)
}

// getTar fetches a tree as one tar stream. Tar's exit status tells of what it
// could not read.
func (l *link) getTar(ctx context.Context, root *sudo, from *remote, into *sink) error {
	return l.receive(ctx, root, "exec tar -cf - -C "+quote(from.path)+" .", func(r io.Reader) error {
		if err := into.takeTar(r); err != nil {
			return err
		}
		_, err := io.Copy(io.Discard, r) // what tar adds to fill a block
		return err
	})
}

// receive runs a script whose output take reads.
func (l *link) receive(ctx context.Context, root *sudo, script string, take func(io.Reader) error) error {
	reader, writer := io.Pipe()
	taken := make(chan error, 1)
	go func() {
		err := take(reader)
		_ = reader.CloseWithError(err)
		taken <- err
	}()
	p := newScript(root, script, nil)
	p.stdout = writer
	err := l.runScript(ctx, p)
	_ = writer.CloseWithError(err)
	if failed := <-taken; err == nil {
		err = failed
	}
	return err
}

// compare asks the machine for the digest of what has arrived. A machine
// without the tools is trusted with the sizes.
func (l *link) compare(ctx context.Context, root *sudo, g *guest, from *remote, into *sink) error {
	hasher := g.hasher(into.bytes)
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
	p := newScript(root, "cd "+quote(from.path)+" || exit 1\n"+digestOfDigests(hasher), strings.NewReader(names.String()))
	p.stdout = &said
	if err := l.runScript(ctx, p); err != nil {
		return err
	}
	if want, got := strings.TrimSpace(said.String()), hexSum(all); want != got {
		return fmt.Errorf("the digest differs: the machine has %.100s, %s has arrived: was it changed meanwhile?", want, got)
	}
	return nil
}

// takeTar unpacks an archive.
func (s *sink) takeTar(from io.Reader) error {
	r := tar.NewReader(from)
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("archive: %w", err)
		}
		name := path.Clean(h.Name)
		if !filepath.IsLocal(filepath.FromSlash(name)) {
			return fmt.Errorf("archive: %q leads out of the directory", h.Name)
		}
		e := entry{name: name, mode: h.FileInfo().Mode(), size: h.Size, mtime: h.ModTime, link: h.Linkname}
		if h.Typeflag == tar.TypeLink {
			err = s.hardLink(e)
		} else {
			err = s.take(e, r)
		}
		if err != nil {
			return err
		}
	}
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
