// Package diskimage reads the files of virtual disks: raw, qcow2, VMDK and VHD.
//
//	disk, err := diskimage.Open(file, size, "")
//	for off := int64(0); ; off = end {
//		start, end, err = disk.NextData(off)
//		…
//	}
//
// Files may come from anyone. A reader allocates a few MiB at most, whatever a file
// says, reads nothing but that file, and fails for a file that refers to another one.
package diskimage

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// The formats.
const (
	Raw   = "raw"
	QCOW2 = "qcow2"
	VMDK  = "vmdk"
	VHD   = "vhd"
)

// Formats lists the formats.
func Formats() []string { return []string{Raw, QCOW2, VMDK, VHD} }

// A Disk is the contents of a virtual disk. Its methods may be called from several
// goroutines.
type Disk interface {
	// ReadAt reads contents of the disk, as an io.ReaderAt does.
	io.ReaderAt

	// Size returns the size of the disk in bytes.
	Size() int64

	// Format returns the format of the file.
	Format() string

	// NextData returns the first range at off or after it that may have other bytes
	// than zeros. At the end of the disk start is its size.
	NextData(off int64) (start, end int64, err error)
}

const (
	sector   = 512
	mostSize = 64 << 40 // of a disk

	// mostTable limits the bytes of a table that is kept in memory.
	mostTable = 32 << 20
)

// errOutside is the error of a file that refers to others.
var errOutside = errors.New("refers to another file: make it standalone with qemu-img convert")

// Open returns the disk in a file of the given size. An empty format means that the
// file's first and last bytes tell it: a raw disk whose user writes what he likes
// should be opened as Raw.
func Open(file io.ReaderAt, size int64, format string) (Disk, error) {
	if format == "" {
		var err error
		if format, err = detect(file, size); err != nil {
			return nil, err
		}
	}
	var disk Disk
	var err error
	switch format {
	case Raw:
		return newRaw(file, size)
	case QCOW2:
		disk, err = openQCOW2(file, size)
	case VMDK:
		disk, err = openVMDK(file, size)
	case VHD:
		disk, err = openVHD(file, size)
	default:
		return nil, fmt.Errorf("unknown format %q, want one of %s", format, strings.Join(Formats(), ", "))
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", format, err)
	}
	return disk, nil
}

// A signature is the beginning of files that are not raw disks.
type signature struct {
	at     int
	magic  string
	format string // or empty
	remedy string
}

func signatures() []signature {
	const convert = "convert it with qemu-img convert -O qcow2"
	const vdiAt = 64
	return []signature{
		{0, qcow2Magic, QCOW2, ""},
		{0, vmdkMagic, VMDK, ""},
		{0, vhdCookie, VHD, ""},
		{0, "vhdxfile", "", "a VHDX: " + convert},
		{vdiAt, "\x7f\x10\xda\xbe", "", "a VDI: " + convert},
		{0, "# Disk DescriptorFile", "", "a VMDK descriptor, which names other files: " + convert},
		{0, "\x1f\x8b", "", "compressed with gzip: decompress it first"},
		{0, "\xfd7zXZ", "", "compressed with xz: decompress it first"},
		{0, "BZh", "", "compressed with bzip2: decompress it first"},
		{0, "\x28\xb5\x2f\xfd", "", "compressed with zstd: decompress it first"},
		{0, "PK\x03\x04", "", "a zip archive: extract the disk first"},
	}
}

// detect returns the format of a file.
func detect(file io.ReaderAt, size int64) (string, error) {
	head := make([]byte, sector)
	n, err := file.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	head = head[:n]
	for _, known := range signatures() {
		if known.at < len(head) && bytes.HasPrefix(head[known.at:], []byte(known.magic)) {
			if known.format == "" {
				return "", errors.New("the file is " + known.remedy)
			}
			return known.format, nil
		}
	}
	if _, err := readFooter(file, size); err == nil {
		return VHD, nil // a fixed one has no header
	}
	return Raw, nil
}

// readFull reads all of p. A file that ends before is an error.
func readFull(r io.ReaderAt, p []byte, off int64) error {
	n, err := r.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("read %d bytes at %d: %w", len(p), off, err)
}

// chunk is a part of a disk that lies in one piece in the file.
type chunk struct {
	file   int64  // offset in the file; negative for zeros
	data   []byte // or the bytes
	length int64  // from the offset asked for
}

// readChunks reads p from the chunks that find returns.
func readChunks(file io.ReaderAt, size int64, p []byte, off int64, find func(off int64) (chunk, error)) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("negative offset %d", off)
	}
	done := 0
	for done < len(p) && off < size {
		c, err := find(off)
		if err != nil {
			return done, err
		}
		n := min(c.length, int64(len(p)-done), size-off)
		if n <= 0 {
			return done, fmt.Errorf("no data at %d", off)
		}
		into := p[done : done+int(n)]
		switch {
		case c.data != nil:
			copy(into, c.data)
		case c.file < 0:
			clear(into)
		default:
			if err := readFull(file, into, c.file); err != nil {
				return done, err
			}
		}
		done += int(n)
		off += n
	}
	if done < len(p) {
		return done, io.EOF
	}
	return done, nil
}

// A cache holds the last few values by key.
type cache[T any] struct {
	keys   []int64
	values []T
	most   int
}

// load returns the value with the key, which read gets unless the cache has it.
func (c *cache[T]) load(key int64, read func() (T, error)) (T, error) {
	if i := slices.Index(c.keys, key); i >= 0 {
		return c.values[i], nil
	}
	value, err := read()
	if err != nil {
		var none T
		return none, err
	}
	if len(c.keys) >= c.most {
		c.keys, c.values = c.keys[1:], c.values[1:]
	}
	c.keys, c.values = append(c.keys, key), append(c.values, value)
	return value, nil
}
