// Package partition reads the partition tables of disks, and tells how a disk can boot.
package partition

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"unicode/utf16"
)

const (
	sector        = 512
	signatureAt   = 510
	mbrEntries    = 446
	mbrEntrySize  = 16
	mbrPartitions = 4
	mbrProtective = 0xee
	mbrESP        = 0xef

	gptMagic      = "EFI PART"
	gptHeaderSize = 92
	gptEntrySize  = 128
	mostEntries   = 1024
	legacyBoot    = 1 << 2 // attribute
)

// The types of GPT partitions, as they are on disk.
const (
	typeESP  = "\x28\x73\x2a\xc1\x1f\xf8\xd2\x11\xba\x4b\x00\xa0\xc9\x3e\xc9\x3b"
	typeBIOS = "Hah!IdontNeedEFI"
)

// A Kind is a kind of partition table.
type Kind string

// The kinds.
const (
	None Kind = ""
	MBR  Kind = "MBR"
	GPT  Kind = "GPT"
)

// A Table is the partition table of a disk.
type Table struct {
	Kind       Kind
	BootCode   bool // the first sector has code for BIOS
	Partitions []Partition

	gpt *header
}

// A Partition is a part of a disk.
type Partition struct {
	Number      int // from 1
	Start, Size int64
	Name        string // of GPT
	ESP         bool   // it is an EFI system partition
	BIOSBoot    bool   // it is the partition of a boot loader for BIOS, or marked as bootable by BIOS
}

// header is the header of a GPT.
type header struct {
	Magic                   [8]byte
	Revision, Size          uint32
	Sum, Reserved           uint32
	Current, Other          uint64
	FirstUsable, LastUsable uint64
	ID                      [16]byte
	Entries                 uint64
	Count, EntrySize        uint32
	EntriesSum              uint32
}

