package check

import (
	"errors"
	"fmt"
	"strings"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/posixsh"
)

// A Command verifies the exit status and output of a command line.
type Command struct {
	// Line is a command line for the machine's /bin/sh. It is required.
	Line string

	// Status is the expected exit status.
	Status int

	// Contains is text that the combined output must contain. Matches is an
	// extended regular expression (grep -E) that a line of it must match. Both are
	// optional.
	Contains string
	Matches  string
}

var _ Test = Command{}

// String returns "command: LINE".
func (c Command) String() string {
	line, _, _ := strings.Cut(c.Line, "\n")
	return "command: " + line
}

const maxStatus = 255

// Validate reports a missing Line, an invalid Status and invalid texts.
func (c Command) Validate() error {
	errs := []error{checkLine("Command.Matches", c.Matches)}
	if strings.TrimSpace(c.Line) == "" || strings.ContainsRune(c.Line+c.Contains, 0) {
		errs = append(errs, bake.Invalid("Command.Line", "is required and must not contain a NUL byte"))
	}
	if c.Status < 0 || c.Status > maxStatus {
		errs = append(errs, bake.Invalid("Command.Status", "invalid exit status %d", c.Status))
	}
	return errors.Join(errs...)
}

func (c Command) script() string {
	var b strings.Builder
	fmt.Fprintf(&b, "out=$(/bin/sh -c %s </dev/null 2>&1)\nstatus=$?\n", posixsh.Quote(c.Line))
	fmt.Fprintf(&b, "if [ \"$status\" != %d ]; then bad \"exit status $status, not %[1]d${out:+: $(printf '%%s\\n' \"$out\" | tail -n 5)}\"; fi\n", c.Status)
	b.WriteString(contentScript("the output", c.Contains, c.Matches))
	return b.String()
}
