package sshmachine

import (
	"archive/tar"
	"bufio"
	"bytes"
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

var errReceiverEnded = errors.New("machine stopped reading")

// An archive is a tar stream of entries of a tree, which are sent below "t".
type archive struct {
	fsys     fs.FS
	entries  []entry
	compress bool
	report   *progress
}

// write writes the archive, followed by the sidecars for the digests of its files.
func (a *archive) write(to io.Writer, sidecars func(sums []string) []sidecar) error {
	buffered := bufio.NewWriterSize(to, copyBufferSize)
	var out io.Writer = buffered
	finish := buffered.Flush
	if a.compress {
		compressed := newCompressor(buffered)
		out = compressed
		finish = func() error { return errors.Join(compressed.Close(), buffered.Flush()) }
	}
	w := tar.NewWriter(out)
	sums := make([]string, len(a.entries))
	buffer := make([]byte, copyBufferSize)
	sum := sha256.New()
	for i, e := range a.entries {
		if err := w.WriteHeader(tarHeader(e)); err != nil {
			return fmt.Errorf("%s: %w", e.name, err)
		}
		if !e.mode.IsRegular() {
			continue
		}
		sum.Reset()
		if err := copyFile(io.MultiWriter(w, sum), a.fsys, e, buffer, a.report); err != nil {
			return err
		}
		sums[i] = hexDigest(sum)
	}
	for _, f := range sidecars(sums) {
		h := &tar.Header{Name: f.name, Mode: 0o600, Size: int64(len(f.content)), ModTime: time.Now().Truncate(time.Second)}
		if err := w.WriteHeader(h); err != nil {
			return err
		}
		if _, err := io.WriteString(w, f.content); err != nil {
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

// getTar fetches what the arguments of tar name as a tar stream. Unreadable files make
// tar, and so getTar, fail.
func (t *treeGet) getTar(ctx context.Context, args string, input io.Reader) error {
	return t.receive(ctx, t.newScript(t.su, "try tar -cf - -C "+quote(t.from.path)+" "+args, input), func(r io.Reader) error {
		archive := &archiveEnd{Reader: r}
		if err := t.into.extractTar(archive); err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, archive); err != nil { // tar pads the last block
			return err
		}
		return archive.check()
	})
}

// An archiveEnd reads an archive and knows whether it is complete. A tar.Reader takes
// the end of the input for the end of the archive.
type archiveEnd struct {
	io.Reader

	zeros int // zero bytes at the end of what was read
}

// Read reads from the archive.
func (a *archiveEnd) Read(b []byte) (int, error) {
	n, err := a.Reader.Read(b)
	zeros := n - len(bytes.TrimRight(b[:n], "\x00"))
	if zeros == n {
		zeros += a.zeros
	}
	a.zeros = zeros
	return n, err
}

// check reports an archive without the block of zeros at its end.
func (a *archiveEnd) check() error {
	const block = 512
	if a.zeros < block {
		return errors.New("tar on the machine ended before the end of the archive")
	}
	return nil
}

// extractTar adds the entries of an archive.
func (s *destTree) extractTar(from io.Reader) error {
	stream := &treeStream{destTree: s}
	defer stream.close()
	r := tar.NewReader(bufio.NewReaderSize(from, copyBufferSize))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read archive: %w", err)
		}
		name := path.Clean(h.Name)
		if !filepath.IsLocal(filepath.FromSlash(name)) {
			return fmt.Errorf("archive entry %q is outside the directory", h.Name)
		}
		e := entry{name: name, mode: h.FileInfo().Mode(), size: h.Size, mtime: h.ModTime, link: h.Linkname}
		if h.Typeflag == tar.TypeLink {
			err = s.addHardLink(e)
		} else {
			err = stream.add(e, r)
		}
		if err != nil {
			return err
		}
	}
}

const (
	// Below these, compressing takes longer than sending.
	compressMinRTT  = 5 * time.Millisecond
	compressMinSize = 4 << 20

	// A sample of this size must compress to at most this ratio.
	compressSampleSize = 512 << 10
	compressMaxRatio   = 0.7
)

// newCompressor returns a gzip writer at its fastest level.
func newCompressor(to io.Writer) *gzip.Writer {
	w, _ := gzip.NewWriterLevel(to, gzip.BestSpeed) // the level is valid
	return w
}

// shouldCompress reports whether compressing the tree saves time: the round-trip
// time is long, the tree is large, and a sample of it compresses well.
func (c *conn) shouldCompress(ctx context.Context, src *sourceTree) bool {
	if src.bytes < compressMinSize || c.roundTrip(ctx) < compressMinRTT {
		return false
	}
	var out byteCounter
	w := newCompressor(&out)
	buffer := make([]byte, copyBufferSize/8)
	discard := newProgress(nil, 0)
	sampled := int64(0)
	step := max(1, len(src.entries)/64) // sample the whole tree
	for i := 0; i < len(src.entries) && sampled < compressSampleSize; i += step {
		e := src.entries[i]
		if !e.mode.IsRegular() {
			continue
		}
		e.size = min(e.size, compressSampleSize/8)
		if sampleFile(w, src.fsys, e, buffer, discard) != nil {
			return false // sending reports the error
		}
		sampled += e.size
	}
	return w.Close() == nil && sampled > 0 && float64(out) < compressMaxRatio*float64(sampled)
}

func sampleFile(to io.Writer, fsys fs.FS, e entry, buffer []byte, report *progress) error {
	file, err := fsys.Open(e.name)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // read only
	return copyStart(to, file, e, buffer, report)
}

// A byteCounter counts the bytes written to it.
type byteCounter int64

// Write adds the length of b.
func (c *byteCounter) Write(b []byte) (int, error) {
	*c += byteCounter(len(b))
	return len(b), nil
}
