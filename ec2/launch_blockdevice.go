package ec2

import (
	"cmp"
	"errors"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/bake"
)

// A BlockDevice is a volume of the instance and of the AMI.
type BlockDevice struct {
	// Device is the device name: "/dev/sdf". Empty means the root device.
	Device string

	// SizeGiB is the volume's size. Zero means the snapshot's.
	SizeGiB int32

	// Type is the volume type. Empty means gp3.
	Type string

	// IOPS and ThroughputMiB (in MiB/s) are for volume types that support them.
	// Zero means the type's default.
	IOPS          int32
	ThroughputMiB int32

	// InitializationMiB is the rate, from 100 to 300 MiB/s, at which EBS fetches
	// the snapshot's blocks ahead of their first use, which is charged. Zero
	// fetches them when they are used, which is slow.
	InitializationMiB int32

	// Snapshot is the id of the snapshot to create a volume other than the root
	// from. Empty means an empty volume.
	Snapshot string

	// Encrypted encrypts the volume, and thereby the AMI's snapshot. The zero
	// value leaves it to the account and the snapshot.
	Encrypted Setting

	// KMSKey is the id, ARN or alias ("alias/…") of the key to encrypt with. Empty
	// means the account's default key.
	KMSKey string

	// Omit leaves out a device of the source. Only Device can be set with it.
	Omit bool

	// KeepOnTermination keeps the volume after the instance is terminated. The
	// caller must delete it.
	KeepOnTermination bool
}

const largestVolumeGiB = 64 << 10

func (b Builder) validateDevices() []error {
	var errs []error
	seen := map[string]bool{}
	for _, d := range b.BlockDevices {
		invalid := func(format string, args ...any) {
			errs = append(errs, bake.Invalid("Builder.BlockDevices["+d.Device+"]", format, args...))
		}
		if seen[d.Device] {
			invalid("is given twice")
		}
		seen[d.Device] = true
		if d.SizeGiB < 0 || d.SizeGiB > largestVolumeGiB {
			invalid("SizeGiB %d is not between 0 and %d", d.SizeGiB, largestVolumeGiB)
		}
		if d.Omit {
			if d != (BlockDevice{Device: d.Device, Omit: true}) || d.Device == "" {
				invalid("Omit needs Device, and nothing else")
			}
			continue
		}
		if d.Device != "" && d.SizeGiB == 0 && d.Snapshot == "" {
			invalid("needs SizeGiB or Snapshot")
		}
		d.validateRates(invalid)
		if d.Device == "" && d.Snapshot != "" {
			invalid("Snapshot cannot be set for the root device")
		}
		if d.Snapshot != "" && !strings.HasPrefix(d.Snapshot, "snap-") {
			invalid("invalid snapshot id %q", d.Snapshot)
		}
		if strings.HasPrefix(d.Device, "/dev/nvme") {
			invalid("is a name of the guest's: EC2 knows volumes by names such as /dev/sdf")
		}
		if d.Device == "" && (d.Type == string(ec2types.VolumeTypeSt1) || d.Type == string(ec2types.VolumeTypeSc1)) {
			invalid("Type %s cannot be that of a root device", d.Type)
		}
		if d.KMSKey != "" && d.Encrypted == Disabled {
			invalid("KMSKey cannot be set when Encrypted is Disabled")
		}
	}
	return errs
}

// validateRates reports settings that the volume type does not support. It does not
// check EBS's limits for them, which change often.
func (d BlockDevice) validateRates(invalid func(format string, args ...any)) {
	kind := ec2types.VolumeType(cmp.Or(d.Type, string(ec2types.VolumeTypeGp3)))
	provisioned := kind == ec2types.VolumeTypeIo1 || kind == ec2types.VolumeTypeIo2
	switch {
	case !slices.Contains(kind.Values(), kind):
		invalid("unknown Type %q, want one of %v", kind, kind.Values())
	case d.IOPS < 0 || d.ThroughputMiB < 0:
		invalid("IOPS and ThroughputMiB must not be negative")
	case d.IOPS > 0 && kind != ec2types.VolumeTypeGp3 && !provisioned:
		invalid("Type %s does not support IOPS", kind)
	case d.ThroughputMiB > 0 && kind != ec2types.VolumeTypeGp3:
		invalid("Type %s does not support ThroughputMiB", kind)
	case d.IOPS == 0 && provisioned:
		invalid("Type %s needs IOPS", kind)
	}
	const slowest, fastest = 100, 300
	if rate := d.InitializationMiB; rate != 0 && (rate < slowest || rate > fastest) {
		invalid("InitializationMiB %d is not between %d and %d", rate, slowest, fastest)
	}
}

// checkBlockDevices checks Builder.BlockDevices against the source's volumes.
func (s *session) checkBlockDevices() error {
	var errs []error
	for _, d := range s.builder.BlockDevices {
		invalid := func(format string, args ...any) {
			errs = append(errs, bake.Invalid("Builder.BlockDevices["+d.Device+"]", format, args...))
		}
		device := cmp.Or(d.Device, s.Source.RootDevice)
		root := device == s.Source.RootDevice
		i := slices.IndexFunc(s.Source.Volumes, func(v SourceVolume) bool { return v.Device == device })
		switch {
		case root && d.Device != "" && slices.ContainsFunc(s.builder.BlockDevices, func(o BlockDevice) bool { return o.Device == "" }):
			invalid("is the root device of %s, which is given without Device as well", s.Source.ID)
		case root && d.Omit:
			invalid("the root device of %s cannot be omitted", s.Source.ID)
		case d.Omit && i < 0 && len(s.Source.Volumes) > 0:
			invalid("%s has no such volume to omit", s.Source.ID)
		case i >= 0 && d.Snapshot == "" && d.SizeGiB > 0 && d.SizeGiB < s.Source.Volumes[i].SizeGiB:
			invalid("SizeGiB %d is less than the %d of the volume of %s", d.SizeGiB, s.Source.Volumes[i].SizeGiB, s.Source.ID)
		}
	}
	return errors.Join(errs...)
}

// blockDevices returns the caller's block devices, and those of the source that
// would outlive the instance, changed so that they do not.
func (s *session) blockDevices() []ec2types.BlockDeviceMapping {
	mappings := make([]ec2types.BlockDeviceMapping, 0, len(s.Source.Volumes)+len(s.builder.BlockDevices))
	given := map[string]bool{}
	ours := s.builder.BlockDevices
	if s.run.Checks {
		ours = nil // they are in the AMI
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
