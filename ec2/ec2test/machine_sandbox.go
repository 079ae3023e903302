package ec2test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path"

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

// sandboxDisk is the contents of a disk, and the properties of the image it came
// from if there is one.
type sandboxDisk struct {
	kind   sandboxKind
	volume *sandbox.Volume
	login  string
	facts  sandbox.Facts
}

func (k sandboxKind) Blank(context.Context, int) (Disk, error) {
	return sandboxDisk{kind: k, volume: sandbox.NewVolume(nil)}, nil
}

func (k sandboxKind) Disk(_ context.Context, img Image) (Disk, error) {
	d := sandboxDisk{kind: k, login: img.Login, facts: sandbox.Facts{
		Distro: img.Distro, Version: img.Version, Arch: img.machine(), Kernel: img.Kernel,
	}}
	disk := sandbox.NewRoot(&sandbox.RootOptions{
		Login: d.login, Facts: d.facts, Now: img.created,
	})
	for name, content := range img.Files {
		if err := disk.MkdirAll(path.Dir(name), 0o755); err != nil {
			return nil, err
		}
		if err := disk.WriteFile(name, []byte(content), 0o644); err != nil {
			return nil, err
		}
	}
	d.volume = sandbox.NewVolume(disk)
	return d, nil
}

func (d sandboxDisk) Clone(context.Context) (Disk, error) {
	d.volume = d.volume.Clone()
	return d, nil
}

func (d sandboxDisk) Files() ([]File, error) {
	root, err := d.volume.Peek()
	if err != nil {
		return nil, err
	}
	found, err := sandbox.Files(root)
	files := make([]File, 0, len(found))
	for _, f := range found {
		files = append(files, File(f))
	}
	return files, err
}

func (d sandboxDisk) ReadFile(name string) ([]byte, error) {
	root, err := d.volume.Peek()
	if err != nil {
		return nil, err
	}
	return root.ReadFile(name)
}

// Blocks returns the blocks of a disk that was never written. Files are not stored
// in blocks.
func (d sandboxDisk) Blocks(context.Context, func(int64, []byte) error) error {
	if d.volume.IsBlank() {
		return nil
	}
	return errors.ErrUnsupported
}

// Load creates a disk with the files of the ext4 file systems in the blocks. The blocks are
// in a temporary file meanwhile.
func (k sandboxKind) Load(_ context.Context, sizeGiB int, contents Blocks) (_ Disk, err error) {
	file, err := os.CreateTemp("", "disk-*")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close(), os.Remove(file.Name())) }()
	err = contents(func(offset int64, data []byte) error {
		_, err := file.WriteAt(data, offset)
		return err
	})
	size := int64(sizeGiB) << 30
	if err := errors.Join(err, file.Truncate(size)); err != nil {
		return nil, err
	}
	limits := sandbox.Limits(k.opts.MachineLimits).Files()
	d := sandboxDisk{kind: k}
	if d.volume, d.login, err = sandbox.LoadVolume(file, size, limits); err != nil {
		return nil, fmt.Errorf("machines in memory cannot boot from blocks without an ext4 file system; see Options.Machines: %w: %w", errors.ErrUnsupported, err)
	}
	return d, nil
}

// Grow has nothing to do: MachineLimits bounds the size of file systems.
func (sandboxDisk) Grow(context.Context, int) error { return nil }

func (sandboxDisk) Close() error { return nil }

func (d sandboxDisk) Boot(ctx context.Context, spec MachineSpec) (Guest, error) {
	root, err := d.volume.Root()
	if err != nil {
		return nil, err
	}
	if d.facts.Distro == "" {
		d.facts = sandbox.FactsOf(root, Image{Architecture: spec.Architecture}.machine())
	}
	opts := sandbox.Options{
		FS:         root,
		Disks:      sandboxDisks(spec.Disks),
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

// RunScript runs a script as root, without SSH.
func (g sandboxGuest) RunScript(ctx context.Context, script string, stdout, stderr io.Writer) (int, error) {
	return g.host.Exec(ctx, sandbox.Exec{Line: script, Stdout: stdout, Stderr: stderr})
}

func (g sandboxGuest) Attach(d AttachedDisk) error {
	for _, disk := range sandboxDisks([]AttachedDisk{d}) {
		g.host.Attach(disk)
	}
	return nil
}

func (g sandboxGuest) Detach(device string) error {
	g.host.Detach(device)
	return nil
}

// sandboxDisks returns the disks that sandbox machines can use.
func sandboxDisks(all []AttachedDisk) []sandbox.AttachedDisk {
	disks := make([]sandbox.AttachedDisk, 0, len(all))
	for _, a := range all {
		if d, ok := a.Disk.(sandboxDisk); ok { //lint:concrete a kind's disks are its own
			disks = append(disks, sandbox.AttachedDisk{Device: a.Device, VolumeID: a.VolumeID, SizeGiB: a.SizeGiB, Volume: d.volume})
		}
	}
	return disks
}
