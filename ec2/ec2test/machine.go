package ec2test

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/bakestone-go/bakestone/bake/clock"
)

// machine is an instance's guest from one start to the next stop.
type machine struct {
	log   *slog.Logger
	clock clock.Clock
	quit  chan struct{}  // closed to stop the machine
	work  sync.WaitGroup // booting and connections

	booted chan struct{} // closed when guest and err are set
	guest  Guest
	err    error

	rebootRequests chan struct{} // buffers one request

	mu        sync.Mutex
	started   bool
	stopped   bool
	rebooting bool
	upFrom    time.Time // when the SSH port opens
	last      []byte    // console output after the stop
	conns     map[net.Conn]struct{}
}

// bootPlan holds the parameters of a start.
type bootPlan struct {
	spec  MachineSpec
	disk  *diskRef
	disks []attachedRef // besides the root disk
	after time.Duration // from now until the SSH port opens
	addr  string        // of the TCP listener; empty means none
	admit func() bool   // whether the security groups admit a TCP connection
}

// newMachine returns a machine whose SSH port opens after a duration.
func (s *Server) newMachine(after time.Duration) *machine {
	return &machine{
		log:            s.opts.Logger,
		clock:          s.opts.Clock,
		quit:           make(chan struct{}),
		rebootRequests: make(chan struct{}, 1),
		booted:         make(chan struct{}),
		upFrom:         s.now().Add(after),
		conns:          make(map[net.Conn]struct{}),
	}
}

// start starts the machine, which runs until stop.
func (m *machine) start(ctx context.Context, plan bootPlan) {
	// The machine outlives the call that starts it.
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopped { // before it was started
		m.err = net.ErrClosed
		close(m.booted)
		cancel()
		return
	}
	m.started = true
	m.work.Go(func() {
		defer cancel()
		<-m.quit
	})
	m.work.Go(func() {
		m.boot(ctx, plan)
		if ctx.Err() != nil {
			return // stopped meanwhile
		}
		if m.err != nil {
			m.mu.Lock()
			m.last = []byte("ec2test: cannot boot: " + m.err.Error() + "\n")
			m.mu.Unlock()
			m.log.Warn("cannot boot machine", slog.String("instance", plan.spec.InstanceID), slog.String("err", m.err.Error()))
			return
		}
		m.work.Go(func() { m.listen(ctx, plan) })
		m.handleReboots(ctx, plan.spec.InstanceID)
	})
}

// handleReboots reboots the guest on request until ctx is done.
func (m *machine) handleReboots(ctx context.Context, id string) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.rebootRequests:
		}
		m.hangUp()
		if err := m.guest.Reboot(ctx); err != nil {
			m.log.Warn("cannot reboot machine", slog.String("instance", id), slog.String("err", err.Error()))
			continue
		}
		m.mu.Lock()
		m.rebooting = false
		m.mu.Unlock()
	}
}

func (m *machine) boot(ctx context.Context, plan bootPlan) {
	defer close(m.booted)
	var disk Disk
	if disk, m.err = plan.disk.get(ctx); m.err != nil {
		return
	}
	for _, a := range plan.disks {
		if d, ok := a.get(ctx); ok {
			plan.spec.Disks = append(plan.spec.Disks, d)
		}
	}
	if m.err = m.clock.Sleep(ctx, plan.after); m.err == nil {
		m.guest, m.err = disk.Boot(ctx, plan.spec)
	}
}

// attachedRef is an attached disk that may still be in the making.
type attachedRef struct {
	AttachedDisk
	ref *diskRef
}

// get waits for the disk. It reports false if machines cannot use it.
func (a attachedRef) get(ctx context.Context) (AttachedDisk, bool) {
	disk, err := a.ref.get(ctx)
	a.Disk = disk
	return a.AttachedDisk, err == nil
}

// attach attaches a disk to the running machine.
func (m *machine) attach(ctx context.Context, a attachedRef) error {
	d, ok := a.get(ctx)
	if !ok || m.ready(ctx) != nil {
		return nil //nolint:nilerr // a machine that could not boot has no disks
	}
	return m.guest.Attach(d)
}

// detach removes a disk from the running machine.
func (m *machine) detach(ctx context.Context, device string) error {
	if m.ready(ctx) != nil {
		return nil //nolint:nilerr // as above
	}
	return m.guest.Detach(device)
}

// ready waits until the machine has booted.
func (m *machine) ready(ctx context.Context) error {
	select {
	case <-m.booted:
		return m.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// up reports whether the SSH port is open at a time.
func (m *machine) up(now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return !m.stopped && !m.rebooting && !now.Before(m.upFrom)
}

// serve starts serving a connection, and reports false if the machine has been
// stopped.
func (m *machine) serve(ctx context.Context, conn net.Conn) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopped {
		return false
	}
	m.conns[conn] = struct{}{}
	m.work.Go(func() {
		m.guest.ServeConn(ctx, conn)
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.conns, conn)
	})
	return true
}

// hangUp closes all connections.
func (m *machine) hangUp() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for conn := range m.conns {
		_ = conn.Close() // the guest notices
	}
}

// reboot requests a reboot. The SSH port is closed until the reboot is complete
// and the duration has passed.
func (m *machine) reboot(takes time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rebooting = true
	m.upFrom = m.clock.Now().Add(takes)
	select {
	case m.rebootRequests <- struct{}{}:
	default: // one is requested already
	}
}

// console returns the console output so far.
func (m *machine) console() []byte {
	m.mu.Lock()
	stopped, last := m.stopped, m.last
	m.mu.Unlock()
	select {
	case <-m.booted:
		if !stopped && m.guest != nil {
			return m.guest.Console()
		}
	default:
	}
	return last
}

// stop stops the machine and waits for all its goroutines. It may be called
// repeatedly; each call waits.
func (m *machine) stop() {
	m.mu.Lock()
	first, started := !m.stopped, m.started
	m.stopped = true
	if first {
		close(m.quit)
	}
	m.mu.Unlock()
	if started {
		<-m.booted
		m.hangUp()
	}
	if first && m.guest != nil {
		console := m.guest.Console()
		if err := m.guest.Close(); err != nil {
			m.log.Warn("cannot stop machine", slog.String("err", err.Error()))
		}
		m.mu.Lock()
		m.last = console
		m.mu.Unlock()
	}
	m.work.Wait()
}

// listen accepts TCP connections until ctx is done.
func (m *machine) listen(ctx context.Context, plan bootPlan) {
	if plan.addr == "" {
		return
	}
	if at, err := netip.ParseAddrPort(plan.addr); err != nil || !at.Addr().IsLoopback() {
		m.log.Error("cannot listen: the address is not on loopback", slog.String("addr", plan.addr))
		return
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", plan.addr) // loopback: see above
	if err != nil {
		m.log.Error("cannot listen", slog.String("addr", plan.addr), slog.String("err", err.Error()))
		return
	}
	stop := context.AfterFunc(ctx, func() {
		if err := l.Close(); err != nil {
			m.log.Debug("cannot close listener", slog.String("err", err.Error()))
		}
	})
	defer stop()
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		// EC2 drops what the security groups do not admit. An accepted
		// connection cannot be dropped, so it is closed rather than silent.
		if !plan.admit() || !m.up(m.clock.Now()) || !m.serve(ctx, conn) {
			_ = conn.Close()
		}
	}
}
