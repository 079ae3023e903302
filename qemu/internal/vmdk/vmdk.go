// Package vmdk writes stream-optimized VMDK files, the compressed form of a virtual disk
// that OVF packages contain.
//
// QEMU's own writer, as of 7.2, leaves out the marker of the end of the stream or writes
// stray bytes after it, so importers that read the stream to its end refuse its files.
package vmdk

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"

	"github.com/klauspost/compress/zlib"
	"golang.org/x/sync/errgroup"
)

const (
	sector      = 512
	grainSize   = 128 // sectors
	grain       = grainSize * sector
	tableSize   = 512 // entries of a grain table
	entrySize   = 4   // bytes of an entry
	descSectors = 20

	// Two BIOS geometries are in use; this is that of disks above 8 GiB.
	heads           = 255
	sectorsPerTrack = 63
	mostCylinders   = 65535
)

// header is the first sector of the file.
type header struct {
	Magic, Version, Flags                     uint32
	Capacity, GrainSize, DescOffset, DescSize uint64
	TableSize                                 uint32
	RedundantDir, Dir, Overhead               uint64
	Unclean                                   byte
	Newlines                                  [4]byte
	Compress                                  uint16
	_                                         [433]byte
}

const (
	magic   = 0x564d444b
	version = 3
	flags   = 1 | 1<<16 | 1<<17 // newlines are valid; grains are compressed; there are markers
	deflate = 1
)

// ErrTooLarge is returned for a disk, or compressed data, of more than two TiB.
var ErrTooLarge = errors.New("a stream-optimized VMDK has at most 2 TiB")

func ceil(a, b int64) int64 { return (a + b - 1) / b }

// Write writes the disk in r, of the given size in bytes, to w, which must be empty and at
// its start. Name is the name of the file. The size is rounded up to whole grains of 64
// KiB.
func Write(ctx context.Context, w io.WriteSeeker, r io.ReaderAt, size int64, name string) error {
	grains := ceil(size, grain)
	if size <= 0 || grains*grainSize > math.MaxUint32 {
		return fmt.Errorf("disk of %d bytes: %w", size, ErrTooLarge)
	}
	tables := ceil(grains, tableSize)
	dirSectors := ceil(tables*entrySize, sector)
	dir := int64(1 + descSectors)
	const tableSectors = tableSize * entrySize / sector
	overhead := ceil(dir+dirSectors+tables*tableSectors, grainSize) * grainSize
	if _, err := w.Seek(overhead*sector, io.SeekStart); err != nil {
		return err
	}
	s := &stream{w: w, r: r, size: size, at: overhead, entries: make([]uint32, tables*tableSize)}
	if err := s.writeGrains(ctx, grains); err != nil {
		return err
	}
	if _, err := w.Write(make([]byte, sector)); err != nil { // the end of the stream
		return err
	}
	desc, err := descriptor(grains*grainSize, name)
	if err != nil {
		return err
	}
	var front bytes.Buffer
	put := func(v any) { _ = binary.Write(&front, binary.LittleEndian, v) } // a buffer does not fail
	put(header{
		Magic: magic, Version: version, Flags: flags,
		Capacity: uint64(grains * grainSize), GrainSize: grainSize, DescOffset: 1, DescSize: descSectors, //nolint:gosec // checked above
		TableSize: tableSize, Dir: uint64(dir), Overhead: uint64(overhead), //nolint:gosec // positive
		Newlines: [4]byte{'\n', ' ', '\r', '\n'}, Compress: deflate,
	})
	front.Write(desc)
	directory := make([]uint32, dirSectors*sector/entrySize)
	for i := range tables {
		directory[i] = uint32(dir + dirSectors + i*tableSectors) //nolint:gosec // checked above
	}
	put(directory)
	put(s.entries)
	if _, err := w.Seek(0, io.SeekStart); err != nil {
		return err
	}
	_, err = w.Write(front.Bytes())
	return err
}

