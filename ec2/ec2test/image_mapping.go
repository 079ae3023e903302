package ec2test

import (
	"slices"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// checkCreateImage checks the mappings of a CreateImage call. For volumes of
// the instance it keeps only what CreateImage applies: "The only option that
// can be changed for existing mappings or snapshots is DeleteOnTermination"
// (API Reference, CreateImage, BlockDeviceMappings). Repeating the current
// value of another option is accepted.
//
// InvalidBlockDeviceMapping is known to be the error for changing the
// encryption. For the other options it is a guess; EC2 may ignore some.
func (i *instance) checkCreateImage(wanted []mapping) ([]mapping, *ec2query.Error) {
	out := slices.Clone(wanted)
	for n, m := range out {
		v := i.volumeAt(m.Device)
		switch {
		case m.NoDevice != nil:
		case v != nil && m.Virtual != "":
			return nil, ec2query.Errorf(badMapping, "The device '%s' is a volume of the instance", m.Device)
		case m.EBS == nil:
		case v != nil:
			if err := v.checkUnchanged(m); err != nil {
				return nil, err
			}
			out[n].EBS = &ebsParams{DeleteOnTermination: m.EBS.DeleteOnTermination}
		case m.EBS.VolumeInitializationRate != nil: // documented as not supported; the code is a guess
			return nil, ec2query.InvalidCombination("The parameter VolumeInitializationRate is not supported for CreateImage.")
		case m.EBS.SnapshotID == "" && m.EBS.VolumeSize == nil:
			return nil, ec2query.Errorf(badMapping, "Either snapshot ID or volume size must be provided for: %s", m.Device)
		default:
			if err := m.checkForImage(); err != nil {
				return nil, err
			}
			if err := m.EBS.check(); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// checkUnchanged rejects a mapping that would change the volume.
func (v *volume) checkUnchanged(m mapping) *ec2query.Error {
	p := m.EBS
	change := func(what string) *ec2query.Error {
		return ec2query.Errorf(badMapping, "The %s of the volume of device '%s' cannot be modified by CreateImage", what, m.Device)
	}
	switch {
	case truthOf(p.Encrypted) && !v.encrypted: // EC2 ignores false for an encrypted volume
		return ec2query.Errorf(badMapping, "the encrypted flag cannot be specified since device %s has a conflicting encryption setting", m.Device)
	case p.SnapshotID != "":
		return change("snapshot")
	case p.KmsKeyID != "":
		return change("key")
	case differ(p.VolumeSize, v.sizeGiB):
		return change("size")
	case p.VolumeType != "" && p.VolumeType != v.kind:
		return change("type")
	case differ(p.Iops, v.iops) || differ(p.Throughput, v.throughput) || p.VolumeInitializationRate != nil:
		return change("performance")
	}
	return nil
}

func differ(wanted *int, have int) bool { return wanted != nil && *wanted != have }

// checkForImage rejects options that EbsBlockDevice documents as unsupported
// for images, though RunInstances accepts them.
func (m mapping) checkForImage() *ec2query.Error {
	switch {
	case m.EBS.KmsKeyID != "": // the code is a guess
		return ec2query.InvalidCombination("The parameter KmsKeyId is not supported for a block device mapping of an image.")
	case m.EBS.Encrypted != nil && m.EBS.SnapshotID != "":
		return ec2query.Errorf(badMapping, "the encrypted flag cannot be specified since device %s has a snapshot specified.", m.Device)
	}
	return nil
}
