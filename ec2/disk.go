package ec2

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/diskimage"
)

// A Disk is a Source that becomes the AMI as it is, without an instance: a disk that was
// made elsewhere. Its blocks are written to an EBS snapshot by the EBS direct APIs, and
// the AMI is registered from that.
//
//	ec2.Builder{Cloud: cloud, Source: ec2.Disk{File: "web.qcow2", Login: "debian"}}
//
// The zero value is the disks of Image.From, for example of an image that QEMU baked:
//
//	ami := &bake.Image{Name: "web-ami", From: web, Builder: ec2.Builder{Cloud: cloud, Source: ec2.Disk{}}}
//
// There are no provisioners, since there is no machine; all else is as with other AMIs.
// Checks boot instances of it. Capture has the attributes of the AMI and Capture.Devices
// its volumes: AMIs of disks have ENA, require IMDSv2 and boot by what the disk has boot
// loaders for, unless Capture says otherwise. Capture.FromSnapshots, CrashConsistent and
// Surrogate, Builder.BlockDevices and GuestCleanup cannot be set.
//
// A disk that cannot boot, since it has no partition table, no boot loader or one of
// another architecture, is an error before anything is sent. So is a file that refers to
// other files. The boot loaders of a stream may be anywhere, so they are read back from the
// finished snapshot, before the AMI is registered. A disk that changes while it is read is
// an error.
//
// Blocks of zeros are not sent. With BlockSums only blocks are sent that differ from the
// image's previous AMI in the region. A process that resumes a build reads the disk from
// its beginning and sends the blocks that are missing.
type Disk struct {
	// File is the path of a raw, qcow2, VMDK or VHD file. A VMDK must be sparse or
	// stream-optimized, a VHD fixed or dynamic.
	File string

	// Format is "raw", "qcow2", "vmdk" or "vhd". Empty recognizes it by the contents of
	// File. Set it for raw disks of machines that others control: they can write the
	// head of another format.
	Format string

	// Open returns the bytes of a raw disk, instead of File. It is called for each look
	// at the disk: at its beginning, for the upload, and for an upload that is resumed.
	Open func(context.Context) (io.ReadCloser, error)

	// Size is the number of bytes of the disk that Open returns. It is required with
	// Open.
	Size int64

	// SizeGiB is the size of the volume. Zero rounds up the size of the disk. The copy
	// of a GPT is moved to the end of a larger volume; file systems do not grow.
	SizeGiB int32

	// Data are further disks. Those of Image.From have no need to be listed, but take
	// their devices from Data in their order.
	Data []DataDisk

	// Login is the user to log in as, for checks and for images made from the AMI.
	// Empty means Builder.SSH.User, or the login of Image.From.
	Login string

	// Architecture is "x86_64" or "arm64". Empty means that of the boot loader for UEFI
	// or of Image.From, else x86_64.
	Architecture string

	// RootDevice is the name of the root device. Empty means "/dev/xvda".
	RootDevice string

	// Encrypted encrypts the snapshots. The zero value leaves it to the account.
	Encrypted Setting

	// KMSKey is the ARN of the key to encrypt with, perhaps one of another account.
	// Empty means the account's default key.
	KMSKey string

	// BlockSums is a directory for the checksums of uploaded blocks, some megabytes for
	// each AMI. The newest AMI of the image whose checksums it has becomes the parent of
	// the new snapshot. Empty means that each upload sends everything.
	BlockSums string

	// ReadParent reads the blocks of the newest AMI of the image if BlockSums does not
	// know them. It is for hosts that receive faster than they send.
	ReadParent bool
}

// A DataDisk is a disk besides the one that boots.
type DataDisk struct {
	// Device is its name: "/dev/sdf". It is required.
	Device string

	// File, Format, Open, Size and SizeGiB are as for Disk.
	File    string
	Format  string
	Open    func(context.Context) (io.ReadCloser, error)
	Size    int64
	SizeGiB int32
}

var _ Source = Disk{}

const (
	defaultRootDevice = "/dev/xvda"
	dataDevices       = "fghijklmnop" // the last letters of the devices of further disks

	archX86 = string(ec2types.ArchitectureValuesX8664)
)

// String returns "disk " and the file.
func (d Disk) String() string { return "disk " + d.input().name() }

// Validate reports everything that is invalid, joined.
func (d Disk) Validate() error {
	var errs []error
	invalid := func(field, format string, args ...any) {
		errs = append(errs, bake.Invalid("Disk."+field, format, args...))
	}
	d.input().validate(invalid, "")
	if a := d.Architecture; a != "" && a != archX86 && a != string(ec2types.ArchitectureValuesArm64) {
		invalid("Architecture", "unknown value %q, want %s or %s", a, archX86, ec2types.ArchitectureValuesArm64)
	}
	if d.RootDevice != "" && !strings.HasPrefix(d.RootDevice, "/dev/") {
		invalid("RootDevice", "invalid name %q", d.RootDevice)
	}
	if d.KMSKey != "" && !strings.HasPrefix(d.KMSKey, "arn:") {
		invalid("KMSKey", "%q is not an ARN", d.KMSKey)
	}
	if d.KMSKey != "" && d.Encrypted == Disabled {
		invalid("KMSKey", "cannot be set with Encrypted: Disabled")
	}
	seen := map[string]bool{d.rootDevice(): true}
	for i, data := range d.Data {
		field := fmt.Sprintf("Data[%d].", i)
		if !strings.HasPrefix(data.Device, "/dev/") || seen[data.Device] {
			invalid(field+"Device", "invalid or duplicate name %q", data.Device)
		}
		seen[data.Device] = true
		in := data.input()
		if d.isFrom() != in.isEmpty() {
			invalid(field+"File", "is required unless all disks are those of Image.From")
		}
		in.validate(invalid, field)
	}
	return errors.Join(errs...)
}