// Read reads the partition table of a disk. A disk may have none: its Kind is then
// None.
func Read(disk io.ReaderAt, size int64) (*Table, error) {
	first := make([]byte, sector)
	if _, err := disk.ReadAt(first, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	t := &Table{}
	if first[signatureAt] != 0x55 || first[signatureAt+1] != 0xaa {
		return t, nil
	}
	t.BootCode = bytes.ContainsFunc(first[:mbrEntries-6], func(r rune) bool { return r != 0 }) // a disk id comes before the entries
	protective := false
	for i := range mbrPartitions {
		entry := first[mbrEntries+i*mbrEntrySize:][:mbrEntrySize]
		kind := entry[4]
		if kind == 0 {
			continue
		}
		protective = protective || kind == mbrProtective
		t.add(Partition{
			Number: i + 1, Start: int64(binary.LittleEndian.Uint32(entry[8:])) * sector, Size: int64(binary.LittleEndian.Uint32(entry[12:])) * sector,
			ESP: kind == mbrESP,
		}, size)
	}
	if protective {
		return t, t.readGPT(disk, size)
	}
	// A file system without partitions may have a boot sector too: its status bytes are
	// code or text.
	for i := range mbrPartitions {
		if status := first[mbrEntries+i*mbrEntrySize]; status&0x7f != 0 {
			t.Partitions = nil
		}
	}
	if len(t.Partitions) > 0 {
		t.Kind = MBR
	}
	return t, nil
}

// add adds a partition, unless it is outside the disk.
func (t *Table) add(p Partition, size int64) {
	if p.Start > 0 && p.Size > 0 && p.Start < size {
		p.Size = min(p.Size, size-p.Start)
		t.Partitions = append(t.Partitions, p)
	}
}

func (t *Table) readGPT(disk io.ReaderAt, size int64) error {
	t.Kind, t.Partitions = GPT, nil
	data := make([]byte, sector)
	if _, err := disk.ReadAt(data, sector); err != nil {
		return fmt.Errorf("GPT: %w", err)
	}
	h := &header{}
	if err := binary.Read(bytes.NewReader(data), binary.LittleEndian, h); err != nil {
		return err
	}
	switch {
	case string(h.Magic[:]) != gptMagic:
		return errors.New("GPT: no header in the second sector, so sectors have not 512 bytes, or the table is damaged")
	case h.Size < gptHeaderSize || h.Size > sector:
		return fmt.Errorf("GPT: a header of %d bytes", h.Size)
	case h.Sum != headerSum(data[:h.Size]):
		return errors.New("GPT: the checksum of the header is wrong")
	case h.EntrySize != gptEntrySize || h.Count == 0 || h.Count > mostEntries:
		return fmt.Errorf("GPT: %d entries of %d bytes", h.Count, h.EntrySize)
	case h.Entries < 2 || h.Entries > uint64(size/sector): //nolint:gosec // not negative
		return fmt.Errorf("GPT: entries at sector %d", h.Entries)
	}
	entries := make([]byte, h.Count*gptEntrySize)
	if _, err := disk.ReadAt(entries, int64(h.Entries)*sector); err != nil { //nolint:gosec // checked
		return fmt.Errorf("GPT: %w", err)
	}
	if crc32.ChecksumIEEE(entries) != h.EntriesSum {
		return errors.New("GPT: the checksum of the entries is wrong")
	}
	t.gpt = h
	for i := range int(h.Count) {
		entry := entries[i*gptEntrySize:][:gptEntrySize]
		kind := string(entry[:16])
		if kind == string(make([]byte, 16)) {
			continue
		}
		first, last := binary.LittleEndian.Uint64(entry[32:]), binary.LittleEndian.Uint64(entry[40:])
		if last < first || first >= uint64(size/sector) { //nolint:gosec // not negative
			continue
		}
		last = min(last, uint64(size/sector)-1) //nolint:gosec // not negative; less than the last of a disk that was cut
		t.add(Partition{
			Number: i + 1, Start: int64(first) * sector, Size: int64(last-first+1) * sector, //nolint:gosec // checked
			Name: name(entry[56:]), ESP: kind == typeESP, BIOSBoot: kind == typeBIOS || entry[48]&legacyBoot != 0,
		}, size)
	}
	return nil
}

// headerSum returns the checksum of a header, which is computed without itself.
func headerSum(data []byte) uint32 {
	data = bytes.Clone(data)
	clear(data[16:20])
	return crc32.ChecksumIEEE(data)
}

func name(data []byte) string {
	var units []uint16
	for i := 0; i+1 < len(data); i += 2 {
		u := binary.LittleEndian.Uint16(data[i:])
		if u == 0 {
			break
		}
		units = append(units, u)
	}
	return string(utf16.Decode(units))
}

// A Patch is bytes that replace those of a disk.
type Patch struct {
	Offset int64
	Data   []byte
}

// Enlarge returns the changes for the disk of a table to be one of another size: a GPT has
// its copy at the end of the disk. It returns none if the table is not a GPT, or fits.
func (t *Table) Enlarge(disk io.ReaderAt, size int64) ([]Patch, error) {
	last := size/sector - 1
	if t.gpt == nil || int64(t.gpt.Other) >= last { //nolint:gosec // compared only
		return nil, nil
	}
	h := *t.gpt
	entries := make([]byte, h.Count*gptEntrySize)
	if _, err := disk.ReadAt(entries, int64(h.Entries)*sector); err != nil { //nolint:gosec // checked
		return nil, err
	}
	entrySectors := (int64(len(entries)) + sector - 1) / sector
	old := Patch{(int64(h.Other) - entrySectors) * sector, make([]byte, (entrySectors+1)*sector)} //nolint:gosec // less than the size
	h.Other, h.LastUsable = uint64(last), uint64(last-entrySectors-1)                             //nolint:gosec // not negative
	primary := h.encode()
	copied := h
	copied.Current, copied.Other, copied.Entries = h.Other, h.Current, uint64(last-entrySectors) //nolint:gosec // not negative
	padded := slices.Concat(entries, make([]byte, entrySectors*sector-int64(len(entries))))
	first := make([]byte, sector)
	if _, err := disk.ReadAt(first, 0); err != nil {
		return nil, err
	}
	for i := range mbrPartitions { // of the protective MBR
		if entry := first[mbrEntries+i*mbrEntrySize:][:mbrEntrySize]; entry[4] == mbrProtective {
			start := binary.LittleEndian.Uint32(entry[8:])
			binary.LittleEndian.PutUint32(entry[12:], uint32(min(last+1-int64(start), 1<<32-1))) //nolint:gosec // limited
		}
	}
	patches := []Patch{{0, first}, {sector, primary}, {(last - entrySectors) * sector, append(padded, copied.encode()...)}}
	if t.unused(old) {
		patches = append([]Patch{old}, patches...)
	}
	return patches, nil
}

// unused reports whether a part of the disk is neither in a partition nor of the first
// table.
func (t *Table) unused(p Patch) bool {
	end := p.Offset + int64(len(p.Data))
	for _, other := range t.Partitions {
		if p.Offset < other.Start+other.Size && end > other.Start {
			return false
		}
	}
	return p.Offset >= int64(t.gpt.FirstUsable)*sector //nolint:gosec // compared only
}

// encode returns the header as a sector, with its checksum.
func (h header) encode() []byte {
	h.Size, h.Sum, h.Reserved = gptHeaderSize, 0, 0
	var buf bytes.Buffer
	_ = binary.Write(&buf, binary.LittleEndian, h) // a buffer does not fail
	data := buf.Bytes()[:gptHeaderSize]
	binary.LittleEndian.PutUint32(data[16:], crc32.ChecksumIEEE(data))
	return append(data, make([]byte, sector-len(data))...)
}
