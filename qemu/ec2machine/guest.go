package ec2machine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/bakestone-go/bakestone/ec2/ec2test"
	"github.com/bakestone-go/bakestone/qemu/internal/iso9660"
	"github.com/bakestone-go/bakestone/qemu/internal/qmp"
)

// guest is a virtual machine.
type guest struct {
	machines *Machines
	spec     ec2test.MachineSpec
	dir      string
	root     *disk

	mu       sync.Mutex
	attached map[string]plugged // by device name
	run      *running           // nil if it is off
	closed   bool
}

// plugged is a disk besides the root disk.
type plugged struct {
	*disk

	volume string // id
}

// running is a QEMU process.
type running struct {
	process *os.Process
	done    chan struct{} // closed when it has ended
	err     error         // of the process
	port    string        // leads to the guest's SSH server
	quiet   bool          // its end is wanted or expected; guarded by guest.mu
}

// Boot starts a virtual machine and waits for its SSH server.
func (d *disk) Boot(ctx context.Context, spec ec2test.MachineSpec) (ec2test.Guest, error) {
	dir, err := d.machines.newDir()
	if err != nil {
		return nil, err
	}
	g := &guest{machines: d.machines, spec: spec, dir: dir, root: d, attached: make(map[string]plugged)}
	for _, a := range spec.Disks {
		if own, ok := a.Disk.(*disk); ok { //lint:concrete a kind's disks are its own
			g.attached[a.Device] = plugged{own, a.VolumeID}
		}
	}
	err = g.writeSeed()
	if err == nil {
		err = g.start(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, g.close(ctx))
	}
	return g, nil
}

// writeSeed writes the disk from which the guest configures itself.
func (g *guest) writeSeed() error {
	meta := fmt.Sprintf("instance-id: %s\nlocal-hostname: %s\n", g.spec.InstanceID, g.spec.Hostname)
	if g.spec.PublicKey != "" {
		meta += "public-keys:\n  - " + strconv.Quote(strings.TrimSpace(g.spec.PublicKey)) + "\n"
	}
	user := g.spec.UserData
	if len(user) == 0 {
		user = []byte("#cloud-config\n{}\n")
	}
	seed, err := iso9660.Write("cidata", g.spec.Clock.Now(), iso9660.File{Name: "meta-data", Content: []byte(meta)}, iso9660.File{Name: "user-data", Content: user})
	if err != nil {
		return err
	}
	return os.WriteFile(g.path("seed.iso"), seed, 0o600)
}

func (g *guest) path(name string) string { return filepath.Join(g.dir, name) }

func (g *guest) socket() string { return g.path("qmp") }

// program returns the program and the arguments of QEMU for the machine.
func (g *guest) program() (name string, args []string) {
	o := g.machines.opts
	accelerators := o.Accelerators
	if len(accelerators) == 0 {
		accelerators = []string{map[string]string{"linux": "kvm", "darwin": "hvf"}[runtime.GOOS], "tcg"}
	}
	accelerators = slices.DeleteFunc(slices.Clone(accelerators), func(a string) bool { return a == "" })
	name, machine := "qemu-system-x86_64", "pc"
	if g.spec.Architecture == "arm64" {
		name, machine = "qemu-system-aarch64", "virt"
	}
	args = []string{
		"-no-user-config", "-nodefaults", "-display", "none", "-name", g.spec.InstanceID,
		"-machine", machine + ",accel=" + strings.Join(accelerators, ":"), "-cpu", "max", "-smp", strconv.Itoa(o.CPUs), "-m", fmt.Sprintf("%dM", o.Memory>>20),
		"-chardev", "socket,id=qmp,path=qmp,server=on,wait=off", "-mon", "chardev=qmp,mode=control",
		"-chardev", "file,id=console,path=console,append=on", "-serial", "chardev:console", "-device", "virtio-rng-pci",
		"-netdev", "user,id=net,hostfwd=tcp:127.0.0.1:0-:22", "-device", "virtio-net-pci,netdev=net,romfile=",
		"-drive", "if=none,format=qcow2,discard=unmap,node-name=root,id=system,file=" + escaped(g.root.file()), "-device", "virtio-blk-pci,drive=system,bootindex=1,serial=root",
		"-drive", "if=none,format=raw,readonly=on,id=seed,file=seed.iso", "-device", "virtio-blk-pci,drive=seed,serial=seed",
	}
	if machine == "pc" {
		args = append(args, "-device", "VGA") // boot loaders may need one
	}
	return name, append(args, o.Args...)
}

// escaped escapes a value in an option of QEMU.
func escaped(value string) string { return strings.ReplaceAll(value, ",", ",,") }

