package check

import (
	"errors"
	"fmt"
	"strings"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/posixsh"
)

// A Service verifies that a systemd unit is active.
type Service struct {
	// Name is the unit's name: "nginx", "fstrim.timer". Without a suffix it is a
	// .service. It is required.
	Name string

	// Enabled also requires that the unit starts at boot, Disabled that it does
	// not.
	Enabled  bool
	Disabled bool

	// Stopped requires that the unit is not active.
	Stopped bool
}

var _ Test = Service{}

// String returns "service NAME".
func (s Service) String() string { return "service " + s.Name }

// Validate reports an invalid Name and conflicting fields.
func (s Service) Validate() error {
	var errs []error
	if _, ok := posixsh.UnitName(s.Name); !ok {
		errs = append(errs, bake.Invalid("Service.Name", "invalid unit name %q", s.Name))
	}
	if s.Enabled && s.Disabled {
		errs = append(errs, bake.Invalid("Service.Enabled", "conflicts with Disabled"))
	}
	return errors.Join(errs...)
}

func (s Service) script() string {
	var b strings.Builder
	fmt.Fprintf(&b, "s=%s\nif ! have systemctl; then bad \"systemctl not found\"; exit; fi\nactive=$(systemctl is-active \"$s\" 2>/dev/null)\n", posixsh.Quote(s.Name))
	if s.Stopped {
		b.WriteString("case $active in active | activating | reloading) bad \"is $active\" ;; esac\n")
	} else {
		b.WriteString("is status \"$active\" active\n")
	}
	const enabled = "enabled=$(systemctl is-enabled \"$s\" 2>/dev/null)\ncase $enabled in "
	const starts = "enabled | static | alias | indirect | generated"
	switch {
	case s.Enabled:
		b.WriteString(enabled + starts + ") ;; *) bad \"is ${enabled:-unknown}, not enabled\" ;; esac\n")
	case s.Disabled:
		b.WriteString(enabled + starts + ") bad \"is $enabled\" ;; esac\n")
	}
	return b.String()
}
