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
	opts      *Options
	commands  map[string]sandbox.Command
	packages  map[string]sandbox.Package
	onCommand func(MachineSpec, sandbox.CommandRun)
}

func newSandbox(o *Options, onCommand func(MachineSpec, sandbox.CommandRun)) MachineKind {
	k := sandboxKind{
		opts: o, commands: make(map[string]sandbox.Command, len(o.Commands)), packages: make(map[string]sandbox.Package, len(o.Packages)), onCommand: onCommand,
	}
	for name, run := range o.Commands {
		k.commands[name] = sandboxCommand(run)
	}
	for name, pkg := range o.Packages {
		k.packages[name] = sandbox.Package(pkg)
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

func (d sandboxDisk) Files() ([]File, error) {
	found, err := sandbox.Files(d.fs)
	files := make([]File, 0, len(found))
	for _, f := range found {
		files = append(files, File(f))
	}
	return files, err
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
		Missing:    d.kind.opts.MissingCommands,
		AnyCommand: d.kind.opts.AnyCommand,
		Packages:   d.kind.packages,
		Ports:      d.kind.opts.Ports,
		URLs:       d.kind.opts.URLs,
		Metadata:   spec.metadata(),
		OnCommand:  func(run sandbox.CommandRun) { d.kind.onCommand(spec, run) },
		Limits:     sandbox.Limits(d.kind.opts.MachineLimits),
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
