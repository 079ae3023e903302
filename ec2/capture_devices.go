package ec2

import (
	"cmp"
	"errors"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/bake"
)

// An AMIDevice is a block device of the AMI: a volume of the instance, an additional
// volume for instances of the AMI, or an instance store volume.
//
// The fields are limited to what EC2 accepts: see BlockDeviceMappings of CreateImage
// and RegisterImage, and EbsBlockDevice, in the EC2 API Reference. Anything else is
// reported before the launch.
type AMIDevice struct {
	// BlockDevice describes the volume. KeepOnTermination applies to instances of
	// the AMI. KMSKey cannot be set.
	//
	// For a volume of the instance, CreateImage changes only KeepOnTermination.
	// With Capture.FromSnapshots the volume can also be larger than the instance's
	// and have another Type, IOPS, ThroughputMiB and InitializationMiB. An empty
	// Type keeps the type and its performance; setting Type resets the
	// performance to that type's default.
	//
	// An additional volume needs SizeGiB or Snapshot. Encrypted applies to an
	// empty volume; with a Snapshot, the volume is encrypted if the snapshot is.
	// InitializationMiB needs Snapshot and Capture.FromSnapshots.
	BlockDevice

	// Omit leaves the instance's volume out of the AMI. BlockDevice.Omit cannot
	// be set.
	Omit bool

	// Ephemeral names an instance store volume: "ephemeral0". Only Device can be
	// set with it, and the instance must have no volume there.
	Ephemeral string
}

// validateAMIDevices reports devices that are invalid for any source.
func (b Builder) validateAMIDevices(invalid func(field, format string, args ...any)) {
	seen := map[string]bool{}
	for _, d := range b.Capture.Devices {
		invalid := func(format string, args ...any) { invalid("Devices["+d.Device+"]", format, args...) }
		volume := d.BlockDevice
		volume.Device = ""
		switch {
		case seen[d.Device]:
			invalid("is given twice")
		case d.Device == "" && (d.Omit || d.Ephemeral != ""):
			invalid("the root device cannot be omitted")
		case d.BlockDevice.Omit:
			invalid("BlockDevice.Omit cannot be set: set AMIDevice.Omit")
		case d.Omit && d.Ephemeral != "" || (d.Omit || d.Ephemeral != "") && volume != BlockDevice{}:
			invalid("only one of Omit, Ephemeral and a volume can be set")
		default:
			d.check(b.Capture.FromSnapshots, b.volumeAt(d.Device), invalid)
		}
		seen[d.Device] = true
	}
}

// volumeAt returns the instance's volume at a device as far as it is known without
// the source, or nil. With a Surrogate the device names depend on the source.
func (b Builder) volumeAt(device string) *BlockDevice {
	if b.Capture.Surrogate != nil {
		return nil
	}
	i := slices.IndexFunc(b.BlockDevices, func(d BlockDevice) bool { return d.Device == device && !d.Omit })
	switch {
	case i >= 0:
		v := b.BlockDevices[i]
		v.Type = cmp.Or(v.Type, string(ec2types.VolumeTypeGp3))
		return &v
	case device == "":
		return &BlockDevice{}
	}
	return nil
}

// check reports settings that EC2 does not accept. at is the instance's volume at
// the device, or nil if there is none or it is unknown; its zero fields are
// unknown.
func (d AMIDevice) check(fromSnapshots bool, at *BlockDevice, invalid func(format string, args ...any)) {
	rates := d.BlockDevice
	if at != nil && d.Type == "" {
		rates.Type, rates.IOPS = at.Type, cmp.Or(d.IOPS, at.IOPS)
	}
	only := BlockDevice{Device: d.Device, KeepOnTermination: d.KeepOnTermination}
	switch {
	case d.Omit:
	case at != nil && d.Ephemeral != "":
		invalid("Ephemeral needs another Device: the instance has a volume there")
	case at != nil && !fromSnapshots && d.BlockDevice != only:
		invalid("CreateImage can change only KeepOnTermination of the instance's volumes: " +
			"change them in Builder.BlockDevices, or set FromSnapshots")
	case d.SizeGiB < 0 || d.SizeGiB > largestVolumeGiB:
		invalid("SizeGiB %d is not between 0 and %d", d.SizeGiB, largestVolumeGiB)
	case d.KMSKey != "":
		invalid("KMSKey cannot be set for an AMI's device: set it in Builder.BlockDevices or in Copy")
	case at != nil && (d.Snapshot != "" || d.Encrypted != Inherit):
		invalid("Snapshot and Encrypted of the instance's volumes are set in Builder.BlockDevices")
	case d.Snapshot != "" && d.Encrypted != Inherit:
		invalid("Encrypted cannot be set together with Snapshot")
	case at != nil && d.SizeGiB != 0 && d.SizeGiB < at.SizeGiB:
		invalid("SizeGiB %d is less than the instance's volume, %d", d.SizeGiB, at.SizeGiB)
	case d.InitializationMiB != 0 && !fromSnapshots:
		invalid("InitializationMiB needs FromSnapshots")
	default:
		rates.validateRates(invalid)
	}
}

