package sandbox

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"time"

	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/internal/memfs"
)

// Options configures a machine. The zero value is a freshly installed Ubuntu
// machine.
type Options struct {
	// FS is the disk, which the machine modifies. If nil, NewRoot creates one
	// for Login and Facts.
	FS *memfs.FS

	// Disks are the other disks, in the order of their device names.
	Disks []AttachedDisk

	// Hostname is the host name, unless user data sets one. Empty means
	// "localhost".
	Hostname string

	// InstanceID identifies the instance to cloud-init, which treats a disk
	// last booted with another id as a new instance. Empty means
	// "i-00000000000000000".
	InstanceID string

	// UserData is processed by cloud-init: a script, a #cloud-config, a
	// #cloud-boothook, or a MIME multipart of these, optionally in gzip or
	// base64.
	UserData []byte

	// AuthorizedKeys are lines for the login's authorized_keys, as supplied by
	// a cloud's metadata.
	AuthorizedKeys []string

	// Login is the default user, who may use sudo. Empty means the
	// distribution's: "ubuntu", "ec2-user" for Amazon Linux, "admin" for Debian.
	Login string

	// SudoPassword is the password sudo requires from the login. If empty, sudo
	// asks for none.
	SudoPassword string

	// Passwords maps the users who may log in by password to their passwords.
	Passwords map[string]string

	// Clock drives sleep, date and scheduled shutdowns. If nil, the system clock
	// is used.
	Clock clock.Clock

	// Commands implements commands by name, as if they were in /usr/bin. They
	// take precedence over built-in commands.
	Commands map[string]Command

	// Missing lists built-in commands that this machine lacks.
	Missing []string

	// AnyCommand makes commands that this machine lacks succeed without effect.
	// They still are not in $PATH.
	AnyCommand bool

	// OnCommand is called with each command that ends. It may be called from any
	// goroutine and must return soon.
	OnCommand func(CommandRun)

	// Packages describes the packages that the package managers know more about
	// than their name. They install any other package as well.
	Packages map[string]Package

	// Ports are the TCP ports on which services listen while they are active, by
	// the service's name: "web". They replace the usual ones of well-known services.
	Ports map[string][]int

	// URLs are the contents of what curl and wget can download, by URL. Other URLs of
	// the same hosts do not exist, and other hosts cannot be resolved.
	URLs map[string]string

	// Metadata are the values of the instance metadata service, by path below
	// "/latest/": "meta-data/instance-id". If nil, there is no such service.
	Metadata map[string]string

	// Facts identifies the operating system and hardware.
	Facts Facts

	// Limits bounds what the machine may use of the computer that simulates it.
	Limits Limits

	// OnPower is called, once per boot, when the guest requests to power off or
	// reboot. The host does not act on the request; call Close or Reboot, in
	// OnPower or elsewhere. OnPower runs in its own goroutine, and Close does
	// not wait for it. If nil, the host calls Close or Reboot.
	OnPower func(Power)

	// Dial opens connections forwarded for SSH clients (direct-tcpip), as on a
	// bastion. If nil, forwarding is refused. Connections that implement
	// CloseWriter are half-closed when the client stops sending.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// Logger receives debug messages. If nil, they are discarded.
	Logger *slog.Logger
}

// A CommandRun is a command that ran on a machine.
type CommandRun struct {
	Args   []string
	User   string
	Dir    string // the working directory
	Status int
	Start  time.Time
}

// Facts identifies a machine's operating system and hardware. Empty fields
// default to those of Ubuntu 24.04 on x86_64.
type Facts struct {
	Distro  string // ID in /etc/os-release: "ubuntu"
	Version string // VERSION_ID in /etc/os-release: "24.04"
	Name    string // PRETTY_NAME; if empty, made from Distro and Version
	Arch    string // uname -m: "x86_64"
	Kernel  string // uname -r: "6.8.0-1021-aws"
}

// Power is a change of power state requested by a guest.
type Power int

// The power changes a guest can request.
const (
	PowerOff Power = iota
	Reboot
)

// String returns "power off" or "reboot".
func (p Power) String() string {
	if p == Reboot {
		return "reboot"
	}
	return "power off"
}

// ErrClosed is returned, possibly wrapped, if the machine is off.
var ErrClosed = errors.New("machine is powered off")

const (
	defaultInstanceID = "i-00000000000000000"
	defaultHostname   = "localhost"
)

func (f Facts) filled() Facts {
	set := func(s *string, value string) {
		if *s == "" {
			*s = value
		}
	}
	set(&f.Distro, "ubuntu")
	switch f.Distro {
	case "ubuntu":
		set(&f.Version, "24.04")
		set(&f.Name, "Ubuntu "+f.Version+" LTS")
	case "amzn":
		set(&f.Version, "2023")
		set(&f.Name, "Amazon Linux "+f.Version)
	case "debian":
		set(&f.Version, "13")
		name, full := f.codename()
		set(&f.Name, "Debian GNU/Linux "+full)
		if name == "" {
			set(&f.Name, "Debian GNU/Linux "+f.Version)
		}
	}
	set(&f.Version, "1")
	set(&f.Name, f.Distro+" "+f.Version)
	set(&f.Arch, "x86_64")
	set(&f.Kernel, "6.8.0-1021-aws")
	return f
}

// login returns the default user of the distribution's cloud images.
func (f Facts) login() string {
	switch f.Distro {
	case "amzn":
		return "ec2-user"
	case "debian":
		return "admin"
	default:
		return "ubuntu"
	}
}

// dash reports whether /bin/sh is dash instead of bash.
func (f Facts) dash() bool { return f.Distro == "ubuntu" || f.Distro == "debian" }

func (o Options) filled() Options {
	o.Facts = o.Facts.filled()
	if o.Login == "" {
		o.Login = o.Facts.login()
	}
	if o.Hostname == "" {
		o.Hostname = defaultHostname
	}
	if o.InstanceID == "" {
		o.InstanceID = defaultInstanceID
	}
	if o.Clock == nil {
		o.Clock = clock.System()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.Limits = o.Limits.filled()
	if o.FS == nil {
		o.FS = NewRoot(&RootOptions{Login: o.Login, Facts: o.Facts, Now: o.Clock.Now})
	}
	return o
}

// RootOptions configures a new disk.
type RootOptions struct {
	Login string           // the default user, as in Options
	Facts Facts            // the operating system
	Now   func() time.Time // timestamps files; if nil, time.Now is used
}
