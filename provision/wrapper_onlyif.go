package provision

import (
	"context"
	"errors"
	"fmt"

	"github.com/bakestone-go/bakestone/bake"
)

// An OnlyIf runs another provisioner if a condition holds on the machine.
// Exactly one of Facts and Command is set.
type OnlyIf struct {
	// Facts decides by what the machine is:
	//
	//	func(f bake.Facts) bool { return f.Distro == "ubuntu" }
	Facts func(f bake.Facts) bool

	// Command is a command line for the machine's /bin/sh. Exit status 0 is yes,
	// every other one is no.
	Command string

	// Sudo runs Command as root.
	Sudo bool

	// Version stands for Facts among the inputs of an image, as Func.Version
	// does for a func.
	Version string

	// Then is what runs if so. It is required.
	Then bake.Provisioner
}

// Unwrap returns the provisioner, which names the step.
func (o OnlyIf) Unwrap() bake.Provisioner { return o.Then }

// Validate reports what is wrong with the provisioner, and a missing condition.
func (o OnlyIf) Validate() error {
	errs := []error{checkInner("OnlyIf.Then", o.Then)}
	if !exactlyOne(o.Facts != nil, o.Command != "") {
		errs = append(errs, bake.Invalid("OnlyIf", "exactly one of Facts and Command must be set"))
	}
	if o.Sudo && o.Command == "" {
		errs = append(errs, bake.Invalid("OnlyIf.Sudo", "is for a Command"))
	}
	return errors.Join(errs...)
}

// DeclareInputs declares the condition and the inputs of the provisioner.
func (o OnlyIf) DeclareInputs(in *bake.Inputs) error {
	if o.Facts != nil && o.Version == "" {
		return bake.Invalid("OnlyIf.Version", "is required for the inputs of an image, since a func has no digest")
	}
	in.Value("command", o.Command)
	in.Value("sudo", o.Sudo)
	in.Value("version", o.Version)
	return in.Of("then", o.Then)
}

// Provision asks, and runs the provisioner if the answer is yes.
func (o OnlyIf) Provision(ctx context.Context, m bake.Machine) error {
	if err := o.Validate(); err != nil {
		return err
	}
	holds, err := o.holds(ctx, m)
	switch {
	case err != nil:
		return fmt.Errorf("condition: %w", err)
	case !holds:
		bake.RunFromContext(ctx).Say("%s: not on this machine", describe(o))
		return nil
	}
	return o.Then.Provision(ctx, m)
}

func (o OnlyIf) holds(ctx context.Context, m bake.Machine) (bool, error) {
	if o.Facts != nil {
		facts, err := m.Facts(ctx)
		if err != nil {
			return false, err
		}
		return o.Facts(facts), nil
	}
	err := m.Run(ctx, &bake.Cmd{Line: o.Command, Sudo: o.Sudo})
	if exit, ok := errors.AsType[*bake.ExitError](err); ok && exit.Signal == "" {
		return false, nil
	}
	return err == nil, err
}
