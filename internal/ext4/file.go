package ext4

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// An extent is a run of a file's blocks. Blocks that no extent has are zeros.
type extent struct {
	first, count, at int64
}

const (
	extentMagic  = 0xf30a
	extentSize   = 12
	mostDepth    = 5
	mostExtents  = 1 << 16 // of one file
	uninitialzed = 1 << 15
)

// extents returns the runs of the blocks of a file, as far as its first bytes of a
// length need them.
func (f *FS) extents(i *Inode, length int64) ([]extent, error) {
	blocks := (length + f.block - 1) / f.block
	var all []extent
	var err error
	if i.flags&flagExtents != 0 {
		all, err = f.extentTree(nil, i.area[:], -1, blocks, new(int))
	} else {
		all, err = f.blockMap(i, blocks)
	}
	slices.SortFunc(all, func(a, b extent) int { return cmp.Compare(a.first, b.first) })
	return all, err
}

// extentTree adds the runs of a node of a tree. Depth is that of the parent's entry, or
// -1.
func (f *FS) extentTree(all []extent, node []byte, depth int, blocks int64, seen *int) ([]extent, error) {
	entries, at := int(binary.LittleEndian.Uint16(node[2:])), int(binary.LittleEndian.Uint16(node[6:]))
	switch *seen++; {
	case binary.LittleEndian.Uint16(node) != extentMagic || (entries+1)*extentSize > len(node) || at > mostDepth || depth >= 0 && at != depth-1:
		return all, fmt.Errorf("%w: a node of the tree of extents", ErrCorrupt)
	case *seen > mostExtents || len(all) > mostExtents:
		return all, fmt.Errorf("%w: more than %d extents", ErrCorrupt, mostExtents)
	}
	for n := range entries {
		e := node[(n+1)*extentSize:][:extentSize]
		first := int64(binary.LittleEndian.Uint32(e))
		if first >= blocks {
			break
		}
		if at == 0 {
			count := int64(binary.LittleEndian.Uint16(e[4:]))
			if count > uninitialzed { // zeros
				continue
			}
			all = append(all, extent{first, count, int64(binary.LittleEndian.Uint16(e[6:]))<<32 | int64(binary.LittleEndian.Uint32(e[8:]))})
			continue
		}
		child := make([]byte, f.block)
		where := int64(binary.LittleEndian.Uint32(e[4:])) | int64(binary.LittleEndian.Uint16(e[8:]))<<32
		if err := f.readBlock(where, 0, child); err != nil {
			return all, err
		}
		var err error
		if all, err = f.extentTree(all, child, at, blocks, seen); err != nil {
			return all, err
		}
	}
	return all, nil
}

// blockMap returns the runs of a file of ext2 or ext3.
func (f *FS) blockMap(i *Inode, blocks int64) ([]extent, error) {
	var all []extent
	next := int64(0)
	add := func(at int64) {
		if last := len(all) - 1; at != 0 && last >= 0 && all[last].first+all[last].count == next && all[last].at+all[last].count == at {
			all[last].count++
		} else if at != 0 {
			all = append(all, extent{next, 1, at})
		}
		next++
	}
	entry := func(b []byte, n int) int64 { return int64(binary.LittleEndian.Uint32(b[n*4:])) }
	perBlock := f.block / 4
	var indirect func(at int64, depth int) error
	indirect = func(at int64, depth int) error {
		if at == 0 {
			skip := int64(1)
			for range depth {
				skip *= perBlock
			}
			next += skip
			return nil
		}
		if depth == 0 {
			add(at)
			return nil
		}
		b := make([]byte, f.block)
		if err := f.readBlock(at, 0, b); err != nil {
			return err
		}
		for n := 0; n < int(perBlock) && next < blocks; n++ {
			if len(all) > mostExtents {
				return fmt.Errorf("%w: more than %d extents", ErrCorrupt, mostExtents)
			}
			if err := indirect(entry(b, n), depth-1); err != nil {
				return err
			}
		}
		return nil
	}
	const direct, levels = 12, 3
	for n := 0; n < direct && next < blocks; n++ {
		add(entry(i.area[:], n))
	}
	for depth := 1; depth <= levels && next < blocks; depth++ {
		if err := indirect(entry(i.area[:], direct+depth-1), depth); err != nil {
			return all, err
		}
	}
	return all, nil
}

