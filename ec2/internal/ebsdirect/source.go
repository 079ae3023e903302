package ebsdirect

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/bakestone-go/bakestone/bake"
)

// A Source returns the blocks of a disk in their order.
type Source interface {
	// Next reads the next block that does not consist of zeros. It returns io.EOF at
	// the end of the disk.
	Next(ctx context.Context, block []byte) (Index, error)
}

// zeros is a block of zeros, which is never changed.
//
//nolint:gochecknoglobals // a constant
var zeros = make([]byte, BlockSize)

// IsZero reports whether a block consists of zeros.
func IsZero(block []byte) bool { return bytes.Equal(block, zeros[:len(block)]) }

// IsEnd reports whether an error of Next is the end of the disk.
func IsEnd(err error) bool { return errors.Is(err, io.EOF) }

// A DiskSource is the blocks of a disk that can be read anywhere.
type DiskSource struct {
	Disk bake.DiskContents

	off        int64
	start, end int64 // the range with data at off or after it
}

// Next implements Source.
func (s *DiskSource) Next(ctx context.Context, block []byte) (Index, error) {
	for {
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		if s.off >= s.end {
			var err error
			if s.start, s.end, err = s.Disk.NextData(s.off); err != nil {
				return 0, err
			}
			if s.start >= s.Disk.Size() {
				return 0, io.EOF
			}
		}
		at := max(s.off, s.start) / BlockSize * BlockSize
		s.off = at + BlockSize
		n, err := s.Disk.ReadAt(block, at)
		if err != nil && (!errors.Is(err, io.EOF) || at+int64(n) < s.Disk.Size()) {
			return 0, fmt.Errorf("read the disk at %d: %w", at, err)
		}
		clear(block[n:])
		if !IsZero(block) {
			return Index(at / BlockSize), nil //nolint:gosec // at most 64 TiB
		}
	}
}

// A Stream is a disk of a known size that can be read once, from its beginning.
type Stream struct {
	Reader io.Reader
	Length int64

	off int64
}

// Size returns the size of the disk.
func (s *Stream) Size() int64 { return s.Length }

// ReadAt reads on: off must be where the last call ended. A stream that ends early is an
// error.
func (s *Stream) ReadAt(into []byte, off int64) (int, error) {
	if off != s.off {
		return 0, fmt.Errorf("a stream cannot be read at %d after %d", off, s.off)
	}
	n, err := io.ReadFull(s.Reader, into[:min(int64(len(into)), s.Length-off)])
	s.off += int64(n)
	switch {
	case s.off == s.Length:
		return n, io.EOF
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return n, fmt.Errorf("the stream ended after %d bytes, want %d", s.off, s.Length)
	}
	return n, err
}

// NextData returns all that is left.
func (s *Stream) NextData(off int64) (start, end int64, err error) {
	return min(off, s.Length), s.Length, nil
}

// Ended returns an error unless the stream ends where the disk does.
func (s *Stream) Ended() error {
	var more [1]byte
	n, err := io.ReadFull(s.Reader, more[:])
	if n > 0 {
		return fmt.Errorf("the stream has more than %d bytes", s.Length)
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// A change is bytes that replace those of a disk.
type change struct {
	off  int64
	data []byte
}

// A Patched is a disk with other bytes in some places, and perhaps of another size.
type Patched struct {
	bake.DiskContents
	size    int64
	changes []change
}

// Patch returns disk with the given size, which is not less than its own.
func Patch(disk bake.DiskContents, size int64) *Patched {
	return &Patched{DiskContents: disk, size: size}
}

// Replace replaces bytes of the disk. It must precede the first read.
func (p *Patched) Replace(off int64, data []byte) {
	p.changes = append(p.changes, change{off, data})
}

// Size returns the new size.
func (p *Patched) Size() int64 { return p.size }

// ReadAt implements io.ReaderAt.
func (p *Patched) ReadAt(into []byte, off int64) (int, error) {
	want := int(min(int64(len(into)), max(p.size-off, 0)))
	n := 0
	if off < p.DiskContents.Size() {
		var err error
		n, err = p.DiskContents.ReadAt(into[:want], off)
		if err != nil && (!errors.Is(err, io.EOF) || off+int64(n) < p.DiskContents.Size()) {
			return n, err
		}
	}
	clear(into[n:want])
	for _, c := range p.changes {
		from, to := max(off, c.off), min(off+int64(want), c.off+int64(len(c.data)))
		if from < to {
			copy(into[from-off:to-off], c.data[from-c.off:])
		}
	}
	if want < len(into) {
		return want, io.EOF
	}
	return want, nil
}

// NextData implements bake.DiskContents.
func (p *Patched) NextData(off int64) (start, end int64, err error) {
	start, end = p.size, p.size
	if off < p.DiskContents.Size() {
		if start, end, err = p.DiskContents.NextData(off); err != nil {
			return 0, 0, err
		}
		if start >= p.DiskContents.Size() {
			start, end = p.size, p.size
		}
	}
	for _, c := range p.changes {
		from, to := max(c.off, off), c.off+int64(len(c.data))
		if from >= to {
			continue
		}
		if from < start {
			if to < start {
				end = to
			} else {
				end = max(end, to)
			}
			start = from
		} else if from <= end {
			end = max(end, to)
		}
	}
	return start, min(end, p.size), nil
}
