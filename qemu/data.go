package qemu

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"

	"github.com/bakestone-go/bakestone/bake"
)

// A DataDisk is a disk of a machine besides the one that it boots from. It is empty
// when the machine boots for the first time; provisioners partition and format it.
type DataDisk struct {
	// Name distinguishes the disk and is its serial number, so a Linux guest finds
	// it as /dev/disk/by-id/virtio-NAME. It has at most 15 lower-case letters, digits
	// and hyphens, and is required.
	Name string

	// Size is the size in bytes. It is required.
	Size int64
}

// A DataFile is the captured file of a DataDisk: a standalone qcow2.
type DataFile struct {
	Name     string `json:"name"`
	Path     string `json:"path"`
	Size     int64  `json:"size"`      // of the disk, in bytes
	FileSize int64  `json:"file_size"` // of the file, in bytes
	SHA256   string `json:"sha256"`    // of the file
}

// dataName matches the names of data disks. QEMU cuts serial numbers after 20 bytes.
var dataName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,14}$`)

// validateDisks reports invalid data disks and too many of them.
func (b Builder) validateDisks(invalid func(field, format string, args ...any)) {
	seen := map[string]bool{"disk": true, "seed": true}
	for i, d := range b.Disks {
		field := fmt.Sprintf("Disks[%d]", i)
		switch {
		case !dataName.MatchString(d.Name):
			invalid(field+".Name", "invalid name %q: want at most 15 lower-case letters, digits and hyphens", d.Name)
		case seen[d.Name]:
			invalid(field+".Name", "%q is taken", d.Name)
		}
		seen[d.Name] = true
		if d.Size <= 0 || d.Size%sectorSize != 0 {
			invalid(field+".Size", "is %d bytes, want a multiple of %d", d.Size, sectorSize)
		}
	}
	for _, h := range []struct {
		field string
		value Hardware
	}{{"Hardware", b.Hardware}, {"CheckHardware", b.CheckHardware}} {
		d := h.value.orVirtio()
		switch {
		case d == nil:
			invalid(h.field, "unknown value %d", int(h.value))
		case len(b.Disks)+1 > d.mostDisks():
			invalid("Disks", "are %d, but %s has places for %d", len(b.Disks), h.field, d.mostDisks()-1)
		}
	}
}

// A machineDisk is a disk of the machine. The first one of a machine boots and has no
// name.
type machineDisk struct {
	Name   string `json:"name,omitempty"`
	Source string `json:"source,omitempty"` // the file below its layer; empty if it is new
	Format string `json:"format,omitempty"` // of the source
	Size   int64  `json:"size"`
}

// node returns the name of the block device and the serial number of the disk.
func (d machineDisk) node() string {
	if d.Name == "" {
		return "disk"
	}
	return d.Name
}

// file returns the name of the file, in the directory of the machine and of the image.
func (d machineDisk) file() string {
	if d.Name == "" {
		return diskName
	}
	return "data-" + d.Name + ".qcow2"
}

// machineDisks returns the disks of a machine made from the source. The machine that
// checks an image has the disks of the image.
func (s *session) machineDisks() ([]machineDisk, error) {
	size := s.Source.Size
	if !s.run.Checks {
		size = max(size, s.builder.DiskSize)
	}
	disks := []machineDisk{{Source: s.Source.Path, Format: s.Source.Format, Size: size}}
	if s.installer() != nil {
		disks[0].Source, disks[0].Format = "", ""
	}
	taken := map[string]bool{}
	for _, d := range s.Source.Data {
		disks = append(disks, machineDisk{Name: d.Name, Source: d.Path, Format: "qcow2", Size: d.Size})
		taken[d.Name] = true
	}
	if s.run.Checks {
		return disks, nil
	}
	for i, d := range s.builder.Disks {
		if taken[d.Name] {
			return nil, bake.Invalid(fmt.Sprintf("Builder.Disks[%d].Name", i), "the source has a disk %q already", d.Name)
		}
		disks = append(disks, machineDisk{Name: d.Name, Size: d.Size})
	}
	if most := s.hardware().mostDisks(); len(disks) > most {
		return nil, bake.Invalid("Builder.Disks", "with those of the source there are %d disks, but the hardware has places for %d", len(disks), most)
	}
	return disks, nil
}

// largestTrimmed is the size of the largest disk whose layer can have clusters of 4 KiB, a
// half of what the table of a qcow2 file can hold.
const largestTrimmed = 4 << 40

// createLayer creates the file of a disk, over its source if it has one. QEMU gives back
// only whole clusters, so they are as small as the blocks of file systems: in clusters of
// 64 KiB, which is its default, the contents of a deleted file would stay beside those of
// others.
func (s *session) createLayer(ctx context.Context, d machineDisk) error {
	args := []string{"create", "-q", "-f", "qcow2"}
	if d.Source != "" {
		args = append(args, "-b", d.Source, "-F", d.Format)
	}
	if !s.builder.Capture.NoTrim && d.Size <= largestTrimmed {
		args = append(args, "-o", "cluster_size=4k")
	}
	args = append(args, s.path(d.file()), strconv.FormatInt(d.Size, 10))
	if _, err := s.builder.Host.img(ctx, s.run, args...); err != nil {
		return err
	}
	s.run.Created("disk", s.path(d.file()))
	return nil
}

// captureDisk writes a disk of the machine as a standalone file of the image, and checks
// it.
func (s *session) captureDisk(ctx context.Context, d machineDisk) (DataFile, error) {
	host, path := s.builder.Host, filepath.Join(s.imageDir(), d.file())
	args := []string{"convert", "-f", "qcow2", "-O", "qcow2"}
	if s.builder.Capture.Compress {
		args = append(args, "-c")
	}
	if _, err := host.img(ctx, s.run, append(args, s.path(d.file()), path)...); err != nil {
		return DataFile{}, err
	}
	if _, err := host.img(ctx, s.run, "check", "-q", "-f", "qcow2", path); err != nil {
		return DataFile{}, err
	}
	info, err := host.inspect(ctx, s.run, path, "qcow2")
	if err != nil {
		return DataFile{}, err
	}
	if info.VirtualSize != d.Size {
		return DataFile{}, fmt.Errorf("%s has a disk of %d bytes, want %d", path, info.VirtualSize, d.Size)
	}
	if err := syncFile(path); err != nil {
		return DataFile{}, err
	}
	digest, err := fileDigest(ctx, path)
	if err != nil {
		return DataFile{}, err
	}
	file, err := os.Stat(path)
	if err != nil {
		return DataFile{}, err
	}
	s.run.Say("image: %s (%d MiB, disk of %d MiB)", path, file.Size()>>20, info.VirtualSize>>20)
	return DataFile{Name: d.Name, Path: path, Size: info.VirtualSize, FileSize: file.Size(), SHA256: digest}, nil
}
