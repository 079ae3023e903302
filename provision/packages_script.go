package provision

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/bakestone-go/bakestone/internal/posixsh"
)

// packageScript does what the variables request with the functions of the package
// manager.
const packageScript = `if [ -n "$changes" ]; then lists; fi # a repository was added
if [ -n "$upgrade" ]; then
	lists
	before=$(installed)
	upgrade_all
	if [ "$before" != "$(installed)" ]; then changed "versions"; fi
fi
missing=
for spec in $install; do
	case $spec in
	*=*) has "${spec%%=*}" "${spec#*=}" || missing="$missing $spec" ;;
	*) has "$spec" '*' || missing="$missing $spec" ;;
	esac
done
if [ -n "$missing" ]; then
	lists
	install_them $missing
	changed "installed$missing"
fi
unwanted=
for name in $remove; do
	if has "$name" '*'; then unwanted="$unwanted $name"; fi
done
if [ -n "$unwanted" ]; then
	remove_them $unwanted
	changed "removed$unwanted"
fi
if [ -n "$clean" ]; then clean_up; fi
`

// packageStart defines what all package managers need. Names and versions contain
// no blanks; set -f keeps patterns from matching file names. has NAME VERSION
// succeeds if the package is installed in a version that matches the pattern.
const packageStart = posixsh.PackageVersions + `set -f
fresh=
has() {
	for v in $(versions_of "$1"); do
		if version_matches "$v" "$2"; then return 0; fi
	done
	return 1
}
lists() { if [ -z "$norefresh$fresh" ]; then refresh; fresh=yes; fi; }
`

const aptFunctions = `
	export DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1
	apt() { apt-get -q -y -o DPkg::Lock::Timeout="$lock" -o Acquire::Retries=3 -o APT::Cmd::Pattern-Only=true -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold "$@"; }
	installed() { dpkg-query -W; }
	refresh() { apt -o APT::Update::Error-Mode=any update; }
	upgrade_all() { apt dist-upgrade; }
	install_them() {
		case $* in *=*) set -- --allow-downgrades "$@" ;; esac
		apt ${norecommends:+--no-install-recommends} install "$@"
	}
	remove_them() { if [ -n "$purge" ]; then apt purge "$@"; else apt remove "$@"; fi; }
	clean_up() { apt clean; set +f; rm -rf /var/lib/apt/lists/*; set -f; }
`

const dnfFunctions = `
	installed() { rpm -qa | sort; }
	dnf=dnf strict=
	# By default, yum skips packages that do not exist. dnf rejects the option.
	have dnf || { dnf=yum; strict=--setopt=skip_missing_names_on_install=False; }
	run_dnf() { "$dnf" -y ${norecommends:+--setopt=install_weak_deps=False} $strict "$@"; }
	refresh() { :; } # dnf and yum refresh old lists themselves
	upgrade_all() { run_dnf upgrade; }
	install_them() {
		for spec; do
			case $spec in *=*) spec=${spec%%=*}-${spec#*=} ;; esac
			set -- "$@" "$spec"
			shift
		done
		run_dnf install "$@"
	}
	remove_them() { run_dnf remove "$@"; }
	clean_up() { "$dnf" clean all; }
`

const zypperFunctions = `
	installed() { rpm -qa | sort; }
	export ZYPP_LOCK_TIMEOUT="$lock"
	zypp() {
		status=0
		zypper --non-interactive "$@" || status=$?
		case $status in
		102) return 0 ;; # succeeded, reboot advised
		103) zypper --non-interactive "$@" ;; # only updated zypper itself: run again
		*) return "$status" ;;
		esac
	}
	refresh() { zypp refresh; }
	upgrade_all() { zypp update --auto-agree-with-licenses; }
	install_them() {
		case $* in
		*=*[*?]*) refuse "zypper does not support version patterns: $*" ;;
		*=*) set -- --oldpackage "$@" ;;
		esac
		zypp install --auto-agree-with-licenses ${norecommends:+--no-recommends} "$@"
	}
	remove_them() { zypp remove "$@"; }
	clean_up() { zypp clean --all; }
`

const apkFunctions = `
	apk_do() { apk --wait "$lock" "$@"; }
	# apk's form of a version pattern, which matches a prefix.
	constraint() {
		case $1 in
		*=*[*]) spec=${1%[*]}; spec=${spec%.}; echo "${spec%%=*}~${spec#*=}" ;;
		*) echo "$1" ;;
		esac
	}
	installed() { apk info -v | sort; }
	refresh() { apk_do update; }
	upgrade_all() { apk_do upgrade; }
	install_them() {
		for spec; do
			set -- "$@" "$(constraint "$spec")"
			shift
		done
		apk_do add "$@"
	}
	remove_them() { apk_do del "$@"; }
	clean_up() { set +f; rm -rf /var/cache/apk/*; set -f; }
`

// script returns the shell script for p, which detects the package manager.
func (p Packages) script() (string, error) {
	apt, rpm, zypper, apk := "", "", "", ""
	for i, r := range p.Repositories {
		key, err := r.key()
		if err != nil {
			return "", fmt.Errorf("repository %s: %w", p.Repositories[i].Name, err)
		}
		apt += r.apt(key)
		rpm += r.rpm(key, "/etc/yum.repos.d")
		zypper += r.rpm(key, "/etc/zypp/repos.d")
		apk += r.apk(key)
	}
	var b strings.Builder
	b.WriteString(packageStart)
	for _, v := range []struct{ name, value string }{
		{"install", strings.Join(p.Install, " ")}, {"remove", strings.Join(p.Remove, " ")},
		{"purge", yes(p.Purge)}, {"upgrade", yes(p.Upgrade)}, {"clean", yes(p.Clean)},
		{"norecommends", yes(p.NoRecommends)}, {"norefresh", yes(p.NoRefresh)},
		{"lock", strconv.Itoa(int(p.LockTimeout.Seconds()))},
	} {
		b.WriteString(v.name + "=" + posixsh.Quote(v.value) + "\n")
	}
	b.WriteString("if have apt-get; then" + aptFunctions + apt +
		"elif have dnf || have yum; then" + dnfFunctions + rpm +
		"elif have zypper; then" + zypperFunctions + zypper +
		"elif have apk; then" + apkFunctions + apk +
		"else\n\trefuse 'no supported package manager found: apt-get, dnf, yum, zypper or apk'\nfi\n")
	b.WriteString(packageScript)
	return b.String(), nil
}

// yes returns "yes" if set, else "".
func yes(set bool) string {
	if set {
		return "yes"
	}
	return ""
}
