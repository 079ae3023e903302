// Package posixsh writes command lines and scripts for any /bin/sh on a machine,
// whatever its login shell.
package posixsh

import (
	"io/fs"
	"regexp"
	"strconv"
	"strings"
)

// Quote returns s quoted as one word for any shell. It does not use \', which
// not all shells treat alike.
func Quote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'"'"'`) + "'"
}

// Words returns the quoted words, each preceded by a space, to follow a command.
func Words(words ...string) string {
	var b strings.Builder
	for _, word := range words {
		b.WriteString(" " + Quote(word))
	}
	return b.String()
}

// NamesDirectory reports whether a path can only be that of a directory, by its last
// element.
func NamesDirectory(name string) bool {
	switch name[strings.LastIndexByte(name, '/')+1:] {
	case "", ".", "..":
		return true
	}
	return false
}

// ModeBits are the bits of a mode that Mode writes.
const ModeBits = fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky

// Mode returns the permission bits of mode as chmod and stat write them.
func Mode(mode fs.FileMode) string {
	bits := uint32(mode.Perm())
	for bit, special := range map[fs.FileMode]uint32{fs.ModeSetuid: 0o4000, fs.ModeSetgid: 0o2000, fs.ModeSticky: 0o1000} {
		if mode&bit != 0 {
			bits |= special
		}
	}
	return strconv.FormatUint(uint64(bits), 8)
}

// ValidSysctl reports whether name is a valid name of a kernel parameter, as in
// sysctl.d(5).
func ValidSysctl(name string) bool { return sysctlName.MatchString(name) }

var sysctlName = regexp.MustCompile(`^[A-Za-z0-9_]+([./][A-Za-z0-9_:@-]+)+$`)

// UnitName returns the full name of a systemd unit, which is a .service unless name
// has the suffix of another kind, and whether it is valid by systemd.unit(5). A leading hyphen is not: systemctl would take
// the name for an option.
func UnitName(name string) (full string, ok bool) {
	if !unitSuffix.MatchString(name) {
		name += ".service"
	}
	return name, len(name) <= 255 && unitName.MatchString(name)
}

var (
	unitSuffix = regexp.MustCompile(`\.(automount|device|mount|path|scope|service|slice|socket|swap|target|timer)$`)
	unitName   = regexp.MustCompile(`^[A-Za-z0-9:_.\\][A-Za-z0-9:_.\\-]*(@[A-Za-z0-9:_.\\@-]*)?\.[a-z]+$`)
)

// SysctlFile returns the file of a kernel parameter. As in sysctl.d(5), dots in
// the name stand for slashes and vice versa unless a slash comes first.
func SysctlFile(name string) string {
	if i := strings.IndexAny(name, "./"); i >= 0 && name[i] == '.' {
		name = strings.NewReplacer(".", "/", "/", ".").Replace(name)
	}
	return "/proc/sys/" + name
}

// PackageVersions defines two shell functions. versions_of PACKAGE prints the
// installed versions of a package, where available with the release after a
// hyphen. version_matches VERSION PATTERN matches a pattern with or without the
// release.
const PackageVersions = `versions_of() {
	if command -v dpkg-query >/dev/null 2>&1; then
		dpkg-query -W -f '${db:Status-Status} ${Version}\n' "$1" 2>/dev/null | sed -n 's/^installed //p'
	elif command -v rpm >/dev/null 2>&1; then
		# rpm reports a missing package on its standard output.
		if versions=$(rpm -q --qf '%{VERSION}-%{RELEASE}\n' "$1" 2>/dev/null); then echo "$versions"; fi
	elif command -v apk >/dev/null 2>&1; then
		apk info -v 2>/dev/null | sed -n "s/^$1-\([0-9][^-]*-r[0-9]*\)$/\1/p"
	fi
}
version_matches() { case $1 in $2 | $2-*) return 0 ;; esac; return 1; }
`
