package check

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/bakestone-go/bakestone/bake"
)

// A Test is one thing that must hold. They are the types of this package that
// are arguments of All; for everything else there is Command, or a
// bake.CheckFunc.
type Test interface {
	fmt.Stringer
	bake.Validator

	// script returns shell commands that call the function bad with each problem
	// that they find. They run in a subshell of their own.
	script() string
}

// Checks is several tests as one bake.Check and bake.Provisioner.
type Checks struct {
	// Tests are what must hold.
	Tests []Test

	// Limit is how long they are looked at again, every two seconds of the
	// build's clock, until they hold. Zero looks once.
	Limit time.Duration

	// Sudo looks as root.
	Sudo bool
}

var (
	_ bake.Check         = Checks{}
	_ bake.Provisioner   = Checks{}
	_ bake.Validator     = Checks{}
	_ bake.InputDeclarer = Checks{}
)

// All returns the Checks of tests.
func All(tests ...Test) Checks { return Checks{Tests: tests} }

// Within returns a copy of c with the Limit.
func (c Checks) Within(limit time.Duration) Checks {
	c.Limit = limit
	return c
}

// AsRoot returns a copy of c with Sudo set.
func (c Checks) AsRoot() Checks {
	c.Sudo = true
	return c
}

// String names the tests.
func (c Checks) String() string {
	names := make([]string, 0, len(c.Tests))
	for _, t := range c.Tests {
		if t != nil {
			names = append(names, t.String())
		}
	}
	return strings.Join(names, ", ")
}

// Validate reports what is wrong with any of the tests.
func (c Checks) Validate() error {
	var errs []error
	if len(c.Tests) == 0 {
		errs = append(errs, bake.Invalid("Checks.Tests", "is empty"))
	}
	if c.Limit < 0 {
		errs = append(errs, bake.Invalid("Checks.Limit", "is negative"))
	}
	for i, t := range c.Tests {
		field := fmt.Sprintf("Checks.Tests[%d]", i)
		if t == nil {
			errs = append(errs, bake.Invalid(field, "is nil"))
		} else if err := t.Validate(); err != nil {
			errs = append(errs, bake.Invalid(field, "%w", err))
		}
	}
	return errors.Join(errs...)
}

// DeclareInputs declares what is looked at. How long does not count.
func (c Checks) DeclareInputs(in *bake.Inputs) error {
	if err := c.Validate(); err != nil {
		return err
	}
	in.Content("script", []byte(c.script()))
	in.Value("sudo", c.Sudo)
	return nil
}

// Provision is Check.
func (c Checks) Provision(ctx context.Context, m bake.Machine) error { return c.Check(ctx, m) }

const again = 2 * time.Second

// Check looks, and again until all holds or Limit has passed. The error is then
// a *FailedError.
func (c Checks) Check(ctx context.Context, m bake.Machine) error {
	if err := c.Validate(); err != nil {
		return err
	}
	script := c.script()
	clock := bake.RunFromContext(ctx).Clock
	start := clock.Now()
	for {
		failures, err := c.look(ctx, m, script)
		if err != nil || len(failures) == 0 {
			return err
		}
		waited := clock.Now().Sub(start)
		failed := &FailedError{Failures: failures, Of: len(c.Tests)}
		if c.Limit > 0 {
			failed.After = waited
		}
		if waited >= c.Limit {
			return failed
		}
		if err := clock.Sleep(ctx, min(again, c.Limit-waited)); err != nil {
			return fmt.Errorf("%w: %w", err, failed)
		}
	}
}

// Held is what the command of Checks writes when everything holds, for tests
// with package baketest, on whose machine nothing runs:
//
//	m.OnPrefix("# check: ", baketest.Reply{Stdout: check.Held})
const Held = markEnd + "\n"
