package qemu

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/atomicfile"
	"github.com/bakestone-go/bakestone/qemu/internal/ovf"
	"github.com/bakestone-go/bakestone/qemu/internal/vmdk"
)

// The outputs are publishers: each writes the image to a further file. Without a path
// the file is beside the image, and removed with it.

var (
	_ bake.Publisher = QCOW2{}
	_ bake.Publisher = Raw{}
	_ bake.Publisher = VMDK{}
	_ bake.Publisher = OVA{}
	_ bake.Publisher = Box{}
	_ bake.Validator = OVA{}
	_ bake.Validator = Box{}
)

// A QCOW2 output is a copy of the image that was baked.
type QCOW2 struct {
	// Path is the file to write. Empty means a file beside the image, named after it.
	Path string

	// Compress makes the file smaller, as Capture.Compress does.
	Compress bool
}

// String returns "qcow2".
func (q QCOW2) String() string { return "qcow2" }

// Publish writes the file.
func (q QCOW2) Publish(ctx context.Context, a bake.Artifact) error {
	return output(ctx, a, q.Path, ".qcow2", func(d *Disk, part *os.File) error {
		var options []string
		if q.Compress {
			options = []string{"-c"}
		}
		return d.convert(ctx, "qcow2", part.Name(), options...)
	})
}

// A Raw output is a raw disk image. Blocks of zeros are holes in the file.
type Raw struct {
	// Path is the file to write. Empty means a file beside the image, named after it.
	Path string
}

// String returns "raw image".
func (r Raw) String() string { return "raw image" }

// Publish writes the file.
func (r Raw) Publish(ctx context.Context, a bake.Artifact) error {
	return output(ctx, a, r.Path, ".raw", func(d *Disk, part *os.File) error {
		return d.convert(ctx, "raw", part.Name())
	})
}

// A VMDK output is a stream-optimized VMDK, as OVF packages and cloud importers take it.
type VMDK struct {
	// Path is the file to write. Empty means a file beside the image, named after it.
	Path string
}

// String returns "VMDK".
func (v VMDK) String() string { return "VMDK" }

// Publish writes the file.
func (v VMDK) Publish(ctx context.Context, a bake.Artifact) error {
	return output(ctx, a, v.Path, ".vmdk", func(d *Disk, part *os.File) error {
		return d.writeVMDK(ctx, part, filepath.Base(cmp.Or(v.Path, d.Image+".vmdk")))
	})
}

// Hardware is the virtual hardware of a machine that an OVA or a Box describes. The
// guest must have its drivers, for the disk in its initramfs.
type Hardware int

// The kinds of hardware.
const (
	CommonHardware      Hardware = iota // AHCI and E1000, which VMware and VirtualBox have
	ParavirtualHardware                 // PVSCSI and VMXNET3, of VMware only
)

func (h Hardware) controller() (c ovf.Controller, adapter string) {
	const scsi, other = 6, 20
	if h == ParavirtualHardware {
		return ovf.Controller{Type: scsi, SubType: "VirtualSCSI", Name: "SCSI Controller"}, "VmxNet3"
	}
	return ovf.Controller{Type: other, SubType: "AHCI", Name: "SATA Controller"}, "E1000"
}

// An OVA output is a virtual machine in one file: an OVF descriptor, its manifest, and
// the disk as a stream-optimized VMDK. It was not tested with VMware's products and
// VirtualBox themselves.
type OVA struct {
	// Path is the file to write. Empty means a file beside the image, named after it.
	Path string

	// CPUs is the number of virtual CPUs. Zero means two.
	CPUs int

	// Memory is the memory in bytes. Zero means 1 GiB.
	Memory int64

	// Hardware is the virtual hardware. The zero value works with VMware and
	// VirtualBox.
	Hardware Hardware

	// OSType is VMware's name of the guest's operating system, such as
	// "debian12_64Guest". Empty means another 64-bit Linux.
	OSType string
}

// String returns "OVA".
func (o OVA) String() string { return "OVA" }

// Validate reports invalid sizes and hardware.
func (o OVA) Validate() error { return validateMachine("OVA", o.CPUs, o.Memory, o.Hardware, o.OSType) }

// guestOS matches VMware's names of operating systems.
var guestOS = regexp.MustCompile(`^[a-zA-Z0-9_-]*$`)

func validateMachine(owner string, cpus int, memory int64, hardware Hardware, osType string) error {
	var errs []error
	if cpus < 0 {
		errs = append(errs, bake.Invalid(owner+".CPUs", "must not be negative"))
	}
	if memory != 0 && memory < leastMemory {
		errs = append(errs, bake.Invalid(owner+".Memory", "is %d bytes, want at least %d: it is not in MiB", memory, leastMemory))
	}
	if hardware != CommonHardware && hardware != ParavirtualHardware {
		errs = append(errs, bake.Invalid(owner+".Hardware", "unknown value %d", hardware))
	}
	if !guestOS.MatchString(osType) {
		errs = append(errs, bake.Invalid(owner+".OSType", "invalid name %q", osType))
	}
	return errors.Join(errs...)
}