func (d Disk) rootDevice() string { return cmp.Or(d.RootDevice, defaultRootDevice) }

// isFrom reports whether the disks are those of Image.From.
func (d Disk) isFrom() bool { return d.input().isEmpty() }

// disk implements Source.
func (d Disk) disk() *Disk { return &d }

func (d Disk) find(context.Context, *region) (ec2types.Image, error) {
	return ec2types.Image{}, errors.New("a disk is not an AMI")
}

func (d Disk) grants(string) grants { return nil }

// disk returns the Builder's Disk, or nil if it has another Source.
func (b Builder) disk() *Disk {
	if b.Source == nil {
		return nil
	}
	return b.Source.disk()
}

// fromDisk reports whether the session makes the AMI of a disk. That of a check machine
// launches the AMI as any other.
func (s *session) fromDisk() bool { return !s.run.Checks && s.builder.disk() != nil }

// IsMachineless implements bake.Machineless.
func (s *session) IsMachineless() bool { return s.fromDisk() }

var _ bake.Machineless = (*session)(nil)

// validateDisk reports what cannot be used together with a Disk.
func (b Builder) validateDisk(img *bake.Image) []error {
	d := b.disk()
	var errs []error
	invalid := func(field, text string) { errs = append(errs, bake.Invalid(field, "%s", text)) }
	switch {
	case d.isFrom() && img.From == nil:
		invalid("Disk.File", "is required unless Image.From is set")
	case !d.isFrom() && img.From != nil:
		invalid("Disk.File", "cannot be set together with Image.From")
	}
	if len(img.Provisioners) > 0 {
		invalid("Image.Provisioners", "cannot run on a disk, which has no machine: "+
			"provision the image that the disk is made by, or bake a second image From this one with another ec2.Builder")
	}
	if img.ProvisionOnly {
		invalid("Image.ProvisionOnly", "cannot be set with a Disk: there is nothing to provision")
	}
	if len(b.BlockDevices) > 0 {
		invalid("Builder.BlockDevices", "cannot be set with a Disk: set Disk.SizeGiB, and Capture.Devices for types and further volumes")
	}
	for field, set := range map[string]bool{
		"FromSnapshots": b.Capture.FromSnapshots, "CrashConsistent": b.Capture.CrashConsistent, "Surrogate": b.Capture.Surrogate != nil,
	} {
		if set {
			invalid("Builder.Capture."+field, "cannot be set with a Disk: there is no instance to capture")
		}
	}
	if h := b.GuestCleanup; h.Off || len(h.Keep)+len(h.Also) > 0 {
		invalid("Builder.GuestCleanup", "cannot be set with a Disk, which becomes the AMI as it is: package audit tells what it should not have")
	}
	return errs
}

// A diskInput is where a disk comes from.
type diskInput struct {
	file, format string
	open         func(context.Context) (io.ReadCloser, error)
	size         int64
	sizeGiB      int32
}

func (d Disk) input() diskInput     { return diskInput{d.File, d.Format, d.Open, d.Size, d.SizeGiB} }
func (d DataDisk) input() diskInput { return diskInput{d.File, d.Format, d.Open, d.Size, d.SizeGiB} }

func (d diskInput) isEmpty() bool { return d.file == "" && d.open == nil }

// name returns a short name.
func (d diskInput) name() string {
	switch {
	case d.file != "":
		return filepath.Base(d.file)
	case d.open != nil:
		return "stream"
	}
	return "of Image.From"
}

func (d diskInput) validate(invalid func(field, format string, args ...any), field string) {
	switch {
	case d.file != "" && d.open != nil:
		invalid(field+"Open", "cannot be set together with File")
	case d.open == nil && d.size != 0:
		invalid(field+"Size", "is for Open only")
	case d.open != nil && d.size <= 0:
		invalid(field+"Size", "is required with Open")
	case d.format != "" && d.file == "":
		invalid(field+"Format", "is for File only")
	case d.format != "" && !slices.Contains(diskimage.Formats(), d.format):
		invalid(field+"Format", "unknown value %q, want one of %s", d.format, strings.Join(diskimage.Formats(), ", "))
	}
	if d.sizeGiB < 0 || d.sizeGiB > largestVolumeGiB {
		invalid(field+"SizeGiB", "%d is not between 0 and %d", d.sizeGiB, largestVolumeGiB)
	}
}
