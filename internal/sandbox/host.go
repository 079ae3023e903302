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

// A Host is a running machine. Its methods may be called from several
// goroutines at once.
type Host struct {
	o     Options
	table *table
	transition  chan struct{} // held by who starts or stops the machine

	mu      sync.Mutex // guards what is below; never held across a wait
	up      *boot      // nil while the machine is off or booting
	booting *boot      // nil otherwise
	off     bool
	name    string
	console strings.Builder
	initErrors []string // what failed in cloud-init at this boot
	scheduled context.CancelCauseFunc
}

// boot is the time from one start of the machine to its end.
type boot struct {
	cancel context.CancelCauseFunc
	ctx    context.Context //nolint:containedctx // it is the lifetime of the machine
	wg     sync.WaitGroup
	power  sync.Once

	mu    sync.Mutex
	conns map[net.Conn]bool // guarded by mu; nil once the machine goes down
}

type bootKey struct{}

func bootOf(ctx context.Context) *boot {
	b, _ := ctx.Value(bootKey{}).(*boot)
	return b
}

// Boot starts a machine and returns when cloud-init has finished. The machine
// runs until Close; ctx only bounds the boot, and when it ends before, the
// machine is off again and Boot returns its cause. A failing user script is no
// error: it is found on the Console and by "cloud-init status".
func Boot(ctx context.Context, o Options) (*Host, error) {
	h := &Host{o: o.filled(), transition: make(chan struct{}, 1)}
	h.o.FS = asRoot(h.o.FS)
	h.o.FS.SetTime(h.o.Clock.Now)
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
	h.table, h.initErrors, h.booting = newTable(), nil, b
	if h.off {
		cancel(ErrClosed)
	}
	h.mu.Unlock()
	h.cloudInit(b.ctx) //nolint:contextcheck // the machine outlives the boot
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

// end kills everything that runs in b, and waits for it.
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

// stop takes the machine down; what it was up for is returned to nobody.
func (h *Host) stop() {
	h.mu.Lock()
	b := h.up
	h.up = nil
	h.mu.Unlock()
	if b != nil {
		h.end(b)
	}
}

// FS is the disk, as root.
func (h *Host) FS() *memfs.FS { return h.o.FS }

// Console is the boot log since the machine was made, with what cloud-init did
// and the fingerprints of the host keys.
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

// Reboot restarts the machine and returns when it is up again: connections are
// dropped, processes are killed, a timed shutdown is forgotten, there is a new
// boot id, and cloud-init does what it does at every boot. It fails with
// ErrClosed after Close, and with the cause of ctx, which leaves the machine
// off.
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

// Close powers the machine off, and waits until nothing of it runs but an
// OnPower that has not returned: it may be the caller. A second Close does
// nothing.
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

// command returns the func that answers name, if this machine has one.
func (h *Host) command(name string) (Command, bool) {
	if c, ok := h.o.Commands[name]; ok {
		return c, true
	}
	if slices.Contains(h.o.Missing, name) {
		return nil, false
	}
	c := builtin(name)
	return c, c != nil
}

// detach returns a context that ends with the machine and not with ctx.
func (h *Host) detach(ctx context.Context) (context.Context, func(error)) {
	b := bootOf(ctx)
	running, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	release := context.AfterFunc(b.ctx, func() { cancel(context.Cause(b.ctx)) })
	return running, func(cause error) {
		release()
		cancel(cause)
	}
}

// outlive runs do in a goroutine that the end of the machine waits for.
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

// process returns a process of u in their home, as a login makes it.
func (h *Host) process(u user) *Process {
	p := &Process{Host: h, Dir: u.home, Umask: 0o022, Env: h.loginEnv(u)}
	p.FS = h.o.FS
	p.as(u)
	if info, err := p.FS.Stat(p.Dir); err != nil || !info.IsDir() {
		p.Dir = "/"
	}
	return p
}

// loginEnv is what pam_env and the login set.
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
