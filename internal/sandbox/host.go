package sandbox

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"

	"github.com/bakestone-go/bakestone/internal/memfs"
)

// A Host is a simulated machine. Its methods are safe for concurrent use.
type Host struct {
	o          Options
	memory     *meter
	locks      fileLocks
	table      *table
	units      *unitTable
	disks      *diskTable
	transition chan struct{} // a mutex, held while the machine starts or stops

	mu         sync.Mutex // guards the fields below; never held while waiting
	up         *boot      // nil while the machine is off or booting
	booting    *boot      // nil unless the machine is booting
	off        bool       // set by Close
	name       string
	console    strings.Builder
	noted      map[string]bool         // keys of note
	initErrors []string                // errors of cloud-init at this boot
	scheduled  context.CancelCauseFunc // cancels the scheduled shutdown; nil if there is none
}

// boot is one run of the machine, from its start to its end.
type boot struct {
	cancel context.CancelCauseFunc
	ctx    context.Context //nolint:containedctx // it is the lifetime of the machine
	wg     sync.WaitGroup
	power  sync.Once

	mu    sync.Mutex
	conns map[net.Conn]bool // guarded by mu; nil while shutting down
}

type bootKey struct{}

func bootOf(ctx context.Context) *boot {
	b, _ := ctx.Value(bootKey{}).(*boot)
	return b
}

// Boot starts a machine and returns when cloud-init has finished. The machine
// runs until [Host.Close]. If ctx ends during the boot, Boot turns the machine
// off and returns the cause. A failing user script is not an error; it is
// reported by [Host.Console] and "cloud-init status".
func Boot(ctx context.Context, o Options) (*Host, error) {
	h := &Host{o: o.filled(), disks: &diskTable{}, transition: make(chan struct{}, 1)}
	h.memory = &meter{limit: h.o.Limits.Memory}
	h.o.FS = asRoot(h.o.FS)
	h.o.FS.SetLimits(memfs.Limits{Size: h.o.Limits.Disk, FileSize: h.o.Limits.FileSize})
	h.o.FS.SetTime(h.o.Clock.Now)
	for _, d := range h.o.Disks {
		h.Attach(d)
	}
	h.transition <- struct{}{}
	defer func() { <-h.transition }()
	if err := h.start(ctx); err != nil {
		return nil, err
	}
	return h, nil
}

func (h *Host) start(ctx context.Context) error {
	life, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	b := &boot{cancel: cancel, conns: map[net.Conn]bool{}}
	b.ctx = context.WithValue(life, bootKey{}, b)
	stop := context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })
	h.mu.Lock()
	h.table, h.units, h.initErrors, h.booting = newTable(h.o.Limits.Processes), newUnitTable(), nil, b
	if h.off {
		cancel(ErrClosed)
	}
	h.mu.Unlock()
	h.clearProcesses()
	h.mountDisks()
	h.cloudInit(b.ctx) //nolint:contextcheck // the machine outlives the boot
	if life.Err() == nil {
		h.startUnits(b.ctx) //nolint:contextcheck // as above
	}
	stop()
	h.mu.Lock()
	h.booting = nil
	cause := context.Cause(b.ctx) //nolint:contextcheck // as above
	if cause == nil {
		h.up = b
	}
	h.mu.Unlock()
	if cause != nil {
		h.end(b)
		return fmt.Errorf("boot: %w", cause)
	}
	h.o.Logger.LogAttrs(b.ctx, slog.LevelDebug, "machine is up", slog.String("instance", h.o.InstanceID)) //nolint:contextcheck // as above
	return nil
}

// end kills everything running in b and waits for it.
func (h *Host) end(b *boot) {
	b.mu.Lock()
	conns := b.conns
	b.conns = nil
	b.mu.Unlock()
	b.cancel(signal("KILL"))
	for c := range conns {
		_ = c.Close()
	}
	b.wg.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.scheduled = nil
}

// stop ends the current boot, if any.
func (h *Host) stop() {
	h.mu.Lock()
	b := h.up
	h.up = nil
	h.mu.Unlock()
	if b != nil {
		h.end(b)
	}
}

// FS returns the disk, accessed as root.
func (h *Host) FS() *memfs.FS { return h.o.FS }

// Console returns the log of all boots, with the output of cloud-init and the
// host key fingerprints.
func (h *Host) Console() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.console.String()
}

func (h *Host) log(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	fmt.Fprintf(&h.console, format+"\n", args...)
}