// checkAMIDevices reports devices that are invalid for the source.
func (s *session) checkAMIDevices() error {
	var errs []error
	c, volumes, seen := s.builder.Capture, s.amiVolumes(), map[string]bool{}
	for _, d := range c.Devices {
		invalid := func(format string, args ...any) {
			errs = append(errs, bake.Invalid("Builder.Capture.Devices["+d.Device+"]", format, args...))
		}
		name := s.deviceName(d.Device)
		at, has := volumes[name]
		switch {
		case seen[name]:
			invalid("%s is given twice: it is the root device of %s", name, s.Source.ID)
		case d.Omit && name == s.rootDevice():
			invalid("the root device cannot be omitted")
		case has:
			d.check(c.FromSnapshots, &at, invalid)
		case d.Omit || d.Ephemeral != "":
		case d.SizeGiB == 0 && d.Snapshot == "":
			invalid("an additional volume needs SizeGiB or Snapshot")
		case d.InitializationMiB != 0 && d.Snapshot == "":
			invalid("InitializationMiB needs Snapshot")
		default:
			d.check(c.FromSnapshots, nil, invalid)
		}
		seen[name] = true
	}
	return errors.Join(errs...)
}

// amiVolumes returns the instance's volumes that can be in the AMI, by their device
// names there.
func (s *session) amiVolumes() map[string]BlockDevice {
	all := map[string]BlockDevice{s.Source.RootDevice: {}}
	for _, v := range s.Source.Volumes {
		all[v.Device] = BlockDevice{SizeGiB: v.SizeGiB, Type: v.Type, IOPS: v.IOPS}
	}
	for _, d := range s.builder.BlockDevices {
		device := cmp.Or(d.Device, s.Source.RootDevice)
		if d.Omit {
			delete(all, device)
			continue
		}
		d.SizeGiB = cmp.Or(d.SizeGiB, all[device].SizeGiB)
		d.Type = cmp.Or(d.Type, string(ec2types.VolumeTypeGp3))
		all[device] = d
	}
	named := map[string]BlockDevice{}
	for device, v := range all {
		if !s.onlyForSurrogate(device) {
			named[s.deviceInAMI(device)] = v
		}
	}
	return named
}

// amiDevices returns the caller's changes to the AMI's devices.
func (s *session) amiDevices() []ec2types.BlockDeviceMapping {
	volumes := s.amiVolumes()
	list := make([]ec2types.BlockDeviceMapping, 0, len(s.builder.Capture.Devices))
	for _, d := range s.builder.Capture.Devices {
		name := s.deviceName(d.Device)
		m := ec2types.BlockDeviceMapping{DeviceName: aws.String(name)}
		switch _, has := volumes[name]; {
		case d.Omit:
			m.NoDevice = aws.String("")
		case d.Ephemeral != "":
			m.VirtualName = aws.String(d.Ephemeral)
		default:
			m.Ebs = d.ebs()
			if has {
				m.Ebs.VolumeType = ec2types.VolumeType(d.Type) // empty keeps it
			}
		}
		list = append(list, m)
	}
	return list
}

func (s *session) deviceName(name string) string {
	if name == "" {
		return s.rootDevice()
	}
	return name
}
