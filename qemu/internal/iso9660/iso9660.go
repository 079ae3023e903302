// Package iso9660 writes small ISO 9660 images, as that from which cloud-init reads its
// configuration: some files in one directory, with Rock Ridge and Joliet names.
package iso9660

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf16"
)

// A File is a file of an image.
type File struct {
	Name    string // at most 64 characters of ASCII, without slashes
	Content []byte
}

const (
	sector = 2048

	longestName   = 64 // of Joliet
	longestVolume = 16 // of Joliet

	fileMode = 0o100444
	dirMode  = 0o040555
)

// The sectors of an image, in order. The directories and the files follow.
const (
	primaryAt = 16 + iota
	jolietAt
	endAt
	pathsAt       // little-endian path table
	pathsBigAt    // big-endian
	jolietPathsAt // little-endian
	jolietBigAt   // big-endian
	rootAt
)

// Write returns an image with the given files. The volume label has at most 16
// characters. All files have the same time, which makes the image a function of its
// arguments.
func Write(volume string, modified time.Time, files ...File) ([]byte, error) {
	if err := validate(volume, files); err != nil {
		return nil, err
	}
	files = slices.Clone(files)
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	w := &writer{volume: volume, date: date(modified), files: files, at: make([]uint32, len(files))}
	// The size of a directory does not depend on where the files are.
	rootSize, jolietSize := len(w.directory(rootAt, 0, false)), len(w.directory(0, 0, true))
	jolietRoot := uint32(rootAt + rootSize/sector)                           //nolint:gosec // small
	next := jolietRoot + uint32(jolietSize/sector)                           //nolint:gosec // small
	sizes := func(n int) uint32 { return uint32((n + sector - 1) / sector) } //nolint:gosec // validated
	for i, f := range files {
		w.at[i] = next
		next += sizes(len(f.Content))
	}
	root := w.directory(rootAt, rootSize, false)
	joliet := w.directory(jolietRoot, jolietSize, true)

	var out bytes.Buffer
	out.Write(make([]byte, primaryAt*sector))
	out.Write(w.descriptor(next, rootAt, len(root), false))
	out.Write(w.descriptor(next, jolietRoot, len(joliet), true))
	out.Write(padded(append([]byte{255}, "CD001\x01"...)))
	for _, at := range []uint32{rootAt, jolietRoot} {
		out.Write(padded(pathTable(binary.LittleEndian, at)))
		out.Write(padded(pathTable(binary.BigEndian, at)))
	}
	out.Write(root)
	out.Write(joliet)
	for _, f := range files {
		out.Write(padded(f.Content))
	}
	return out.Bytes(), nil
}

func validate(volume string, files []File) error {
	if volume == "" || len(volume) > longestVolume {
		return fmt.Errorf("volume label %q: want 1 to %d characters", volume, longestVolume)
	}
	seen := map[string]bool{}
	size := int64(0)
	for _, f := range files {
		valid := f.Name != "" && len(f.Name) <= longestName && !strings.ContainsFunc(f.Name, func(r rune) bool { return r <= ' ' || r > '~' || r == '/' })
		if !valid || seen[f.Name] {
			return fmt.Errorf("invalid or repeated file name %q", f.Name)
		}
		seen[f.Name] = true
		size += int64(len(f.Content))
	}
	if size > math.MaxInt32 {
		return fmt.Errorf("files have %d bytes, want at most %d", size, math.MaxInt32)
	}
	return nil
}

type writer struct {
	volume string
	date   [7]byte
	files  []File
	at     []uint32 // the first sector of each file
}

// padded returns data, filled up to whole sectors.
func padded(data []byte) []byte {
	if rest := len(data) % sector; rest > 0 {
		data = append(slices.Clip(data), make([]byte, sector-rest)...)
	}
	return data
}

// small encodes a number that is known to fit.
func small(n int) byte { return byte(n) } //nolint:gosec // names are limited, and so are the parts of a time

// date encodes a time for a directory record.
func date(t time.Time) [7]byte {
	t = t.UTC()
	const first = 1900
	return [7]byte{small(t.Year() - first), small(int(t.Month())), small(t.Day()), small(t.Hour()), small(t.Minute()), small(t.Second()), 0}
}

// both32 appends n in both byte orders.
func both32(b []byte, n uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.LittleEndian.AppendUint32(b, n), n)
}

func both16(b []byte, n uint16) []byte {
	return binary.BigEndian.AppendUint16(binary.LittleEndian.AppendUint16(b, n), n)
}

