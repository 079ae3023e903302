package ec2

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2/internal/ebsdirect"
	"github.com/bakestone-go/bakestone/internal/diskimage"
	"github.com/bakestone-go/bakestone/internal/partition"
)

// An openDisk is a disk that can be read.
type openDisk struct {
	name     string
	contents bake.DiskContents
	sizeGiB  int32 // asked for
	device   string

	// head is the disk, or the beginning of a stream.
	head   io.ReaderAt
	stream bool

	// unchanged returns an error if the disk is not what it was when it was opened, or
	// nil if that is not known.
	unchanged func() error

	// rereads reports that a change is seen only by reading the disk again.
	rereads bool
}

// openDisks are the disks of a build, first the one that boots.
type openDisks struct {
	all          []openDisk
	architecture string // empty if unknown
	login        string // empty if unknown
}

// withDisks calls use with the disks of the source.
func (s *session) withDisks(ctx context.Context, use func(openDisks) error) (err error) {
	d := s.builder.disk()
	if d.isFrom() {
		return s.withDisksOfSource(ctx, d, use)
	}
	disks := openDisks{}
	var closers []io.Closer
	defer func() {
		for _, c := range closers {
			_ = c.Close() // it was only read
		}
	}()
	inputs := []diskInput{d.input()}
	for _, data := range d.Data {
		inputs = append(inputs, data.input())
	}
	for i, in := range inputs {
		one, closer, err := in.openDisk(ctx)
		if err != nil {
			return fmt.Errorf("disk %s: %w", in.name(), err)
		}
		closers = append(closers, closer)
		one.device = d.deviceOf(i)
		disks.all = append(disks.all, one)
	}
	return use(disks)
}

// deviceOf returns the device of a disk.
func (d Disk) deviceOf(i int) string {
	switch {
	case i == 0:
		return d.rootDevice()
	case i <= len(d.Data):
		return d.Data[i-1].Device
	}
	return "/dev/sd" + dataDevices[i-1:i]
}

// withDisksOfSource calls use with the disks of the artifact of Image.From.
func (s *session) withDisksOfSource(ctx context.Context, d *Disk, use func(openDisks) error) error {
	if s.run.Source == nil {
		return errors.New("no source: Image.From has no artifact")
	}
	from, ok := bake.As[bake.DiskReader](s.run.Source)
	if !ok {
		return bake.Invalid("Image.From", "%s has no disks that can be read", s.run.Source)
	}
	return from.ReadDisks(ctx, func(all bake.SystemDisks) error {
		disks := openDisks{architecture: all.Architecture, login: all.Login}
		if len(all.Disks) == 0 || len(all.Disks) > 1+len(dataDevices) {
			return fmt.Errorf("%s has %d disks", s.run.Source, len(all.Disks))
		}
		if len(d.Data) >= len(all.Disks) {
			return bake.Invalid("Disk.Data", "has %d disks, but %s only %d besides the one that boots", len(d.Data), s.run.Source, len(all.Disks)-1)
		}
		for i, one := range all.Disks {
			disks.all = append(disks.all, openDisk{
				name: s.run.Source.String(), contents: one, head: one, device: d.deviceOf(i), unchanged: func() error { return nil },
			})
			if i == 0 {
				disks.all[i].sizeGiB = d.SizeGiB
			} else if i <= len(d.Data) {
				disks.all[i].sizeGiB = d.Data[i-1].SizeGiB
			}
		}
		return use(disks)
	})
}

// openDisk opens the file, or the stream.
func (d diskInput) openDisk(ctx context.Context) (openDisk, io.Closer, error) {
	one := openDisk{name: d.name(), sizeGiB: d.sizeGiB}
	if d.open != nil {
		return d.openStream(ctx, one)
	}
	file, err := os.Open(d.file)
	if err != nil {
		return one, nil, err
	}
	failed := func(err error) (openDisk, io.Closer, error) {
		_ = file.Close() // err is why
		return one, nil, err
	}
	info, err := file.Stat()
	if err != nil {
		return failed(err)
	}
	size := info.Size()
	switch {
	case info.IsDir():
		return failed(errors.New("is a directory"))
	case !info.Mode().IsRegular(): // a block device
		if size, err = file.Seek(0, io.SeekEnd); err != nil {
			return failed(fmt.Errorf("is neither a file nor a disk: %w", err))
		}
		one.rereads = true
	}
	disk, err := diskimage.Open(file, size, d.format)
	if err != nil {
		return failed(err)
	}
	one.contents, one.head = disk, disk
	one.unchanged = func() error {
		now, err := file.Stat()
		if err != nil {
			return err
		}
		if now.Size() != info.Size() || !now.ModTime().Equal(info.ModTime()) {
			return fmt.Errorf("%w: the file was modified at %s", errDiskChanged, now.ModTime().Format(time.RFC3339Nano))
		}
		return nil
	}
	return one, file, nil
}

