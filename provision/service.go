package provision

import (
	"context"
	"errors"
	"regexp"
	"strings"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/posixsh"
)

// A Service is a unit of systemd whose state is set, as root. Where systemd is
// installed but does not run, as in a container, it is enabled, disabled and
// masked all the same, and started at the next boot.
type Service struct {
	// Name is the unit: "nginx", or "fstrim.timer". Without an ending it is a
	// .service.
	Name string

	// Unit, when set, is the text of a unit file, which is written to
	// /etc/systemd/system first.
	Unit string

	// Enable and Disable say whether it starts at boot.
	Enable  bool
	Disable bool

	// Mask makes it impossible to start, and Unmask possible again.
	Mask   bool
	Unmask bool

	// Start and Stop say whether it runs from now on. Restart restarts it, or
	// starts it, every time.
	Start   bool
	Stop    bool
	Restart bool
}

// String is "service NAME" and what is done.
func (s Service) String() string {
	words := []string{"service", s.Name}
	for _, a := range s.actions() {
		if a.set {
			words = append(words, a.verb)
		}
	}
	return strings.Join(words, " ")
}

type action struct {
	verb string
	set  bool
}

func (s Service) actions() []action {
	return []action{
		{"unmask", s.Unmask}, {"enable", s.Enable}, {"disable", s.Disable}, {"mask", s.Mask},
		{"start", s.Start}, {"stop", s.Stop}, {"restart", s.Restart},
	}
}

// Validate reports a Name that is none, and what contradicts itself.
func (s Service) Validate() error {
	var errs []error
	if !regexp.MustCompile(`^[A-Za-z0-9:_.\\@][A-Za-z0-9:_.\\@-]*$`).MatchString(s.Name) {
		errs = append(errs, bake.Invalid("Service.Name", "%q is not a name of a unit", s.Name))
	}
	doing := s.Unit != ""
	for _, a := range s.actions() {
		doing = doing || a.set
	}
	if !doing {
		errs = append(errs, bake.Invalid("Service", "there is nothing to do: set Enable, Disable, Mask, Unmask, Start, Stop, Restart or Unit"))
	}
	for _, both := range []struct {
		field string
		is    bool
		other string
	}{
		{"Enable", s.Enable && s.Disable, "Disable"}, {"Mask", s.Mask && s.Unmask, "Unmask"}, {"Mask", s.Mask && s.Enable, "Enable"},
		{"Mask", s.Mask && s.Unit != "", "Unit"}, {"Stop", s.Stop && s.Start, "Start"}, {"Stop", s.Stop && s.Restart, "Restart"},
		{"Mask", s.Mask && (s.Start || s.Restart), "a start"},
	} {
		if both.is {
			errs = append(errs, bake.Invalid("Service."+both.field, "contradicts %s", both.other))
		}
	}
	if hasNUL(s.Unit) {
		errs = append(errs, bake.Invalid("Service.Unit", "contains a NUL byte"))
	}
	return errors.Join(errs...)
}

// DeclareInputs declares the unit and what is done with it.
func (s Service) DeclareInputs(in *bake.Inputs) error {
	in.Value("name", s.Name)
	in.Content("unit", []byte(s.Unit))
	for _, a := range s.actions() {
		in.Value(a.verb, a.set)
	}
	return nil
}

// Provision sets the state.
func (s Service) Provision(ctx context.Context, m bake.Machine) error {
	if err := s.Validate(); err != nil {
		return err
	}
	name := s.Name
	if !regexp.MustCompile(`\.(service|socket|timer|target|path|mount|automount|swap|slice|scope|device)$`).MatchString(name) {
		name += ".service"
	}
	var b strings.Builder
	b.WriteString("unit=" + posixsh.Quote(name) + "\n" + serviceFunctions)
	if s.Unit != "" {
		b.WriteString(put("/etc/systemd/system/"+name, strings.TrimRight(s.Unit, "\n")) +
			"if [ -n \"$changes$(systemctl show -p NeedDaemonReload \"$unit\" 2>/dev/null | grep yes)\" ]; then reload; fi\n")
	}
	for _, a := range s.actions() {
		if a.set {
			b.WriteString("do_" + a.verb + "\n")
		}
	}
	return onGuest(ctx, m, s.String(), b.String())
}

// serviceFunctions need no running systemd for what is but links on the disk.
const serviceFunctions = `have systemctl || refuse "systemctl is missing: the machine has no systemd"
running=
if [ -d /run/systemd/system ]; then running=yes; fi
enabled() { systemctl is-enabled "$unit" 2>/dev/null || :; }
reload() { if [ -n "$running" ]; then systemctl daemon-reload; fi; }
change() { systemctl "$1" "$unit"; changed "$2"; }
do_enable() { case $(enabled) in enabled | static | alias | indirect | generated | linked) ;; *) change enable enabled ;; esac; }
do_disable() { case $(enabled) in disabled | masked | static) ;; *) change disable disabled ;; esac; }
do_mask() { if [ "$(enabled)" != masked ]; then change mask masked; fi; }
do_unmask() { if [ "$(enabled)" = masked ]; then change unmask unmasked; fi; }
active() { systemctl is-active --quiet "$unit"; }
later() { if [ -z "$running" ]; then echo "systemd does not run here: $unit was not told to $1"; else return 1; fi; }
do_start() { later start || active || change start started; }
do_stop() { if later stop; then :; elif active; then change stop stopped; fi; }
do_restart() { later restart || change restart restarted; }
`
