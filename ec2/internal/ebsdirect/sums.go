package ebsdirect

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"slices"
	"sync"
)

// A Sum is the SHA-256 of a block.
type Sum = [sha256.Size]byte

// The sums of a disk are a list of the blocks that are not zeros, with their SHA-256, in
// their order; behind it is the SHA-256 of the list.

const (
	sumsMagic = "bakestone block sums 1\n"
	sumsEntry = 4 + sha256.Size
	sumsEnd   = 1<<32 - 1 // instead of an index
)

// A SumsWriter writes sums.
type SumsWriter struct {
	w    *bufio.Writer
	hash hash.Hash
	err  error
}

// NewSumsWriter begins to write sums to w, which may be nil.
func NewSumsWriter(w io.Writer) *SumsWriter {
	s := &SumsWriter{hash: sha256.New()}
	if w != nil {
		s.w = bufio.NewWriter(w)
		_, s.err = s.w.WriteString(sumsMagic)
	}
	return s
}

// Add adds a block.
func (s *SumsWriter) Add(index Index, sum Sum) {
	var entry [sumsEntry]byte
	binary.BigEndian.PutUint32(entry[:], uint32(index)) //nolint:gosec // not negative
	copy(entry[4:], sum[:])
	_, _ = s.hash.Write(entry[:]) // a hash never fails
	if s.w != nil && s.err == nil {
		_, s.err = s.w.Write(entry[:])
	}
}

// Digest returns the digest of the disk so far.
func (s *SumsWriter) Digest() string { return hex.EncodeToString(s.hash.Sum(nil)) }

// Close writes the end.
func (s *SumsWriter) Close() error {
	if s.w == nil {
		return nil
	}
	var end [sumsEntry]byte
	binary.BigEndian.PutUint32(end[:], sumsEnd)
	copy(end[4:], s.hash.Sum(nil))
	if s.err == nil {
		_, s.err = s.w.Write(end[:])
	}
	if s.err == nil {
		s.err = s.w.Flush()
	}
	return s.err
}

// A SumsReader reads sums in their order.
type SumsReader struct {
	r    *bufio.Reader
	next Index // of the entry that was read ahead
	sum  Sum
	done bool
}

// CheckSums reads all sums of r. It returns an error if they are not complete.
func CheckSums(r io.Reader) error {
	hash := sha256.New()
	b := bufio.NewReader(r)
	head := make([]byte, len(sumsMagic))
	if _, err := io.ReadFull(b, head); err != nil || string(head) != sumsMagic {
		return errors.Join(errors.New("not a list of block sums"), err)
	}
	last := int64(-1)
	for {
		var entry [sumsEntry]byte
		if _, err := io.ReadFull(b, entry[:]); err != nil {
			return fmt.Errorf("list of block sums: %w", err)
		}
		index := int64(binary.BigEndian.Uint32(entry[:]))
		if index == sumsEnd {
			if Sum(entry[4:]) != Sum(hash.Sum(nil)) {
				return errors.New("list of block sums: its checksum is wrong")
			}
			return nil
		}
		if index <= last {
			return errors.New("list of block sums: not in order")
		}
		last = index
		_, _ = hash.Write(entry[:]) // a hash never fails
	}
}

// NewSumsReader returns a reader of sums that CheckSums has accepted.
func NewSumsReader(r io.Reader) (*SumsReader, error) {
	s := &SumsReader{r: bufio.NewReader(r)}
	if _, err := s.r.Discard(len(sumsMagic)); err != nil {
		return nil, err
	}
	return s, s.advance()
}

func (s *SumsReader) advance() error {
	var entry [sumsEntry]byte
	if _, err := io.ReadFull(s.r, entry[:]); err != nil {
		return err
	}
	index := binary.BigEndian.Uint32(entry[:])
	s.next, s.sum, s.done = Index(index&(1<<31-1)), Sum(entry[4:]), index == sumsEnd
	return nil
}

// Digest returns the digest of a disk, as Completed.Digest has it.
func Digest(ctx context.Context, disk Source) (string, error) {
	block, sums := make([]byte, BlockSize), NewSumsWriter(nil)
	for {
		index, err := disk.Next(ctx, block)
		if errors.Is(err, io.EOF) {
			return sums.Digest(), nil
		}
		if err != nil {
			return "", err
		}
		sums.Add(index, sha256.Sum256(block))
	}
}

// A sumSink collects the sums of a download.
type sumSink struct {
	mu   sync.Mutex
	sums map[Index]Sum
}

// WriteBlock implements Sink.
func (s *sumSink) WriteBlock(index Index, data []byte) error {
	if IsZero(data) {
		return nil
	}
	sum := sha256.Sum256(data)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sums[index] = sum
	return nil
}

// WriteSums reads a snapshot and writes the sums of its blocks.
func (c *Client) WriteSums(ctx context.Context, id string, to *SumsWriter) error {
	all := &sumSink{sums: map[Index]Sum{}}
	if _, _, err := c.Download(ctx, id, "", func(int64) (Sink, error) { return all, nil }); err != nil {
		return err
	}
	for _, index := range slices.Sorted(maps.Keys(all.sums)) {
		to.Add(index, all.sums[index])
	}
	return to.Close()
}
