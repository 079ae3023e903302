package baketest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/bakestone-go/bakestone/bake"
)

// Options say what a Machine pretends to be. A nil *Options and
// the zero value are the same.
type Options struct {
	// Facts is what the machine says of itself. Empty fields are those of an
	// Ubuntu 24.04 on x86_64; UID, too, when User is empty. BootID is set by
	// the machine: "boot-1", then "boot-2" after a reboot.
	Facts bake.Facts

	// AnyCommand answers a command that nothing was prepared for with exit
	// status 0 and no output. By default it is an error.
	AnyCommand bool

	// SSH is what programs on the baking host are told by bake.ReachSSH. Nil is
	// a machine that they cannot reach.
	SSH *bake.SSHAccess
}

// A Machine is a bake.Machine for tests. It runs nothing, remembers
// everything, and may be used by several goroutines at once.
type Machine struct {
	options Options

	mu      sync.Mutex
	boots   int
	closed  bool
	calls   []Call
	answers []*answer
	refused []refusal
	files   fileMap
}

var (
	_ bake.Machine    = (*Machine)(nil)
	_ bake.SSHReacher = (*Machine)(nil)
)

// NewMachine returns a machine with the directories "/", "/tmp" and the
// login's home, and no answers. A nil o is the zero Options.
func NewMachine(o *Options) *Machine {
	var options Options
	if o != nil {
		options = *o
	}
	f := &options.Facts
	if f.User == "" {
		f.User, f.UID = "ubuntu", 1000
	}
	home := "/home/" + f.User
	if f.UID == 0 {
		home = "/root"
	}
	for _, fact := range []struct {
		field    *string
		fallback string
	}{
		{&f.OS, "linux"}, {&f.Distro, "ubuntu"}, {&f.Version, "24.04"}, {&f.Arch, "x86_64"},
		{&f.Kernel, "6.8.0"}, {&f.Hostname, "machine"}, {&f.Home, home},
	} {
		if *fact.field == "" {
			*fact.field = fact.fallback
		}
	}
	return &Machine{options: options, boots: 1, files: newFiles(f.User, f.Home)}
}

// Clone returns a machine with a copy of m's options and files, as if booted
// from an image of m: without its answers and records, under a new boot id.
func (m *Machine) Clone() *Machine {
	m.mu.Lock()
	defer m.mu.Unlock()
	return &Machine{options: m.options, boots: m.boots + 1, files: m.files.clone()}
}

// Run records cmd and gives the first answer prepared for it.
func (m *Machine) Run(ctx context.Context, cmd *bake.Cmd) error {
	if err := m.usable(ctx); err != nil {
		return err
	}
	if err := cmd.Validate(); err != nil {
		return err
	}
	call, err := m.callOf(RunCall, cmd)
	if err != nil {
		return err
	}
	return m.answer(ctx, call, cmd, m.unprepared)
}

// ReachSSH calls use with Options.SSH. It connects nothing.
func (m *Machine) ReachSSH(ctx context.Context, use func(ctx context.Context, access bake.SSHAccess) error) error {
	if err := m.usable(ctx); err != nil {
		return err
	}
	if m.options.SSH == nil {
		return bake.ErrNoSSH
	}
	return use(ctx, *m.options.SSH)
}

// Reboot records cmd, and gives the answer prepared for it if there is one; a
// nil cmd is known as "reboot". Unless that is a failure, the machine then has
// a new boot id. A lost connection is none.
func (m *Machine) Reboot(ctx context.Context, cmd *bake.Cmd) error {
	if err := m.usable(ctx); err != nil {
		return err
	}
	if cmd == nil {
		cmd = bake.Command("reboot")
	}
	if err := cmd.Validate(); err != nil {
		return err
	}
	call, err := m.callOf(RebootCall, cmd)
	if err != nil {
		return err
	}
	err = m.answer(ctx, call, cmd, func(Call) (Reply, error) { return Reply{}, nil })
	if err != nil && !errors.Is(err, bake.ErrDisconnected) {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.boots++
	return nil
}

// Facts is Options.Facts with the defaults filled in.
func (m *Machine) Facts(ctx context.Context) (bake.Facts, error) {
	if err := m.usable(ctx); err != nil {
		return bake.Facts{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	facts := m.options.Facts
	facts.BootID = fmt.Sprintf("boot-%d", m.boots)
	return facts, nil
}

// Close makes every later method of bake.Machine fail with net.ErrClosed. The
// records and files can still be read.
func (m *Machine) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	return nil
}

// Open undoes Close, as a new connection to the machine does.
func (m *Machine) Open() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = false
}

func (m *Machine) usable(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return fmt.Errorf("baketest machine: %w", net.ErrClosed)
	}
	return context.Cause(ctx)
}

// writer is the user who acts.
func (m *Machine) writer(sudo bool) string {
	if sudo || m.options.Facts.UID == 0 {
		return root
	}
	return m.options.Facts.User
}
