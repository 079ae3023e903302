package check

import (
	"errors"
	"fmt"
	"strings"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/posixsh"
)

// A Sysctl verifies the current value of a kernel parameter.
type Sysctl struct {
	Name  string // the parameter, as in sysctl.d(5): "vm.swappiness"
	Value string // the expected value; any amount of white space matches
}

var _ Test = Sysctl{}

// String returns "sysctl NAME".
func (s Sysctl) String() string { return "sysctl " + s.Name }

// Validate reports an invalid Name or Value.
func (s Sysctl) Validate() error {
	errs := []error{checkLine("Sysctl.Value", s.Value)}
	if !posixsh.ValidSysctl(s.Name) {
		errs = append(errs, bake.Invalid("Sysctl.Name", "invalid kernel parameter %q", s.Name))
	}
	if strings.TrimSpace(s.Value) == "" {
		errs = append(errs, bake.Invalid("Sysctl.Value", "is required"))
	}
	return errors.Join(errs...)
}

func (s Sysctl) script() string {
	return fmt.Sprintf(`f=%s
if [ ! -r "$f" ]; then bad "the running kernel has no such parameter"; exit; fi
is value "$(tr -s '\t ' '  ' <"$f")" %s`, posixsh.Quote(posixsh.SysctlFile(s.Name)), posixsh.Quote(strings.Join(strings.Fields(s.Value), " ")))
}
