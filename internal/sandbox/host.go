package sandbox

import (
	"context"
	"net"

	"github.com/bakestone-go/bakestone/internal/memfs"
)

// A Host is a running machine. Its methods may be called from several
// goroutines at once.
type Host struct{ o Options }

// Boot starts a machine and returns when cloud-init has finished. The machine
// runs until Close; ctx only bounds the boot. A failing user script is no
// error: it is found on the Console and by "cloud-init status".
func Boot(ctx context.Context, o Options) (*Host, error) { return &Host{o: o.filled()}, nil }

// ServeConn serves one SSH connection on c, and returns when it has ended and
// c is closed.
func (h *Host) ServeConn(ctx context.Context, c net.Conn) { _ = c.Close() }

// FS is the disk, as root.
func (h *Host) FS() *memfs.FS { return h.o.FS }

// Console is the boot log since the machine was made.
func (h *Host) Console() string { return "" }

// Reboot restarts the machine: connections are dropped, processes are killed,
// there is a new boot id, and cloud-init does what it does at every boot.
func (h *Host) Reboot(ctx context.Context) error { return nil }

// Close powers the machine off and waits until nothing of it runs.
func (h *Host) Close() error { return nil }

func (p *Process) child(args []string) *Process { c := *p; c.Args = args; return &c }
func (p *Process) exec(ctx context.Context) int { return 0 }
