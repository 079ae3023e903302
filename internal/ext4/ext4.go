// Package ext4 reads ext2, ext3 and ext4 file systems, without mounting them.
//
// A file system may come from anyone: memory and time are bounded by the limits of this
// package and the number of entries that a caller walks over, and whatever does not fit is
// an error. A journal that has not been replayed is ignored; see FS.Unclean.
package ext4

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"
)

const (
	superAt   = 1024
	superSize = 1024
	magic     = 0xef53

	rootInode = 2

	leastInodeSize = 128
	mostGroups     = 1 << 22
)

// The incompatible features that change what is read here.
const (
	incompatRecover  = 0x4
	incompatMetaBG   = 0x10
	incompat64Bit    = 0x80
	incompatUnknown  = ^uint32(0x2 | incompatRecover | incompatMetaBG | 0x40 | incompat64Bit | 0x100 | 0x200 | 0x400 | 0x2000 | 0x4000 | 0x8000 | 0x10000 | 0x20000)
	roCompatSparse   = 0x1
	compatSparse2    = 0x200
	flagExtents      = 0x80000
	flagInlineData   = 0x10000000
	flagEncrypted    = 0x800
	inodeBlocks      = 60 // bytes of the map of blocks in an inode
	groupHasLongDesc = 64
)

// ErrCorrupt is returned, wrapped, for a file system that contradicts itself.
var ErrCorrupt = errors.New("file system is damaged")

// ErrNotExt4 is returned by Open for other contents.
var ErrNotExt4 = errors.New("not an ext4 file system")

// An FS is a file system. It may be used by one goroutine at a time.
type FS struct {
	disk io.ReaderAt

	// Label is the name of the file system.
	Label string

	// Unclean reports that the file system was in use when its disk was copied: the
	// latest changes are in the journal only, and not seen.
	Unclean bool

	block         int64
	blocks        int64
	inodes        uint32
	inodesInGroup uint32
	blocksInGroup int64
	firstBlock    int64
	inodeSize     int64
	descSize      int64
	metaBG        int64 // the first meta block group, or more than all
	hasSuper      func(group int64) bool
}

// IsExt4 reports whether a disk of a size has an ext2, ext3 or ext4 file system.
func IsExt4(disk io.ReaderAt) bool {
	var b [2]byte
	n, _ := disk.ReadAt(b[:], superAt+0x38)
	return n == len(b) && binary.LittleEndian.Uint16(b[:]) == magic
}

// Open reads the head of the file system on a disk of a size.
func Open(disk io.ReaderAt, size int64) (*FS, error) {
	if !IsExt4(disk) {
		return nil, ErrNotExt4
	}
	b := make([]byte, superSize)
	if _, err := disk.ReadAt(b, superAt); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	word := func(at int) uint32 { return uint32(binary.LittleEndian.Uint16(b[at:])) }
	long := func(at int) uint32 { return binary.LittleEndian.Uint32(b[at:]) }
	f := &FS{
		disk: disk, inodes: long(0), inodesInGroup: long(40), blocksInGroup: int64(long(32)), firstBlock: int64(long(20)),
		blocks: int64(long(4)), inodeSize: leastInodeSize, descSize: 32,
	}
	compat, incompat, roCompat := long(92), long(96), long(100)
	const mostLogBlock = 6 // 64 KiB
	if long(24) > mostLogBlock {
		return nil, fmt.Errorf("%w: blocks of 2^%d KiB", ErrCorrupt, long(24))
	}
	f.block = 1024 << long(24)
	if long(76) > 0 { // the revision
		f.inodeSize = int64(word(88))
	}
	if incompat&incompat64Bit != 0 {
		f.blocks |= int64(long(336)) << 32
		f.descSize = int64(word(254))
	}
	if unknown := incompat & incompatUnknown; unknown != 0 {
		return nil, fmt.Errorf("unsupported features %#x", unknown)
	}
	f.Unclean = incompat&incompatRecover != 0
	f.Label = text(b[120:136])
	f.metaBG = mostGroups
	if incompat&incompatMetaBG != 0 {
		f.metaBG = int64(long(260))
	}
	f.hasSuper = func(group int64) bool {
		if compat&compatSparse2 != 0 {
			return group == 0 || group == int64(long(588)) || group == int64(long(592))
		}
		return group <= 1 || roCompat&roCompatSparse == 0 || isPower(group, 3) || isPower(group, 5) || isPower(group, 7)
	}
	switch {
	case f.inodeSize < leastInodeSize || f.inodeSize > f.block || f.inodeSize&(f.inodeSize-1) != 0:
		return nil, fmt.Errorf("%w: inodes of %d bytes", ErrCorrupt, f.inodeSize)
	case f.descSize < 32 || f.descSize > f.block || f.descSize&(f.descSize-1) != 0:
		return nil, fmt.Errorf("%w: descriptors of %d bytes", ErrCorrupt, f.descSize)
	case f.inodesInGroup == 0 || f.blocksInGroup == 0 || f.blocks <= 0 || f.blocks/f.blocksInGroup > mostGroups:
		return nil, fmt.Errorf("%w: %d blocks in groups of %d, %d inodes in groups of %d", ErrCorrupt, f.blocks, f.blocksInGroup, f.inodes, f.inodesInGroup)
	case f.firstBlock > 1:
		return nil, fmt.Errorf("%w: the first block is %d", ErrCorrupt, f.firstBlock)
	}
	f.blocks = min(f.blocks, size/f.block) // a cut file system is read as far as it goes
	return f, nil
}

