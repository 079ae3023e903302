package baketest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/bakestone-go/bakestone/bake"
)

// MachineOptions configures a Machine. A nil *MachineOptions is the same as the zero value.
type MachineOptions struct {
	// Facts describes the machine. Empty fields default to those of Ubuntu 24.04 on
	// x86_64. If User is empty, so does UID. BootID is ignored: it is "boot-1" at
	// first and "boot-2" after a reboot.
	Facts bake.Facts

	// AnyCommand lets commands without a prepared reply succeed without output. By
	// default they fail.
	AnyCommand bool

	// SSH is the access that bake.ReachSSH returns. If nil, there is none.
	SSH *bake.SSHAccess
}

// A Machine is a fake bake.Machine for tests. It runs nothing and records all calls.
// It is safe for concurrent use.
type Machine struct {
	options MachineOptions

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

// NewMachine returns a machine with the directories "/", "/tmp" and the login's home
// and without replies. A nil o is the same as the zero value.
func NewMachine(o *MachineOptions) *Machine {
	var options MachineOptions
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

// Clone returns a machine with a copy of m's options and files and a new boot id, as if
// booted from an image of m. It has no replies and no recorded calls.
func (m *Machine) Clone() *Machine {
	m.mu.Lock()
	defer m.mu.Unlock()
	return &Machine{options: m.options, boots: m.boots + 1, files: m.files.clone()}
}

// Run records cmd and returns the first matching reply.
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

// ReachSSH calls use with MachineOptions.SSH.
func (m *Machine) ReachSSH(ctx context.Context, use func(ctx context.Context, access bake.SSHAccess) error) error {
	if err := m.usable(ctx); err != nil {
		return err
	}
	if m.options.SSH == nil {
		return bake.ErrNoSSH
	}
	return use(ctx, *m.options.SSH)
}

// Reboot records cmd and returns the first matching reply, if any. A nil cmd is recorded
// as "reboot". Unless the reply is a failure other than bake.ErrDisconnected, the
// machine gets a new boot id.
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

// Facts returns MachineOptions.Facts with defaults filled in.
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

// Close makes later calls of bake.Machine's methods fail with net.ErrClosed. Recorded
// calls and files remain readable.
func (m *Machine) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	return nil
}

// Open reverts Close, like a new connection to the machine.
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

// writer returns the acting user.
func (m *Machine) writer(sudo bool) string {
	if sudo || m.options.Facts.UID == 0 {
		return root
	}
	return m.options.Facts.User
}
