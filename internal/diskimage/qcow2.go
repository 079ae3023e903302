package diskimage

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/zstd"
)

const qcow2Magic = "QFI\xfb"

// qcow2Header is the header of a qcow2 file, of which a file of version 2 has the first
// part.
type qcow2Header struct {
	Magic         [4]byte
	Version       uint32
	BackingOffset uint64
	BackingSize   uint32
	ClusterBits   uint32
	Size          uint64
	Crypt         uint32
	L1Size        uint32
	L1Offset      uint64
	RefOffset     uint64
	RefClusters   uint32
	Snapshots     uint32
	SnapOffset    uint64

	Incompatible uint64
	Compatible   uint64
	Autoclear    uint64
	RefOrder     uint32
	Length       uint32
	Compression  uint8
	_            [7]byte
}

// The incompatible features.
const (
	qcow2Dirty       = 1 << 0
	qcow2Corrupt     = 1 << 1
	qcow2DataFile    = 1 << 2
	qcow2Compression = 1 << 3
)

const (
	leastClusterBits = 9
	mostClusterBits  = 21

	offsetMask     = 1<<56 - 1<<9 // of an entry of a table
	compressedFlag = 1 << 62
	zeroFlag       = 1
)

type qcow2 struct {
	file     io.ReaderAt
	fileSize int64
	size     int64
	bits     uint
	version  uint32
	zstd     bool
	l1       []uint64

	mu       sync.Mutex
	tables   cache[[]uint64] // by their offset
	clusters cache[[]byte]   // decompressed, by their offset
}

func openQCOW2(file io.ReaderAt, size int64) (Disk, error) {
	var head qcow2Header
	data := make([]byte, binary.Size(head))
	if n, err := file.ReadAt(data, 0); err != nil && !errors.Is(err, io.EOF) || n < 72 {
		return nil, errors.Join(errors.New("the header is incomplete"), err)
	}
	if err := binary.Read(bytes.NewReader(data), binary.BigEndian, &head); err != nil {
		return nil, err
	}
	if string(head.Magic[:]) != qcow2Magic {
		return nil, errors.New("not a qcow2 file")
	}
	const shortHeader = 104 // without the compression
	if head.Version == 2 {
		head.Incompatible = 0
	}
	if head.Incompatible&qcow2Compression == 0 || head.Length <= shortHeader {
		head.Compression = 0
	}
	const known = qcow2Dirty | qcow2Corrupt | qcow2DataFile | qcow2Compression
	switch {
	case head.Version != 2 && head.Version != 3:
		return nil, fmt.Errorf("unknown version %d", head.Version)
	case head.BackingOffset != 0:
		return nil, fmt.Errorf("a backing file: the disk %w", errOutside)
	case head.Incompatible&qcow2DataFile != 0:
		return nil, fmt.Errorf("an external data file: the disk %w", errOutside)
	case head.Crypt != 0:
		return nil, errors.New("the disk is encrypted")
	case head.Incompatible&qcow2Corrupt != 0:
		return nil, errors.New("the disk is marked as corrupt: see qemu-img check")
	case head.Incompatible&^known != 0:
		return nil, fmt.Errorf("unsupported features %#x: convert it with qemu-img convert -O qcow2", head.Incompatible&^known)
	case head.Compression > 1:
		return nil, fmt.Errorf("unknown compression %d", head.Compression)
	case head.ClusterBits < leastClusterBits || head.ClusterBits > mostClusterBits:
		return nil, fmt.Errorf("clusters of 2^%d bytes", head.ClusterBits)
	case head.Size == 0 || head.Size > mostSize:
		return nil, fmt.Errorf("a disk of %d bytes: want 1 to %d", head.Size, int64(mostSize))
	}
	q := &qcow2{
		file: file, fileSize: size, size: int64(head.Size), bits: uint(head.ClusterBits), version: head.Version, zstd: head.Compression == 1,
		tables: cache[[]uint64]{most: 4}, clusters: cache[[]byte]{most: 4},
	}
	perTable := q.cluster() * (q.cluster() / 8)
	need := (q.size + perTable - 1) / perTable
	if need > int64(head.L1Size) || need*8 > mostTable {
		return nil, fmt.Errorf("a first table of %d entries, want at least %d and at most %d", head.L1Size, need, mostTable/8)
	}
	var err error
	q.l1, err = q.table(int64(head.L1Offset), need) //nolint:gosec // checked there
	q.size = (q.size + sector - 1) / sector * sector
	return q, err
}

func (q *qcow2) Size() int64    { return q.size }
func (q *qcow2) Format() string { return QCOW2 }
func (q *qcow2) cluster() int64 { return 1 << q.bits }

