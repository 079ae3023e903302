package diskimage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"
)

const vhdCookie = "conectix"

// vhdFooter is the last sector of the file, and the first one of a dynamic disk.
type vhdFooter struct {
	Cookie            [8]byte
	Features, Version uint32
	DataOffset        uint64
	Time              uint32
	Creator           [4]byte
	CreatorVersion    uint32
	CreatorOS         uint32
	Original, Current uint64
	Geometry          uint32
	Type, Checksum    uint32
	ID                [16]byte
	Saved             byte
	Reserved          [427]byte
}

// vhdHeader is the header of a dynamic disk.
type vhdHeader struct {
	Cookie              [8]byte
	DataOffset, Table   uint64
	Version, Entries    uint32
	BlockSize, Checksum uint32
	Reserved            [984]byte
}

const (
	vhdFixed        = 2
	vhdDynamic      = 3
	vhdDifferencing = 4

	vhdChecksumAt       = 64
	vhdHeaderChecksumAt = 36
	vhdUnused           = math.MaxUint32
	leastVHDBlock       = 4 << 10
	mostVHDBlock        = 32 << 20
)

type vhd struct {
	file     io.ReaderAt
	fileSize int64
	size     int64
	block    int64    // bytes
	blocks   []uint32 // the sector of each, or vhdUnused

	mu      sync.Mutex
	bitmaps cache[[]byte] // by their sector
}

// vhdSum returns the checksum of a structure whose own checksum is at an offset.
func vhdSum(data []byte, at int) uint32 {
	sum := uint32(0)
	for i, c := range data {
		if i < at || i >= at+4 {
			sum += uint32(c)
		}
	}
	return ^sum
}

func readFooter(file io.ReaderAt, size int64) (vhdFooter, error) {
	var foot vhdFooter
	data := make([]byte, sector)
	if size < sector {
		return foot, errors.New("not a VHD file")
	}
	if err := readFull(file, data, size-sector); err != nil {
		return foot, err
	}
	if err := binary.Read(bytes.NewReader(data), binary.BigEndian, &foot); err != nil {
		return foot, err
	}
	switch {
	case string(foot.Cookie[:]) != vhdCookie:
		return foot, errors.New("no footer: the file is cut, or not a VHD file")
	case foot.Checksum != vhdSum(data, vhdChecksumAt):
		return foot, errors.New("the footer's checksum is wrong")
	}
	return foot, nil
}

func openVHD(file io.ReaderAt, size int64) (Disk, error) {
	foot, err := readFooter(file, size)
	if err != nil {
		return nil, err
	}
	if foot.Current == 0 || foot.Current > mostSize {
		return nil, fmt.Errorf("a disk of %d bytes", foot.Current)
	}
	current := int64(foot.Current)
	switch foot.Type {
	case vhdFixed:
		if current > size-sector {
			return nil, fmt.Errorf("a fixed disk of %d bytes in a file of %d", current, size)
		}
		r, err := newRaw(file, current)
		return fixedVHD{r}, err
	case vhdDynamic:
	case vhdDifferencing:
		return nil, fmt.Errorf("a parent: the disk %w", errOutside)
	default:
		return nil, fmt.Errorf("unknown type %d", foot.Type)
	}
	var head vhdHeader
	data := make([]byte, binary.Size(head))
	if foot.DataOffset > uint64(size) { //nolint:gosec // not negative
		return nil, errors.New("the header is outside the file")
	}
	if err := readFull(file, data, int64(foot.DataOffset)); err != nil { //nolint:gosec // checked
		return nil, fmt.Errorf("the header: %w", err)
	}
	if err := binary.Read(bytes.NewReader(data), binary.BigEndian, &head); err != nil {
		return nil, err
	}
	entries := (current + int64(head.BlockSize) - 1) / max(int64(head.BlockSize), 1)
	switch {
	case string(head.Cookie[:]) != "cxsparse":
		return nil, errors.New("no header of a dynamic disk")
	case head.Checksum != vhdSum(data, vhdHeaderChecksumAt):
		return nil, errors.New("the header's checksum is wrong")
	case head.BlockSize < leastVHDBlock || head.BlockSize > mostVHDBlock || head.BlockSize&(head.BlockSize-1) != 0:
		return nil, fmt.Errorf("blocks of %d bytes", head.BlockSize)
	case entries > int64(head.Entries) || entries*4 > mostTable:
		return nil, fmt.Errorf("a table of %d blocks, want %d", head.Entries, entries)
	case head.Table > uint64(size) || entries*4 > size-int64(head.Table): //nolint:gosec // checked
		return nil, errors.New("the table of blocks is outside the file")
	}
	table := make([]byte, entries*4)
	if err := readFull(file, table, int64(head.Table)); err != nil { //nolint:gosec // checked
		return nil, err
	}
	v := &vhd{file: file, fileSize: size, size: (current + sector - 1) / sector * sector, block: int64(head.BlockSize), blocks: make([]uint32, entries), bitmaps: cache[[]byte]{most: 4}}
	for i := range v.blocks {
		v.blocks[i] = binary.BigEndian.Uint32(table[i*4:])
	}
	return v, nil
}

// fixedVHD is a raw disk with a footer behind it.
type fixedVHD struct{ Disk }

func (fixedVHD) Format() string { return VHD }

func (v *vhd) Size() int64    { return v.size }
func (v *vhd) Format() string { return VHD }

// bitmapSize returns the bytes of the bitmap in front of each block.
func (v *vhd) bitmapSize() int64 { return (v.block/sector/8 + sector - 1) / sector * sector }

// at returns the sector of the block with an offset.
func (v *vhd) at(off int64) uint32 {
	if n := off / v.block; n < int64(len(v.blocks)) {
		return v.blocks[n]
	}
	return vhdUnused
}

func (v *vhd) ReadAt(p []byte, off int64) (int, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return readChunks(v.file, v.size, p, off, v.chunk)
}

func (v *vhd) chunk(off int64) (chunk, error) {
	within := off % v.block
	at := v.at(off)
	if at == vhdUnused {
		return chunk{file: -1, length: v.block - within}, nil
	}
	bitmap, err := v.bitmaps.load(int64(at), func() ([]byte, error) {
		bitmap := make([]byte, v.bitmapSize())
		return bitmap, readFull(v.file, bitmap, int64(at)*sector)
	})
	if err != nil {
		return chunk{}, fmt.Errorf("bitmap of the block at %d: %w", off, err)
	}
	// As many sectors as have, or have no, data.
	has := func(n int64) bool { return bitmap[n/8]&(0x80>>(n%8)) != 0 }
	first := within / sector
	last := first + 1
	for last < v.block/sector && has(last) == has(first) {
		last++
	}
	c := chunk{file: -1, length: last*sector - within}
	if has(first) {
		c.file = int64(at)*sector + v.bitmapSize() + within
	}
	return c, nil
}

func (v *vhd) NextData(off int64) (start, end int64, err error) {
	for ; off < v.size && v.at(off) == vhdUnused; off = (off/v.block + 1) * v.block {
	}
	if off >= v.size {
		return v.size, v.size, nil
	}
	for end = off; end < v.size && v.at(end) != vhdUnused; end = (end/v.block + 1) * v.block {
	}
	return off, min(end, v.size), nil
}
