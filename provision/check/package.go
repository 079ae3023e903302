package check

import (
	"errors"
	"regexp"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/posixsh"
)

// A Package verifies that a package of Debian, RPM or Alpine is installed.
type Package struct {
	// Name is the package's name. It is required.
	Name string

	// Version is the expected version or a pattern, with or without the release:
	// "1.24.0", "1.24*". If empty, any version is accepted.
	Version string

	// Absent requires that the package is not installed.
	Absent bool
}

var _ Test = Package{}

// String returns "package NAME", with "=VERSION" if there is one.
func (p Package) String() string {
	if p.Version != "" {
		return "package " + p.Name + "=" + p.Version
	}
	return "package " + p.Name
}

// Validate reports invalid and conflicting fields.
func (p Package) Validate() error {
	errs := []error{checkName("Package.Name", p.Name)}
	if p.Absent && p.Version != "" {
		errs = append(errs, bake.Invalid("Package.Absent", "conflicts with Version"))
	}
	if !regexp.MustCompile(`^[A-Za-z0-9*?._:~^+-]*$`).MatchString(p.Version) {
		errs = append(errs, bake.Invalid("Package.Version", "invalid version %q", p.Version))
	}
	return errors.Join(errs...)
}

func (p Package) script() string {
	script := posixsh.PackageVersions + "versions=$(versions_of " + posixsh.Quote(p.Name) + ")\n"
	switch {
	case p.Absent:
		return script + `[ -z "$versions" ] || bad "is installed: $versions"`
	case p.Version == "":
		return script + `[ -n "$versions" ] || bad "is not installed"`
	}
	return script + "want=" + posixsh.Quote(p.Version) + `
if [ -z "$versions" ]; then bad "is not installed"; exit; fi
for v in $versions; do if version_matches "$v" "$want"; then exit; fi; done
bad "the version is $versions"`
}
