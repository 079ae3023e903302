package check

import (
	"errors"
	"fmt"
	"strings"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/posixsh"
)

// Command is a command line that must end as its fields say.
type Command struct {
	// Line is a command line for the machine's /bin/sh.
	Line string

	// Status is the exit status that it must have. Zero is success.
	Status int

	// Contains is a text in what it writes, to either output, and Matches an
	// extended regular expression of grep that some line of it must match.
	Contains string
	Matches  string
}

// String is "command: LINE".
func (c Command) String() string {
	line, _, _ := strings.Cut(c.Line, "\n")
	return "command: " + line
}

const highestStatus = 255

// Validate reports a missing Line and a Status that is none.
func (c Command) Validate() error {
	errs := []error{checkLine("Command.Matches", c.Matches)}
	if strings.TrimSpace(c.Line) == "" || strings.ContainsRune(c.Line+c.Contains, 0) {
		errs = append(errs, bake.Invalid("Command.Line", "is required, without a NUL byte"))
	}
	if c.Status < 0 || c.Status > highestStatus {
		errs = append(errs, bake.Invalid("Command.Status", "%d is not an exit status", c.Status))
	}
	return errors.Join(errs...)
}

func (c Command) script() string {
	var b strings.Builder
	fmt.Fprintf(&b, "out=$(/bin/sh -c %s </dev/null 2>&1)\nstatus=$?\n", posixsh.Quote(c.Line))
	fmt.Fprintf(&b, "if [ \"$status\" != %d ]; then bad \"exit status $status, not %[1]d${out:+: $(printf '%%s\\n' \"$out\" | tail -n 5)}\"; fi\n", c.Status)
	b.WriteString(contentScript("what it wrote", c.Contains, c.Matches))
	return b.String()
}
