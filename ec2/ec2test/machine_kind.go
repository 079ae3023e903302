package ec2test

import (
	"context"
	"log/slog"
	"net"

	"github.com/bakestone-go/bakestone/bake/clock"
)

// A MachineKind provides the disks of the instances, from which their machines
// boot. The default is a sandbox in memory; implementations of MachineKind,
// [Disk] and [Guest] can run real virtual machines instead. All methods must be
// safe for concurrent use.
type MachineKind interface {
	// Blank creates the disk of a new, empty volume. If it fails with
	// errors.ErrUnsupported, machines do not see such volumes.
	Blank(ctx context.Context, sizeGiB int) (Disk, error)

	// Disk creates the root disk of a vendor's image. It is called once for
	// each image that is used.
	Disk(ctx context.Context, img Image) (Disk, error)

	// Load creates a disk with the contents of a snapshot that was written by the
	// EBS direct APIs. If it fails, instances of images with such a root volume
	// do not boot.
	Load(ctx context.Context, sizeGiB int, contents Blocks) (Disk, error)
}

// Blocks are the contents of a disk. The func calls write for each block of 512
// KiB that is not empty, in order of the offset in bytes, until write returns an
// error, which it returns. The data is valid until write returns.
type Blocks func(write func(offset int64, data []byte) error) error

// A Disk holds the contents of an EBS volume or snapshot.
type Disk interface {
	DiskContents

	// Boot starts a machine with this disk as its root volume, and returns when
	// the machine can serve connections. The context limits only the booting.
	// After Guest.Close the disk must hold everything the machine wrote: an
	// instance that is stopped and started again boots from the same disk.
	Boot(ctx context.Context, spec MachineSpec) (Guest, error)

	// Clone returns an independent copy of the current contents. It may be
	// called while a machine is running on the disk.
	Clone(ctx context.Context) (Disk, error)

	// Grow makes the disk larger. It may be called while a machine is running on
	// the disk, which then sees the new size if it can.
	Grow(ctx context.Context, sizeGiB int) error

	// Close releases the disk after its volume or snapshot has been deleted.
	Close() error
}

// DiskContents are the parts of a [Disk] that read it. They may be called while a
// machine is running on the disk.
type DiskContents interface {
	// Blocks calls write for the current contents, as [Blocks] does. The EBS direct
	// APIs read snapshots of disks for which it does not fail with
	// errors.ErrUnsupported.
	Blocks(ctx context.Context, write func(offset int64, data []byte) error) error

	// Files returns all files, sorted by path, without those of virtual file
	// systems.
	Files() ([]File, error)

	// ReadFile returns the contents of a file with an absolute path.
	ReadFile(name string) ([]byte, error)
}

// A Guest is a running machine.
type Guest interface {
	// ServeConn serves a connection to the machine's SSH port until the
	// connection ends or ctx is done, and closes it.
	ServeConn(ctx context.Context, conn net.Conn)

	// Console returns the output of the serial console so far.
	Console() []byte

	// Reboot restarts the machine as from outside, and returns when it can
	// serve connections again.
	Reboot(ctx context.Context) error

	// Attach makes a disk appear in the running machine, and Detach removes the one
	// with a device name.
	Attach(d AttachedDisk) error
	Detach(device string) error

	// Close stops the machine and waits until it no longer runs. It is never
	// called from within MachineSpec.Power.
	Close() error
}

// A MachineSpec describes the instance that a machine implements.
type MachineSpec struct {
	InstanceID   string // "i-0123456789abcdef0"
	ImageID      string
	InstanceType string
	Architecture string // "x86_64" or "arm64"
	Region       string
	Zone         string
	Hostname     string
	PrivateIP    string
	PublicIP     string // empty if the instance has none
	KeyName      string
	PublicKey    string         // of KeyName, in the form of authorized_keys; empty if there is none
	UserData     []byte         // decoded
	Disks        []AttachedDisk // besides the root volume
	NoMetadata   bool           // the instance metadata service is disabled
	Clock        clock.Clock
	Logger       *slog.Logger // never nil

	// Dial connects to port 22 of other instances, subject to their security
	// groups, for a machine used as a bastion.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)

	// Power reports to the server that the guest is shutting down or rebooting.
	// It may be called from any goroutine and returns at once.
	Power func(Power)
}

// Power is a change of power that a guest initiates.
type Power int

// Changes of power reported through MachineSpec.Power.
const (
	// PowerOff is a shutdown. The server stops or terminates the instance
	// according to its InstanceInitiatedShutdownBehavior.
	PowerOff Power = iota + 1

	// Restart is a reboot. The server calls Guest.Reboot.
	Restart
)

// String returns "power off" or "restart".
func (p Power) String() string {
	switch p {
	case PowerOff:
		return "power off"
	case Restart:
		return "restart"
	}
	return "unknown"
}

// An AttachedDisk is a volume attached to an instance.
type AttachedDisk struct {
	Device   string // "/dev/sdf"
	VolumeID string
	SizeGiB  int
	Disk     Disk
}