// errDiskChanged is returned, wrapped, for a disk that was written while it was read.
var errDiskChanged = errors.New("the disk changed while it was read: shut down what uses it, or upload a copy")

// headSize is how much of a stream is looked at before the upload.
const headSize = 1 << 20

func (d diskInput) openStream(ctx context.Context, one openDisk) (openDisk, io.Closer, error) {
	opened, err := d.open(ctx)
	if err != nil {
		return one, nil, err
	}
	head := make([]byte, min(headSize, d.size))
	if _, err := io.ReadFull(opened, head); err != nil {
		return one, nil, errors.Join(fmt.Errorf("read the beginning of the stream: %w", err), opened.Close())
	}
	stream := &ebsdirect.Stream{Reader: io.MultiReader(bytes.NewReader(head), opened), Length: d.size}
	one.contents, one.head, one.stream, one.unchanged = stream, bytes.NewReader(head), true, stream.Ended
	return one, opened, nil
}

// volumeSize returns the size of the volume in GiB.
func (o openDisk) volumeSize() (int32, error) {
	need := (o.contents.Size() + 1<<30 - 1) >> 30
	switch {
	case need > largestVolumeGiB:
		return 0, fmt.Errorf("a disk of %d GiB, want at most %d", need, largestVolumeGiB)
	case o.sizeGiB == 0:
		return int32(need), nil //nolint:gosec // checked
	case int64(o.sizeGiB) < need:
		return 0, bake.Invalid("Disk.SizeGiB", "%d is less than the disk %s, which needs %d", o.sizeGiB, o.name, need)
	}
	return o.sizeGiB, nil
}

// source returns the blocks of a volume of the given size with the disk.
func (o openDisk) source(sizeGiB int32) (ebsdirect.Source, error) {
	size := int64(sizeGiB) << 30
	disk := ebsdirect.Patch(o.contents, size)
	table, err := partition.Read(o.head, o.contents.Size())
	if err != nil {
		return nil, err
	}
	patches, err := table.Enlarge(o.head, size)
	if err != nil {
		return nil, err
	}
	for _, p := range patches {
		disk.Replace(p.Offset, p.Data)
	}
	return &ebsdirect.DiskSource{Disk: disk}, nil
}

// A bootable is how the AMI of a disk boots.
type bootable struct {
	mode         string // of RegisterImage
	architecture string
}

// findBoot returns how the disk boots. A disk that cannot is an error.
func (o openDisk) findBoot(architecture string) (bootable, error) {
	const x86, arm = partition.X86, partition.ARM64
	table, err := partition.Read(o.head, o.contents.Size())
	switch {
	case err != nil:
		return bootable{}, err
	case table.Kind == partition.None:
		return bootable{}, errors.New("cannot boot: it has no partition table, so it is perhaps a file system or not a disk")
	case o.stream: // the boot loaders may be anywhere
		b := bootable{"", architecture}
		if b.architecture == "" {
			b.architecture = x86
		}
		return b, nil
	}
	boot, err := table.FindBoot(o.head)
	if err != nil {
		return bootable{}, fmt.Errorf("cannot boot: %w", err)
	}
	if architecture == "" {
		architecture = x86
		if len(boot.UEFI) == 1 && !boot.BIOS {
			architecture = boot.UEFI[0]
		}
	}
	b := bootable{architecture: architecture}
	uefi := false
	for _, a := range boot.UEFI {
		uefi = uefi || a == architecture
	}
	bios := boot.BIOS && architecture == x86
	switch {
	case uefi && bios:
		b.mode = "uefi-preferred"
	case uefi:
		b.mode = "uefi"
	case bios:
		b.mode = "legacy-bios"
	case len(boot.UEFI) > 0:
		return b, fmt.Errorf("cannot boot: its boot loader is for %v, want %s", boot.UEFI, architecture)
	case architecture == arm:
		return b, errors.New(`cannot boot: it has no \EFI\BOOT\BOOTAA64.EFI on an EFI system partition, which arm64 needs`)
	default:
		return b, fmt.Errorf(`cannot boot: its %s has neither a boot loader for BIOS nor \EFI\BOOT\BOOTX64.EFI on an EFI system partition`, table.Kind)
	}
	return b, nil
}
