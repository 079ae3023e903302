package ec2

import (
	"cmp"
	"slices"

	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/bake"
)

// A Surrogate says that the instance only helps to fill another volume, which
// becomes the root of the AMI: a whole operating system that the provisioners
// put there, after they have made a file system on it and mounted it.
//
//	ec2.Builder{
//		…
//		BlockDevices: []ec2.BlockDevice{{Device: "/dev/sdf", SizeGiB: 4}},
//		Capture:      ec2.Capture{FromSnapshots: true, Surrogate: &ec2.Surrogate{Device: "/dev/sdf"}},
//	}
//
// Nothing of the source is then in the AMI: of its volumes, only those that
// Builder.BlockDevices name. So the source may have billing codes, which the
// AMI does not get. Neither is the guest cleaned, whose disk goes away; what is
// on the new volume, keys and ids included, is what the provisioners put there.
// Boot mode and TPM are not those of the instance, but what Capture says.
// Checks and layers need cloud-init in the new system, and sshd.
//
// On types of the Nitro system the guest sees the volume under another name, an
// NVMe one such as /dev/nvme1n1; with several, find it by its size or its serial
// number, which is the volume's id (lsblk -o NAME,SIZE,SERIAL).
type Surrogate struct {
	// Device is the volume, one of Builder.BlockDevices: "/dev/sdf". It is
	// required.
	Device string

	// RootDevice is what the AMI calls it. Empty is what the source calls its
	// own root device.
	RootDevice string

	// Architecture is that of the system on the volume: "x86_64" or "arm64".
	// Empty is the source's.
	Architecture string

	// User is the login of the system on the volume. Empty is the source's.
	User string
}

func (b Builder) validateSurrogate(wrong func(field, format string, args ...any)) {
	s := b.Capture.Surrogate
	if s == nil {
		return
	}
	if !b.Capture.FromSnapshots {
		wrong("Surrogate", "needs FromSnapshots")
	}
	added := slices.ContainsFunc(b.BlockDevices, func(d BlockDevice) bool { return d.Device == s.Device && !d.Omit })
	switch {
	case s.Device == "":
		wrong("Surrogate.Device", "is required")
	case !added:
		wrong("Surrogate.Device", "%s is none of Builder.BlockDevices", s.Device)
	case slices.ContainsFunc(b.Capture.Devices, func(d AMIDevice) bool { return d.Device == s.Device }):
		wrong("Devices["+s.Device+"]", "is the AMI's root device: leave Device empty")
	}
	if a := ec2types.ArchitectureValues(s.Architecture); s.Architecture != "" && !slices.Contains(a.Values(), a) {
		wrong("Surrogate.Architecture", "%q is none of %v", s.Architecture, a.Values())
	}
	if h := b.GuestCleanup; !h.Off && len(h.Keep)+len(h.Also) > 0 {
		wrong("Surrogate", "Builder.GuestCleanup is set, but the guest's own disk is not in the AMI")
	}
}

// checkSurrogate reports what is wrong with it for the source.
func (s *session) checkSurrogate() error {
	with := s.builder.Capture.Surrogate
	if with.Device == s.Source.RootDevice {
		return bake.Invalid("Builder.Capture.Surrogate.Device", "%s is what %s boots from", with.Device, s.Source.ID)
	}
	root := s.rootDevice()
	for _, d := range s.builder.BlockDevices {
		if d.Device == root && d.Device != with.Device && d.Device != s.Source.RootDevice {
			return bake.Invalid("Builder.Capture.Surrogate.RootDevice", "%s is another of Builder.BlockDevices", root)
		}
	}
	return nil
}

// rootDevice is what the AMI calls its root device.
func (s *session) rootDevice() string {
	if with := s.builder.Capture.Surrogate; with != nil {
		return cmp.Or(with.RootDevice, s.Source.RootDevice)
	}
	return s.Source.RootDevice
}

// deviceInAMI is what the AMI calls a device of the instance.
func (s *session) deviceInAMI(device string) string {
	if with := s.builder.Capture.Surrogate; with != nil && device == with.Device {
		return s.rootDevice()
	}
	return device
}

// omits reports whether a volume of the instance is not in the AMI.
func (s *session) omits(device string) bool {
	return s.helps(device) || slices.ContainsFunc(s.builder.Capture.Devices, func(d AMIDevice) bool { return d.Omit && d.Device == device })
}

// helps reports whether a volume of the instance is only there to fill a
// surrogate.
func (s *session) helps(device string) bool {
	return s.builder.Capture.Surrogate != nil && (device == s.Source.RootDevice ||
		!slices.ContainsFunc(s.builder.BlockDevices, func(d BlockDevice) bool { return d.Device == device }))
}

// architecture is that of the AMI.
func (s *session) architecture() string {
	if with := s.builder.Capture.Surrogate; with != nil {
		return cmp.Or(with.Architecture, s.Source.Architecture)
	}
	return s.Source.Architecture
}

// login is who to log in as on instances of the AMI.
func (s *session) login() string {
	if with := s.builder.Capture.Surrogate; with != nil {
		return cmp.Or(with.User, s.Source.Login)
	}
	return s.Source.Login
}
