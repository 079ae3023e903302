package ec2

import (
	"cmp"
	"errors"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/bake"
)

// An AMIDevice is a block device of the AMI: a volume that the instance has, one
// more that instances of the AMI get, or an instance store.
//
// What can be said of it is what EC2 takes: see BlockDeviceMappings of CreateImage
// and RegisterImage, and EbsBlockDevice, in the EC2 API Reference. Anything else
// is an error before the launch.
type AMIDevice struct {
	// BlockDevice is the volume, and its KeepOnTermination is about instances of
	// the AMI. KMSKey cannot be set.
	//
	// Of a volume that the instance has, EC2's CreateImage changes nothing but
	// KeepOnTermination. With Capture.FromSnapshots it can also be larger than the
	// instance's, of another Type, and have other IOPS, ThroughputMiB and
	// InitializationMiB: an empty Type leaves it its own, and its performance; a
	// Type that is set begins with that type's performance.
	//
	// One that the instance does not have needs SizeGiB or Snapshot. Encrypted is
	// for an empty one: that of a Snapshot is encrypted if the snapshot is.
	// InitializationMiB needs a Snapshot, and Capture.FromSnapshots.
	BlockDevice

	// Omit leaves the instance's volume out of the AMI. It is this Omit that
	// counts; that of the BlockDevice cannot be set.
	Omit bool

	// Ephemeral is a volume of the instance store: "ephemeral0". Nothing but
	// Device can then be set, and the instance has no volume there.
	Ephemeral string
}

// validateAMIDevices reports what is wrong with them whatever the source is.
func (b Builder) validateAMIDevices(wrong func(field, format string, args ...any)) {
	seen := map[string]bool{}
	for _, d := range b.Capture.Devices {
		wrong := func(format string, args ...any) { wrong("Devices["+d.Device+"]", format, args...) }
		volume := d.BlockDevice
		volume.Device = ""
		switch {
		case seen[d.Device]:
			wrong("is given twice")
		case d.Device == "" && (d.Omit || d.Ephemeral != ""):
			wrong("the root device cannot be left out")
		case d.BlockDevice.Omit:
			wrong("Omit is set in BlockDevice: set that of the AMIDevice")
		case d.Omit && d.Ephemeral != "" || (d.Omit || d.Ephemeral != "") && volume != BlockDevice{}:
			wrong("Omit, Ephemeral and a volume exclude each other")
		default:
			d.check(b.Capture.FromSnapshots, b.volumeAt(d.Device), wrong)
		}
		seen[d.Device] = true
	}
}

// volumeAt is the volume that the instance is known to have, without its source:
// nil is none that is known. What the AMI of a surrogate calls its devices, only
// the source tells.
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

// check reports what EC2 does not take. At is the volume that the instance has
// there, nil if there is none or none that is known; what is zero in it is not
// known.
func (d AMIDevice) check(fromSnapshots bool, at *BlockDevice, wrong func(format string, args ...any)) {
	rates := d.BlockDevice
	if at != nil && d.Type == "" {
		rates.Type, rates.IOPS = at.Type, cmp.Or(d.IOPS, at.IOPS)
	}
	only := BlockDevice{Device: d.Device, KeepOnTermination: d.KeepOnTermination}
	switch {
	case d.Omit:
	case at != nil && d.Ephemeral != "":
		wrong("the instance has a volume there: Ephemeral needs another Device")
	case at != nil && !fromSnapshots && d.BlockDevice != only:
		wrong("the instance has this volume, of which CreateImage can change nothing but KeepOnTermination: " +
			"change the instance's by Builder.BlockDevices, or set FromSnapshots")
	case d.SizeGiB < 0 || d.SizeGiB > largestVolumeGiB:
		wrong("SizeGiB %d is not within 0 and %d", d.SizeGiB, largestVolumeGiB)
	case d.KMSKey != "":
		wrong("EC2 takes no KMSKey for a device of an AMI: set that of Builder.BlockDevices, or that of a copy")
	case at != nil && (d.Snapshot != "" || d.Encrypted != Inherit):
		wrong("the AMI gets the snapshot of the instance's volume: set Snapshot and Encrypted in Builder.BlockDevices")
	case d.Snapshot != "" && d.Encrypted != Inherit:
		wrong("Encrypted cannot be set together with Snapshot, which is encrypted or not")
	case at != nil && d.SizeGiB != 0 && d.SizeGiB < at.SizeGiB:
		wrong("SizeGiB %d is less than the %d of the instance's volume", d.SizeGiB, at.SizeGiB)
	case d.InitializationMiB != 0 && !fromSnapshots:
		wrong("InitializationMiB needs FromSnapshots")
	default:
		rates.validateRates(wrong)
	}
}

// checkAMIDevices reports what is wrong with them for the source.
func (s *session) checkAMIDevices() error {
	var errs []error
	c, volumes, seen := s.builder.Capture, s.amiVolumes(), map[string]bool{}
	for _, d := range c.Devices {
		wrong := func(format string, args ...any) {
			errs = append(errs, bake.Invalid("Builder.Capture.Devices["+d.Device+"]", format, args...))
		}
		name := s.deviceName(d.Device)
		at, has := volumes[name]
		switch {
		case seen[name]:
			wrong("%s is given twice: it is the root device of %s", name, s.Source.ID)
		case d.Omit && name == s.rootDevice():
			wrong("the root device cannot be left out")
		case has:
			d.check(c.FromSnapshots, &at, wrong)
		case d.Omit || d.Ephemeral != "":
		case d.SizeGiB == 0 && d.Snapshot == "":
			wrong("the instance has no volume there: a new one needs SizeGiB or Snapshot")
		case d.InitializationMiB != 0 && d.Snapshot == "":
			wrong("InitializationMiB needs a Snapshot: a new volume is empty")
		default:
			d.check(c.FromSnapshots, nil, wrong)
		}
		seen[name] = true
	}
	return errors.Join(errs...)
}

// amiVolumes are the volumes of the instance that can be in the AMI, by what that
// calls them.
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
		if !s.helps(device) {
			named[s.deviceInAMI(device)] = v
		}
	}
	return named
}

// amiDevices are the caller's changes to the devices of the AMI.
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
				m.Ebs.VolumeType = ec2types.VolumeType(d.Type) // empty is its own
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
