package ec2

import (
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

	// Snapshot is where a volume other than the root begins. Empty is an empty
	// volume.
	Snapshot string

	// Encrypted says whether the volume, and so the AMI's snapshot, is
	// encrypted. The zero value is what the account and the snapshot say.
	Encrypted Choice

	// KMSKey encrypts it. Empty is the account's default key.
	KMSKey string

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
		if d.Device != "" && d.SizeGiB == 0 && d.Snapshot == "" {
			wrong("needs SizeGiB or Snapshot")
		}
		if d.Device == "" && d.Snapshot != "" {
			wrong("the root device begins with the source's snapshot; Snapshot cannot be set")
		}
		if d.KMSKey != "" && d.Encrypted == No {
			wrong("KMSKey is set although Encrypted is No")
		}
	}
	return errs
}

// blockDevices are the caller's, and those of the source that would stay behind
// when the instance ends: here they do not.
func (s *session) blockDevices() []ec2types.BlockDeviceMapping {
	mappings := make([]ec2types.BlockDeviceMapping, 0, len(s.Source.Staying)+len(s.builder.BlockDevices))
	given := map[string]bool{}
	for _, d := range s.builder.BlockDevices {
		device := d.Device
		if device == "" {
			device = s.Source.RootDevice
		}
		given[device] = true
		mappings = append(mappings, ec2types.BlockDeviceMapping{DeviceName: aws.String(device), Ebs: d.ebs()})
	}
	for _, v := range s.Source.Staying {
		if !given[v.Device] {
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
	if d.Snapshot != "" {
		e.SnapshotId = aws.String(d.Snapshot)
	}
	if d.KMSKey != "" {
		e.KmsKeyId, e.Encrypted = aws.String(d.KMSKey), aws.Bool(true)
	}
	if d.Encrypted != Default {
		e.Encrypted = aws.Bool(d.Encrypted == Yes)
	}
	return e
}

func positive(v int32) *int32 {
	if v == 0 {
		return nil
	}
	return &v
}
