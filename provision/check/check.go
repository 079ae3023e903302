package check

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/posixsh"
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

// Every problem is a line behind mark and the test's number. The end is marked,
// too: a script that was cut short found nothing.
const (
	mark    = "bakestone-check "
	markEnd = "everything was looked at"
)

// frame is what all tests use.
const frame = `set -f
PATH=$PATH:/usr/sbin:/sbin
have() { command -v "$1" >/dev/null 2>&1; }
bad() { printf 'bakestone-check %s %s\n' "$n" "$(printf '%s' "$*" | tr '\n' ' ')"; }
# is WHAT FOUND WANTED
is() { if [ "$2" != "$3" ]; then bad "$1 is ${2:-empty}, not $3"; fi; }
# holds WHAT TEXT WANTED, and matches WHAT TEXT PATTERN
holds() { case $2 in *"$3"*) ;; *) bad "$1 does not contain: $3" ;; esac; }
matches() { if ! printf '%s\n' "$2" | grep -qE -e "$3"; then bad "$1 does not match: $3"; fi; }
`

func (c Checks) script() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# check: %s\n%s", strings.ReplaceAll(c.String(), "\n", " "), frame)
	for i, t := range c.Tests {
		fmt.Fprintf(&b, "n=%d\n(\n%s\n)\n", i, t.script())
	}
	b.WriteString("echo " + posixsh.Quote(markEnd) + "\n")
	return b.String()
}

// look runs the script once.
func (c Checks) look(ctx context.Context, m bake.Machine, script string) ([]Failure, error) {
	var out bytes.Buffer
	if err := m.Run(ctx, &bake.Cmd{Line: script, Sudo: c.Sudo, Stdout: &out}); err != nil {
		return nil, fmt.Errorf("look at the machine: %w", err)
	}
	var failures []Failure
	ended := false
	for line := range strings.Lines(out.String()) {
		line = strings.TrimSuffix(line, "\n")
		ended = ended || line == markEnd
		rest, ours := strings.CutPrefix(line, mark)
		number, problem, _ := strings.Cut(rest, " ")
		i, err := strconv.Atoi(number)
		if !ours || err != nil || i < 0 || i >= len(c.Tests) {
			continue
		}
		failures = append(failures, Failure{Test: c.Tests[i].String(), Problem: strings.TrimSpace(problem)})
	}
	if !ended {
		return nil, fmt.Errorf("look at the machine: the script did not come to its end: %.500q", out.String())
	}
	return failures, nil
}

// A Failure is something that does not hold.
type Failure struct {
	Test    string // what was looked at: "file /etc/motd"
	Problem string // what is wrong with it: "it is missing"
}

// A FailedError is all that does not hold on a machine.
type FailedError struct {
	Failures []Failure
	Of       int           // how many tests there were
	After    time.Duration // how long they were looked at; zero is once
}

// Error lists the failures.
func (e *FailedError) Error() string {
	tests := map[string]bool{}
	for _, f := range e.Failures {
		tests[f.Test] = true
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d of %d checks failed", len(tests), e.Of)
	if e.After > 0 {
		fmt.Fprintf(&b, " after %v", e.After.Round(time.Second))
	}
	for _, f := range e.Failures {
		fmt.Fprintf(&b, "\n\t%s: %s", f.Test, f.Problem)
	}
	return b.String()
}
