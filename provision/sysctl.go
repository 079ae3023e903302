package provision

import (
	"context"
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/posixsh"
)

// A Sysctl sets kernel parameters, as root: in a file of /etc/sysctl.d, and at
// once where the running kernel lets it. One that it does not let is no error,
// since the image may boot another kernel; the build says so.
type Sysctl struct {
	// Name names the file, without ".conf": "60-web". What it held before is
	// replaced. Files of higher names win.
	Name string

	// Parameters are names and values: "vm.swappiness": "10".
	Parameters map[string]string
}

// String is "sysctl NAME".
func (s Sysctl) String() string { return "sysctl " + s.Name }

// Validate reports names and values that sysctl.d(5) does not know.
func (s Sysctl) Validate() error {
	var errs []error
	if !regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`).MatchString(s.Name) {
		errs = append(errs, bake.Invalid("Sysctl.Name", "%q is not a name of a file in /etc/sysctl.d", s.Name))
	}
	if len(s.Parameters) == 0 {
		errs = append(errs, bake.Invalid("Sysctl.Parameters", "is required"))
	}
	name := regexp.MustCompile(`^[A-Za-z0-9_]+([./][A-Za-z0-9_:@-]+)+$`)
	for _, key := range slices.Sorted(maps.Keys(s.Parameters)) {
		switch value := s.Parameters[key]; {
		case !name.MatchString(key):
			errs = append(errs, bake.Invalid("Sysctl.Parameters", "%q is not a kernel parameter", key))
		case strings.TrimSpace(value) == "" || strings.ContainsAny(value, "\n\x00"):
			errs = append(errs, bake.Invalid("Sysctl.Parameters", "%q is not a value for %s", value, key))
		}
	}
	return errors.Join(errs...)
}

// DeclareInputs declares the file.
func (s Sysctl) DeclareInputs(in *bake.Inputs) error {
	in.Value("name", s.Name)
	in.Value("parameters", s.Parameters)
	return nil
}

// Provision writes the file and sets the parameters.
func (s Sysctl) Provision(ctx context.Context, m bake.Machine) error {
	if err := s.Validate(); err != nil {
		return err
	}
	var file []string
	var set strings.Builder
	for _, key := range slices.Sorted(maps.Keys(s.Parameters)) {
		value := strings.Join(strings.Fields(s.Parameters[key]), " ")
		file = append(file, key+" = "+value)
		set.WriteString("set_now" + posixsh.Words(key, posixsh.SysctlFile(key), value) + "\n")
	}
	return onGuest(ctx, m, s.String(), put("/etc/sysctl.d/"+s.Name+".conf", strings.Join(file, "\n"))+sysctlFunction+set.String())
}

// sysctlFunction needs no program, since a small image has no sysctl.
const sysctlFunction = `
set_now() {
	if [ ! -e "$2" ]; then
		echo "$1: the running kernel has no such parameter"
	elif [ "$(tr -s '\t ' '  ' <"$2")" != "$3" ]; then
		if (printf '%s\n' "$3" >"$2") 2>/dev/null; then changed "$1"; else echo "$1: the running kernel does not take $3"; fi
	fi
}
`
