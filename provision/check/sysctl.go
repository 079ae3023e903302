package check

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/posixsh"
)

// Sysctl is a kernel parameter that must have a value now.
type Sysctl struct {
	Name  string // as in sysctl.d(5): "vm.swappiness"
	Value string
}

// String is "sysctl NAME".
func (s Sysctl) String() string { return "sysctl " + s.Name }

// Validate reports a missing Name or Value.
func (s Sysctl) Validate() error {
	errs := []error{checkLine("Sysctl.Value", s.Value)}
	if !regexp.MustCompile(`^[A-Za-z0-9_]+([./][A-Za-z0-9_:@-]+)+$`).MatchString(s.Name) {
		errs = append(errs, bake.Invalid("Sysctl.Name", "%q is not a kernel parameter", s.Name))
	}
	if strings.TrimSpace(s.Value) == "" {
		errs = append(errs, bake.Invalid("Sysctl.Value", "is required"))
	}
	return errors.Join(errs...)
}

func (s Sysctl) script() string {
	return fmt.Sprintf(`f=%s
if [ ! -r "$f" ]; then bad "the running kernel has no such parameter"; exit; fi
is it "$(tr -s '\t ' '  ' <"$f")" %s`, posixsh.Quote(posixsh.SysctlFile(s.Name)), posixsh.Quote(strings.Join(strings.Fields(s.Value), " ")))
}
