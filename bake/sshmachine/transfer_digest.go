package sshmachine

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"
	"strings"
)

// opensslMinSize is the size from which openssl is preferred. It starts more slowly
// than sha256sum, some releases of which take five times as long per byte.
const opensslMinSize = 4 << 20

// digestCommand returns the command that prints the SHA-256 digests of its input or
// of files, one per line, to use for size bytes. It is empty if the machine has
// none.
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

// program returns the program of a command line.
func program(command string) string {
	name, _, _ := strings.Cut(command, " ")
	return name
}

// digestOfDigests returns the command that reads NUL-terminated file names and prints
// the digest of the files' digests, one per line. If a name contains a newline, which
// some tools print as it is, digests are computed file by file.
func digestOfDigests(hasher string, newlines bool) string {
	files := hasher + ` | sed 's/^\\//'`
	if newlines {
		files = "/bin/sh -c 'for f; do " + hasher + ` <"$f" || exit 1; done' /bin/sh`
	}
	return "{ try xargs -0 -r " + files + " | cut -c1-64 | try " + hasher + " | cut -c1-64; }"
}

// blockSize is how much dd copies at once in scripts: what a pipe holds.
const blockSize = 64 << 10

// blocksScript defines the function that prints blocks of its input: their size, and how
// many. dd reads more at once than head, and its report of what it copied is shown only if it
// fails.
const blocksScript = `blocks() {
e=$(dd bs="$1" count="$2" 2>&1 >&3) || { echo "$e" >&2; return 1; }
} 3>&1
`

// firstBytes returns the command that prints the first size bytes of $f, by blocksScript.
func firstBytes(size int64) string {
	if size < blockSize {
		return fmt.Sprintf(`head -c %d "$f"`, size)
	}
	return fmt.Sprintf(`{ blocks %d %d && head -c %d; } <"$f"`, blockSize, size/blockSize, size%blockSize)
}

// digestOfFirst returns the commands that print the digest of what firstBytes prints. The
// hasher reads a big file itself, unless more has been appended. Small ones are read as
// firstBytes does: those of /proc may differ for each program.
func digestOfFirst(hasher string, size int64) string {
	piped := fmt.Sprintf("%s | try %s | cut -c1-64", firstBytes(size), hasher)
	if size < blockSize {
		return piped
	}
	return fmt.Sprintf(`v=$(try %s <"$f" | cut -c1-64)
[ $(wc -c <"$f") -eq %d ] || v=$(%s)
echo "$v"`, hasher, size, piped)
}

// hexDigest returns h's digest as those commands print it.
func hexDigest(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }

// compareDigests returns an error unless remote, as printed by the machine, is the
// digest of the data received.
func compareDigests(remote string, received hash.Hash) error {
	want, got := strings.TrimSpace(remote), hexDigest(received)
	switch {
	case want == "":
		return errors.New("no digest from the machine: its command printed nothing")
	case len(want) != len(got):
		return fmt.Errorf("no digest from the machine: %.200s", want)
	case want != got:
		return fmt.Errorf("digest mismatch: machine has %.100s, received %s (changed while being read?)", want, got)
	}
	return nil
}

const (
	// segmentSize is the number of bytes of a big file compared at once.
	segmentSize = 64 << 20

	// segmentLag is how far past a segment's end a sequential sender must be
	// before the segment's digest is requested. It exceeds what can be in flight,
	// so the machine rarely has to wait for data.
	segmentLag = 8 << 20
)

// A segmentVerifier reads a big file to send. It compares the machine's digest of
// each segment with its own while the next segments are being sent.
type segmentVerifier struct {
	from   io.Reader
	script *transferScript
	hashes bool // whether the machine can compute digests

	sum       hash.Hash
	size      int64
	stored    int64      // bytes known to have arrived; negative if unknown
	sums      []string   // digests of complete segments
	requested int        // segments whose comparison was started
	result    chan error // of the outstanding request, or nil
}

func newSegmentVerifier(from io.Reader, script *transferScript, hashes bool) *segmentVerifier {
	return &segmentVerifier{from: from, script: script, hashes: hashes, stored: -1, sum: sha256.New()}
}

// Read reads the file and computes its digests.
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
		if err := s.poll(); err != nil {
			return n, err
		}
	}
	return n, err
}

// poll requests the next digest if none is outstanding and the segment should have
// arrived. It returns the error of the last request.
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

// request starts the comparison of the next segment.
func (s *segmentVerifier) request() {
	i, want := s.requested, s.sums[s.requested]
	end := min(int64(i+1)*segmentSize, s.size)
	s.requested++
	answered := make(chan error, 1)
	s.result = answered
	go func() {
		got, err := s.script.call("sum %d %d", i*(segmentSize/blockSize), end)
		if err == nil && got != want {
			err = fmt.Errorf("digest mismatch in bytes %d to %d: %s", int64(i)*segmentSize, end, got)
		}
		answered <- err
	}()
}

// finish compares the remaining segments and the size. All data must have been
// sent.
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
	answer, err := s.script.call("size")
	if err != nil {
		return err
	}
	if got, err := strconv.ParseInt(answer, 10, 64); err != nil || got != s.size {
		return errors.Join(fmt.Errorf("sent %d bytes, machine has %s", s.size, answer), err)
	}
	return nil
}

// wait waits for the outstanding request, if any.
func (s *segmentVerifier) wait() {
	if s.result != nil {
		<-s.result //nolint:errcheck // only the end of the request matters
		s.result = nil
	}
}
