package provision

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/posixsh"
)

// A Service sets the state of a systemd unit as root. Where systemd is installed
// but not running, as in a container, it enables, disables and masks the unit, but
// does not start or stop it. At least one field besides Name must be set.
type Service struct {
	// Name is the unit's name: "nginx", "fstrim.timer". Without a suffix it is a
	// .service. It is required. See systemd.unit(5) for its characters.
	Name string

	// Unit is the text of a unit file to write to /etc/systemd/system first. If
	// empty, no file is written.
	Unit string

	// Enable makes the unit start at boot. Disable does the opposite.
	Enable  bool
	Disable bool

	// Mask prevents the unit from starting. Unmask does the opposite.
	Mask   bool
	Unmask bool

	// Start and Stop change whether the unit is running. Restart starts the
	// unit, or restarts it if it is running.
	Start   bool
	Stop    bool
	Restart bool
}

var (
	_ bake.Provisioner   = Service{}
	_ bake.Validator     = Service{}
	_ bake.InputDeclarer = Service{}
)

// String returns "service NAME" and the actions.
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

// Validate reports an invalid Name and conflicting fields.
func (s Service) Validate() error {
	var errs []error
	if _, ok := posixsh.UnitName(s.Name); !ok {
		errs = append(errs, bake.Invalid("Service.Name", "invalid unit name %q", s.Name))
	}
	if s.Unit == "" && !slices.ContainsFunc(s.actions(), func(a action) bool { return a.set }) {
		errs = append(errs, bake.Invalid("Service", "nothing to do: set Enable, Disable, Mask, Unmask, Start, Stop, Restart or Unit"))
	}
	for _, conflict := range []struct {
		field string
		isSet bool
		other string
	}{
		{"Enable", s.Enable && s.Disable, "Disable"}, {"Mask", s.Mask && s.Unmask, "Unmask"}, {"Mask", s.Mask && s.Enable, "Enable"},
		{"Mask", s.Mask && s.Unit != "", "Unit"}, {"Stop", s.Stop && s.Start, "Start"}, {"Stop", s.Stop && s.Restart, "Restart"},
		{"Mask", s.Mask && (s.Start || s.Restart), "Start and Restart"},
	} {
		if conflict.isSet {
			errs = append(errs, bake.Invalid("Service."+conflict.field, "conflicts with %s", conflict.other))
		}
	}
	if s.Enable && s.Unit != "" && !regexp.MustCompile(`(?m)^\[Install\]\s*$`).MatchString(s.Unit) {
		errs = append(errs, bake.Invalid("Service.Enable", "Unit has no [Install] section, so nothing would start it at boot: add one, with WantedBy=multi-user.target for example"))
	}
	if hasNUL(s.Unit) {
		errs = append(errs, bake.Invalid("Service.Unit", "contains a NUL byte"))
	}
	return errors.Join(append(errs, checkRedacted("Service", s))...)
}

// DeclareInputs declares the unit and the actions.
func (s Service) DeclareInputs(in *bake.Inputs) error {
	in.Value("name", s.Name)
	in.Content("unit", []byte(s.Unit))
	for _, a := range s.actions() {
		in.Value(a.verb, a.set)
	}
	return nil
}

// Provision changes what differs in the unit's state.
func (s Service) Provision(ctx context.Context, m bake.Machine) error {
	if err := s.Validate(); err != nil {
		return err
	}
	name, _ := posixsh.UnitName(s.Name)
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
	return runGuestScript(ctx, m, s.String(), b.String())
}

// serviceFunctions enable and mask units without a running systemd, since that
// only changes links on disk.
const serviceFunctions = `have systemctl || refuse "systemctl not found: the machine has no systemd"
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
later() { if [ -z "$running" ]; then echo "systemd is not running: did not $1 $unit"; else return 1; fi; }
do_start() { later start || active || change start started; }
do_stop() { if later stop; then :; elif active; then change stop stopped; fi; }
do_restart() { later restart || change restart restarted; }
`
