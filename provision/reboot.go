package provision

import (
	"context"
	"errors"

	"github.com/bakestone-go/bakestone/bake"
)

// A Reboot restarts the machine and waits until it can be reached again, under
// a new boot ID. The zero value works. Over SSH it gives up after the machine's
// connect timeout, five minutes by default; wrap it in a [Timeout] to give up
// earlier.
type Reboot struct {
	// Command is a command line that restarts the machine. If empty, the machine
	// chooses one.
	Command string

	// Sudo runs Command as root.
	Sudo bool
}

var (
	_ bake.Provisioner   = Reboot{}
	_ bake.Validator     = Reboot{}
	_ bake.InputDeclarer = Reboot{}
)

// String returns "reboot".
func (r Reboot) String() string { return "reboot" }

// Validate reports Sudo without a Command.
func (r Reboot) Validate() error {
	var sudo error
	if r.Sudo && r.Command == "" {
		sudo = bake.Invalid("Reboot.Sudo", "requires Command")
	}
	return errors.Join(sudo, checkRedacted("Reboot", r))
}

// DeclareInputs declares the command.
func (r Reboot) DeclareInputs(in *bake.Inputs) error {
	in.Value("command", r.Command)
	in.Value("sudo", r.Sudo)
	return nil
}

// Provision restarts the machine and waits for it.
func (r Reboot) Provision(ctx context.Context, m bake.Machine) error {
	if err := r.Validate(); err != nil {
		return err
	}
	var cmd *bake.Cmd
	if r.Command != "" {
		cmd = &bake.Cmd{Line: r.Command, Sudo: r.Sudo}
	}
	return m.Reboot(ctx, cmd)
}
