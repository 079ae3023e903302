package diskimage

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

const vmdkMagic = "KDMV"

// vmdkHeader is the first sector of a sparse extent, and its footer.
type vmdkHeader struct {
	Magic                                     [4]byte
	Version, Flags                            uint32
	Capacity, GrainSize, DescOffset, DescSize uint64
	TableSize                                 uint32
	RedundantDir, Dir, Overhead               uint64
	Unclean                                   byte
	Newlines                                  [4]byte
	Compress                                  uint16
}

const (
	vmdkZeroGrains  = 1 << 2
	vmdkCompressed  = 1 << 16
	vmdkDirAtEnd    = math.MaxUint64
	vmdkTableSize   = 512
	vmdkFooterAt    = 2 * sector // before the end
	vmdkDescriptor  = 64 << 10   // bytes at most
	mostGrain       = 2048       // sectors
	vmdkDirEntries  = 4 << 20
	vmdkGrainHeader = 12
)

type vmdk struct {
	file     io.ReaderAt
	fileSize int64
	size     int64
	grain    int64 // bytes
	packed   bool
	zeros    bool // 1 means zeros
	dir      []uint32

	mu     sync.Mutex
	tables cache[[]uint32] // by their sector
	grains cache[[]byte]   // decompressed, by their sector
}

func readVMDKHeader(file io.ReaderAt, off int64) (vmdkHeader, error) {
	var head vmdkHeader
	data := make([]byte, binary.Size(head))
	if err := readFull(file, data, off); err != nil {
		return head, err
	}
	if err := binary.Read(bytes.NewReader(data), binary.LittleEndian, &head); err != nil {
		return head, err
	}
	if string(head.Magic[:]) != vmdkMagic {
		return head, errors.New("not a sparse VMDK file")
	}
	return head, nil
}

func openVMDK(file io.ReaderAt, size int64) (Disk, error) {
	head, err := readVMDKHeader(file, 0)
	if err != nil {
		return nil, err
	}
	if err := checkDescriptor(file, size, head); err != nil {
		return nil, err
	}
	if head.Dir == vmdkDirAtEnd {
		if head, err = readVMDKHeader(file, size-vmdkFooterAt); err != nil {
			return nil, fmt.Errorf("the footer: %w", err)
		}
	}
	switch {
	case head.Version < 1 || head.Version > 3:
		return nil, fmt.Errorf("unknown version %d", head.Version)
	case head.Capacity == 0 || head.Capacity > mostSize/sector:
		return nil, fmt.Errorf("a disk of %d sectors", head.Capacity)
	case head.GrainSize == 0 || head.GrainSize > mostGrain || head.GrainSize&(head.GrainSize-1) != 0:
		return nil, fmt.Errorf("grains of %d sectors", head.GrainSize)
	case head.TableSize != vmdkTableSize:
		return nil, fmt.Errorf("grain tables of %d entries, want %d", head.TableSize, vmdkTableSize)
	case head.Flags&vmdkCompressed != 0 && head.Compress != 1:
		return nil, fmt.Errorf("unknown compression %d", head.Compress)
	case head.Dir == 0 || head.Dir > uint64(size/sector): //nolint:gosec // not negative
		return nil, fmt.Errorf("the grain directory is at sector %d, outside the file", head.Dir)
	}
	v := &vmdk{
		file: file, fileSize: size, size: int64(head.Capacity) * sector, grain: int64(head.GrainSize) * sector,
		packed: head.Flags&vmdkCompressed != 0, zeros: head.Flags&vmdkZeroGrains != 0,
		tables: cache[[]uint32]{most: 64}, grains: cache[[]byte]{most: 4},
	}
	perTable := v.grain * vmdkTableSize
	entries := (v.size + perTable - 1) / perTable
	if entries > vmdkDirEntries {
		return nil, fmt.Errorf("a grain directory of %d entries", entries)
	}
	v.dir, err = v.table(int64(head.Dir), entries) //nolint:gosec // checked
	return v, err
}

// checkDescriptor refuses disks that are not in this file alone.
func checkDescriptor(file io.ReaderAt, size int64, head vmdkHeader) error {
	if head.DescOffset == 0 || head.DescSize == 0 {
		return errors.New("no descriptor: the file is one extent of several")
	}
	if head.DescOffset > uint64(size/sector) || head.DescSize > vmdkDescriptor/sector { //nolint:gosec // not negative
		return errors.New("the descriptor is outside the file")
	}
	data := make([]byte, head.DescSize*sector)
	if err := readFull(file, data, int64(head.DescOffset)*sector); err != nil { //nolint:gosec // checked
		return fmt.Errorf("the descriptor: %w", err)
	}
	text, _, _ := strings.Cut(string(data), "\x00")
	find := func(pattern string) string {
		if m := regexp.MustCompile(`(?mi)^\s*` + pattern).FindStringSubmatch(text); m != nil {
			return m[1]
		}
		return ""
	}
	extents := regexp.MustCompile(`(?mi)^\s*(?:RW|RDONLY|NOACCESS)\s+(\d+)\s+(\w+)`).FindAllStringSubmatch(text, -1)
	if parent := find(`parentCID\s*=\s*"?(\w+)`); parent != "" && !strings.EqualFold(parent, "ffffffff") {
		return fmt.Errorf("a parent: the disk %w", errOutside)
	}
	if len(extents) != 1 || !strings.EqualFold(extents[0][2], "SPARSE") {
		return fmt.Errorf("%d extents of type %q: the disk %w", len(extents), find(`createType\s*=\s*"?(\w+)`), errOutside)
	}
	if n, err := strconv.ParseUint(extents[0][1], 10, 64); err != nil || n > head.Capacity {
		return fmt.Errorf("the descriptor names %s sectors, the header %d", extents[0][1], head.Capacity)
	}
	return nil
}

