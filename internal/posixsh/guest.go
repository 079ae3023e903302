package posixsh

import (
	"io/fs"
	"strconv"
	"strings"
)

// PackageVersions defines the function versions_of, which prints the versions
// of a package that are installed, of most managers with the release behind a
// hyphen, and version_matches VERSION PATTERN, whose pattern need not name the
// release.
const PackageVersions = `versions_of() {
	if command -v dpkg-query >/dev/null 2>&1; then
		dpkg-query -W -f '${db:Status-Status} ${Version}\n' "$1" 2>/dev/null | sed -n 's/^installed //p'
	elif command -v rpm >/dev/null 2>&1; then
		# What is not installed it says on its standard output.
		if versions=$(rpm -q --qf '%{VERSION}-%{RELEASE}\n' "$1" 2>/dev/null); then echo "$versions"; fi
	elif command -v apk >/dev/null 2>&1; then
		apk info -v 2>/dev/null | sed -n "s/^$1-\([0-9][^-]*-r[0-9]*\)$/\1/p"
	fi
}
version_matches() { case $1 in $2 | $2-*) return 0 ;; esac; return 1; }
`

// SysctlFile is the file of a kernel parameter, whose name sysctl.d(5) writes
// with dots for slashes unless the first of both is a slash.
func SysctlFile(name string) string {
	if i := strings.IndexAny(name, "./"); i >= 0 && name[i] == '.' {
		name = strings.NewReplacer(".", "/", "/", ".").Replace(name)
	}
	return "/proc/sys/" + name
}

// Mode is the permission bits of mode as chmod and stat write them.
func Mode(mode fs.FileMode) string {
	bits := uint32(mode.Perm())
	for bit, special := range map[fs.FileMode]uint32{fs.ModeSetuid: 0o4000, fs.ModeSetgid: 0o2000, fs.ModeSticky: 0o1000} {
		if mode&bit != 0 {
			bits |= special
		}
	}
	return strconv.FormatUint(uint64(bits), 8)
}