// table reads a table of n entries.
func (q *qcow2) table(off, n int64) ([]uint64, error) {
	if off <= 0 || off%sector != 0 || off > q.fileSize || n*8 > q.fileSize-off {
		return nil, fmt.Errorf("a table of %d entries at %d is outside the file", n, off)
	}
	data := make([]byte, n*8)
	if err := readFull(q.file, data, off); err != nil {
		return nil, err
	}
	entries := make([]uint64, n)
	for i := range entries {
		entries[i] = binary.BigEndian.Uint64(data[i*8:])
	}
	return entries, nil
}

// l2 returns the table of the entry of the first table, or nil if there is none.
func (q *qcow2) l2(index int64) ([]uint64, error) {
	off := int64(q.l1[index] & offsetMask)
	if off == 0 {
		return nil, nil
	}
	return q.tables.load(off, func() ([]uint64, error) { return q.table(off, q.cluster()/8) })
}

// entry returns the entry of the cluster at an offset of the disk.
func (q *qcow2) entry(off int64) (uint64, error) {
	n := off >> q.bits
	table, err := q.l2(n / (q.cluster() / 8))
	if table == nil || err != nil {
		return 0, err
	}
	return table[n%(q.cluster()/8)], nil
}

// holds reports whether a cluster with an entry has data.
func (q *qcow2) holds(entry uint64) bool {
	if entry&compressedFlag != 0 {
		return true
	}
	return entry&offsetMask != 0 && (q.version == 2 || entry&zeroFlag == 0)
}

func (q *qcow2) ReadAt(p []byte, off int64) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return readChunks(q.file, q.size, p, off, q.chunk)
}

func (q *qcow2) chunk(off int64) (chunk, error) {
	within := off & (q.cluster() - 1)
	length := q.cluster() - within
	entry, err := q.entry(off)
	switch {
	case err != nil:
		return chunk{}, err
	case !q.holds(entry):
		return chunk{file: -1, length: length}, nil
	case entry&compressedFlag != 0:
		data, err := q.decompress(entry)
		if err != nil {
			return chunk{}, fmt.Errorf("compressed cluster of offset %d: %w", off, err)
		}
		return chunk{data: data[within:], length: length}, nil
	}
	at := int64(entry & offsetMask)
	if at+within >= q.fileSize {
		return chunk{}, fmt.Errorf("cluster of offset %d is outside the file", off)
	}
	// The last cluster may be shorter in the file than on the disk.
	if left := q.fileSize - at - within; left < length {
		length = left
	}
	return chunk{file: at + within, length: length}, nil
}

func (q *qcow2) decompress(entry uint64) ([]byte, error) {
	shift := 62 - (q.bits - 8)
	off := int64(entry & (1<<shift - 1))                                 //nolint:gosec // at most 54 bits
	sectors := int64(entry&(compressedFlag-1)>>shift) + 1                //nolint:gosec // at most 14 bits
	length := min(sectors*sector-off&(sector-1), max(q.fileSize-off, 0)) // the last sector may be cut
	if length <= 0 {
		return nil, errors.New("outside the file")
	}
	return q.clusters.load(off, func() ([]byte, error) {
		data := make([]byte, q.cluster())
		return data, q.unpack(io.NewSectionReader(q.file, off, length), data)
	})
}

func (q *qcow2) unpack(packed io.Reader, data []byte) error {
	if !q.zstd {
		z := flate.NewReader(packed)
		_, err := io.ReadFull(z, data)
		return err
	}
	z, err := zstd.NewReader(packed, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(2<<mostClusterBits), zstd.WithDecoderLowmem(true))
	if err != nil {
		return err
	}
	defer z.Close()
	_, err = io.ReadFull(z, data)
	return err
}

func (q *qcow2) NextData(off int64) (start, end int64, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	start, err = q.seek(off, true)
	if err != nil || start >= q.size {
		return q.size, q.size, err
	}
	end, err = q.seek(start, false)
	return start, end, err
}

// seek returns the first offset whose cluster has data, or has none. It looks for the end
// of data in one table only.
func (q *qcow2) seek(off int64, data bool) (int64, error) {
	perTable := q.cluster() * (q.cluster() / 8)
	first := off / perTable
	for off < q.size {
		index := off / perTable
		if !data && index != first {
			return off, nil
		}
		table, err := q.l2(index)
		if err != nil {
			return 0, err
		}
		end := (index + 1) * perTable
		if table == nil {
			if !data {
				return off, nil
			}
			off = end
			continue
		}
		for ; off < min(end, q.size); off = (off>>q.bits + 1) << q.bits {
			if q.holds(table[off>>q.bits%(q.cluster()/8)]) == data {
				return off, nil
			}
		}
	}
	return q.size, nil
}
