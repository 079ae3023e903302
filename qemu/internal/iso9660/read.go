package iso9660

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
)

// Limits of what Open reads of an image that may be damaged or hostile.
const (
	largestDirectory = 4 << 20
	deepest          = 16
)

// Open returns the contents of a file of an ISO 9660 image, whose path has slashes:
// "install.amd/vmlinuz". Names are those of Rock Ridge if the image has them, else those
// of ISO 9660 without versions. Case does not matter. The error wraps fs.ErrNotExist if
// there is no such file.
func Open(image io.ReaderAt, path string) (*io.SectionReader, error) {
	descriptor := make([]byte, sector)
	if _, err := image.ReadAt(descriptor, primaryAt*sector); err != nil {
		return nil, fmt.Errorf("read ISO 9660 descriptor: %w", err)
	}
	const rootRecordAt, recordSize = 156, 34
	if descriptor[0] != 1 || !bytes.Equal(descriptor[1:6], []byte("CD001")) {
		return nil, errors.New("not an ISO 9660 image")
	}
	at, err := parseEntry(descriptor[rootRecordAt : rootRecordAt+recordSize])
	if err != nil {
		return nil, err
	}
	parts := strings.Split(strings.Trim(path, "/"), "/")
	if len(parts) > deepest {
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	}
	for _, part := range parts {
		if !at.directory {
			return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
		}
		if at, err = lookUp(image, at, part); err != nil {
			return nil, &fs.PathError{Op: "open", Path: path, Err: err}
		}
	}
	if at.directory {
		return nil, &fs.PathError{Op: "open", Path: path, Err: errors.New("is a directory")}
	}
	return io.NewSectionReader(image, at.start, at.size), nil
}

// An entry is a directory record.
type entry struct {
	name        string
	start, size int64
	directory   bool
}

// lookUp finds a name in a directory.
func lookUp(image io.ReaderAt, dir entry, name string) (entry, error) {
	if dir.size > largestDirectory {
		return entry{}, fmt.Errorf("directory of %d bytes", dir.size)
	}
	data := make([]byte, dir.size)
	if _, err := image.ReadAt(data, dir.start); err != nil {
		return entry{}, err
	}
	for at := 0; at < len(data); {
		length := int(data[at])
		if length == 0 { // no record crosses the end of a sector
			at = (at/sector + 1) * sector
			continue
		}
		if at+length > len(data) {
			return entry{}, errors.New("damaged directory")
		}
		e, err := parseEntry(data[at : at+length])
		if err != nil {
			return entry{}, err
		}
		if strings.EqualFold(e.name, name) {
			return e, nil
		}
		at += length
	}
	return entry{}, fs.ErrNotExist
}

// parseEntry decodes a directory record.
func parseEntry(record []byte) (entry, error) {
	const startAt, sizeAt, flagsAt, lengthAt, nameAt = 2, 10, 25, 32, 33
	if len(record) <= nameAt || nameAt+int(record[lengthAt]) > len(record) {
		return entry{}, errors.New("damaged directory record")
	}
	e := entry{
		start:     int64(binary.LittleEndian.Uint32(record[startAt:])) * sector,
		size:      int64(binary.LittleEndian.Uint32(record[sizeAt:])),
		directory: record[flagsAt]&directoryFlag != 0,
	}
	end := nameAt + int(record[lengthAt])
	e.name, _, _ = strings.Cut(string(record[nameAt:end]), ";")
	e.name = strings.TrimSuffix(e.name, ".")
	if end%2 == 1 { // a byte fills up the name
		end++
	}
	if end > len(record) {
		return e, nil
	}
	if name := longName(record[end:]); name != "" {
		e.name = name
	}
	return e, nil
}

// longName returns the Rock Ridge name in a system use area, or an empty string.
func longName(area []byte) string {
	const head = 5
	var name strings.Builder
	for len(area) >= head {
		length := int(area[2])
		if length < 4 || length > len(area) {
			break
		}
		if string(area[:2]) == "NM" && length >= head {
			name.Write(area[head:length])
		}
		area = area[length:]
	}
	return name.String()
}
