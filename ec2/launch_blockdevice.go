package ec2

import (
	"cmp"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/bake"
)

// A BlockDevice is a volume of the instance and of the AMI.
type BlockDevice struct {
	// Device is the name: "/dev/sdf". Empty is the root device.
	Device string

	// SizeGiB is the size. Zero is that of the snapshot.
	SizeGiB int32

	// Type is the volume type. Empty is gp3.
	Type string

	// IOPS and ThroughputMiB (MiB/s) are for types that take them. Zero is the
	// type's own.
	IOPS          int32
	ThroughputMiB int32

	// InitializationMiB is the rate, in MiB/s from 100 to 300, at which EBS
	// fetches the blocks of the snapshot ahead of their first use, for money.
	// Zero fetches them as they are used, which is slow.
	InitializationMiB int32

	// Snapshot is where a volume other than the root begins. Empty is an empty
	// volume.
	Snapshot string

	// Encrypted says whether the volume, and so the AMI's snapshot, is
	// encrypted. The zero value is what the account and the snapshot say.
	Encrypted Setting

	// KMSKey encrypts it: an id, an ARN or "alias/…". Empty is the account's
	// default key.
	KMSKey string

	// Omit leaves out a device that the source has. Nothing else is set then
	// but Device.
	Omit bool

	// KeepOnTermination keeps the volume when the instance ends. It is then
	// the caller's to remove.
	KeepOnTermination bool
}

const largestVolumeGiB = 64 << 10

func (b Builder) validateDevices() []error {
	var errs []error
	seen := map[string]bool{}
	for _, d := range b.BlockDevices {
		wrong := func(format string, args ...any) {
			errs = append(errs, bake.Invalid("Builder.BlockDevices["+d.Device+"]", format, args...))
		}
		if seen[d.Device] {
			wrong("is given twice")
		}
		seen[d.Device] = true
		if d.SizeGiB < 0 || d.SizeGiB > largestVolumeGiB {
			wrong("SizeGiB %d is not within 0 and %d", d.SizeGiB, largestVolumeGiB)
		}
		if d.Omit {
			if d != (BlockDevice{Device: d.Device, Omit: true}) || d.Device == "" {
				wrong("Omit needs Device, and nothing else is set with it")
			}
			continue
		}
		if d.Device != "" && d.SizeGiB == 0 && d.Snapshot == "" {
			wrong("needs SizeGiB or Snapshot")
		}
		d.validateRates(wrong)
		if d.Device == "" && d.Snapshot != "" {
			wrong("the root device begins with the source's snapshot; Snapshot cannot be set")
		}
		if d.KMSKey != "" && d.Encrypted == Disabled {
			wrong("KMSKey is set although Encrypted is Disabled")
		}
	}
	return errs
}

// validateRates reports what the volume type does not take. Within that, what
// EBS allows changes too often to be repeated here.
func (d BlockDevice) validateRates(wrong func(format string, args ...any)) {
	kind := ec2types.VolumeType(cmp.Or(d.Type, string(ec2types.VolumeTypeGp3)))
	provisioned := kind == ec2types.VolumeTypeIo1 || kind == ec2types.VolumeTypeIo2
	switch {
	case !slices.Contains(kind.Values(), kind):
		wrong("Type %q is none of %v", kind, kind.Values())
	case d.IOPS < 0 || d.ThroughputMiB < 0:
		wrong("IOPS and ThroughputMiB must not be negative")
	case d.IOPS > 0 && kind != ec2types.VolumeTypeGp3 && !provisioned:
		wrong("%s takes no IOPS", kind)
	case d.ThroughputMiB > 0 && kind != ec2types.VolumeTypeGp3:
		wrong("%s takes no ThroughputMiB", kind)
	case d.IOPS == 0 && provisioned:
		wrong("%s needs IOPS", kind)
	}
	const slowest, fastest = 100, 300
	if rate := d.InitializationMiB; rate != 0 && (rate < slowest || rate > fastest) {
		wrong("InitializationMiB %d is not within %d and %d", rate, slowest, fastest)
	}
}

// blockDevices are the caller's, and those of the source that would stay behind
// when the instance ends: here they do not.
func (s *session) blockDevices() []ec2types.BlockDeviceMapping {
	mappings := make([]ec2types.BlockDeviceMapping, 0, len(s.Source.Volumes)+len(s.builder.BlockDevices))
	given := map[string]bool{}
	ours := s.builder.BlockDevices
	if s.run.Checks {
		ours = nil // they are in the AMI, with what was written on them
	}
	for _, d := range ours {
		device := d.Device
		if device == "" {
			device = s.Source.RootDevice
		}
		given[device] = true
		mapping := ec2types.BlockDeviceMapping{DeviceName: aws.String(device)}
		if d.Omit {
			mapping.NoDevice = aws.String("")
		} else {
			mapping.Ebs = d.ebs()
		}
		mappings = append(mappings, mapping)
	}
	for _, v := range s.Source.Volumes {
		if v.KeepOnTermination && !given[v.Device] {
			mappings = append(mappings, ec2types.BlockDeviceMapping{
				DeviceName: aws.String(v.Device),
				Ebs:        &ec2types.EbsBlockDevice{DeleteOnTermination: aws.Bool(true), VolumeSize: positive(v.SizeGiB)},
			})
		}
	}
	return mappings
}

func (d BlockDevice) ebs() *ec2types.EbsBlockDevice {
	e := &ec2types.EbsBlockDevice{
		DeleteOnTermination: aws.Bool(!d.KeepOnTermination),
		VolumeType:          ec2types.VolumeTypeGp3,
	}
	if d.Type != "" {
		e.VolumeType = ec2types.VolumeType(d.Type)
	}
	e.VolumeSize, e.Iops, e.Throughput = positive(d.SizeGiB), positive(d.IOPS), positive(d.ThroughputMiB)
	e.VolumeInitializationRate = positive(d.InitializationMiB)
	if d.Snapshot != "" {
		e.SnapshotId = aws.String(d.Snapshot)
	}
	if d.KMSKey != "" {
		e.KmsKeyId, e.Encrypted = aws.String(d.KMSKey), aws.Bool(true)
	}
	if d.Encrypted != Inherit {
		e.Encrypted = aws.Bool(d.Encrypted == Enabled)
	}
	return e
}

func positive(v int32) *int32 {
	if v == 0 {
		return nil
	}
	return &v
}