// Read returns the first bytes of a file or link, at most limit.
func (f *FS) Read(i *Inode, limit int64) ([]byte, error) {
	length := min(i.Size, limit)
	switch {
	case i.flags&flagEncrypted != 0:
		return nil, fmt.Errorf("inode %d is encrypted", i.Number)
	case i.Mode&fs.ModeSymlink != 0 && i.Size < inodeBlocks && i.flags&(flagExtents|flagInlineData) == 0:
		return i.area[:length:length], nil
	case i.flags&flagInlineData != 0:
		data := append(i.area[:], i.inlineRest()...)
		if int64(len(data)) < length {
			return nil, fmt.Errorf("%w: inode %d has %d bytes, want %d", ErrCorrupt, i.Number, len(data), length)
		}
		return data[:length:length], nil
	}
	all, err := f.extents(i, length)
	if err != nil {
		return nil, err
	}
	data := make([]byte, length)
	for _, e := range all {
		from := e.first * f.block
		if from >= length {
			break
		}
		to := min((e.first+e.count)*f.block, length)
		if e.count > f.blocks || e.at+e.count > f.blocks {
			return nil, fmt.Errorf("%w: inode %d has block %d of %d", ErrCorrupt, i.Number, e.at+e.count-1, f.blocks)
		}
		if err := f.readBlock(e.at, 0, data[from:to]); err != nil {
			return nil, err
		}
	}
	return data, nil
}

// inlineRest returns the part of inline data that is in the attribute system.data.
func (i *Inode) inlineRest() []byte {
	const attributeMagic = 0xea020000
	if len(i.extra) < 8 {
		return nil
	}
	start := int(binary.LittleEndian.Uint16(i.extra))
	if start+4 > len(i.extra) || binary.LittleEndian.Uint32(i.extra[start:]) != attributeMagic {
		return nil
	}
	const systemIndex, header = 7, 16
	base := i.extra[start+4:]
	for b := base; len(b) >= header && binary.LittleEndian.Uint32(b) != 0; {
		nameLength := int(b[0])
		if header+nameLength > len(b) {
			return nil
		}
		at, size := int(binary.LittleEndian.Uint16(b[2:])), int(binary.LittleEndian.Uint32(b[8:]))
		if b[1] == systemIndex && string(b[header:header+nameLength]) == "data" && at+size <= len(base) && size >= 0 {
			return base[at : at+size]
		}
		next := (header + nameLength + 3) &^ 3
		if next > len(b) {
			return nil
		}
		b = b[next:]
	}
	return nil
}

// A DirEntry is a name in a directory.
type DirEntry struct {
	Name  string
	Inode uint32
}

// mostDirectory limits the bytes of a directory.
const mostDirectory = 64 << 20

// ReadDir returns the names in a directory, without "." and "..", sorted.
func (f *FS) ReadDir(i *Inode) ([]DirEntry, error) {
	if !i.Mode.IsDir() {
		return nil, fmt.Errorf("inode %d is not a directory", i.Number)
	}
	if i.Size > mostDirectory {
		return nil, fmt.Errorf("%w: a directory of %d bytes", ErrCorrupt, i.Size)
	}
	data, err := f.Read(i, mostDirectory)
	if err != nil {
		return nil, err
	}
	const inlineParent = 4 // bytes, in front of the entries of an inline directory
	block := f.block
	if i.flags&flagInlineData != 0 {
		data = data[min(inlineParent, len(data)):]
		block = inodeBlocks - inlineParent
		if len(data) > int(block) { // two areas
			rest, err := dirEntries(data[block:])
			if err != nil {
				return nil, err
			}
			first, err := dirEntries(data[:block])
			return sorted(append(first, rest...)), err
		}
	}
	var all []DirEntry
	for part := range slices.Chunk(data, int(block)) {
		some, err := dirEntries(part)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	return sorted(all), nil
}

func sorted(all []DirEntry) []DirEntry {
	slices.SortFunc(all, func(a, b DirEntry) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// dirEntries returns the entries of a block of a directory.
func dirEntries(b []byte) ([]DirEntry, error) {
	const header = 8
	var all []DirEntry
	for len(b) >= header {
		length, name := int(binary.LittleEndian.Uint16(b[4:])), int(b[6])
		if length < header || length > len(b) || header+name > length {
			return nil, fmt.Errorf("%w: an entry of %d bytes", ErrCorrupt, length)
		}
		if inode := binary.LittleEndian.Uint32(b); inode != 0 {
			e := DirEntry{string(b[header : header+name]), inode}
			if e.Name != "." && e.Name != ".." && e.Name != "" {
				if strings.ContainsAny(e.Name, "/\x00") {
					return nil, fmt.Errorf("%w: the name %q", ErrCorrupt, e.Name)
				}
				all = append(all, e)
			}
		}
		b = b[length:]
	}
	return all, nil
}
