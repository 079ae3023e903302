package partition

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

// fat reads a FAT file system: directories and the beginnings of files. Long names are
// not read, since the names of boot loaders are short.
type fat struct {
	disk     io.ReaderAt
	bits     int
	cluster  int64 // bytes
	table    int64 // offset of the first table
	data     int64 // offset of cluster 2
	clusters uint32
	root     chain
}

// A chain is the place of a file or directory.
type chain struct {
	first uint32 // cluster; 0 for a fixed area
	at    int64  // of the fixed area
	size  int64
}

// An entry is a file in a directory.
type entry struct {
	name string
	dir  bool
	chain
}

const (
	mostDirectory = 256 << 10 // bytes that are read of a directory
	fatEntry      = 32
)

var errFAT = errors.New("not a FAT file system")

func openFAT(disk io.ReaderAt) (*fat, error) {
	b := make([]byte, sector)
	if _, err := disk.ReadAt(b, 0); err != nil {
		return nil, err
	}
	word := func(at int) int64 { return int64(binary.LittleEndian.Uint16(b[at:])) }
	long := func(at int) int64 { return int64(binary.LittleEndian.Uint32(b[at:])) }
	bytesPer, perCluster, reserved, tables, rootEntries := word(11), int64(b[13]), word(14), int64(b[16]), word(17)
	total, length := word(19), word(22)
	if total == 0 {
		total = long(32)
	}
	if length == 0 {
		length = long(36)
	}
	if bytesPer != 512 && bytesPer != 1024 && bytesPer != 2048 && bytesPer != 4096 || perCluster == 0 || perCluster&(perCluster-1) != 0 ||
		reserved == 0 || tables == 0 || tables > 2 || length == 0 || b[signatureAt] != 0x55 {
		return nil, errFAT
	}
	rootSectors := (rootEntries*fatEntry + bytesPer - 1) / bytesPer
	data := reserved + tables*length + rootSectors
	if data >= total {
		return nil, errFAT
	}
	f := &fat{
		disk: disk, cluster: perCluster * bytesPer, table: reserved * bytesPer, data: data * bytesPer,
		clusters: uint32((total - data) / perCluster), //nolint:gosec // less than 2^32
	}
	switch {
	case f.clusters < 4085:
		f.bits = 12
	case f.clusters < 65525:
		f.bits = 16
	default:
		f.bits = 32
	}
	if rootEntries == 0 {
		f.bits = 32
		f.root = chain{first: uint32(long(44)), size: mostDirectory} //nolint:gosec // 32 bits
	} else {
		f.root = chain{at: (data - rootSectors) * bytesPer, size: rootEntries * fatEntry}
	}
	return f, nil
}

// next returns the cluster after one.
func (f *fat) next(cluster uint32) (uint32, error) {
	b := make([]byte, 4)
	at, width := int64(cluster)*int64(f.bits)/8, (f.bits+7)/8
	if _, err := f.disk.ReadAt(b[:width], f.table+at); err != nil {
		return 0, err
	}
	v := binary.LittleEndian.Uint32(b)
	switch {
	case f.bits == 12 && cluster%2 == 1:
		v >>= 4
	case f.bits == 12:
		v &= 0xfff
	}
	if f.bits == 32 {
		v &= 0x0fffffff
	}
	return v, nil
}

// read reads a part of a file.
func (f *fat) read(e entry, p []byte, off int64) error {
	if off < 0 || off+int64(len(p)) > e.size {
		return io.ErrUnexpectedEOF
	}
	if e.first == 0 {
		_, err := f.disk.ReadAt(p, e.at+off)
		return err
	}
	cluster := e.first
	for steps := uint32(0); ; steps++ {
		if cluster < 2 || cluster-2 >= f.clusters {
			return io.ErrUnexpectedEOF
		}
		if steps > f.clusters {
			return fmt.Errorf("clusters form a circle")
		}
		if off < f.cluster {
			n := min(f.cluster-off, int64(len(p)))
			if _, err := f.disk.ReadAt(p[:n], f.data+int64(cluster-2)*f.cluster+off); err != nil {
				return err
			}
			p, off = p[n:], f.cluster
			if len(p) == 0 {
				return nil
			}
		}
		off -= f.cluster
		var err error
		if cluster, err = f.next(cluster); err != nil {
			return err
		}
	}
}

// list returns the files of a directory.
func (f *fat) list(dir *entry) ([]entry, error) {
	var all []entry
	b := make([]byte, fatEntry)
	for off := int64(0); off < min(dir.size, mostDirectory); off += fatEntry {
		if err := f.read(*dir, b, off); errors.Is(err, io.ErrUnexpectedEOF) {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		const volume, long, directory = 0x08, 0x0f, 0x10
		switch attr := b[11]; {
		case b[0] == 0:
			return all, nil
		case b[0] == 0xe5 || attr&long == long || attr&volume != 0:
			continue
		default:
			name, ext := strings.TrimRight(string(b[:8]), " "), strings.TrimRight(string(b[8:11]), " ")
			if ext != "" {
				name += "." + ext
			}
			e := entry{name: name, dir: attr&directory != 0}
			e.first = uint32(binary.LittleEndian.Uint16(b[20:]))<<16 | uint32(binary.LittleEndian.Uint16(b[26:]))
			if f.bits != 32 {
				e.first &= 0xffff
			}
			e.size = int64(binary.LittleEndian.Uint32(b[28:]))
			if e.dir {
				e.size = mostDirectory
			}
			all = append(all, e)
		}
	}
	return all, nil
}

// lookup returns a directory, or nil if it does not exist.
func (f *fat) lookup(names ...string) (*entry, error) {
	at := &entry{dir: true, chain: f.root}
	for _, name := range names {
		all, err := f.list(at)
		if err != nil {
			return nil, err
		}
		at = nil
		for i := range all {
			if all[i].dir && strings.EqualFold(all[i].name, name) {
				at = &all[i]
			}
		}
		if at == nil {
			return nil, nil //nolint:nilnil // it does not exist
		}
	}
	return at, nil
}
