package sshmachine

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"strconv"
	"strings"
)

// opensslFrom is the size from which openssl is worth its start: its SHA-256
// is five times as fast as that of some releases of sha256sum.
const opensslMinSize = 4 << 20

// hasher is the command that prints the SHA-256 of its input and of files, one
// a line. Empty is a machine that has none: then only sizes are compared.
func (g *guestInfo) digestCommand(size int64) string {
	switch {
	case g.has("openssl") && (size >= opensslMinSize || !g.has("sha256sum")):
		return "openssl dgst -sha256 -r"
	case g.has("sha256sum"):
		return "sha256sum"
	default:
		return ""
	}
}

// digestOfDigests is the command that reads the names of files, each ended by a
// zero byte, and prints the digest of the lines of their digests.
func digestOfDigests(hasher string) string {
	return "{ xargs -0 -r " + hasher + ` | sed 's/^\\//' | cut -c1-64 | ` + hasher + " | cut -c1-64; }"
}

// hexSum is the sum as those commands print it.
func hexDigest(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }

// A note is a small file that goes beside a tree.
type sidecar struct{ name, content string }

// manifest is the notes about a tree whose files have the given digests, one
// for each entry: n, the names of its files, l and m, scripts of what can only
// be done on the machine, if there is any, before and after the owner is set,
// and h, the digest of all digests, which must arrive last. A way that has no
// links leaves them to l.
func (s *sourceTree) sidecars(sums []string, noLinks bool) []sidecar {
	var names, links, after strings.Builder
	all := sha256.New()
	for i, e := range s.entries {
		switch {
		case e.mode&fs.ModeSymlink != 0:
			if noLinks {
				fmt.Fprintf(&links, "ln -s %s %s || exit 1\n", quote(e.link), quote("./"+e.name))
			}
			continue
		case e.mode.IsRegular():
			names.WriteString("./" + e.name + "\x00")
			_, _ = fmt.Fprintf(all, "%s\n", sums[i])
		}
		if e.mode&specialBits != 0 { // a change of owner may have cleared them
			fmt.Fprintf(&after, "chmod %s %s || exit 1\n", octal(e.mode), quote("./"+e.name))
		}
	}
	notes := []sidecar{{"n", names.String()}}
	if links.Len() > 0 {
		notes = append(notes, sidecar{"l", links.String()})
	}
	if after.Len() > 0 {
		notes = append(notes, sidecar{"m", after.String()})
	}
	return append(notes, sidecar{"h", hexDigest(all)})
}

const (
	// segment is how much of a big file is compared at once.
	segmentSize = 64 << 20

	// ahead is how much further a sender in order must be before the machine is
	// asked for the digest of a segment: more than can be under way. The machine
	// then waits for the rest.
	segmentLag = 8 << 20
)

// segments reads a big file, and has the machine's digest of every 64 MiB
// compared with ours while the next ones are sent.
type segmentVerifier struct {
	from    io.Reader
	control *transferScript
	hashes  bool

	sum       hash.Hash
	size      int64
	stored    int64    // bytes that have surely arrived; negative is not known
	sums      []string // of whole segments
	requested int
	result    chan error // of the question under way
}

func newSegmentVerifier(from io.Reader, t *transferScript, hashes bool) *segmentVerifier {
	return &segmentVerifier{from: from, control: t, hashes: hashes, stored: -1, sum: sha256.New()}
}

// Read reads the file and takes its digest.
func (s *segmentVerifier) Read(b []byte) (int, error) {
	left := segmentSize - s.size%segmentSize
	n, err := s.from.Read(b[:min(int64(len(b)), left)])
	s.size += int64(n)
	if s.hashes && n > 0 {
		_, _ = s.sum.Write(b[:n])
		if s.size%segmentSize == 0 {
			s.sums = append(s.sums, hexDigest(s.sum))
			s.sum.Reset()
		}
		if failed := s.poll(); failed != nil {
			return n, failed
		}
	}
	return n, err
}

// follow asks for the next digest when the last one has come.
func (s *segmentVerifier) poll() error {
	if s.result != nil {
		select {
		case err := <-s.result:
			s.result = nil
			if err != nil {
				return err
			}
		default:
			return nil
		}
	}
	stored := s.stored
	if stored < 0 {
		stored = s.size - segmentLag
	}
	if s.requested < len(s.sums) && stored >= int64(s.requested+1)*segmentSize {
		s.request()
	}
	return nil
}

// ask has the next segment compared.
func (s *segmentVerifier) request() {
	i, want := s.requested, s.sums[s.requested]
	end := min(int64(i+1)*segmentSize, s.size)
	s.requested++
	answered := make(chan error, 1)
	s.result = answered
	go func() {
		got, err := s.control.call("sum %d %d", i*(segmentSize>>20), end)
		if err == nil && got != want {
			err = fmt.Errorf("the digest of the bytes from %d to %d differs: %s", int64(i)*segmentSize, end, got)
		}
		answered <- err
	}()
}

// finish compares what is left, when everything has arrived, and the size.
func (s *segmentVerifier) finish() error {
	if s.hashes && s.size%segmentSize != 0 {
		s.sums = append(s.sums, hexDigest(s.sum))
	}
	for s.hashes && (s.result != nil || s.requested < len(s.sums)) {
		if s.result == nil {
			s.request()
		}
		err := <-s.result
		s.result = nil
		if err != nil {
			return err
		}
	}
	answer, err := s.control.call("size")
	if err != nil {
		return err
	}
	if got, err := strconv.ParseInt(answer, 10, 64); err != nil || got != s.size {
		return errors.Join(fmt.Errorf("%d bytes were sent, %s have arrived", s.size, answer), err)
	}
	return nil
}

// wait waits for the question under way, if there is one.
func (s *segmentVerifier) wait() {
	if s.result != nil {
		<-s.result //nolint:errcheck // only its end matters here
		s.result = nil
	}
}
