package qemu

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/bakestone-go/bakestone/bake"
)

// A MachineError reports that the machine ended while the build needed it, that it
// cannot go on, or that it does not answer. If it ended, the error matches
// [bake.ErrMachineEnded].
type MachineError struct {
	State   string   // what is wrong: "ended: signal: killed", "stopped: io-error"
	Killed  bool     // QEMU was killed by a signal
	Console []string // the last lines of the serial console, masked and printable
	Log     []string // the last lines of QEMU's own messages, likewise
	Err     error    // the error that it caused, if any

	ended bool
}

// Error returns the state and the last lines.
func (e *MachineError) Error() string {
	var b strings.Builder
	b.WriteString("machine is " + e.State)
	if e.Err != nil {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	for _, part := range []struct {
		name  string
		lines []string
	}{{"QEMU says", e.Log}, {"the serial console ends with", e.Console}} {
		if len(part.lines) > 0 {
			b.WriteString("\n" + part.name + ":\n\t" + strings.Join(part.lines, "\n\t"))
		}
	}
	if len(e.Console) == 0 {
		b.WriteString("\nthe serial console is empty: the guest may not have booted, or does not use console=ttyS0")
	}
	return b.String()
}

// Is reports whether target is bake.ErrMachineEnded and QEMU has ended.
func (e *MachineError) Is(target error) bool { return e.ended && target == bake.ErrMachineEnded }

// Unwrap returns the error that the state caused.
func (e *MachineError) Unwrap() error { return e.Err }

// poweredDown is the State of a machine that has ended in order: the guest has powered
// down, or has reset itself where that ends QEMU.
const poweredDown = "powered down"

// machineError returns a MachineError. If state is empty, the machine has ended.
func (s *session) machineError(state string, err error) *MachineError {
	e := &MachineError{State: state, Console: s.consoleTail(), Log: s.tail(logName), Err: err}
	if state != "" {
		if len(e.Console) == 0 && s.Machine.Accelerator == KVM {
			e.State += " and silent with KVM; if the guest boots with Accelerator: qemu.TCG, KVM does not work on this host"
		}
		return e
	}
	e.ended = true
	switch {
	case s.process == nil:
		e.State = "ended"
		e.Killed = !s.endedOrderly()
	case s.process.err == nil:
		e.State = poweredDown
	default:
		e.State = "ended: " + s.process.err.Error()
		if exit, ok := errors.AsType[*exec.ExitError](s.process.err); ok {
			e.Killed = exit.ExitCode() < 0
		}
	}
	return e
}

// endedOrderly reports whether QEMU, which has ended, has removed its pid file. It does
// so unless it was killed.
func (s *session) endedOrderly() bool {
	_, err := os.Lstat(s.path(pidName))
	return os.IsNotExist(err)
}