// Publish writes the file.
func (o OVA) Publish(ctx context.Context, a bake.Artifact) error {
	return output(ctx, a, o.Path, ".ova", func(d *Disk, part *os.File) error {
		return d.withVMDK(ctx, d.Image+"-disk1.vmdk", func(disk ovf.Entry) error {
			descriptor, err := d.descriptor(disk, o.CPUs, o.Memory, o.Hardware, o.OSType)
			if err != nil {
				return err
			}
			first := ovf.Bytes(d.Image+".ovf", descriptor) // importers expect it there
			manifest, err := ovf.Manifest(d.Image+".mf", first, disk)
			if err != nil {
				return err
			}
			return ovf.WriteTar(ctx, part, first, manifest, disk)
		})
	})
}

// descriptor returns the OVF descriptor of a machine with the disk.
func (d *Disk) descriptor(disk ovf.Entry, cpus int, memory int64, hardware Hardware, osType string) ([]byte, error) {
	const mib, grain = 20, 64 << 10
	m := ovf.Machine{
		Name: d.Image, CPUs: cmp.Or(cpus, defaultCPUs), MemoryMiB: cmp.Or(memory, defaultMemory) >> mib, OSType: osType,
		DiskFile: disk.Name, DiskSize: disk.Size, Capacity: (d.Size + grain - 1) / grain * grain,
	}
	m.Controller, m.Adapter = hardware.controller()
	return m.Descriptor()
}

// output writes a file by way of a partial one, in the directory of the result. An empty
// path is that of a file beside the image, with the extension.
func output(ctx context.Context, a bake.Artifact, path, ext string, write func(d *Disk, part *os.File) error) (err error) {
	d, err := DiskOf(a)
	if err != nil {
		return err
	}
	if path == "" {
		path = filepath.Join(filepath.Dir(d.Path), d.Image+ext)
	}
	part, err := os.CreateTemp(filepath.Dir(path), atomicfile.TempPrefix+"*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = part.Close() // err is why
			err = errors.Join(err, os.Remove(part.Name()))
		}
	}()
	if err := write(d, part); err != nil {
		return err
	}
	const mode = 0o644
	if err := errors.Join(part.Chmod(mode), part.Sync(), part.Close()); err != nil {
		return err
	}
	info, err := os.Stat(part.Name())
	if err != nil {
		return err
	}
	if err := os.Rename(part.Name(), path); err != nil {
		return err
	}
	bake.RunFromContext(ctx).Say("written: %s (%d MiB)", path, info.Size()>>20)
	return nil
}

// convert writes the disk in another format to a file.
func (d *Disk) convert(ctx context.Context, format, path string, options ...string) error {
	args := append([]string{"convert", "-f", d.Format, "-O", format}, options...)
	_, err := d.host.img(ctx, bake.RunFromContext(ctx), append(args, d.Path, path)...)
	return err
}

// withTemp calls f with the name of a temporary file beside the image.
func (d *Disk) withTemp(f func(name string) error) (err error) {
	temp, err := os.CreateTemp(filepath.Dir(d.Path), atomicfile.TempPrefix+"*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(temp.Name())) }()
	if err := temp.Close(); err != nil {
		return err
	}
	return f(temp.Name())
}

// writeVMDK writes the disk to an empty file as a stream-optimized VMDK.
func (d *Disk) writeVMDK(ctx context.Context, to io.WriteSeeker, name string) error {
	return d.withTemp(func(temp string) error {
		if err := d.convert(ctx, "raw", temp); err != nil {
			return err
		}
		raw, err := os.Open(temp) //nolint:gosec // our own file
		if err != nil {
			return err
		}
		defer raw.Close()
		info, err := raw.Stat()
		if err != nil {
			return err
		}
		if info.Size() != d.Size {
			return fmt.Errorf("%s has a disk of %d bytes, want %d", d.Path, info.Size(), d.Size)
		}
		return vmdk.Write(ctx, to, raw, info.Size(), name)
	})
}

// withVMDK calls f with the disk as a stream-optimized VMDK.
func (d *Disk) withVMDK(ctx context.Context, name string, f func(disk ovf.Entry) error) error {
	return d.withTemp(func(temp string) error {
		file, err := os.OpenFile(temp, os.O_RDWR, 0) //nolint:gosec // our own file
		if err != nil {
			return err
		}
		defer file.Close()
		if err := d.writeVMDK(ctx, file, name); err != nil {
			return err
		}
		return withEntry(file, name, f)
	})
}

// withEntry calls f with a file as the entry of an archive.
func withEntry(file *os.File, name string, f func(ovf.Entry) error) error {
	size, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return f(ovf.Entry{Name: name, Size: size, Content: file})
}