// record returns a directory record. The system use area is empty for Joliet.
func (w *writer) record(name []byte, at uint32, size int, flags byte, system []byte) []byte {
	b := []byte{0, 0}
	b = both32(b, at)
	b = both32(b, uint32(size)) //nolint:gosec // validated
	b = append(b, w.date[:]...)
	b = append(b, flags, 0, 0)
	b = both16(b, 1)
	b = append(b, small(len(name)))
	b = append(b, name...)
	if len(b)%2 == 1 {
		b = append(b, 0)
	}
	b = append(b, system...)
	if len(b)%2 == 1 {
		b = append(b, 0)
	}
	b[0] = small(len(b))
	return b
}

const directoryFlag = 2

// directory returns the only directory, which is at the given sector and has the given
// size.
func (w *writer) directory(at uint32, size int, joliet bool) []byte {
	var self, parent []byte
	if !joliet {
		self = slices.Concat([]byte{'S', 'P', 7, 1, 0xbe, 0xef, 0}, attributes(dirMode, 2), extension())
		parent = attributes(dirMode, 2)
	}
	records := make([][]byte, 0, 2+len(w.files))
	records = append(records,
		w.record([]byte{0}, at, size, directoryFlag, self),
		w.record([]byte{1}, at, size, directoryFlag, parent),
	)
	for i, f := range w.files {
		name, system := wide(f.Name), []byte(nil)
		if !joliet {
			name, system = shortName(i), append(attributes(fileMode, 1), nameEntry(f.Name)...)
		}
		records = append(records, w.record(name, w.at[i], len(f.Content), 0, system))
	}
	var out []byte
	for _, r := range records {
		if len(out)%sector+len(r) > sector { // no record crosses the end of a sector
			out = padded(out)
		}
		out = append(out, r...)
	}
	return padded(out)
}

// shortName returns the name of the i-th file for systems without extensions. The names
// are in the order of the real ones.
func shortName(i int) []byte { return fmt.Appendf(nil, "FILE%04d.;1", i) }

// attributes returns a Rock Ridge entry with a file's mode, owned by root.
func attributes(mode, links uint32) []byte {
	const version2Length = 36
	b := []byte{'P', 'X', version2Length, 1}
	for _, n := range []uint32{mode, links, 0, 0} {
		b = both32(b, n)
	}
	return b
}

// nameEntry returns a Rock Ridge entry with a file's name.
func nameEntry(name string) []byte {
	const head = 5
	return append([]byte{'N', 'M', small(head + len(name)), 1, 0}, name...)
}

// extension returns the entry that announces Rock Ridge.
func extension() []byte {
	const id, text = "RRIP_1991A", "ROCK RIDGE"
	const head = 8
	return slices.Concat([]byte{'E', 'R', byte(head + len(id) + len(text)), 1, byte(len(id)), byte(len(text)), 0, 1}, []byte(id), []byte(text))
}

// wide encodes text in UCS-2.
func wide(text string) []byte {
	var b []byte
	for _, c := range utf16.Encode([]rune(text)) {
		b = binary.BigEndian.AppendUint16(b, c)
	}
	return b
}

// descriptor returns a volume descriptor.
func (w *writer) descriptor(sectors, rootAt uint32, rootSize int, joliet bool) []byte {
	b := make([]byte, sector)
	text := func(at, length int, s string) {
		field := b[at : at+length]
		if joliet {
			for i := 0; i+1 < length; i += 2 {
				field[i], field[i+1] = 0, ' '
			}
			copy(field, wide(s))
			return
		}
		copy(field, bytes.Repeat([]byte{' '}, length))
		copy(field, s)
	}
	b[0] = 1
	if joliet {
		b[0] = 2
	}
	copy(b[1:], "CD001\x01")
	text(8, 32, "")
	text(40, 32, w.volume)
	copy(b[80:], both32(nil, sectors))
	paths := uint32(pathsAt)
	if joliet {
		copy(b[88:], "%/E") // UCS-2 level 3
		paths = jolietPathsAt
	}
	copy(b[120:], both16(nil, 1))
	copy(b[124:], both16(nil, 1))
	copy(b[128:], both16(nil, sector))
	copy(b[132:], both32(nil, uint32(len(pathTable(binary.LittleEndian, 0))))) //nolint:gosec // small
	binary.LittleEndian.PutUint32(b[140:], paths)
	binary.BigEndian.PutUint32(b[148:], paths+1)
	copy(b[156:], w.record([]byte{0}, rootAt, rootSize, directoryFlag, nil))
	for _, field := range [][2]int{{190, 128}, {318, 128}, {446, 128}, {574, 128}, {702, 37}, {739, 37}, {776, 37}} {
		text(field[0], field[1], "")
	}
	for _, at := range []int{813, 830, 847, 864} { // dates that are not set
		copy(b[at:], strings.Repeat("0", 16))
	}
	b[881] = 1
	return b
}

// pathTable returns a path table with the root directory alone.
func pathTable(order binary.AppendByteOrder, root uint32) []byte {
	b := order.AppendUint32([]byte{1, 0}, root)
	b = order.AppendUint16(b, 1)
	return append(b, 0, 0)
}
