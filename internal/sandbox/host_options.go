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

// Options says what machine to boot. The zero value is an Ubuntu machine with
// nothing on it.
type Options struct {
	// FS is the disk; the host changes it. Nil is NewRoot for Login and Facts.
	FS *memfs.FS

	// Hostname is what the machine is called unless its user data says
	// otherwise. Empty is "localhost".
	Hostname string

	// InstanceID is what cloud-init knows the machine by. A disk that booted
	// with another id before is treated as a new instance. Empty is
	// "i-00000000000000000".
	InstanceID string

	// UserData is what cloud-init obeys: a script, a #cloud-config, a
	// #cloud-boothook, or a MIME multipart of these; gzip and base64 are
	// unpacked. Nil is none.
	UserData []byte

	// AuthorizedKeys are lines for the login's authorized_keys, as the cloud's
	// meta-data offers them.
	AuthorizedKeys []string

	// Login is the default user, who may use sudo. Empty is Facts' usual one:
	// "ubuntu", "ec2-user" for Amazon Linux, "admin" for Debian.
	Login string

	// SudoPassword is what sudo asks the login for. Empty lets sudo run
	// without one.
	SudoPassword string

	// Passwords are the users who may log in by password. Nil is nobody.
	Passwords map[string]string

	// Clock drives sleep, date and the timed shutdown. Nil is the real time.
	Clock clock.Clock

	// Commands answers commands by name, before the built-in ones, as if they
	// were in /usr/bin.
	Commands map[string]Command

	// Missing are built-in commands that this machine does not have.
	Missing []string

	// Facts is what the machine says it is.
	Facts Facts

	// OnPower is told, once per boot, that the guest powers off or reboots. The
	// host does neither by itself: call Close or Reboot, from OnPower or from
	// anywhere else. It runs in a goroutine of its own, for which Close does
	// not wait, since it may be the caller. Nil calls Close or Reboot.
	OnPower func(Power)

	// Dial opens the connections that an SSH client wants forwarded
	// (direct-tcpip), for a bastion. Nil refuses them.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// Logger receives what the machine does, at level debug. Nil discards it.
	Logger *slog.Logger
}

// Facts is what a machine says it is. Empty fields are those of Ubuntu 24.04
// on x86_64.
type Facts struct {
	Distro  string // ID of /etc/os-release: "ubuntu"
	Version string // VERSION_ID of /etc/os-release: "24.04"
	Name    string // PRETTY_NAME; empty is made of the two above
	Arch    string // uname -m: "x86_64"
	Kernel  string // uname -r: "6.8.0-1021-aws"
}

// Power is what a guest can ask the host for.
type Power int

// What a guest can ask for.
const (
	PowerOff Power = iota
	Reboot
)

// String is "power off" or "reboot".
func (p Power) String() string {
	if p == Reboot {
		return "reboot"
	}
	return "power off"
}

// ErrClosed is what a powered-off host answers.
var ErrClosed = errors.New("the machine is powered off")

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
		set(&f.Name, "Debian GNU/Linux "+f.Version)
	}
	set(&f.Version, "1")
	set(&f.Name, f.Distro+" "+f.Version)
	set(&f.Arch, "x86_64")
	set(&f.Kernel, "6.8.0-1021-aws")
	return f
}

// login is the user that the distribution's cloud images have.
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

// dash is whether /bin/sh is dash, which knows nothing of bash.
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
	if o.FS == nil {
		o.FS = NewRoot(&RootOptions{Login: o.Login, Facts: o.Facts, Now: o.Clock.Now})
	}
	return o
}

// RootOptions says what is on a fresh disk.
type RootOptions struct {
	Login string           // the default user; empty as in Options
	Facts Facts            // what /etc/os-release says
	Now   func() time.Time // stamps the files; nil is time.Now
}
