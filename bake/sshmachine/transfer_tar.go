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
	"path/filepath"
	"time"

	"github.com/klauspost/compress/gzip"
)

// putTar sends a tree as one tar stream to one command, which also checks it
// and moves it into place.
func (c *conn) putTar(ctx context.Context, su *sudo, g *guestInfo, src *sourceTree, scripts *treeScripts, report *progress) error {
	extract := `tar -xpf - -C "$w"`
	squeeze := g.has("gzip") && c.shouldCompress(ctx, src)
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
	err := c.runScript(ctx, newScript(su, script, reader))
	_ = reader.CloseWithError(errReceiverEnded)
	if failed := <-sent; failed != nil && !errors.Is(failed, errReceiverEnded) {
		err = failed // the reason for all else
	}
	return err
}

var errReceiverEnded = errors.New("the machine takes no more")

// writeTar writes the tree below "t", and after it the names of its files, what
// only a script can do, and last the digest, without which nothing counts.
func writeTar(to io.Writer, src *sourceTree, squeeze bool, report *progress) error {
	buffered := bufio.NewWriterSize(to, copyBufferSize)
	var out io.Writer = buffered
	finish := buffered.Flush
	if squeeze {
		compressed := newCompressor(buffered)
		out = compressed
		finish = func() error { return errors.Join(compressed.Close(), buffered.Flush()) }
	}
	w := tar.NewWriter(out)
	sums := make([]string, len(src.entries))
	buffer := make([]byte, copyBufferSize)
	sum := sha256.New()
	for i, e := range src.entries {
		if err := w.WriteHeader(tarHeader(e)); err != nil {
			return fmt.Errorf("%s: %w", e.name, err)
		}
		if !e.mode.IsRegular() {
			continue
		}
		sum.Reset()
		if err := copyFile(io.MultiWriter(w, sum), src.fsys, e, buffer, report); err != nil {
			return err
		}
		sums[i] = hexDigest(sum)
	}
	for _, last := range src.sidecars(sums, false) {
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

func tarHeader(e entry) *tar.Header {
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

// getTar fetches a tree as one tar stream. Tar's exit status tells of what it
// could not read.
func (c *conn) getTar(ctx context.Context, su *sudo, from *remoteFile, into *destTree) error {
	return c.receive(ctx, su, "exec tar -cf - -C "+quote(from.path)+" .", func(r io.Reader) error {
		if err := into.extractTar(r); err != nil {
			return err
		}
		_, err := io.Copy(io.Discard, r) // what tar adds to fill a block
		return err
	})
}

// takeTar unpacks an archive.
func (s *destTree) extractTar(from io.Reader) error {
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
			err = s.addHardLink(e)
		} else {
			err = s.add(e, r)
		}
		if err != nil {
			return err
		}
	}
}

const (
	// On a nearer machine the link is faster than any compression.
	compressMinRTT  = 5 * time.Millisecond
	compressMinSize = 4 << 20

	// What is tried, and what must be left of it for compression to help.
	compressSampleSize = 512 << 10
	compressMaxRatio   = 0.7
)

// newCompressor returns the fastest gzip.
func newCompressor(to io.Writer) *gzip.Writer {
	w, _ := gzip.NewWriterLevel(to, gzip.BestSpeed) // the level is a valid one
	return w
}

// worthSqueezing reports whether compressing the tree saves time: the machine is
// far, the tree is not small, and a sample of it becomes clearly smaller.
func (c *conn) shouldCompress(ctx context.Context, src *sourceTree) bool {
	if src.bytes < compressMinSize || c.roundTrip(ctx) < compressMinRTT {
		return false
	}
	var out byteCounter
	w := newCompressor(&out)
	buffer := make([]byte, copyBufferSize/8)
	none := newProgress(nil, 0)
	sampled := int64(0)
	step := max(1, len(src.entries)/64) // from all over the tree
	for i := 0; i < len(src.entries) && sampled < compressSampleSize; i += step {
		e := src.entries[i]
		if !e.mode.IsRegular() {
			continue
		}
		e.size = min(e.size, compressSampleSize/8)
		if copyFile(w, src.fsys, e, buffer, none) != nil {
			return false // sending will say what is wrong
		}
		sampled += e.size
	}
	return w.Close() == nil && sampled > 0 && float64(out) < compressMaxRatio*float64(sampled)
}

// counter counts what is written to it.
type byteCounter int64

// Write counts b.
func (c *byteCounter) Write(b []byte) (int, error) {
	*c += byteCounter(len(b))
	return len(b), nil
}
