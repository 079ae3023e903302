package ec2test

import (
	"context"
	"log/slog"
	"net"

	"github.com/bakestone-go/bakestone/bake/clock"
)

// A MachineKind is how the instances of a server come to life. The default is
// a sandbox in memory; a real virtual machine can stand behind the same EC2 by
// implementing these three interfaces. All methods may be called from any
// goroutine.
type MachineKind interface {
	// Disk makes the root disk of a vendor's image. It is called once for each
	// image that is used.
	Disk(ctx context.Context, img Image) (Disk, error)

	// Boot starts a machine on spec.Disk and returns when it can serve
	// connections. The context ends only the booting. What the machine writes
	// is on the disk after Guest.Close: stopping and starting an instance is
	// Close and another Boot of the same disk.
	Boot(ctx context.Context, spec MachineSpec) (Guest, error)
}

// A Disk is the contents of an EBS volume or snapshot.
type Disk interface {
	// Clone is a copy as of now, which changes independently. It is also called
	// while a machine runs on the disk.
	Clone(ctx context.Context) (Disk, error)

	// ReadFile is the contents of a file by its absolute path.
	ReadFile(name string) ([]byte, error)

	// Close gives the disk up when its volume or snapshot is deleted.
	Close() error
}

// A Guest is a machine that is switched on.
type Guest interface {
	// ServeConn serves one connection to the machine's SSH port until it ends
	// or ctx does, and closes it.
	ServeConn(ctx context.Context, conn net.Conn)

	// Console is what the machine wrote to its serial console.
	Console() []byte

	// Reboot restarts the machine from outside, and returns when it can serve
	// connections again.
	Reboot(ctx context.Context) error

	// Close switches the machine off and returns when nothing of it runs. It is
	// not called from within MachineSpec.Power.
	Close() error
}

// A MachineSpec is what an instance tells the machine that it is.
type MachineSpec struct {
	InstanceID   string
	ImageID      string
	InstanceType string
	Architecture string // x86_64 or arm64
	Region       string
	Zone         string
	Hostname     string
	PrivateIP    string
	PublicIP     string // empty when it has none
	KeyName      string
	PublicKey    string // of KeyName, in OpenSSH's form; empty when it has none
	UserData     []byte // decoded
	Disk         Disk   // the root volume
	Clock        clock.Clock
	Logger       *slog.Logger

	// Dial reaches port 22 of other instances from this one, as their security
	// groups let it: for a machine that is a bastion.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)

	// Power tells the server what the machine did to itself. It may be called
	// from any goroutine and does not wait for what the server does about it.
	Power func(Power)
}

// Power is what a machine can do to itself.
type Power int

// What a machine says through MachineSpec.Power.
const (
	// PowerOff is a shutdown from within; the instance stops, or terminates,
	// by its InstanceInitiatedShutdownBehavior.
	PowerOff Power = iota + 1

	// Restart is a reboot from within; the server answers with Guest.Reboot.
	Restart
)

// String is "power off" or "restart".
func (p Power) String() string {
	switch p {
	case PowerOff:
		return "power off"
	case Restart:
		return "restart"
	}
	return "unknown"
}
