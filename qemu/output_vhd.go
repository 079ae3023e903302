package qemu

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"os"
	"time"

	"github.com/bakestone-go/bakestone/bake"
)

// A VHD output is a fixed VHD whose size is a whole number of MiB, as Azure demands.
// Blocks of zeros are holes in the file.
type VHD struct {
	// Path is the file to write. Empty means a file beside the image, named after it.
	Path string
}

var _ bake.Publisher = VHD{}

// String returns "VHD".
func (v VHD) String() string { return "VHD" }

// Publish writes the file.
func (v VHD) Publish(ctx context.Context, a bake.Artifact) error {
	return eachDisk(ctx, a, v.Path, ".vhd", func(d *Disk, f DataFile, part *os.File) error {
		if err := d.convert(ctx, f, "raw", part.Name()); err != nil {
			return err
		}
		const mib = 1 << 20
		size := (f.Size + mib - 1) / mib * mib
		if size > mostVHD {
			return errors.New("a VHD has at most 2040 GiB")
		}
		if err := part.Truncate(size); err != nil {
			return err
		}
		_, err := part.WriteAt(vhdFooter(size, d.Created), size)
		return err
	})
}

const mostVHD = 2040 << 30

// vhdFooter returns the last sector of a fixed VHD.
func vhdFooter(size int64, created time.Time) []byte {
	const (
		reserved  = 2
		version   = 0x00010000
		creator   = 0x00050003
		fixed     = 2
		noHeader  = 0xffffffffffffffff
		checksum  = 64
		idAt      = 68
		idLength  = 16
		epochYear = 2000
	)
	b := make([]byte, 0, sectorSize)
	b = append(b, "conectix"...)
	b = binary.BigEndian.AppendUint32(b, reserved)
	b = binary.BigEndian.AppendUint32(b, version)
	b = binary.BigEndian.AppendUint64(b, noHeader)
	seconds := created.Sub(time.Date(epochYear, 1, 1, 0, 0, 0, 0, time.UTC)) / time.Second
	b = binary.BigEndian.AppendUint32(b, uint32(max(0, seconds))) //nolint:gosec // until 2136
	b = append(b, "qem2"...)                                      // by which readers take the size below for the truth
	b = binary.BigEndian.AppendUint32(b, creator)
	b = append(b, "Wi2k"...)
	b = binary.BigEndian.AppendUint64(b, uint64(size)) //nolint:gosec // positive
	b = binary.BigEndian.AppendUint64(b, uint64(size)) //nolint:gosec // positive
	b = append(b, vhdGeometry(size/sectorSize)...)
	b = binary.BigEndian.AppendUint32(b, fixed)
	b = append(b, make([]byte, sectorSize-len(b))...)
	_, _ = rand.Read(b[idAt : idAt+idLength]) // never fails
	sum := uint32(0)
	for _, c := range b {
		sum += uint32(c)
	}
	binary.BigEndian.PutUint32(b[checksum:], ^sum)
	return b
}

// vhdGeometry returns cylinders, heads and sectors per track, as the VHD specification
// computes them.
func vhdGeometry(sectors int64) []byte {
	const most = 65535 * 16 * 255
	sectors = min(sectors, most)
	perTrack, heads := int64(17), int64(0)
	tracks := sectors / perTrack
	if sectors >= 65535*16*63 {
		perTrack, heads = 255, 16
		tracks = sectors / perTrack
	} else {
		const full, wide = 1024, 16
		heads = max(4, (tracks+full-1)/full) //nolint:mnd // the least
		if tracks >= heads*full || heads > wide {
			perTrack, heads = 31, wide
			tracks = sectors / perTrack
		}
		if tracks >= heads*full {
			perTrack, heads = 63, wide
			tracks = sectors / perTrack
		}
	}
	b := binary.BigEndian.AppendUint16(nil, uint16(tracks/heads)) //nolint:gosec // limited above
	return append(b, byte(heads), byte(perTrack))                 //nolint:gosec // at most 16 and 255
}
