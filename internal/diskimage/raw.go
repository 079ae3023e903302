package diskimage

import (
	"fmt"
	"io"
	"os"
)

// raw is a disk as it is. Sectors that a file lacks at its end are zeros.
type raw struct {
	file io.ReaderAt
	held int64 // the bytes in the file
	size int64
	os   *os.File // or nil
}

func newRaw(file io.ReaderAt, size int64) (Disk, error) {
	if size <= 0 || size > mostSize {
		return nil, fmt.Errorf("a disk of %d bytes: want 1 to %d", size, int64(mostSize))
	}
	r := &raw{file: file, held: size, size: (size + sector - 1) / sector * sector}
	r.os, _ = file.(*os.File)
	return r, nil
}

func (r *raw) Size() int64    { return r.size }
func (r *raw) Format() string { return Raw }

func (r *raw) ReadAt(p []byte, off int64) (int, error) {
	return readChunks(r.file, r.size, p, off, func(off int64) (chunk, error) {
		if off < r.held {
			return chunk{file: off, length: r.held - off}, nil
		}
		return chunk{file: -1, length: r.size - off}, nil
	})
}

func (r *raw) NextData(off int64) (start, end int64, err error) {
	if off >= r.held {
		return r.size, r.size, nil
	}
	if r.os != nil {
		if start, end, ok := seekData(r.os, off, r.held); ok {
			if start >= r.held {
				return r.size, r.size, nil
			}
			return start, end, nil
		}
	}
	return off, r.held, nil
}
