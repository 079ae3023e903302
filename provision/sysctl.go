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

// A Sysctl sets kernel parameters as root, in a file of /etc/sysctl.d and in the
// running kernel. If the running kernel rejects one, Sysctl only reports it, since
// the image may boot another kernel.
type Sysctl struct {
	// File is the file's name without ".conf": "60-web". An existing file is
	// replaced. Files with higher names take precedence. It is required.
	File string

	// Parameters maps names to values: "vm.swappiness": "10". It is required.
	Parameters map[string]string
}

var (
	_ bake.Provisioner   = Sysctl{}
	_ bake.Validator     = Sysctl{}
	_ bake.InputDeclarer = Sysctl{}
)

// String returns "sysctl FILE".
func (s Sysctl) String() string { return "sysctl " + s.File }

// Validate reports an invalid file name and invalid parameters; see sysctl.d(5).
func (s Sysctl) Validate() error {
	var errs []error
	if !regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`).MatchString(s.File) {
		errs = append(errs, bake.Invalid("Sysctl.File", "invalid file name %q: use letters, digits, dots, hyphens and underscores", s.File))
	}
	if len(s.Parameters) == 0 {
		errs = append(errs, bake.Invalid("Sysctl.Parameters", "is required"))
	}
	for _, key := range slices.Sorted(maps.Keys(s.Parameters)) {
		switch value := s.Parameters[key]; {
		case !posixsh.ValidSysctl(key):
			errs = append(errs, bake.Invalid("Sysctl.Parameters", "invalid kernel parameter %q", key))
		case strings.TrimSpace(value) == "" || strings.ContainsAny(value, "\n\x00"):
			errs = append(errs, bake.Invalid("Sysctl.Parameters", "invalid value %q of %s", value, key))
		}
	}
	return errors.Join(append(errs, checkRedacted("Sysctl", s))...)
}

// DeclareInputs declares the file name and the parameters.
func (s Sysctl) DeclareInputs(in *bake.Inputs) error {
	in.Value("name", s.File)
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
	return runGuestScript(ctx, m, s.String(), put("/etc/sysctl.d/"+s.File+".conf", strings.Join(file, "\n"))+sysctlFunction+set.String())
}

// sysctlFunction writes to /proc/sys, since small images have no sysctl command.
const sysctlFunction = `
set_now() {
	if [ ! -e "$2" ]; then
		echo "$1: the running kernel has no such parameter"
	elif [ "$(tr -s '\t ' '  ' <"$2")" != "$3" ]; then
		if (printf '%s\n' "$3" >"$2") 2>/dev/null; then changed "$1"; else echo "$1: the running kernel rejects $3"; fi
	fi
}
`
