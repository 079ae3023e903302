package check

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
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

// User is an account that must be there.
type User struct {
	// Name is the name of the account.
	Name string

	// Absent wants that there is none.
	Absent bool

	// UID is its number. Zero does not count, since it is root's.
	UID int

	// Group is its first group, and Groups are others of which it must be a
	// member.
	Group  string
	Groups []string

	// Home and Shell are those of passwd(5).
	Home  string
	Shell string
}

// String is "user NAME".
func (u User) String() string { return "user " + u.Name }

// Validate reports a missing Name, and what contradicts itself.
func (u User) Validate() error {
	errs := []error{checkName("User.Name", u.Name)}
	if u.Absent && (u.UID != 0 || u.Group != "" || len(u.Groups) > 0 || u.Home != "" || u.Shell != "") {
		errs = append(errs, bake.Invalid("User.Absent", "contradicts the other fields"))
	}
	return errors.Join(errs...)
}

// script asks id, which knows accounts of every kind, and looks up in
// /etc/passwd what id does not tell.
func (u User) script() string {
	var b strings.Builder
	fmt.Fprintf(&b, "u=%s\n", posixsh.Quote(u.Name))
	if u.Absent {
		b.WriteString(`if id -u "$u" >/dev/null 2>&1; then bad "it is there"; fi`)
		return b.String()
	}
	b.WriteString("if ! id -u \"$u\" >/dev/null 2>&1; then bad \"it is missing\"; exit; fi\n")
	b.WriteString("line=$( (have getent && getent passwd \"$u\") || grep \"^$u:\" /etc/passwd)\n")
	uid := ""
	if u.UID != 0 {
		uid = strconv.Itoa(u.UID)
	}
	const field = `printf '%s\n' "$line" | cut -d: -f`
	for _, a := range []struct{ what, ask, want string }{
		{"the UID", `id -u "$u"`, uid}, {"the group", `id -gn "$u"`, u.Group},
		{"the home", field + "6", u.Home}, {"the shell", field + "7", u.Shell},
	} {
		if a.want != "" {
			b.WriteString("is" + posixsh.Words(a.what) + " \"$(" + a.ask + ")\"" + posixsh.Words(a.want) + "\n")
		}
	}
	for _, group := range u.Groups {
		fmt.Fprintf(&b, "g=%s\ncase \" $(id -Gn \"$u\") \" in *\" $g \"*) ;; *) bad \"it is no member of $g\" ;; esac\n", posixsh.Quote(group))
	}
	return b.String()
}

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

// checkName reports what is no name of anything.
func checkName(field, name string) error {
	if !regexp.MustCompile(`^[A-Za-z0-9_@][A-Za-z0-9_@:.+\\-]*$`).MatchString(name) {
		return bake.Invalid(field, "%q is not a name", name)
	}
	return nil
}
