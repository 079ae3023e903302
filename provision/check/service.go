package check

import (
	"errors"
	"fmt"
	"strings"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/posixsh"
)

// Service is a unit of systemd that must run.
type Service struct {
	// Name is the unit: "nginx", "fstrim.timer".
	Name string

	// Enabled wants that it starts at boot, too, and Disabled that it does not.
	Enabled  bool
	Disabled bool

	// Stopped wants that it does not run.
	Stopped bool
}

// String is "service NAME".
func (s Service) String() string { return "service " + s.Name }

// Validate reports a missing Name, and what contradicts itself.
func (s Service) Validate() error {
	errs := []error{checkName("Service.Name", s.Name)}
	if s.Enabled && s.Disabled {
		errs = append(errs, bake.Invalid("Service.Enabled", "contradicts Disabled"))
	}
	return errors.Join(errs...)
}

func (s Service) script() string {
	var b strings.Builder
	fmt.Fprintf(&b, "s=%s\nif ! have systemctl; then bad \"systemctl is missing\"; exit; fi\nactive=$(systemctl is-active \"$s\" 2>/dev/null)\n", posixsh.Quote(s.Name))
	if s.Stopped {
		b.WriteString("case $active in active | activating | reloading) bad \"it is $active\" ;; esac\n")
	} else {
		b.WriteString("is it \"$active\" active\n")
	}
	const enabled = "enabled=$(systemctl is-enabled \"$s\" 2>/dev/null)\ncase $enabled in "
	const starts = "enabled | static | alias | indirect | generated"
	switch {
	case s.Enabled:
		b.WriteString(enabled + starts + ") ;; *) bad \"it is ${enabled:-unknown}, not enabled\" ;; esac\n")
	case s.Disabled:
		b.WriteString(enabled + starts + ") bad \"it is $enabled\" ;; esac\n")
	}
	return b.String()
}
