package qemu

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/guest"
	"github.com/bakestone-go/bakestone/internal/redacted"
)

// A Builder bakes disk images in virtual machines. Host is required, and so is Source
// unless Image.From is set.
type Builder struct {
	// Host is the computer to bake on.
	Host *Host

	// Source is the disk to start from. If nil, it is the artifact of Image.From.
	Source Source

	// Arch is the architecture of the machine, as QEMU names it: "x86_64" or
	// "aarch64". Empty means that of the source if it was baked, else "x86_64".
	Arch string

	// CPUs is the number of virtual CPUs. Zero means two.
	CPUs int

	// Memory is the memory in bytes. Zero means 1 GiB.
	Memory int64

	// DiskSize is the size of the disk in bytes. It cannot be smaller than the
	// source. The guest must grow its partitions and file systems, as cloud-init
	// does. Zero means the size of the source, or 20 GiB for an Installer.
	DiskSize int64

	// Disks are further disks, which are captured with the first. Those of the source
	// come first.
	Disks []DataDisk

	// Networks are networks of the machine besides the one over which it is baked.
	Networks []Network

	// Hardware is the virtual hardware. Zero means VirtioHardware.
	Hardware Hardware

	// CheckHardware is the hardware of the machine that checks the image: that of an
	// OVA or a Box shows whether the guest has the drivers to boot there. Zero means
	// that of Hardware.
	CheckHardware Hardware

	// Machine is QEMU's machine type. Empty means "q35", or "virt" for aarch64.
	Machine string

	// Firmware starts the guest's boot loader. The zero value is that of the source if
	// it was baked, else SeaBIOS, or UEFI for aarch64.
	Firmware Firmware

	// TPM gives the machine a TPM 2.0, emulated by swtpm, which must be installed. It
	// is empty at first, also for images From this one.
	TPM bool

	// CPU is QEMU's CPU model. Empty means "host" if the accelerator permits it, and
	// "max" otherwise.
	CPU string

	// Accelerator runs the guest's code. Empty chooses one that works; an event
	// reports which. The environment variable BAKESTONE_QEMU_ACCEL takes precedence.
	Accelerator Accelerator

	// Detach lets the machine survive the process that bakes, for a resumed build to
	// go on with it. It is implied by bake.KeepMachine. Host.Sweep and Host.EndMachine
	// end machines that nothing resumes. By default, on Linux, the machine ends with
	// the process, and a resumed build starts it again from its disk.
	Detach bool

	// Args are further arguments of QEMU, after Bakestone's own.
	Args []string

	// SSH configures the login. The zero value logs in as the source's login, or
	// root, with keys created for the build.
	SSH SSH

	// UserData is merged with Bakestone's own user data. Any cloud-init format is
	// accepted.
	UserData []byte

	// Ignition is the configuration of a guest that is configured by Ignition instead of
	// cloud-init: Fedora CoreOS, Flatcar and the like. It is JSON of version 3.0.0 or
	// later, as butane makes it. The machine gets it by QEMU's fw_cfg with the keys of the
	// build, for the login SSH.User, which is required unless Image.From is set. Ignition
	// configures machines at their first boot, and will do so again when the image boots.
	// The machine that checks the image gets keys alone: Ignition does not write a file
	// again without "overwrite". If nil, there is none.
	Ignition []byte

	// Tags are added to the artifact. Image.Tags take precedence.
	Tags map[string]string

	// GuestCleanup selects what is removed from the guest before the disk is
	// captured. The zero value removes keys, ids, histories, logs and temporary files.
	GuestCleanup GuestCleanup

	// Capture configures the image file. The zero value writes an uncompressed qcow2.
	Capture Capture

	// PowerOff is the command line, run as root, that makes the guest power down. Empty
	// tries the usual commands. It need not wait.
	PowerOff string

	// PowerOffTimeout limits the time that the guest takes to power down. Zero means
	// five minutes.
	PowerOffTimeout time.Duration
}

var (
	_ bake.Builder       = Builder{}
	_ bake.Finder        = Builder{}
	_ bake.HostValidator = Builder{}
)

// A Capture configures the file that the disk is written to.
type Capture struct {
	// Compress makes the file smaller. It takes a CPU about 25 seconds per GiB of data.
	Compress bool

	// NoTrim leaves the contents of deleted files in the image. By default the guest
	// trims what is mounted, which needs fstrim, and blocks of 4 KiB that are in no file
	// become zeros; an event says if it cannot. Smaller blocks stay, and so do those within
	// 64 KiB of others on a disk of more than 4 TiB.
	NoTrim bool
}

// A CleanupItem is a kind of data that booting and provisioning leave in a guest
// and that an image should not contain.
type CleanupItem string

// The items that are removed by default.
const (
	ClientKey      CleanupItem = guest.ClientKey      // the build's own key, in every authorized_keys and authorized_keys.d
	CloudInit      CleanupItem = guest.CloudInit      // its record of the machine, including our user data; per-boot scripts stay
	HostKeys       CleanupItem = guest.HostKeys       // sshd's; cloud-init creates new ones on every machine
	MachineID      CleanupItem = guest.MachineID      // systemd's and D-Bus's, which create a new one
	Histories      CleanupItem = guest.Histories      // of shells, pagers and editors, of every user
	Logs           CleanupItem = guest.Logs           // below /var/log: old ones are removed, others emptied
	TemporaryFiles CleanupItem = guest.TemporaryFiles // in /tmp and /var/tmp
	Leases         CleanupItem = guest.Leases         // DHCP leases, names of network cards, the random seed
)

