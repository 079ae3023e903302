package check

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/redacted"
)

// A Test verifies one property of a machine. Only the types of this package, and
// structs that embed one, are Tests. To verify anything else, use a [Command], or a
// [bake.CheckFunc] instead of Checks.
type Test interface {
	fmt.Stringer
	bake.Validator

	// script returns shell code that calls the function bad with each problem it
	// finds. It runs in a subshell.
	script() string
}

// Checks runs tests, as a [bake.Check] and a [bake.Provisioner]. [All] returns
// Checks.
type Checks struct {
	tests []Test
	limit time.Duration
	sudo  bool
}

var (
	_ bake.Check         = Checks{}
	_ bake.Provisioner   = Checks{}
	_ bake.Validator     = Checks{}
	_ bake.InputDeclarer = Checks{}
)

// All returns Checks that run tests once. At least one is required.
func All(tests ...Test) Checks { return Checks{tests: tests} }

// Within returns a copy of c that runs the tests every two seconds, by the build's
// clock, until all pass or limit has elapsed. Zero means once.
func (c Checks) Within(limit time.Duration) Checks {
	c.limit = limit
	return c
}

// AsRoot returns a copy of c that runs the tests as root.
func (c Checks) AsRoot() Checks {
	c.sudo = true
	return c
}

// String returns the names of the tests, separated by commas.
func (c Checks) String() string {
	names := make([]string, 0, len(c.tests))
	for _, t := range c.tests {
		names = append(names, bake.Describe(t))
	}
	return strings.Join(names, ", ")
}

// Validate reports missing or invalid tests and a negative limit.
func (c Checks) Validate() error {
	var errs []error
	if len(c.tests) == 0 {
		errs = append(errs, bake.Invalid("Checks", "is empty: pass tests to All"))
	}
	if c.limit < 0 {
		errs = append(errs, bake.Invalid("Checks.Within", "limit is negative"))
	}
	for i, t := range c.tests {
		if err := bake.ValidateValue(t); err != nil {
			errs = append(errs, bake.Invalid(fmt.Sprintf("Checks[%d]", i), "%w", err))
		}
		errs = append(errs, redacted.Check(fmt.Sprintf("Checks[%d]", i), t, "use a bake.CheckFunc, whose Cmd has Secrets", bake.Invalid))
	}
	return errors.Join(errs...)
}

// DeclareInputs declares the tests. The limit is not an input.
func (c Checks) DeclareInputs(in *bake.Inputs) error {
	if err := c.Validate(); err != nil {
		return err
	}
	in.Content("script", []byte(c.script()))
	in.Value("sudo", c.sudo)
	return nil
}

// Provision calls Check.
func (c Checks) Provision(ctx context.Context, m bake.Machine) error { return c.Check(ctx, m) }

const retryInterval = 2 * time.Second

// Check runs the tests, and again until they pass or the limit has elapsed. If a
// test fails, the error is a [*FailedError].
func (c Checks) Check(ctx context.Context, m bake.Machine) error {
	if err := c.Validate(); err != nil {
		return err
	}
	script := c.script()
	clock := bake.RunFromContext(ctx).Clock
	start := clock.Now()
	for {
		failures, err := c.run(ctx, m, script)
		if err != nil || len(failures) == 0 {
			return err
		}
		waited := clock.Now().Sub(start)
		failed := &FailedError{Failures: failures, Total: len(c.tests)}
		if c.limit > 0 {
			failed.Waited = waited
		}
		if waited >= c.limit {
			return failed
		}
		if err := clock.Sleep(ctx, min(retryInterval, c.limit-waited)); err != nil {
			return fmt.Errorf("%w: %w", err, failed)
		}
	}
}

// Passed is the output of the command of Checks if all tests pass. Use it with
// package baketest, whose machine does not run commands:
//
//	m.OnPrefix("# check: ", baketest.Reply{Stdout: check.Passed})
const Passed = markEnd + "\n"