// start starts QEMU and waits for the guest's SSH server.
func (g *guest) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, g.machines.opts.BootTimeout)
	defer cancel()
	_ = os.Remove(g.socket()) // of the last boot
	name, args := g.program()
	var log bytes.Buffer
	cmd := exec.Command(name, args...) //nolint:gosec,noctx // it outlives the boot
	cmd.Dir, cmd.Stdout, cmd.Stderr = g.dir, &log, &log
	endWithParent(cmd)
	r := &running{done: make(chan struct{}), quiet: true} // start reports failures
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // the kernel takes the end of the thread for the end of the parent
		defer runtime.UnlockOSThread()
		defer close(r.done)
		err := cmd.Start()
		started <- err
		if err == nil {
			r.err = cmd.Wait()
			g.ended(r, log.String())
		}
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	r.process = cmd.Process
	g.mu.Lock()
	g.run = r
	for device, d := range g.attached {
		d.use(g, nodeOf(device))
	}
	g.mu.Unlock()
	g.root.use(g, "root")
	err := g.connect(ctx, r)
	for device, d := range g.attached {
		if err == nil {
			err = g.plug(ctx, device, d)
		}
	}
	if err == nil {
		err = g.awaitGreeting(ctx, r)
	}
	if err != nil {
		g.powerOff(ctx, r, 0)
		return fmt.Errorf("boot %s: %w: %s%s", g.spec.InstanceID, err, strings.TrimSpace(log.String()), lastLines(g.Console()))
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	r.quiet = false
	return nil
}

// lastLines returns the end of the console for an error.
func lastLines(console []byte) string {
	const most = 500
	if len(console) == 0 {
		return ""
	}
	return "; the console ends with:\n" + strings.ToValidUTF8(string(console[max(0, len(console)-most):]), "?")
}

// ended reports the end of QEMU to the server, unless it was wanted.
func (g *guest) ended(r *running, log string) {
	g.mu.Lock()
	quiet := r.quiet
	g.mu.Unlock()
	if !quiet {
		if r.err != nil {
			g.spec.Logger.Warn("QEMU failed", slog.String("instance", g.spec.InstanceID), slog.String("err", r.err.Error()), slog.String("output", strings.TrimSpace(log)+lastLines(g.Console())))
		}
		g.spec.Power(ec2test.PowerOff)
	}
}

var errEnded = errors.New("QEMU ended")

// forward matches the line of "info usernet" for the guest's SSH server.
var forward = regexp.MustCompile(`TCP\[HOST_FORWARD\]\s+\S+\s+127\.0\.0\.1\s+(\d+)\s+\S+\s+22\s`)

// retry calls f until it succeeds, QEMU ends, or ctx is done.
func retry(ctx context.Context, r *running, f func() error) error {
	for {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-r.done:
			return errEnded
		case <-ctx.Done():
			return err
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// connect waits for QEMU and learns the port of the guest's SSH server.
func (g *guest) connect(ctx context.Context, r *running) error {
	return retry(ctx, r, func() error {
		var text string
		if err := qmp.Do(ctx, g.socket(), "human-monitor-command", map[string]string{"command-line": "info usernet"}, &text); err != nil {
			return err
		}
		found := forward.FindStringSubmatch(text)
		if found == nil {
			return fmt.Errorf("QEMU forwards no port to the guest: %q", text)
		}
		r.port = found[1]
		return nil
	})
}

// awaitGreeting waits for the guest's SSH server. QEMU accepts connections before
// the guest does, and those stay silent.
func (g *guest) awaitGreeting(ctx context.Context, r *running) error {
	wait := time.Second
	return retry(ctx, r, func() error {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", r.port))
		if err != nil {
			return err
		}
		defer conn.Close() //nolint:errcheck // nothing was written
		if err := conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
			return err
		}
		wait = min(2*wait, 8*time.Second)
		_, err = io.ReadFull(conn, make([]byte, len("SSH-")))
		return err
	})
}

// powerOff presses the power button, and cuts the power if the guest does not react
// in time, whatever becomes of ctx.
func (g *guest) powerOff(ctx context.Context, r *running, patience time.Duration) {
	g.mu.Lock()
	r.quiet = true
	g.mu.Unlock()
	const answer = 5 * time.Second // of QEMU
	tell := func(command string, wait time.Duration) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), answer)
		defer cancel()
		if g.do(ctx, command, nil) != nil {
			return // it has ended, or does not answer
		}
		select {
		case <-r.done:
		case <-time.After(wait):
		}
	}
	if patience > 0 {
		tell("system_powerdown", patience)
	}
	tell("quit", answer)
	_ = r.process.Kill() // unless it has ended
	<-r.done
	g.root.use(nil, "")
	g.mu.Lock()
	defer g.mu.Unlock()
	g.run = nil
	for _, d := range g.attached {
		d.use(nil, "")
	}
}
