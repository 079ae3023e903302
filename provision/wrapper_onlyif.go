package provision

import (
	"context"
	"errors"
	"fmt"

	"github.com/bakestone-go/bakestone/bake"
)

// OnlyIf runs another provisioner if a condition holds on the machine. Exactly one
// of Facts and Command must be set.
type OnlyIf struct {
	// Facts reports whether the condition holds for the machine's facts:
	//
	//	func(f bake.Facts) bool { return f.Distro == "ubuntu" }
	Facts func(f bake.Facts) bool

	// Command is a command line for the machine's /bin/sh. The condition holds if
	// it exits with status 0.
	Command string

	// Sudo runs Command as root.
	Sudo bool

	// Version identifies Facts among the [bake.Inputs] of an image, as
	// ProvisionFunc.Version does for Do: change it whenever Facts changes. It is
	// required for inputs if Facts is set.
	Version string

	// Provisioner runs if the condition holds. It is required.
	Provisioner bake.Provisioner
}

var (
	_ bake.Provisioner               = OnlyIf{}
	_ bake.Validator                 = OnlyIf{}
	_ bake.Wrapper[bake.Provisioner] = OnlyIf{}
	_ bake.InputDeclarer             = OnlyIf{}
)

// Unwrap returns the provisioner, which names the step.
func (o OnlyIf) Unwrap() bake.Provisioner { return o.Provisioner }

// Validate reports a missing condition and an invalid provisioner.
func (o OnlyIf) Validate() error {
	errs := []error{checkProvisioner("OnlyIf.Provisioner", o.Provisioner)}
	if !exactlyOne(o.Facts != nil, o.Command != "") {
		errs = append(errs, bake.Invalid("OnlyIf", "exactly one of Facts and Command must be set"))
	}
	if o.Sudo && o.Command == "" {
		errs = append(errs, bake.Invalid("OnlyIf.Sudo", "requires Command"))
	}
	return errors.Join(append(errs, checkRedacted("OnlyIf", o))...)
}

// DeclareInputs declares the condition and the inputs of the provisioner.
func (o OnlyIf) DeclareInputs(in *bake.Inputs) error {
	if o.Facts != nil && o.Version == "" {
		return bake.Invalid("OnlyIf.Version", "is required to declare inputs, since a func has no digest")
	}
	in.Value("command", o.Command)
	in.Value("sudo", o.Sudo)
	in.Value("version", o.Version)
	return in.Of("provisioner", o.Provisioner)
}

// Provision runs the provisioner if the condition holds.
func (o OnlyIf) Provision(ctx context.Context, m bake.Machine) error {
	if err := o.Validate(); err != nil {
		return err
	}
	holds, err := o.holds(ctx, m)
	switch {
	case err != nil:
		return fmt.Errorf("evaluate condition: %w", err)
	case !holds:
		bake.RunFromContext(ctx).Say("%s: skipped, the condition does not hold", describe(o))
		return nil
	}
	return o.Provisioner.Provision(ctx, m)
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
