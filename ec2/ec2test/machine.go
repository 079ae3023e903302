package ec2test

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/bakestone-go/bakestone/bake/clock"
)

// machine is one time that an instance is switched on.
type machine struct {
	kind  MachineKind
	log   *slog.Logger
	clock clock.Clock
	quit  chan struct{}  // closed to switch it off
	work  sync.WaitGroup // the booting, and the connections

	booted chan struct{} // closed when guest and err are set
	guest  Guest
	err    error

	rebootRequests chan struct{} // to reboot; holds one

	mu        sync.Mutex
	started   bool
	stopped   bool
	rebooting bool
	upFrom    time.Time // when the port answers, by the clock
	last      []byte    // the console after the end
	conns     map[net.Conn]struct{}
}

// bootPlan is what it takes to switch an instance on.
type bootPlan struct {
	spec  MachineSpec
	disk  *diskRef
	after time.Duration // from now until the port answers
	addr  string        // of the TCP listener; empty is none
	admit func() bool   // whether the security groups let a connection in
}

// newMachine is a machine whose port answers after a time, from now on.
func (s *Server) newMachine(after time.Duration) *machine {
	return &machine{
		kind:           s.opts.Machines,
		log:            s.opts.Logger,
		clock:          s.opts.Clock,
		quit:           make(chan struct{}),
		rebootRequests: make(chan struct{}, 1),
		booted:         make(chan struct{}),
		upFrom:         s.now().Add(after),
		conns:          make(map[net.Conn]struct{}),
	}
}

// start switches the machine on, until stop.
func (m *machine) start(ctx context.Context, plan bootPlan) {
	// The machine outlives the call that switches it on.
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopped { // before it was switched on
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
			return // it was switched off meanwhile
		}
		if m.err != nil {
			m.log.Warn("machine does not boot", slog.String("instance", plan.spec.InstanceID), slog.String("err", m.err.Error()))
			return
		}
		m.work.Go(func() { m.listen(ctx, plan) })
		m.handleReboots(ctx, plan.spec.InstanceID)
	})
}

// keep reboots the machine whenever it is asked to, until ctx ends.
func (m *machine) handleReboots(ctx context.Context, id string) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.rebootRequests:
		}
		m.hangUp()
		if err := m.guest.Reboot(ctx); err != nil {
			m.log.Warn("machine does not reboot", slog.String("instance", id), slog.String("err", err.Error()))
			continue
		}
		m.mu.Lock()
		m.rebooting = false
		m.mu.Unlock()
	}
}

func (m *machine) boot(ctx context.Context, plan bootPlan) {
	defer close(m.booted)
	plan.spec.Disk, m.err = plan.disk.get(ctx)
	if m.err == nil {
		m.err = m.clock.Sleep(ctx, plan.after)
	}
	if m.err == nil {
		m.guest, m.err = m.kind.Boot(ctx, plan.spec)
	}
}

// ready waits for a machine whose time has come to have booted.
func (m *machine) ready(ctx context.Context) (Guest, error) {
	select {
	case <-m.booted:
		return m.guest, m.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// up tells whether the port answers at now.
func (m *machine) up(now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return !m.stopped && !m.rebooting && !now.Before(m.upFrom)
}

// serve serves one connection, unless the machine has been stopped.
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

// hangUp closes every connection.
func (m *machine) hangUp() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for conn := range m.conns {
		_ = conn.Close() // the guest sees it, and that is all that matters
	}
}

// reboot asks the machine to restart, from outside or from within. Its port
// is closed until it has, and for as long as it takes by the clock.
func (m *machine) reboot(takes time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rebooting = true
	m.upFrom = m.clock.Now().Add(takes)
	select {
	case m.rebootRequests <- struct{}{}:
	default: // it is about to
	}
}

// console is what the machine wrote so far.
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

// stop switches the machine off and waits until nothing of it runs. It may be
// called more than once, and waits each time.
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
			m.log.Warn("machine does not stop", slog.String("err", err.Error()))
		}
		m.mu.Lock()
		m.last = console
		m.mu.Unlock()
	}
	m.work.Wait()
}

// listen serves real connections until ctx ends.
func (m *machine) listen(ctx context.Context, plan bootPlan) {
	if plan.addr == "" {
		return
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", plan.addr)
	if err != nil {
		m.log.Error("machine can not listen", slog.String("addr", plan.addr), slog.String("err", err.Error()))
		return
	}
	stop := context.AfterFunc(ctx, func() {
		if err := l.Close(); err != nil {
			m.log.Debug("closing a listener", slog.String("err", err.Error()))
		}
	})
	defer stop()
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		switch {
		case !plan.admit():
			m.hold(conn)
		case !m.up(m.clock.Now()) || !m.serve(ctx, conn):
			_ = conn.Close() // refused: there is nobody to tell
		}
	}
}

// hold keeps a connection that the security groups do not let in: open, since
// TCP has accepted it, and silent.
func (m *machine) hold(conn net.Conn) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopped {
		_ = conn.Close() // nobody waits for it
		return
	}
	m.conns[conn] = struct{}{}
}
