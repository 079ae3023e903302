package ec2test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"path"

	"github.com/bakestone-go/bakestone/internal/memfs"
	"github.com/bakestone-go/bakestone/internal/sandbox"
)

// A Command answers a command of a machine in Go.
type Command = sandbox.Command

// A Process is what a Command is called with.
type Process = sandbox.Process

// sandboxKind boots instances as sandboxes in memory.
type sandboxKind struct {
	commands map[string]Command
	limits   MachineLimits
}

func newSandbox(commands map[string]Command, limits MachineLimits) MachineKind {
	return sandboxKind{commands, limits}
}

// sandboxDisk is a file system, and what the vendor says is on it.
type sandboxDisk struct {
	fs    *memfs.FS
	login string
	facts sandbox.Facts
}

func (sandboxKind) Disk(_ context.Context, img Image) (Disk, error) {
	d := sandboxDisk{login: img.Login, facts: sandbox.Facts{
		Distro: img.Distro, Version: img.Version, Arch: img.machine(), Kernel: img.Kernel,
	}}
	d.fs = sandbox.NewRoot(&sandbox.RootOptions{
		Login: d.login, Facts: d.facts, Now: img.created,
	})
	for name, content := range img.Files {
		if err := d.fs.MkdirAll(path.Dir(name), 0o755); err != nil {
			return nil, err
		}
		if err := d.fs.WriteFile(name, []byte(content), 0o644); err != nil {
			return nil, err
		}
	}
	return d, nil
}

func (d sandboxDisk) Clone(context.Context) (Disk, error) {
	d.fs = d.fs.Clone()
	return d, nil
}

func (d sandboxDisk) ReadFile(name string) ([]byte, error) { return d.fs.ReadFile(name) }

func (sandboxDisk) Close() error { return nil }

// errNoSandbox is a disk that was not made by this machine kind.
var errNoSandbox = errors.New("the disk has no sandbox on it")

func (k sandboxKind) Boot(ctx context.Context, spec MachineSpec) (Guest, error) {
	disk, ok := spec.Disk.(sandboxDisk)
	if !ok {
		return nil, errNoSandbox
	}
	opts := sandbox.Options{
		FS:         disk.fs,
		Hostname:   spec.Hostname,
		InstanceID: spec.InstanceID,
		UserData:   spec.UserData,
		Login:      disk.login,
		Facts:      disk.facts,
		Clock:      spec.Clock,
		Dial:       spec.Dial,
		Commands:   k.commands,
		Limits:     sandbox.Limits(k.limits),
		Logger:     spec.Logger.With(slog.String("instance", spec.InstanceID)),
		OnPower: func(p sandbox.Power) {
			if p == sandbox.Reboot {
				spec.Power(Restart)
				return
			}
			spec.Power(PowerOff)
		},
	}
	if spec.PublicKey != "" {
		opts.AuthorizedKeys = []string{spec.PublicKey}
	}
	host, err := sandbox.Boot(ctx, opts)
	if err != nil {
		return nil, err
	}
	return sandboxGuest{host}, nil
}

type sandboxGuest struct{ host *sandbox.Host }

func (g sandboxGuest) ServeConn(ctx context.Context, conn net.Conn) { g.host.ServeConn(ctx, conn) }
func (g sandboxGuest) Console() []byte                              { return []byte(g.host.Console()) }
func (g sandboxGuest) Reboot(ctx context.Context) error             { return g.host.Reboot(ctx) }
func (g sandboxGuest) Close() error                                 { return g.host.Close() }
