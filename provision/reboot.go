package provision

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/clock"
)

// A Reboot restarts the machine and waits until it can be reached again, under
// a new boot id. The zero value works.
type Reboot struct {
	// Command is a command line that restarts the machine. Empty is the
	// machine's own way.
	Command string

	// Sudo runs Command as root.
	Sudo bool

	// Timeout bounds the whole, by the build's clock. Zero leaves it to the
	// machine, which over SSH gives up after five minutes, and to the step.
	Timeout time.Duration
}

// String is "reboot".
func (r Reboot) String() string { return "reboot" }

// Validate reports a Timeout or Sudo that makes no sense.
func (r Reboot) Validate() error {
	var errs []error
	if r.Timeout < 0 {
		errs = append(errs, bake.Invalid("Reboot.Timeout", "is negative"))
	}
	if r.Sudo && r.Command == "" {
		errs = append(errs, bake.Invalid("Reboot.Sudo", "is for a Command; the machine's own way needs none"))
	}
	return errors.Join(errs...)
}

// DeclareInputs declares the way to restart.
func (r Reboot) DeclareInputs(in *bake.Inputs) error {
	in.Value("command", r.Command)
	in.Value("sudo", r.Sudo)
	return nil
}

// Provision restarts the machine. The error of a machine that does not come
// back in time is context.DeadlineExceeded.
func (r Reboot) Provision(ctx context.Context, m bake.Machine) error {
	if err := r.Validate(); err != nil {
		return err
	}
	var cmd *bake.Cmd
	if r.Command != "" {
		cmd = &bake.Cmd{Line: r.Command, Sudo: r.Sudo}
	}
	if r.Timeout == 0 {
		return m.Reboot(ctx, cmd)
	}
	limited, stop := clock.WithTimeout(ctx, bake.RunFromContext(ctx).Clock, r.Timeout)
	defer stop()
	err := m.Reboot(limited, cmd)
	if err != nil && ctx.Err() == nil && limited.Err() != nil {
		return fmt.Errorf("the machine was not back after %v: %w", r.Timeout, err)
	}
	return err
}
