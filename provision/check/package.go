package check

import (
	"errors"
	"regexp"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/posixsh"
)

// Package is a package that must be installed.
type Package struct {
	// Name is that of the machine's own manager: of Debian, RPM or Alpine.
	Name string

	// Version is the version that it must have, with the release or without:
	// "1.24.0", "1.24*". Empty is any.
	Version string

	// Absent wants that it is not installed.
	Absent bool
}

// String is "package NAME", with "=VERSION" if there is one.
func (p Package) String() string {
	if p.Version != "" {
		return "package " + p.Name + "=" + p.Version
	}
	return "package " + p.Name
}

// Validate reports a missing Name, and what contradicts itself.
func (p Package) Validate() error {
	errs := []error{checkName("Package.Name", p.Name)}
	if p.Absent && p.Version != "" {
		errs = append(errs, bake.Invalid("Package.Absent", "contradicts Version"))
	}
	if !regexp.MustCompile(`^[A-Za-z0-9*?._:~^+-]*$`).MatchString(p.Version) {
		errs = append(errs, bake.Invalid("Package.Version", "%q is not a version", p.Version))
	}
	return errors.Join(errs...)
}

func (p Package) script() string {
	script := posixsh.PackageVersions + "versions=$(versions_of " + posixsh.Quote(p.Name) + ")\n"
	switch {
	case p.Absent:
		return script + `[ -z "$versions" ] || bad "it is installed: $versions"`
	case p.Version == "":
		return script + `[ -n "$versions" ] || bad "it is not installed"`
	}
	return script + "want=" + posixsh.Quote(p.Version) + `
if [ -z "$versions" ]; then bad "it is not installed"; exit; fi
for v in $versions; do if version_matches "$v" "$want"; then exit; fi; done
bad "the version is $versions"`
}
