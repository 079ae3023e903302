package ec2test

import (
	"context"
	"log/slog"
	"net"
	"path"

	"github.com/bakestone-go/bakestone/internal/memfs"
	"github.com/bakestone-go/bakestone/internal/sandbox"
)

// sandboxKind boots instances as sandboxes in memory.
type sandboxKind struct {
	commands map[string]sandbox.Command
	limits   MachineLimits
}

func newSandbox(commands map[string]Command, limits MachineLimits) MachineKind {
	k := sandboxKind{commands: make(map[string]sandbox.Command, len(commands)), limits: limits}
	for name, run := range commands {
		k.commands[name] = sandboxCommand(run)
	}
	return k
}

// sandboxDisk is a file system and the properties of the image it came from.
type sandboxDisk struct {
	kind  sandboxKind
	fs    *memfs.FS
	login string
	facts sandbox.Facts
}

func (k sandboxKind) Disk(_ context.Context, img Image) (Disk, error) {
	d := sandboxDisk{kind: k, login: img.Login, facts: sandbox.Facts{
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

func (d sandboxDisk) Boot(ctx context.Context, spec MachineSpec) (Guest, error) {
	opts := sandbox.Options{
		FS:         d.fs,
		Hostname:   spec.Hostname,
		InstanceID: spec.InstanceID,
		UserData:   spec.UserData,
		Login:      d.login,
		Facts:      d.facts,
		Clock:      spec.Clock,
		Dial:       spec.Dial,
		Commands:   d.kind.commands,
		Limits:     sandbox.Limits(d.kind.limits),
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