// The items that are removed only if GuestCleanup.Also contains them.
const (
	PackageCaches  CleanupItem = guest.PackageCaches  // of apt, dnf, yum, zypper and apk
	AuthorizedKeys CleanupItem = guest.AuthorizedKeys // of every user, including keys that a provisioner added
)

// A GuestCleanup selects what is removed from the guest before its disk is captured.
// The zero value removes everything that an image can do without. Events report what
// was removed, item by item. The guest must run Linux.
type GuestCleanup struct {
	// Off leaves the guest as it is, including the build's public client key.
	Off bool

	// Keep lists items to leave in the guest.
	Keep []CleanupItem

	// Also lists items to remove that are not removed by default.
	Also []CleanupItem
}

const (
	defaultCPUs            = 2
	defaultMemory          = 1 << 30
	defaultDiskSize        = 20 << 30
	defaultPowerOffTimeout = 5 * time.Minute

	leastMemory = 16 << 20

	longestName = 200 // bytes: file systems permit 255
)

// validName reports whether an image's name can be that of a directory on every system.
func validName(name string) bool {
	word := func(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) }
	first, _ := utf8.DecodeRuneInString(name)
	return word(first) && len(name) <= longestName && strings.TrimRight(name, " .") == name &&
		!strings.ContainsFunc(name, func(r rune) bool { return !word(r) && !strings.ContainsRune(" ._+@=-", r) })
}

// Validate reports everything that is invalid in the Builder or in img, joined.
func (b Builder) Validate(img *bake.Image) error {
	var errs []error
	invalid := func(field, format string, args ...any) {
		errs = append(errs, bake.Invalid("Builder."+field, format, args...))
	}
	b.Host.validate(invalid)
	switch {
	case b.Source == nil && img.From == nil:
		invalid("Source", "is required unless Image.From is set")
	case b.Source != nil && img.From != nil:
		invalid("Source", "cannot be set together with Image.From")
	case b.Source != nil:
		if err := bake.ValidateValue(b.Source); err != nil {
			invalid("Source", "%w", err)
		}
	}
	if !validName(img.Name) {
		errs = append(errs, bake.Invalid("Image.Name", `invalid name %q: it names a directory and may have up to %d bytes of letters, digits, spaces and ._+@=-`, img.Name, longestName))
	}
	if b.Arch != "" && !slices.Contains([]string{x86, arm64}, b.Arch) {
		invalid("Arch", "unknown architecture %q, want %q or %q", b.Arch, x86, arm64)
	}
	if b.CPUs < 0 {
		invalid("CPUs", "must not be negative")
	}
	if b.Memory != 0 && b.Memory < leastMemory {
		invalid("Memory", "is %d bytes, want at least %d: it is not in MiB", b.Memory, leastMemory)
	}
	if b.DiskSize < 0 || b.DiskSize%sectorSize != 0 {
		invalid("DiskSize", "is %d bytes, want a multiple of %d", b.DiskSize, sectorSize)
	}
	if err := b.Firmware.validate(b.Arch); err != nil {
		invalid("Firmware", "%w", err)
	}
	b.validateDisks(invalid)
	b.validateNetworks(invalid)
	if err := b.Accelerator.validate(); err != nil {
		invalid("Accelerator", "%w", err)
	}
	for _, f := range []struct{ name, value string }{{"Machine", b.Machine}, {"CPU", b.CPU}} {
		if strings.ContainsAny(f.value, ", \n") {
			invalid(f.name, "invalid value %q: set further properties by Builder.Args", f.value)
		}
	}
	if b.PowerOffTimeout < 0 {
		invalid("PowerOffTimeout", "must not be negative")
	}
	errs = append(errs, b.validateSSH()...)
	guest.Cleanup[CleanupItem](b.GuestCleanup).Validate(func(field, format string, args ...any) {
		invalid("GuestCleanup."+field, format, args...)
	})
	if _, err := (guest.UserData{User: b.UserData, Boundary: "x"}).Document(); err != nil {
		invalid("UserData", "%w", err)
	}
	if b.Ignition != nil {
		if err := validateIgnition(b.Ignition); err != nil {
			invalid("Ignition", "%w", err)
		}
		if b.SSH.User == "" && img.From == nil {
			invalid("SSH.User", `is required by Builder.Ignition: the login is "core" in most images`)
		}
	}
	return errors.Join(append(errs, redacted.Check("Builder", b, "others can read this field, so keep secrets out of it", bake.Invalid))...)
}

// ValidateHost returns a [*MissingProgramError] for each program of QEMU's that is not
// installed, joined.
func (b Builder) ValidateHost() error {
	_, noImg := b.Host.program("qemu-img")
	_, noSystem := b.Host.program("qemu-system-" + cmp.Or(b.Arch, x86))
	if _, err := b.Host.program("qemu-system-" + arm64); b.Arch == "" && err == nil {
		noSystem = nil // the source may be an image for it
	}
	return errors.Join(noImg, noSystem)
}

// Begin returns a new session.
func (b Builder) Begin(img *bake.Image, run *bake.Run) (bake.Session, error) {
	if b.Host == nil || b.Host.err != nil {
		return nil, bake.Invalid("Builder.Host", "is required")
	}
	return &session{builder: b, image: img, run: run}, nil
}

// tags returns the tags of the artifact.
func (b Builder) tags(run *bake.Run) map[string]string {
	tags := map[string]string{}
	maps.Copy(tags, b.Tags)
	maps.Copy(tags, run.Tags)
	return tags
}