// descriptor returns the text that describes the disk, filled up to its sectors.
func descriptor(sectors int64, name string) ([]byte, error) {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	cid := binary.LittleEndian.Uint32(id[:]) &^ 1
	cylinders := min(ceil(sectors, heads*sectorsPerTrack), mostCylinders)
	text := fmt.Appendf(nil, `# Disk DescriptorFile
version=1
CID=%08x
parentCID=ffffffff
createType="streamOptimized"

# Extent description
RW %d SPARSE "%s"

# The Disk Data Base
#DDB

ddb.adapterType = "lsilogic"
ddb.geometry.cylinders = "%d"
ddb.geometry.heads = "%d"
ddb.geometry.sectors = "%d"
ddb.longContentID = "%x%08x"
ddb.toolsInstallType = "4"
ddb.toolsVersion = "2147483647"
ddb.virtualHWVersion = "4"
`, cid, sectors, name, cylinders, heads, sectorsPerTrack, id[4:], cid)
	if len(text) > descSectors*sector {
		return nil, fmt.Errorf("name of %d bytes is too long", len(name))
	}
	return append(text, make([]byte, descSectors*sector-len(text))...), nil
}

// A stream writes compressed grains in order.
type stream struct {
	w       io.Writer
	r       io.ReaderAt
	size    int64
	at      int64    // the sector of the next grain
	entries []uint32 // the sector of each grain, zero for one that is empty
}

// batch is the number of grains that one worker compresses at a time.
const batch = 32

// writeGrains compresses grains on all CPUs and writes those that are not empty.
func (s *stream) writeGrains(ctx context.Context, grains int64) error {
	workers := make([]*compressor, runtime.GOMAXPROCS(0))
	for i := range workers {
		workers[i] = newCompressor()
	}
	for first := int64(0); first < grains; first += int64(len(workers)) * batch {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		var group errgroup.Group
		for i, c := range workers {
			from := first + int64(i)*batch
			group.Go(func() error { return c.compress(s.r, s.size, from, min(from+batch, grains)) })
		}
		if err := group.Wait(); err != nil {
			return err
		}
		for _, c := range workers {
			if err := s.write(c); err != nil {
				return err
			}
		}
	}
	return nil
}

// write writes what a worker has compressed.
func (s *stream) write(c *compressor) error {
	for _, p := range c.parts {
		if s.at > math.MaxUint32 {
			return ErrTooLarge
		}
		s.entries[p.grain] = uint32(s.at) //nolint:gosec // checked
		s.at += int64(p.length) / sector
	}
	_, err := s.w.Write(c.out.Bytes())
	return err
}

// A compressor compresses one batch of grains at a time.
type compressor struct {
	z     *zlib.Writer
	grain []byte
	data  bytes.Buffer // one grain
	out   bytes.Buffer // the batch, with markers
	parts []part
}

type part struct {
	grain  int64
	length int // with its marker and padding
}

func newCompressor() *compressor {
	c := &compressor{grain: make([]byte, grain)}
	c.z = zlib.NewWriter(&c.data)
	return c
}

// compress compresses the grains from first up to end.
func (c *compressor) compress(r io.ReaderAt, size, first, end int64) error {
	c.out.Reset()
	c.parts = c.parts[:0]
	for g := first; g < end; g++ {
		n := min(grain, size-g*grain)
		clear(c.grain[n:])
		if got, err := r.ReadAt(c.grain[:n], g*grain); int64(got) < n {
			return fmt.Errorf("read disk at %d: %w", g*grain+int64(got), err)
		}
		if zeros(c.grain) {
			continue
		}
		c.data.Reset()
		c.z.Reset(&c.data)
		if _, err := c.z.Write(c.grain); err != nil {
			return err
		}
		if err := c.z.Close(); err != nil {
			return err
		}
		var marker [12]byte
		binary.LittleEndian.PutUint64(marker[:], uint64(g)*grainSize)         //nolint:gosec // not negative
		binary.LittleEndian.PutUint32(marker[8:], uint32(c.data.Len()))       //nolint:gosec // little more than a grain
		length := int(ceil(int64(len(marker)+c.data.Len()), sector) * sector) // both fit
		c.out.Write(marker[:])
		c.out.Write(c.data.Bytes())
		c.out.Write(make([]byte, length-len(marker)-c.data.Len()))
		c.parts = append(c.parts, part{g, length})
	}
	return nil
}

// zeros reports whether all bytes are zero.
func zeros(b []byte) bool {
	return len(b) == 0 || b[0] == 0 && bytes.Equal(b[1:], b[:len(b)-1])
}
