package qemu

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"os"
	"regexp"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/qemu/internal/ovf"
)

// An OVA output is a virtual machine in one file: an OVF descriptor, its manifest, and
// the disks as stream-optimized VMDKs. It was not tested with VMware's products and
// VirtualBox themselves.
//
// For an image that was baked with UEFI the descriptor says so, and whether Secure Boot is
// on, in the way of VMware, which VirtualBox ignores: there, switch the imported machine
// with VBoxManage modifyvm NAME --firmware efi.
type OVA struct {
	// Path is the file to write. Empty means a file beside the image, named after it.
	Path string

	// CPUs is the number of virtual CPUs. Zero means two.
	CPUs int

	// Memory is the memory in bytes. Zero means 1 GiB.
	Memory int64

	// Hardware is the virtual hardware. Zero means CommonHardware, which VMware and
	// VirtualBox have. Builder.CheckHardware tests whether the guest boots with it.
	Hardware Hardware

	// OSType is VMware's name of the guest's operating system, such as
	// "debian12_64Guest". Empty means another 64-bit Linux.
	OSType string

	// Certificate signs the manifest, with an RSA key; [tls.LoadX509KeyPair] reads
	// one. If nil, the OVA is not signed.
	Certificate *tls.Certificate
}

var (
	_ bake.Publisher = OVA{}
	_ bake.Validator = OVA{}
)

// String returns "OVA".
func (o OVA) String() string { return "OVA" }

// Validate reports invalid sizes and hardware, and a certificate that cannot sign.
func (o OVA) Validate() error {
	err := validateMachine("OVA", o.CPUs, o.Memory, o.Hardware, o.OSType)
	if o.Certificate == nil {
		return err
	}
	if _, signErr := ovf.Certificate("x.cert", ovf.Bytes("x.mf", nil), o.Certificate); signErr != nil {
		err = errors.Join(err, bake.Invalid("OVA.Certificate", "%w", signErr))
	}
	return err
}

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
	if hardware.orCommon() == nil {
		errs = append(errs, bake.Invalid(owner+".Hardware", "unknown value %d, or not of VMware and VirtualBox", int(hardware)))
	}
	if !guestOS.MatchString(osType) {
		errs = append(errs, bake.Invalid(owner+".OSType", "invalid name %q", osType))
	}
	return errors.Join(errs...)
}

// Publish writes the file.
func (o OVA) Publish(ctx context.Context, a bake.Artifact) error {
	return output(ctx, a, o.Path, ".ova", func(d *Disk, part *os.File) error {
		return d.withVMDKs(ctx, d.Image, func(disks []ovf.Entry) error {
			descriptor, err := d.descriptor(disks, o.CPUs, o.Memory, o.Hardware, o.OSType)
			if err != nil {
				return err
			}
			first := ovf.Bytes(d.Image+".ovf", descriptor) // importers expect it there
			manifest, err := ovf.Manifest(d.Image+".mf", append([]ovf.Entry{first}, disks...)...)
			if err != nil {
				return err
			}
			entries := []ovf.Entry{first, manifest}
			if o.Certificate != nil {
				signature, err := ovf.Certificate(d.Image+".cert", manifest, o.Certificate)
				if err != nil {
					return err
				}
				entries = append(entries, signature)
			}
			return ovf.WriteTar(ctx, part, append(entries, disks...)...)
		})
	})
}

// descriptor returns the OVF descriptor of a machine with the disks.
func (d *Disk) descriptor(disks []ovf.Entry, cpus int, memory int64, hardware Hardware, osType string) ([]byte, error) {
	const mib, grain = 20, 64 << 10
	devices := hardware.orCommon()
	m := ovf.Machine{
		Name: d.Image, CPUs: cmp.Or(cpus, defaultCPUs), MemoryMiB: cmp.Or(memory, defaultMemory) >> mib, OSType: osType,
		Controller: devices.controller, Adapter: devices.adapter,
		UEFI: d.Firmware.uefi(), SecureBoot: d.Firmware == SecureBoot,
	}
	for i, f := range d.files() {
		m.Disks = append(m.Disks, ovf.Disk{File: disks[i].Name, FileSize: disks[i].Size, Capacity: (f.Size + grain - 1) / grain * grain})
	}
	return m.Descriptor()
}
