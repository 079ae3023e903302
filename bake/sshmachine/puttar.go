package sshmachine

import (
	"archive/tar"
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"time"
)

// putTar sends a tree as one tar stream to one command, which also checks it
// and moves it into place.
func (l *link) putTar(ctx context.Context, root *sudo, g *guest, src *source, scripts *treeScripts, report *progress) error {
	extract := `tar -xpf - -C "$w"`
	squeeze := g.has("gzip") && l.worthSqueezing(ctx, src)
	if squeeze {
		extract = "gzip -dc | " + extract
	}
	reader, writer := io.Pipe()
	sent := make(chan error, 1)
	go func() {
		err := writeTar(writer, src, squeeze, report)
		_ = writer.CloseWithError(err)
		sent <- err
	}()
	script := scripts.begin() + extract + " || exit 1\n" + scripts.end()
	err := l.runScript(ctx, newScript(root, script, reader))
	_ = reader.CloseWithError(errEnded)
	if failed := <-sent; failed != nil && !errors.Is(failed, errEnded) {
		err = failed // the reason for all else
	}
	return err
}

var errEnded = errors.New("the machine takes no more")

// writeTar writes the tree below "t", and after it the names of its files, what
// only a script can do, and last the digest, without which nothing counts.
func writeTar(to io.Writer, src *source, squeeze bool, report *progress) error {
	buffered := bufio.NewWriterSize(to, copySize)
	var out io.Writer = buffered
	finish := buffered.Flush
	if squeeze {
		compressed := newCompressor(buffered)
		out = compressed
		finish = func() error { return errors.Join(compressed.Close(), buffered.Flush()) }
	}
	w := tar.NewWriter(out)
	sums := make([]string, len(src.entries))
	buffer := make([]byte, copySize)
	sum := sha256.New()
	for i, e := range src.entries {
		if err := w.WriteHeader(headerOf(e)); err != nil {
			return fmt.Errorf("%s: %w", e.name, err)
		}
		if !e.mode.IsRegular() {
			continue
		}
		sum.Reset()
		if err := copyFile(io.MultiWriter(w, sum), src.fsys, e, buffer, report); err != nil {
			return err
		}
		sums[i] = hexSum(sum)
	}
	for _, last := range src.manifest(sums, false) {
		h := &tar.Header{Name: last.name, Mode: 0o600, Size: int64(len(last.content)), ModTime: time.Now().Truncate(time.Second)}
		if err := w.WriteHeader(h); err != nil {
			return err
		}
		if _, err := io.WriteString(w, last.content); err != nil {
			return err
		}
	}
	return errors.Join(w.Close(), finish())
}

func headerOf(e entry) *tar.Header {
	h := &tar.Header{
		Typeflag: tar.TypeReg, Name: path.Join("t", e.name), Size: e.size,
		Mode: int64(e.mode.Perm()), ModTime: e.mtime.Truncate(time.Second),
	}
	switch {
	case e.mode.IsDir():
		h.Typeflag, h.Name = tar.TypeDir, h.Name+"/"
	case e.mode&fs.ModeSymlink != 0:
		h.Typeflag, h.Linkname = tar.TypeSymlink, e.link
	}
	return h
}

// copyFile copies exactly the bytes that the file had when it was listed.
func copyFile(to io.Writer, fsys fs.FS, e entry, buffer []byte, report *progress) error {
	file, err := fsys.Open(e.name)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // it was only read
	left := e.size
	for left > 0 {
		n, err := file.Read(buffer[:min(left, int64(len(buffer)))])
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return err
			}
			report.add(n)
			left -= int64(n)
		}
		if err != nil && left > 0 {
			return fmt.Errorf("%s: it changed while it was sent: %w", e.name, errors.Join(err, io.ErrUnexpectedEOF))
		}
	}
	return nil
}