// Reboot restarts the machine and returns when it is up again. It drops
// connections, kills processes, cancels a scheduled shutdown, generates a new
// boot id and runs the stages of cloud-init that run at every boot. It fails
// with [ErrClosed] after Close. If ctx ends during the boot, the machine stays
// off and Reboot returns the cause.
func (h *Host) Reboot(ctx context.Context) error {
	select {
	case h.transition <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-h.transition }()
	h.mu.Lock()
	off := h.off
	h.mu.Unlock()
	if off {
		return ErrClosed
	}
	h.stop()
	return h.start(ctx)
}

// Close powers the machine off and waits for its goroutines, except those
// running Options.OnPower, which may be the caller. A second Close does nothing.
func (h *Host) Close() error {
	h.mu.Lock()
	h.off = true
	if h.booting != nil {
		h.booting.cancel(ErrClosed)
	}
	h.mu.Unlock()
	h.transition <- struct{}{}
	defer func() { <-h.transition }()
	h.stop()
	return nil
}

// command returns the implementation of the named command.
func (h *Host) command(name string) (Command, bool) {
	if c, ok := h.o.Commands[name]; ok {
		return c, true
	}
	if slices.Contains(h.o.Missing, name) {
		return nil, false
	}
	if name == "lsb_release" && !h.o.Facts.dash() {
		return nil, false
	}
	c := h.packageCommand(name)
	if c == nil {
		c = builtin(name)
	}
	return c, c != nil
}

// reportMissing says on the console and in the log, once for each name, that a
// command which scripts expect is not part of this machine.
func (h *Host) reportMissing(ctx context.Context, name string) {
	if slices.Contains(strings.Fields(expectedCommands), name) {
		h.note(ctx, "command "+name, name+" is not installed: this machine is simulated; register a func for "+name+" in Commands")
	}
}

// note writes a remark about the simulation to the console and the log, once for
// each key.
func (h *Host) note(ctx context.Context, key, text string) {
	h.mu.Lock()
	noted := h.noted[key]
	if h.noted == nil {
		h.noted = map[string]bool{}
	}
	h.noted[key] = true
	h.mu.Unlock()
	if noted {
		return
	}
	h.log("test machine: %s", text)
	h.o.Logger.LogAttrs(ctx, slog.LevelWarn, "simulated machine", slog.String("note", text))
}

// expectedCommands are commands that scripts run without a look whether they are
// there.
const expectedCommands = "apt-get apt apt-cache apt-key add-apt-repository dpkg dpkg-query dpkg-deb dnf yum rpm zypper apk snap flatpak brew " +
	"curl wget git python python3 pip pip3 node npm go java ruby gem perl php docker podman containerd kubectl helm aws make gcc " +
	"service ss netstat nginx ansible ansible-playbook puppet chef-client salt-call openssl gpg zip unzip xz patch rsync"

// detach returns a context that ends with the machine instead of with ctx.
func (h *Host) detach(ctx context.Context) (context.Context, func(error)) {
	b := bootOf(ctx)
	running, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	release := context.AfterFunc(b.ctx, func() { cancel(context.Cause(b.ctx)) })
	return running, func(cause error) {
		release()
		cancel(cause)
	}
}

// outlive runs do in a goroutine that may outlive the calling process. The
// machine waits for it when it stops.
func (h *Host) outlive(ctx context.Context, do func()) { bootOf(ctx).wg.Go(do) }

func (h *Host) hostname() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.name
}

func (h *Host) setHostname(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.name = name
}

// process returns a process of u with a login environment in u's home.
func (h *Host) process(u user) *Process {
	p := &Process{Host: h, Dir: u.home, Umask: 0o022, Env: h.loginEnv(u), session: &usage{h: h}}
	p.FS = h.o.FS
	p.as(u)
	if info, err := p.FS.Stat(p.Dir); err != nil || !info.IsDir() {
		p.Dir = "/"
	}
	return p
}

// loginEnv returns the environment set by login and pam_env.
func (h *Host) loginEnv(u user) map[string]string {
	env := map[string]string{
		"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/games:/usr/local/games:/snap/bin",
		"HOME": u.home, "USER": u.name, "LOGNAME": u.name, "SHELL": u.shell,
	}
	data, _ := h.o.FS.ReadFile("/etc/environment") // optional
	for line := range strings.Lines(string(data)) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if ok && !strings.HasPrefix(name, "#") {
			env[strings.TrimPrefix(name, "export ")] = strings.Trim(value, `"'`)
		}
	}
	return env
}
