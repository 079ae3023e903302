package ec2

import (
	"cmp"
	"slices"

	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/bake"
)

// A Surrogate makes another volume of the instance the AMI's root volume. The
// provisioners create a file system on it, mount it, and install a whole operating
// system there.
//
//	ec2.Builder{
//		…
//		BlockDevices: []ec2.BlockDevice{{Device: "/dev/sdf", SizeGiB: 4}},
//		Capture:      ec2.Capture{FromSnapshots: true, Surrogate: &ec2.Surrogate{Device: "/dev/sdf"}},
//	}
//
// The AMI contains nothing of the source: only the volumes in Builder.BlockDevices.
// The source may therefore have billing codes; the AMI does not get them. The guest
// is not cleaned, because its disk is discarded; the new volume contains only what
// the provisioners put there, including any keys and ids. Boot mode and TPM are
// those set in Capture, not the instance's. Checks and layers need cloud-init and
// sshd in the new system.
//
// On Nitro instances the guest sees the volume under an NVMe name such as
// /dev/nvme1n1. If there are several, find it by its size or its serial number,
// which is the volume's id (lsblk -o NAME,SIZE,SERIAL).
type Surrogate struct {
	// Device is the volume, one of Builder.BlockDevices: "/dev/sdf". It is
	// required.
	Device string

	// RootDevice is the name of the AMI's root device. Empty means the name of
	// the source's.
	RootDevice string

	// Architecture is the architecture of the system on the volume: "x86_64" or
	// "arm64". Empty means the source's.
	Architecture string

	// User is the login of the system on the volume. Empty means the source's.
	User string
}

func (b Builder) validateSurrogate(invalid func(field, format string, args ...any)) {
	s := b.Capture.Surrogate
	if s == nil {
		return
	}
	if !b.Capture.FromSnapshots {
		invalid("Surrogate", "needs FromSnapshots")
	}
	added := slices.ContainsFunc(b.BlockDevices, func(d BlockDevice) bool { return d.Device == s.Device && !d.Omit })
	switch {
	case s.Device == "":
		invalid("Surrogate.Device", "is required")
	case !added:
		invalid("Surrogate.Device", "%s not found in Builder.BlockDevices", s.Device)
	case slices.ContainsFunc(b.Capture.Devices, func(d AMIDevice) bool { return d.Device == s.Device }):
		invalid("Devices["+s.Device+"]", "is the AMI's root device: leave Device empty for it")
	}
	if a := ec2types.ArchitectureValues(s.Architecture); s.Architecture != "" && !slices.Contains(a.Values(), a) {
		invalid("Surrogate.Architecture", "unknown value %q, want one of %v", s.Architecture, a.Values())
	}
	if h := b.GuestCleanup; !h.Off && len(h.Keep)+len(h.Also) > 0 {
		invalid("Surrogate", "cannot be set together with Builder.GuestCleanup: the guest's own disk is not in the AMI")
	}
}

// checkSurrogate reports a Surrogate that is invalid for the source.
func (s *session) checkSurrogate() error {
	with := s.builder.Capture.Surrogate
	if with.Device == s.Source.RootDevice {
		return bake.Invalid("Builder.Capture.Surrogate.Device", "%s is the root device of %s", with.Device, s.Source.ID)
	}
	root := s.rootDevice()
	for _, d := range s.builder.BlockDevices {
		if d.Device == root && d.Device != with.Device && d.Device != s.Source.RootDevice {
			return bake.Invalid("Builder.Capture.Surrogate.RootDevice", "%s is another device of Builder.BlockDevices", root)
		}
	}
	return nil
}

// rootDevice returns the name of the AMI's root device.
func (s *session) rootDevice() string {
	if with := s.builder.Capture.Surrogate; with != nil {
		return cmp.Or(with.RootDevice, s.Source.RootDevice)
	}
	return s.Source.RootDevice
}

// deviceInAMI returns the AMI's name for a device of the instance.
func (s *session) deviceInAMI(device string) string {
	if with := s.builder.Capture.Surrogate; with != nil && device == with.Device {
		return s.rootDevice()
	}
	return device
}

// omits reports whether the AMI leaves out a volume of the instance.
func (s *session) omits(device string) bool {
	return s.onlyForSurrogate(device) || slices.ContainsFunc(s.builder.Capture.Devices, func(d AMIDevice) bool { return d.Omit && d.Device == device })
}

// onlyForSurrogate reports whether the instance needs a volume only to fill the
// surrogate.
func (s *session) onlyForSurrogate(device string) bool {
	return s.builder.Capture.Surrogate != nil && (device == s.Source.RootDevice ||
		!slices.ContainsFunc(s.builder.BlockDevices, func(d BlockDevice) bool { return d.Device == device }))
}

// architecture returns the AMI's architecture.
func (s *session) architecture() string {
	if with := s.builder.Capture.Surrogate; with != nil {
		return cmp.Or(with.Architecture, s.Source.Architecture)
	}
	return s.Source.Architecture
}

// login returns the user to log in as on instances of the AMI.
func (s *session) login() string {
	if with := s.builder.Capture.Surrogate; with != nil {
		return cmp.Or(with.User, s.Source.Login)
	}
	return s.Source.Login
}
