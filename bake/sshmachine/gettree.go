package sshmachine

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"

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
	if g.has("tar") {
		err = l.getTar(ctx, root, from, into)
	} else {
		err = l.getSFTP(ctx, root, from, into)
	}
	if err = errors.Join(err, into.finish()); err != nil {
		return err
	}
	if in == to {
		return mergeLocal(filepath.Join(temp, "t"), to)
	}
	return os.Rename(filepath.Join(temp, "t"), to)
}

// getTar fetches a tree as one tar stream. Every header has a checksum, tar's
// exit status tells of what it could not read, and the connection of every
// changed byte.
func (l *link) getTar(ctx context.Context, root *sudo, from *remote, into *sink) error {
	reader, writer := io.Pipe()
	taken := make(chan error, 1)
	go func() {
		err := into.takeTar(reader)
		if err == nil {
			_, err = io.Copy(io.Discard, reader) // what tar adds to fill a block
		}
		_ = reader.CloseWithError(err)
		taken <- err
	}()
	p := newScript(root, "exec tar -cf - -C "+quote(from.path)+" .", nil)
	p.stdout = writer
	err := l.runScript(ctx, p)
	_ = writer.CloseWithError(err)
	if failed := <-taken; err == nil {
		err = failed
	}
	return err
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