func (v *vmdk) Size() int64    { return v.size }
func (v *vmdk) Format() string { return VMDK }

// table reads a table of n entries at a sector.
func (v *vmdk) table(at, n int64) ([]uint32, error) {
	if at*sector > v.fileSize || n*4 > v.fileSize-at*sector {
		return nil, fmt.Errorf("a table of %d entries at sector %d is outside the file", n, at)
	}
	data := make([]byte, n*4)
	if err := readFull(v.file, data, at*sector); err != nil {
		return nil, err
	}
	entries := make([]uint32, n)
	for i := range entries {
		entries[i] = binary.LittleEndian.Uint32(data[i*4:])
	}
	return entries, nil
}

// grainTable returns the grain table with an index, or nil if there is none.
func (v *vmdk) grainTable(index int64) ([]uint32, error) {
	at := int64(v.dir[index])
	if at == 0 {
		return nil, nil
	}
	return v.tables.load(at, func() ([]uint32, error) { return v.table(at, vmdkTableSize) })
}

func (v *vmdk) holds(entry uint32) bool { return entry > 1 || entry == 1 && !v.zeros }

func (v *vmdk) ReadAt(p []byte, off int64) (int, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return readChunks(v.file, v.size, p, off, v.chunk)
}

func (v *vmdk) chunk(off int64) (chunk, error) {
	n := off / v.grain
	within := off % v.grain
	length := v.grain - within
	table, err := v.grainTable(n / vmdkTableSize)
	if err != nil {
		return chunk{}, err
	}
	if table == nil || !v.holds(table[n%vmdkTableSize]) {
		return chunk{file: -1, length: length}, nil
	}
	at := int64(table[n%vmdkTableSize])
	if !v.packed {
		return chunk{file: at*sector + within, length: length}, nil
	}
	data, err := v.grains.load(at, func() ([]byte, error) { return v.decompress(at, n*v.grain/sector) })
	if err != nil {
		return chunk{}, fmt.Errorf("grain of offset %d: %w", off, err)
	}
	return chunk{data: data[within:], length: length}, nil
}

// decompress returns the grain at a sector of the file, which must be that of a sector of
// the disk.
func (v *vmdk) decompress(at, of int64) ([]byte, error) {
	var head [vmdkGrainHeader]byte
	if err := readFull(v.file, head[:], at*sector); err != nil {
		return nil, err
	}
	if lba := binary.LittleEndian.Uint64(head[:]); lba != uint64(of) { //nolint:gosec // positive
		return nil, fmt.Errorf("its marker names sector %d, want %d", lba, of)
	}
	length := int64(binary.LittleEndian.Uint32(head[8:]))
	if length == 0 || length > 2*v.grain+sector {
		return nil, fmt.Errorf("%d compressed bytes", length)
	}
	z, err := zlib.NewReader(io.NewSectionReader(v.file, at*sector+vmdkGrainHeader, length))
	if err != nil {
		return nil, err
	}
	data := make([]byte, v.grain)
	n, err := io.ReadFull(z, data)
	// The last grain of a disk may be short.
	if err != nil && (!errors.Is(err, io.ErrUnexpectedEOF) || of*sector+int64(n) < v.size) {
		return nil, err
	}
	return data, nil
}

func (v *vmdk) NextData(off int64) (start, end int64, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	perTable := v.grain * vmdkTableSize
	for off < v.size {
		table, err := v.grainTable(off / perTable)
		if err != nil {
			return 0, 0, err
		}
		last := min((off/perTable+1)*perTable, v.size)
		if table == nil {
			off = last
			continue
		}
		at := func(off int64) bool { return v.holds(table[off/v.grain%vmdkTableSize]) }
		for ; off < last && !at(off); off = (off/v.grain + 1) * v.grain {
		}
		if off >= last {
			continue
		}
		end := off
		for ; end < last && at(end); end = (end/v.grain + 1) * v.grain {
		}
		return off, min(end, v.size), nil
	}
	return v.size, v.size, nil
}