func isPower(n, base int64) bool {
	for n > 1 && n%base == 0 {
		n /= base
	}
	return n == 1
}

// text returns the text before the first zero.
func text(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}

// readBlock reads a part of a block.
func (f *FS) readBlock(n, within int64, p []byte) error {
	if n <= 0 && f.firstBlock > 0 || n < 0 || n >= f.blocks {
		return fmt.Errorf("%w: block %d of %d", ErrCorrupt, n, f.blocks)
	}
	read, err := f.disk.ReadAt(p, n*f.block+within)
	if read == len(p) {
		return nil
	}
	return err
}

// An Inode is a file, directory or link of a file system.
type Inode struct {
	Number uint32
	Mode   fs.FileMode
	UID    uint32
	GID    uint32
	Size   int64
	Time   time.Time // of its last change

	flags uint32
	area  [inodeBlocks]byte
	extra []byte // behind the fixed part, with attributes
}

// descriptor returns the place of the inode table of a group.
func (f *FS) inodeTable(group int64) (int64, error) {
	perBlock := f.block / f.descSize
	index := group / perBlock
	at := f.firstBlock + 1 + index
	if index >= f.metaBG {
		first := index * perBlock
		at = f.firstBlock + first*f.blocksInGroup
		if f.hasSuper(first) {
			at++
		}
	}
	d := make([]byte, f.descSize)
	if err := f.readBlock(at, group%perBlock*f.descSize, d); err != nil {
		return 0, err
	}
	table := int64(binary.LittleEndian.Uint32(d[8:]))
	if f.descSize >= groupHasLongDesc {
		table |= int64(binary.LittleEndian.Uint32(d[40:])) << 32
	}
	return table, nil
}

// Inode returns an inode by its number.
func (f *FS) Inode(number uint32) (*Inode, error) {
	if number == 0 || number > f.inodes {
		return nil, fmt.Errorf("%w: inode %d of %d", ErrCorrupt, number, f.inodes)
	}
	group, index := int64((number-1)/f.inodesInGroup), int64((number-1)%f.inodesInGroup)
	table, err := f.inodeTable(group)
	if err != nil {
		return nil, err
	}
	b := make([]byte, f.inodeSize)
	at := index * f.inodeSize
	if err := f.readBlock(table+at/f.block, at%f.block, b); err != nil {
		return nil, err
	}
	word := func(at int) uint32 { return uint32(binary.LittleEndian.Uint16(b[at:])) }
	long := func(at int) uint32 { return binary.LittleEndian.Uint32(b[at:]) }
	i := &Inode{
		Number: number, Mode: mode(word(0)), UID: word(2) | word(120)<<16, GID: word(24) | word(122)<<16,
		Size: int64(long(4)), Time: time.Unix(int64(int32(long(16))), 0), flags: long(32), //nolint:gosec // signed on disk
		extra: b[leastInodeSize:],
	}
	copy(i.area[:], b[40:])
	if i.Mode.IsRegular() || i.Mode.IsDir() {
		i.Size |= int64(long(108)) << 32
	}
	if i.Size < 0 {
		return nil, fmt.Errorf("%w: inode %d has %d bytes", ErrCorrupt, number, i.Size)
	}
	return i, nil
}

// mode translates the mode of an inode.
func mode(m uint32) fs.FileMode {
	const permissions = 0o777
	mode := fs.FileMode(m & permissions)
	for bit, is := range map[uint32]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if m&bit != 0 {
			mode |= is
		}
	}
	switch m & 0o170000 {
	case 0o040000:
		mode |= fs.ModeDir
	case 0o120000:
		mode |= fs.ModeSymlink
	case 0o100000:
	case 0o060000:
		mode |= fs.ModeDevice
	case 0o020000:
		mode |= fs.ModeDevice | fs.ModeCharDevice
	case 0o010000:
		mode |= fs.ModeNamedPipe
	case 0o140000:
		mode |= fs.ModeSocket
	default:
		mode |= fs.ModeIrregular
	}
	return mode
}
